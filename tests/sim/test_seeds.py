"""The simulator over its seeds: every seed that ever failed, then a range that is the same in every run.

The seeds are cut into small lots so that two workers share them evenly; conftest.py sums up and fails the session when
too few counted, or when something that must happen never did.
"""

from __future__ import annotations

import pytest

from tests.sim.cases import Case, first_seed, known
from tests.sim.cluster import run_plan
from tests.sim.conftest import RecordRun
from tests.sim.runs import failure_lines

SEEDS = 232  # some do too little to count, or have one or two nodes; 200 must
LOT = 5


def lots() -> list[tuple[Case, ...]]:
    cases = [*known(), *(Case(first_seed() + at) for at in range(SEEDS))]
    return [tuple(cases[at : at + LOT]) for at in range(0, len(cases), LOT)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("cases", lots(), ids=lambda cases: cases[0].name)
def test_no_promise_is_broken(cases: tuple[Case, ...], record_run: RecordRun) -> None:
    """O1-O6, Q1, Q3-Q5, S1-S6 and L1 of DESIGN 4 over whole nodes under faults."""
    failures = []
    for case in cases:
        report = run_plan(case.plan(), title=case.title)
        record_run(report)
        if report.failure is not None:
            failures += failure_lines(report, case)
    assert not failures, "\n".join(failures)
