"""What must happen over many runs is asked for when it can be no chance that it did not, and not before."""

from __future__ import annotations

from tests.sim.asked import LEAST, SHARES, asked_from, is_asked
from tests.sim.effects import EFFECTS
from tests.sim.report import JUDGED, PROMISES, TOTALS, Report
from tests.sim.runs import Sums

OFTEN = 0.1  # of the seeds, at least: what is not in SHARES


def test_chance_alone_fails_no_session() -> None:
    """However many seeds are run: that anything asked for is missing happens less than once in ten thousand."""
    names = (*EFFECTS, *PROMISES, *TOTALS)
    assert set(SHARES) <= set(names)
    for runs in sorted({LEAST, *map(asked_from, SHARES)}):
        assert sum((1 - SHARES.get(name, OFTEN)) ** runs for name in names if is_asked(name, runs)) < 1e-4


def test_what_no_run_judged_fails_the_session_once_enough_seeds_were_run() -> None:
    """A promise that few seeds come to is asked for later than one that all do."""

    def problems(runs: int, *without: str) -> list[str]:
        counts = {JUDGED + name: 1.0 for name in PROMISES} | dict.fromkeys(TOTALS, 1.0)
        counts |= {f"fault: {name}": 1.0 for name in EFFECTS}
        counts |= dict.fromkeys(without, 0.0)
        sums = Sums()
        for seed in range(runs):
            sums.add(Report(seed, 1, counts=counts))
        return sums.problems()

    assert problems(LEAST - 1, JUDGED + "S1", JUDGED + "S5") == []
    assert problems(LEAST, JUDGED + "S1", JUDGED + "S5") == ["S1 was judged in no run"]
    assert problems(asked_from("S5"), JUDGED + "S5", "removals") == ["no run had removals", "S5 was judged in no run"]


def test_stored_plans_have_no_chance() -> None:
    """They always do the same, so they are not among the seeds of which something is asked."""
    sums = Sums()
    for number in range(LEAST):
        sums.add(Report(number, 1, title=f"plan {number}"))
    assert sums.problems() == []
