"""Many mutants, each in a process of its own, two at a time; and the known seeds, one of which catches each.

known.txt has a line for each mutant: its name, a seed that catches it, the promise that is then found broken; plans/
has what such a seed of whole nodes drew, which goes on meaning the same while the simulator grows. One that does not
catch its mutant any more is looked for anew in the mutant's range, and `--refresh` writes these files anew.
"""

from __future__ import annotations

import importlib
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from tests.mutants import harness
from tests.mutants.harness import PLANS
from tests.mutants.mutant import FIRST, DoesNotApply, Mutant, apply, patched

KNOWN = Path(__file__).with_name("known.txt")
TABLES = ("transport", "quorum", "cfs", "node")
WORKERS = 2
# Imported before a process is made for each mutant: none of it is the product.
HEAVY = ("pydantic", "structlog", "msgpack", "cryptography.hazmat.primitives.ciphers.aead", "uvloop", "sqlite3")


def mutants() -> list[Mutant]:
    """All of them, in the order of the tables."""
    found: list[Mutant] = []
    for table in TABLES:
        found += importlib.import_module(f"tests.mutants.{table}").MUTANTS
    return found


def known_seeds() -> dict[str, int]:
    """Name -> a seed that caught it."""
    lines = (line.split("#")[0].split() for line in KNOWN.read_text().splitlines()) if KNOWN.exists() else ()
    return {words[0]: int(words[1], 16) for words in lines if words}


@dataclass(slots=True)
class Outcome:
    """What became of one mutant.

    seed: the first that caught it, None: it survived.  tried: seeds run.  caught: how many caught it, where all were
    run.  fresh: the seed is of the mutant's range.  stale: there was a known one, and it did not catch the mutant.
    plan: what the seed drew, as a file keeps it.
    others: promises found broken that are not those expected.  control: why the seed is none: without the mutant it
    breaks this too.  problem: why nothing could be run.
    """

    name: str
    seed: int | None = None
    promise: str = ""
    text: str = ""
    tried: int = 0
    caught: int = 0
    seconds: float = 0.0
    others: list[str] = field(default_factory=list)
    control: str = ""
    problem: str = ""
    stale: bool = False
    fresh: bool = False
    plan: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        return self.seed is not None and not self.problem and not self.control

    def __str__(self) -> str:
        if self.problem:
            return f"{self.name:40}FAILED    {self.problem}"
        others = f"; also {', '.join(sorted(set(self.others)))}" if self.others else ""
        if self.seed is None:
            return f"{self.name:40}SURVIVES  {self.tried} seeds, {self.seconds:.1f} s{others}"
        found = f"{self.promise:13}{self.seed:06x}  {self.tried:3} seeds {self.seconds:6.1f} s"
        if self.control:
            return f"{self.name:40}{found}  FAILED without the mutant too: {self.control}"
        every = f", {self.caught} of them catch it" if self.caught > 1 else ""
        return f"{self.name:40}{found}{every}{others}{'  (its known seed does not)' if self.stale else ''}"


def seeds_of(mutant: Mutant) -> Iterator[int]:
    """The seeds of its range."""
    seed, count = (1 if mutant.harness.startswith("store:") else FIRST), 0
    while count < mutant.seeds:
        if harness.wanted(mutant, seed):
            count += 1
            yield seed
        seed += 1


def look(mutant: Mutant, known: int | None = None, every: bool = False) -> Outcome:
    """Apply the mutant to this process and run its seeds until one catches it; `every`: all of them.

    known: run first; with it the range only when it does not catch the mutant.
    """
    outcome = Outcome(mutant.name)
    try:
        apply(mutant)
    except DoesNotApply as error:
        outcome.problem = str(error)
        return outcome
    started = time.process_time()
    for place, seed in enumerate(chain(() if known is None else (known,), seeds_of(mutant))):
        first = known is not None and place == 0
        promise, text, _ = (harness.run_known if first else harness.run)(mutant, seed)
        outcome.tried += 1
        if promise in mutant.promises:
            outcome.caught += 1
            if outcome.seed is None:
                outcome.seed, outcome.promise, outcome.text = seed, promise, text
                outcome.plan = harness.plan_of(mutant, seed, promise, text) if not first else ""
                outcome.fresh, outcome.stale = not first, known is not None and not first
            if not every:
                break
        elif promise:
            outcome.others.append(promise)
    outcome.seconds = time.process_time() - started
    return outcome


def control(mutant: Mutant, seed: int, known: bool = False) -> str:
    """What the seed breaks without the mutant; empty, as it should be, when nothing."""
    promise, text, _ = (harness.run_known if known else harness.run)(mutant, seed)
    return f"{promise}: {text}" if promise else ""


def _task(job: tuple[str, int | None, bool]) -> Outcome:
    name, known, every = job
    mutant = next(mutant for mutant in mutants() if mutant.name == name)
    try:
        return look(mutant, known, every)
    except Exception as error:  # the mutant makes the harness itself fail: no verdict
        return Outcome(name, problem=f"{type(error).__name__}: {error}")


def _control(job: tuple[str, int, bool]) -> str:
    name, seed, known = job
    return control(next(mutant for mutant in mutants() if mutant.name == name), seed, known)


def run_all(chosen: list[Mutant], known: bool, every: bool = False, controls: bool = False) -> Iterator[Outcome]:
    """Outcomes as they come, in the order of `chosen`.

    known: begin with the known seeds.  controls: run each seed that caught one without the mutant too.
    """
    for name in HEAVY:
        importlib.import_module(name)
    seeds = known_seeds() if known else {}
    context = multiprocessing.get_context("fork")
    jobs = [(mutant.name, seeds.get(mutant.name), every) for mutant in chosen]
    with context.Pool(WORKERS, maxtasksperchild=1) as pool, context.Pool(1) as plain:
        for mutant, outcome in zip(chosen, pool.imap(_task, jobs, chunksize=1), strict=True):
            if controls and outcome.seed is not None:
                outcome.control = plain.apply(_control, ((mutant.name, outcome.seed, known and not outcome.fresh),))
            yield outcome


def controls_of(chosen: list[Mutant]) -> Iterator[tuple[str, str]]:
    """Each with what its known seed breaks when nothing is changed: nothing, or the seed says nothing about it."""
    for name in HEAVY:
        importlib.import_module(name)
    seeds = known_seeds()
    jobs = [(mutant.name, seeds[mutant.name], True) for mutant in chosen if mutant.name in seeds]
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        yield from zip([job[0] for job in jobs], pool.imap(_control, jobs, chunksize=1), strict=True)


def write_known(outcomes: list[Outcome]) -> None:
    """Keep what these found, and what is known of the others."""
    names = {mutant.name for mutant in mutants()}
    for outcome in outcomes:
        if outcome.ok and outcome.plan:
            PLANS.mkdir(exist_ok=True)
            (PLANS / f"{outcome.name}.json").write_text(outcome.plan)
    for file in PLANS.glob("*.json"):
        if file.stem not in names:
            file.unlink()
    found = {outcome.name: f"{outcome.seed:06x}  # {outcome.promise}" for outcome in outcomes if outcome.ok}
    for line in KNOWN.read_text().splitlines() if KNOWN.exists() else ():
        words = line.split(maxsplit=1)
        if len(words) == 2:
            found.setdefault(words[0], words[1].strip())
    lines = [f"{mutant.name:40}{found[mutant.name]}\n" for mutant in mutants() if mutant.name in found]
    KNOWN.write_text("".join(lines))


def row(mutant: Mutant) -> str:
    """Its line in the table of docs/simulator.md."""
    within = mutant.within if mutant.seeds > 1 else ""
    why = f"{mutant.why} {mutant.several}".rstrip()
    return f"| `{mutant.name}` | {', '.join(mutant.promises)} | {within} | `{mutant.file}`: {why} |"


def problems_of_texts(chosen: list[Mutant]) -> list[str]:
    """Why some cannot be applied."""
    found = []
    for mutant in chosen:
        try:
            patched(mutant)
        except DoesNotApply as error:
            found.append(str(error))
    return found
