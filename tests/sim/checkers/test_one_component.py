"""Q1: at most one component. Right histories are taken, wrong ones found."""

from __future__ import annotations

from tests.sim.checkers import one_component
from tests.sim.histories import RINGS, broken, history_of, told


def test_a_quorate_minority_is_caught() -> None:
    """Q1: one component at most, so each has more than half of the votes."""
    history = history_of()
    history.processes[0].events = [told(1.0, True, RINGS[0], 1, 2), told(2.0, False, RINGS[1], 1)]
    one_component.check(history)
    history.processes[1].events = [told(2.0, True, RINGS[2], 2)]
    assert broken(one_component.check, history) == "Q1"
    history.votes_needed = 1  # two_node
    one_component.check(history)


def test_one_ring_has_one_membership() -> None:
    """Two nodes are told the same members of one ring."""
    history = history_of()
    history.processes[0].events = [told(1.0, True, RINGS[0], 1, 2)]
    history.processes[1].events = [told(1.0, True, RINGS[0], 1, 2, 3)]
    assert broken(one_component.check, history) == "Q1"
