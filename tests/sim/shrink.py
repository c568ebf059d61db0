"""Makes a failure small: the least plan found that still breaks the same promise, as a file and as a story.

The order of what is tried is fixed, so the same failure becomes the same small plan; only the time limit, where it is
reached, cuts that short. A failure may hang on chance, which falls out otherwise in every other plan: once nothing
smaller fails at once, everything is tried again with other luck.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tests.sim import telling
from tests.sim.cases import ROOT
from tests.sim.guard import at_most
from tests.sim.plan import Plan
from tests.sim.report import Report
from tests.sim.run import run_plan
from tests.sim.smaller import PASSES, Pass, sound, until
from tests.sim.stored import FOUND, Stored

SECONDS = 120.0  # for one failure, or for all of a sweep
LUCKS = (1, 4)  # how often each smaller plan is tried, with other luck: at first, and at the end
PATIENCE = 5.0  # times as long as the failure took, and RUN_SECONDS, each try may take
RUN_SECONDS = 20.0

Run = Callable[[Plan], Report]


@dataclass(frozen=True, slots=True)
class Small:
    """What came of it. whole: nothing smaller was left to try when it ended.  kept: how many of `runs` were smaller."""

    plan: Plan
    report: Report
    runs: int
    kept: int
    whole: bool


def kind_of(report: Report) -> tuple[str, ...]:
    """What makes two failures the same: the promise; of an exception its type and the function that raised it."""
    if report.failure is None:
        return ()
    places = [line.split(", in ")[-1] for line in report.details.splitlines() if line.startswith("  File ")]
    raised = (report.failure.text.split(":")[0], *places[-1:]) if report.details else ()
    return (report.failure.promise, *raised)


def shrink(plan: Plan, report: Report, run: Run, over: Callable[[], bool]) -> Small:
    """The least plan that still fails as `report` did. over: is the time used up?"""
    assert report.failure is not None
    wanted = kind_of(report)
    tried = {repr(plan)}
    small = Small(plan, report, 0, 0, whole=False)

    def fails(candidate: Plan) -> bool:
        """Does it fail in the same way? Then it is the smallest so far."""
        nonlocal small
        if repr(candidate) in tried or not sound(candidate):
            return False
        tried.add(repr(candidate))
        found = run(candidate)
        small = replace(small, runs=small.runs + 1)
        if kind_of(found) != wanted:
            return False
        small = replace(small, plan=candidate, report=found, kept=small.kept + 1)
        return True

    fails(until(plan, report.failure.at))
    for lucks in LUCKS:
        at = in_vain = 0
        while in_vain < len(PASSES):
            in_vain += 1
            for candidate in _with_luck(PASSES[at], small.plan, lucks):
                if over():
                    return small
                if fails(candidate):  # and from it again: less of the same may be left to take away
                    in_vain = 0
                    break
            else:
                at = (at + 1) % len(PASSES)
    return replace(small, whole=True)


def _with_luck(step: Pass, plan: Plan, lucks: int) -> Iterator[Plan]:
    for candidate in step(plan):
        for luck in range(lucks) if candidate != plan else ():
            yield replace(candidate, luck=plan.luck + luck)


def tell(plan: Plan, report: Report, name: str, seconds: float = SECONDS, folder: Path | None = None) -> Path:
    """Shrink within `seconds`, print what came of it, and store it in `folder`: the file's name says what and whose."""
    folder = folder or FOUND
    ends = time.monotonic() + seconds
    patience = max(RUN_SECONDS, PATIENCE * report.wall)

    def run(candidate: Plan) -> Report:
        with at_most(patience):
            return run_plan(candidate)

    print(f"making it smaller, for at most {seconds:.0f} s ...", flush=True)
    small = shrink(plan, report, run, lambda: time.monotonic() > ends)
    failure = small.report.failure
    assert failure is not None
    how = "nothing smaller fails" if small.whole else "the time was over"
    print(f"smaller {small.kept} times in {small.runs} runs; {how}:")
    print(f"  {small.plan}")
    for line in telling.lines(small.plan, failure):
        print(f"  {line}")
    folder.mkdir(parents=True, exist_ok=True)
    promise = "".join(sign if sign.isalnum() else "-" for sign in failure.promise.lower())
    file = folder / f"{promise}-{name.removeprefix(f'{promise}-')}.json"  # a stored plan keeps its name
    file.write_text(Stored(small.plan, str(failure), failure.promise).text())
    shown = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
    print(f"stored: python -m tests.sim --plan {shown}", flush=True)
    return file
