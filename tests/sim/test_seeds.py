"""The simulator over its seeds: every seed that ever failed, then a range that is the same in every run.

The seeds are cut into small lots so that two workers share them evenly; conftest.py sums up and fails the session when
too few counted, or when something that must happen never did.
"""

from __future__ import annotations

import pytest

from tests.sim.cluster import run_seed
from tests.sim.conftest import RecordRun
from tests.sim.runs import FIRST, failure_lines, known_seeds

SEEDS = 232  # some do too little to count, or have one or two nodes; 200 must
LOT = 5


def lots() -> list[tuple[int, ...]]:
    seeds = [*known_seeds(), *range(FIRST, FIRST + SEEDS)]
    return [tuple(seeds[at : at + LOT]) for at in range(0, len(seeds), LOT)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seeds", lots(), ids=lambda seeds: f"{seeds[0]:06x}")
def test_no_promise_is_broken(seeds: tuple[int, ...], record_run: RecordRun) -> None:
    """O1-O6, Q1, Q3-Q5, S1-S6 and L1 of DESIGN 4 over whole nodes under faults."""
    failures = []
    for seed in seeds:
        report = run_seed(seed)
        record_run(report)
        if report.failure is not None:
            failures += failure_lines(report)
    assert not failures, "\n".join(failures)
