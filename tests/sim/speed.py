"""How fast the simulator is: virtual seconds for each second of processor time, always on the same seeds.

Five nodes and 20 proposals a second, everything else as each seed draws it, faults too. Setting a run up and judging it
counts. Told, never judged: processor time depends on the machine, and on what else runs there.

A proposal is whatever a client or a local process asks to be put into the order: a write, a linearizable read, a
message of a process group, with every retry. An ordinary seed asks more than 20 of them a second, so all kinds of load
are asked less often by the same share; how many it were is told beside the speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.sim.cases import FIRST
from tests.sim.cluster import Report, run_plan
from tests.sim.plan import Plan, draw

NODES = 5
PACE = 0.6  # of what is usual: 20 proposals per virtual second
RATE = 20.0 * PACE
SEEDS = range(FIRST, FIRST + 20)


def plans() -> Iterator[Plan]:
    for seed in SEEDS:
        yield replace(draw(seed, NODES)[0], rate=RATE, pace=PACE)


def measure() -> bool:
    """Run them all, a line for each and one for their sum. False: some run broke a promise."""
    print(f"seeds {SEEDS[0]:06x} to {SEEDS[-1]:06x}, {NODES} nodes", flush=True)
    reports = []
    for plan in plans():
        report = run_plan(plan)
        reports.append(report)
        print(f"  {report.name}: {told([report])}{'' if report.failure is None else f', {report.failure}'}", flush=True)
    print(f"simulator: {told(reports)} in processor time")
    return all(report.failure is None for report in reports)


def told(reports: list[Report]) -> str:
    seconds, proposals, asking = (
        sum(report.counts.get(name, 0.0) for report in reports) for name in ("seconds", "proposals", "asking")
    )
    cpu = sum(report.wall for report in reports)
    load = f"{proposals / asking if asking else 0:.1f} proposals/s"
    return f"{load}, {seconds:.1f} virtual s in {cpu:.2f} s: {seconds / cpu if cpu else 0:.1f}x"
