"""Seeded runs under faults, judged by the EVS checker; many more by `python -m tests.transport.totem.chaos`."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.transport.totem.chaos import run

# Every seed that ever failed, with what it found; then new ground.
FAILED = {
    4: "a clique of one formed a ring in the middle of a gather step",
    6055: "a late join brought a dead incarnation back for good",
    6147: "the same",
}


@pytest.mark.parametrize("seed", [*FAILED, 1005, 3003, 5001])
def test_seed(seed: int) -> None:
    """E1 to E15, leases against exclusions, and a ring of all in the end."""
    run(seed, seconds=8.0)


def test_the_runs_exercise_what_they_are_for() -> None:
    """A checker that saw no recovery and no merge has shown nothing."""
    totals: Counter[str] = Counter()
    for seed in range(2001, 2007):
        totals += run(seed, seconds=8.0)[1]
    for what in ("gathers", "merges", "tokens lost", "recoveries with messages", "waits to exclude", "beats"):
        assert totals[what] > 0, f"{what}: {dict(totals)}"
