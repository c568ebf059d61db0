"""How fast the simulator is: virtual seconds for each second of processor time, always on the same seeds.

Five nodes and 20 proposals a second, everything else as each seed draws it, faults too. Setting a run up and judging it
counts. Told, never judged: processor time depends on the machine, and on what else runs there.

A proposal is whatever a client or a local process asks to be put into the order: a write, a linearizable read, a
message of a process group, with every retry. An ordinary seed asks more than 20 of them a second, so all kinds of load
are asked less often by the same share; how many it were is told beside the speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.sim import pool
from tests.sim.cases import FIRST, Case
from tests.sim.compiling.both import agreed, fits
from tests.sim.plan import Plan, draw
from tests.sim.report import Report
from tests.sim.run import run_plan
from tests.sim.stored import Stored

NODES = 5
PACE = 0.6  # of what is usual: 20 proposals per virtual second
RATE = 20.0 * PACE
SEEDS = range(FIRST, FIRST + 20)


def plans() -> Iterator[Plan]:
    for seed in SEEDS:
        yield replace(draw(seed, NODES)[0], rate=RATE, pace=PACE)


def measure(copy: Path | None = None) -> bool:
    """Run them all, a line for each and one for their sum; then in the compiled copy, where there is one.

    False: some run broke a promise, or was not the same compiled.
    """
    print(f"seeds {SEEDS[0]:06x} to {SEEDS[-1]:06x}, {NODES} nodes", flush=True)
    pure: list[Report] = []
    for plan in plans():
        pure.append(run_plan(plan))
        print(_line(pure[-1]), flush=True)
    judged = list(pure)
    print(f"pure Python: {told(pure)} in processor time", flush=True)
    if copy is None:
        print("compiled: not now (--compiled does, where there is a C compiler)")
    else:
        judged += _compiled(copy, pure)
    return all(report.failure is None for report in judged)


def _compiled(copy: Path, pure: list[Report]) -> list[Report]:
    """The same there, and their sum; what cannot be run there counts as pure Python ran it. Returns what it came to."""
    fast: list[Report] = []
    judged: list[Report] = []
    with TemporaryDirectory() as folder, closing(pool.seat_in(copy)) as seat:
        for plan, known in zip(plans(), pure, strict=True):
            if not fits(plan):
                fast.append(known)
                continue
            file = Path(folder) / f"{known.name}.json"
            file.write_text(Stored(plan).text())
            fast.append(seat.run(Case(plan.seed, file=file)))
            judged.append(agreed(fast[-1], known))
            print(_line(replace(judged[-1], wall=fast[-1].wall)), flush=True)
            if judged[-1].details:
                print(judged[-1].details.rstrip(), flush=True)
    rest = len(fast) - len(judged)
    beside = f" ({rest} of {len(fast)} as pure Python ran it)" if rest else ""
    print(f"compiled: {told(fast)} in processor time{beside}")
    return judged


def _line(report: Report) -> str:
    return f"  {report.name}: {told([report])}{'' if report.failure is None else f', {report.failure}'}"


def told(reports: list[Report]) -> str:
    seconds, proposals, asking = (
        sum(report.counts.get(name, 0.0) for report in reports) for name in ("seconds", "proposals", "asking")
    )
    cpu = sum(report.wall for report in reports)
    load = f"{proposals / asking if asking else 0:.1f} proposals/s"
    return f"{load}, {seconds:.1f} virtual s in {cpu:.2f} s: {seconds / cpu if cpu else 0:.1f}x"
