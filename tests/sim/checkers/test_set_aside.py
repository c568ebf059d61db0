"""S5: nothing is thrown away. Right histories are taken, wrong ones found."""

from __future__ import annotations

from tests.sim.checkers import set_aside
from tests.sim.histories import RINGS, broken, call, history_of, ident, stores
from tests.sim.history import (
    UNKNOWN,
    Applied,
)


def test_what_vanished_from_a_log_is_caught() -> None:
    """S5: also a write that nobody acknowledged is set aside before a merge discards it."""
    history = history_of(call(1, "put", 0.0, 1.0, UNKNOWN))
    history.final = stores({})
    set_aside.check_nothing_is_thrown_away(history)
    history.logged = frozenset([ident(1)])
    assert broken(set_aside.check_nothing_is_thrown_away, history) == "S5"
    history.disk_losses = [(2.0, 1)]
    set_aside.check_nothing_is_thrown_away(history)
    history.disk_losses = []
    history.final[1].discarded = frozenset([ident(1)])
    set_aside.check_nothing_is_thrown_away(history)


def test_what_was_in_a_tree_is_set_aside_if_it_goes() -> None:
    """S5: also where nobody was told that it was done."""
    history = history_of()
    history.applied = [Applied(2.0, 3, ident(1), RINGS[0], 7, (5,))]
    history.final = stores({ident(1): ("OK", 5)})
    assert set_aside.check_set_aside(history) == 0
    history.final = stores({})
    assert broken(set_aside.check_set_aside, history) == "S5"
    history.disk_losses = [(1.0, 3)]  # before: that disk had it all the same
    assert broken(set_aside.check_set_aside, history) == "S5"
    history.disk_losses = [(3.0, 3)]
    assert set_aside.check_set_aside(history) == 1
    history.disk_losses = []
    history.final[1].discarded = frozenset({ident(1)})
    assert set_aside.check_set_aside(history) == 1
