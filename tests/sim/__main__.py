"""Whole nodes under faults in virtual time: python -m tests.sim [--runs N] [--nodes N] [--seed S] [--trace IDS]
[--coverage]

Without --seed: the seeds that ever failed (seeds.txt), then N more. With it: that one, or N from it on. A run is told
by its seed and the commit, nothing else; --trace 2,4 prints what nodes 2 and 4 did; --coverage prints at the end which
lines of ring, quorum, store and node no run executed. Exit 0 only if all held.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import nullcontext

from tests.sim.cluster import Report, run_seed
from tests.sim.coverage import Coverage
from tests.sim.plan import draw
from tests.sim.runs import FIRST, Sums, failure_lines, known_seeds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, help="how many seeds (default 20; 1 with --seed)")
    parser.add_argument("--nodes", type=int, help="cluster size instead of the seed's own")
    parser.add_argument("--seed", type=lambda text: int(text, 16), help="hexadecimal, as a failure line prints it")
    parser.add_argument("--trace", default="", help="node ids, comma between: print what these did")
    parser.add_argument("--minutes", type=float, help="go on with new seeds for so long")
    parser.add_argument("--coverage", action="store_true", help="print what no run executed")
    asked = parser.parse_args(arguments)
    coverage = Coverage() if asked.coverage else None
    watched = frozenset(int(part) for part in asked.trace.split(",") if part)
    first = asked.seed if asked.seed is not None else FIRST
    count = asked.runs or (1 if asked.seed is not None else 20)
    seeds = [*(known_seeds() if asked.seed is None else []), *range(first, first + count)]
    sums = Sums()
    started = time.monotonic()
    while True:
        for seed in seeds:
            plan, _ = draw(seed, asked.nodes)
            print(f"seed {seed:06x}: {plan}", flush=True)
            with coverage or nullcontext():
                report = run_seed(seed, asked.nodes, watched)
            sums.add(report)
            if report.failure is None:
                print(f"  {told(report)}", flush=True)
            else:
                print("\n".join(failure_lines(report, asked.nodes)), flush=True)
        if asked.minutes is None or time.monotonic() - started > asked.minutes * 60:
            break
        first, seeds = first + count, list(range(first + count, first + 2 * count))
    if coverage is not None:
        print("\n".join(coverage.report()))
    print(sums)
    print(sums.effects())
    problems = sums.problems(whole=len(sums.reports) >= 100)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def told(report: Report) -> str:
    counts = report.counts
    speed = counts["seconds"] / report.wall
    rest = ", ".join(f"{counts.get(name, 0):.0f} {name.replace('_', ' ')}" for name in ("acked", "gathers", "merges"))
    return f"ok: {counts['seconds']:.1f} s in {report.wall:.2f} s ({speed:.0f}x), {rest}, trace {report.fingerprint}"


if __name__ == "__main__":
    sys.exit(main())
