"""Whole nodes under faults in virtual time.

    python -m tests.sim [--runs N] [--nodes N] [--seed S] [--plan FILE] [--trace IDS] [--shrink] ...

Without --seed or --plan: everything that ever failed (the plans of tests/sim/found, the seeds of seeds.txt), then N new
seeds. One seed draws the whole run, which is printed before it begins; seed and commit tell a run, nothing else. The
exit code is 0 only if every run held every promise. docs/simulator.md says more.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from tests.sim import pool, shrink, speed, telling
from tests.sim.cases import Case, first_seed, known, seed_of
from tests.sim.compiling import copies
from tests.sim.compiling.both import CHECKED, Both
from tests.sim.coverage import Coverage
from tests.sim.guard import at_most
from tests.sim.report import Report
from tests.sim.run import run_plan
from tests.sim.runs import SAME, Sums, failure_lines, judgements
from tests.sim.stored import NoPlan, Stored


def ids(text: str) -> frozenset[int]:
    return frozenset(int(part) for part in text.split(",") if part)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim",
        description="Runs whole clusters in virtual time under faults, and checks every promise of docs/promises.md.",
        epilog="A failure is told with the command that shows it again, and made smaller if time allows.",
    )
    add = parser.add_argument
    add("--runs", type=int, metavar="N", help="how many seeds (20; 1 with --seed)")
    add("--nodes", type=int, metavar="N", help="this cluster size instead of what each seed draws")
    add("--seed", type=seed_of, metavar="S", help="the first seed, hexadecimal, with or without 0x")
    add("--plan", type=Path, metavar="FILE", help="run this stored plan instead of a seed")
    add("--trace", type=ids, default=frozenset(), metavar="IDS", help="print what these nodes did, as 2,4")
    add("--every", action="store_true", help="with --trace: each message and each call a line of its own")
    add("--minutes", type=float, metavar="M", help="go on with new seeds for so long")
    add(
        "--shrink",
        nargs="?",
        type=seed_of,
        const=-1,
        metavar="SEED",
        help="make the failure of this seed (or of --seed, --plan) as small as it gets, and store it",
    )
    add("--seconds", type=float, default=shrink.SECONDS, metavar="S", help="for making a failure smaller (%(default)g)")
    add("--store", type=Path, metavar="FILE", help="write the plan of --seed there and run nothing")
    add("--speed", action="store_true", help="run twenty fixed seeds and print how much faster than real time that is")
    add(
        "--compiled",
        action="store_true",
        help="run a compiled copy (made once for these sources, if there is a compiler)",
    )
    add("--coverage", action="store_true", help="at the end, print the lines of the product that no run executed")
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = options()
    asked = parser.parse_args(arguments)
    if asked.compiled and (asked.trace or asked.coverage or asked.shrink is not None or asked.store):
        parser.error("--compiled runs seeds and plans: --trace, --coverage, --shrink and --store are for pure Python")
    if asked.speed:
        return 0 if speed.measure(copies.ready() if asked.compiled else copies.present()) else 1
    if asked.shrink is not None and asked.shrink >= 0:
        asked.seed = asked.shrink
    if asked.plan is not None and (asked.seed is not None or asked.runs or asked.nodes):
        parser.error("--plan says everything: no --seed, --runs or --nodes beside it")
    one = asked.plan is not None or (asked.seed is not None and not asked.runs)
    if (asked.shrink is not None or asked.store) and not one:
        parser.error("--shrink and --store need one --seed or --plan")
    if asked.runs is not None and asked.runs < 1:
        parser.error("--runs needs at least 1")
    first = asked.seed if asked.seed is not None else first_seed()
    count = asked.runs or (1 if one else 20)
    if asked.plan is not None:
        cases = [Case(file=asked.plan.resolve())]
    else:
        cases = [*(known() if asked.seed is None else []), *(Case(first + at, asked.nodes) for at in range(count))]
    try:
        if asked.store:
            asked.store.write_text(Stored(cases[0].plan()).text())
            return 0
        return run(cases, asked, one, first + count, count, copies.ready() if asked.compiled else None)
    except (NoPlan, OSError) as error:
        print(f"python -m tests.sim: {error}", file=sys.stderr)
        return 2


def run(
    cases: list[Case], asked: argparse.Namespace, one: bool, after: int, count: int, copy: Path | None = None
) -> int:
    """All cases, then lots of `count` new seeds from `after` on while there is time. copy: of the sources, compiled."""
    coverage = Coverage() if asked.coverage else None

    def here(case: Case) -> Report:
        with coverage or nullcontext(), at_most():
            return run_plan(case.plan(), asked.trace, title=case.title, every=asked.every)

    both = Both(1 if one else CHECKED)
    with nullcontext(here) if copy is None else pool.seated(both=both, copy=copy) as run_one:
        sums, broken = run_all(run_one, cases, asked, one, after, count)
    if coverage is not None:
        print("\n".join(coverage.report()))
    if both.did:
        print(both)
    print(sums)
    print(sums.effects())
    print(sums.judged())
    problems = sums.problems()
    for problem in problems:
        print(problem)
    if asked.shrink is not None and not broken:
        print("it holds: there is nothing to make smaller")
    broken = [each for each in broken if each[1].failure is not None and each[1].failure.promise != SAME]
    if broken and (asked.shrink is not None or not one):
        case, report = broken[0]
        shrink.tell(case.plan(), report, case.name, asked.seconds)
    return 1 if problems else 0


def run_all(
    run_one: Callable[[Case], Report], cases: list[Case], asked: argparse.Namespace, one: bool, after: int, count: int
) -> tuple[Sums, list[tuple[Case, Report]]]:
    """What all came to, and those that failed."""
    sums = Sums()
    broken: list[tuple[Case, Report]] = []
    started = time.monotonic()
    while True:
        for case in cases:
            plan = case.plan()
            print(f"{case}: {plan}", flush=True)
            if one:
                print("\n".join(f"  {line}" for line in telling.lines(plan)), flush=True)
            report = run_one(case)
            sums.add(report)
            if report.failure is None:
                print(f"  {held(report)}", flush=True)
            else:
                print("\n".join(failure_lines(report, case)), flush=True)
                broken.append((case, report))
        if one or asked.minutes is None or time.monotonic() - started > asked.minutes * 60:
            break
        cases, after = [Case(after + at, asked.nodes) for at in range(count)], after + count
    return sums, broken


def held(report: Report) -> str:
    counts = report.counts
    speed = counts["seconds"] / report.wall if report.wall else 0.0
    rest = ", ".join(f"{counts.get(name, 0):.0f} {name.replace('_', ' ')}" for name in ("acked", "gathers", "merges"))
    text = f"ok: {counts['seconds']:.1f} s in {report.wall:.2f} s ({speed:.0f}x), {rest}, trace {report.fingerprint}"
    return f"{text}; {judgements(lambda name: counts.get(name, 0))}"


if __name__ == "__main__":
    sys.exit(main())
