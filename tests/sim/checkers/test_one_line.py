"""Q5: one line of epochs. Right histories are taken, wrong ones found."""

from __future__ import annotations

from cfs.records import EpochKind, EpochRecord
from tests.sim.checkers import one_line
from tests.sim.histories import RINGS, VOTES, broken, history_of, ident
from tests.sim.history import (
    Durable,
)
from transport.ids import NO_RING


def test_an_epoch_of_a_minority_that_calls_itself_a_majoritys_is_caught() -> None:
    """Q5: by those who had the state on disk when it opened."""
    history = history_of()
    history.data_sets = {1: {tuple(VOTES.items())}}
    history.durable = [Durable(1.0, ident(1), 1, (1, 2), VOTES, RINGS[0])]
    history.epochs[RINGS[0]] = EpochRecord(RINGS[0], NO_RING, 1, 1, EpochKind.MAJORITY, 0, (1, 2))
    assert one_line.check(history) == 1
    history.epochs[RINGS[0]] = EpochRecord(RINGS[0], NO_RING, 1, 1, EpochKind.MAJORITY, 0, (1,))
    assert broken(one_line.check, history) == "Q5"
