"""What runs one seed and says whether a promise was broken: whole nodes, or the ring, the store, the votes or the keys
alone, each in a random world of its own; or one test, such as a story.

Imports the product only when asked to run, after a mutant was applied.
"""

from __future__ import annotations

import io
import signal
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from tests.mutants.mutant import ROOT, Mutant

HANG = 120.0  # seconds of CPU after which a seed counts as one that never ends; the slowest takes a tenth
PLANS = Path(__file__).with_name("plans")
NO_EXCEPTION = "no exception"
# What tests/transport/totem/net.py and chaos.py say beside the invariants, and the promise it stands for.
RING_PROMISES = {
    "AssertionError: not within": "L1",
    "and had echoed what it sent at": "Q4",
    "with nothing wrong, was given up": "L4",
}
# What tests/cfs/checks.py says, and the promise each stands for; the first that is in the sentence.
STORE_PROMISES = {
    "acknowledged write lost": "S1",
    "acknowledged, ": "S1",
    "claims index": "S1",
    "says READY": "S1",
    "in a narrow epoch": "Q5",
    "data set": "S1",
    "barrier at": "S2",
    "reads went back": "S2",
    "out of order": "S2",
    "an outcome nobody waits for": "S3",
    "outcome after": "S3",
    "refused, yet done": "S3",
    "applied at": "S3",
    "acknowledged as": "S3",
    "another record": "S4",
    "another tree": "S4",
    "trees differ": "S4",
    "not settled": "L1",
    "writes after the faults": "L1",
}


class Verdict(NamedTuple):
    """promise: the one that was broken, empty when all held; text: the sentence.  seconds: of CPU."""

    promise: str
    text: str
    seconds: float


class Hangs(Exception):  # noqa: N818
    """The run does not come to an end."""


def _hangs(number: int, frame: FrameType | None) -> None:
    raise Hangs(f"still busy after {HANG:.0f} s")


def wanted(mutant: Mutant, seed: int) -> bool:
    """Is this seed one that counts for the mutant?"""
    if mutant.where is None:
        return True
    from tests.sim.plan import draw

    return mutant.where(draw(seed, mutant.nodes)[0])


def run(mutant: Mutant, seed: int) -> Verdict:
    """One seed, in this process."""
    return _timed(lambda: _run(mutant, seed))


def _timed(judged: Callable[[], tuple[str, str]]) -> Verdict:
    started = time.process_time()
    signal.signal(signal.SIGVTALRM, _hangs)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG)
    try:
        promise, text = judged()
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    return Verdict(promise, text, time.process_time() - started)


def _run(mutant: Mutant, seed: int) -> tuple[str, str]:
    harness, _, rest = mutant.harness.partition(":")
    if harness == "sim":
        return _sim(mutant, seed)
    if harness == "ring":
        return _ring(seed)
    if harness == "store":
        return _store(seed, rest)
    if harness == "keys":
        return _keys(seed)
    if harness == "votes":
        return _votes(seed)
    if harness == "story":
        return _story(mutant, rest)
    if harness == "test":
        return _test(mutant, rest)
    raise ValueError(f"{mutant.name}: no harness {mutant.harness}")


def run_known(mutant: Mutant, seed: int) -> Verdict:
    """The seed that is known to catch it; of whole nodes the plan that it drew then, whatever it draws now."""
    file = PLANS / f"{mutant.name}.json"
    if not file.exists():
        return run(mutant, seed)
    from tests.sim.stored import load

    return _timed(lambda: _plan(load(file).plan))


def plan_of(mutant: Mutant, seed: int, promise: str, text: str) -> str:
    """What a seed that caught it drew, as a file keeps it; empty where there is no plan."""
    if mutant.harness != "sim":
        return ""
    from tests.sim.plan import draw
    from tests.sim.stored import Stored

    return Stored(draw(seed, mutant.nodes)[0], f"{mutant.name}: {text}", promise).text()


def _sim(mutant: Mutant, seed: int) -> tuple[str, str]:
    from tests.sim.plan import draw

    return _plan(draw(seed, mutant.nodes)[0])


def _plan(plan: Any) -> tuple[str, str]:
    from tests.sim.run import run_plan

    failure = run_plan(plan).failure
    return ("", "") if failure is None else (failure.promise, failure.text)


def _ring(seed: int) -> tuple[str, str]:
    from tests.transport.totem import chaos, evs

    try:
        chaos.run(seed)
    except evs.Violation as violation:
        promise, _, text = str(violation).partition(": ")
        return promise, text
    except Exception as error:  # whatever a node raises is a failure of its own: no input may make it
        text = f"{type(error).__name__}: {error}"
        return next((promise for words, promise in RING_PROMISES.items() if words in text), NO_EXCEPTION), text
    return "", ""


def _store(seed: int, profile: str) -> tuple[str, str]:
    from tests.cfs import episodes, swarm
    from tests.cfs.checks import Broken

    try:
        if profile == "episodes":
            episodes.run(seed)
        else:
            swarm.run(seed, profile)
    except Broken as broken:
        text = str(broken)
        return next((promise for words, promise in STORE_PROMISES.items() if words in text), "S"), text
    except Exception as error:  # as above
        return NO_EXCEPTION, f"{type(error).__name__}: {error}"
    return "", ""


def _keys(seed: int) -> tuple[str, str]:
    from tests.transport import key_chaos

    try:
        key_chaos.run(seed)
    except key_chaos.Broken as broken:
        return broken.promise, broken.text
    except Exception as error:  # as above
        return NO_EXCEPTION, f"{type(error).__name__}: {error}"
    return "", ""


def _votes(seed: int) -> tuple[str, str]:
    from tests.quorum import vote_chaos

    try:
        vote_chaos.run(seed)
    except vote_chaos.Broken as broken:
        return broken.promise, broken.text
    except Exception as error:  # as above
        return NO_EXCEPTION, f"{type(error).__name__}: {error}"
    return "", ""


def _story(mutant: Mutant, name: str) -> tuple[str, str]:
    """What a story expects itself stands for the promise that the mutant breaks: its docstring says which."""
    from tests.sim.stories.play import run_story

    broken = run_story(name)
    if broken is None:
        return "", ""
    return (mutant.promises[0] if broken.promise == "story" else broken.promise), broken.text


def _test(mutant: Mutant, name: str) -> tuple[str, str]:
    """A test that has no seeds: all it says is yes or no."""
    import pytest

    with redirect_stdout(io.StringIO()) as said:
        code = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", f"{ROOT}/tests/{name}"])
    if code == pytest.ExitCode.OK:
        return "", ""
    if code != pytest.ExitCode.TESTS_FAILED:
        raise RuntimeError(f"{name}: {said.getvalue()[-500:]}")
    lines = [line for line in said.getvalue().splitlines() if line.startswith("E  ")]
    return mutant.promises[0], (lines or ["failed"])[0].lstrip("E ")
