"""The checker of watch streams accepts whole ones and catches gaps, repeats and two tales of one revision."""

from __future__ import annotations

import pytest

from cfs.messages import Change
from tests.sim.checkers import watches
from tests.sim.histories import RINGS, broken, call, history_of
from tests.sim.history import ACKED, Violation, Watched


def begins(revision: int, node: int = 1) -> Watched:
    return Watched(1.0, node, revision, None, RINGS[0])


def told(revision: int, path: str = "k", op: str = "put", node: int = 1) -> Watched:
    return Watched(1.0, node, revision, Change(revision, op, path, None, 1, 0), RINGS[0])


def test_every_change_once_and_in_order() -> None:
    """A watcher may go on at another node, and begin anew where it is told so."""
    history = history_of()
    history.watches = [[begins(3), told(4), told(5, node=2), begins(9), told(10)], [begins(0)]]
    assert watches.check(history) == 3


def test_a_gap_is_caught() -> None:
    """Nothing between two revisions may be missed."""
    history = history_of()
    history.watches = [[begins(3), told(4), told(6)]]
    assert broken(watches.check, history) == "watch"


def test_a_repeat_is_caught() -> None:
    """Nothing is told twice, at whichever node the watcher goes on."""
    history = history_of()
    history.watches = [[begins(3), told(4), told(4, node=2)]]
    assert broken(watches.check, history) == "watch"


def test_two_tales_of_one_revision_are_caught() -> None:
    """All watchers are told the same."""
    history = history_of()
    history.watches = [[begins(3), told(4)], [begins(3), told(4, path="other", node=2)]]
    assert broken(watches.check, history) == "watch"


def test_a_change_that_nobody_made_is_caught() -> None:
    """What an acknowledged write did is what its revision is told as."""
    history = history_of(call(1, "put", 0.0, 1.0, ACKED, b"a", 4))
    history.watches = [[begins(3), told(4)]]
    assert watches.check(history) == 1
    history.watches = [[begins(3), told(4, op="rm")]]
    assert broken(watches.check, history) == "watch"


def test_a_watcher_that_is_behind_in_the_end_is_caught() -> None:
    """What was never told is a gap too."""
    watches.check_end(9.0, 1, 12, 12)
    with pytest.raises(Violation, match="told up to revision 11"):
        watches.check_end(9.0, 1, 11, 12)
