"""Q1 with votes that change: by the configuration in force. Right logs are taken, wrong ones found."""

from __future__ import annotations

from tests.sim.checkers import one_component
from tests.sim.logs import FIRST, RINGS, broken, history_of, log_of, runs, text, told


def test_a_quorate_minority_of_the_configuration_in_force_is_caught() -> None:
    """Q1 with votes that change: more than half of those of the configuration that its members run."""
    log = log_of(runs(1, 1, FIRST), runs(1, 2, text(2, 1, 2, 3, 4, 5), 2.0))
    one_component.check_votes(log, history_of(told(RINGS[0], 1.5, 1, 2), told(RINGS[1], 3.0, 1, 2, 3)))
    assert broken(one_component.check_votes, log, history_of(told(RINGS[1], 3.0, 1, 2))) == "Q1"


def test_one_new_node_need_not_be_counted_before_it_joins() -> None:
    """Q2: expected votes rise when an added node first joins, not when its name is written."""
    log = log_of(runs(1, 1, FIRST), runs(1, 2, text(2, 1, 2, 3, 4), 1.2), runs(1, 3, text(3, 1, 2, 3, 4), 1.3))
    one_component.check_votes(log, history_of(told(RINGS[1], 3.0, 1, 2)))


def test_quorate_rings_without_a_common_member_are_caught() -> None:
    """Q1: a quorate ring shares a member with the one before it, whatever the votes became."""
    log = log_of(runs(1, 1, text(1, 1, 2)), runs(1, 2, text(2, 3, 4), 2.0))
    history = history_of(told(RINGS[0], 1.5, 1, 2), told(RINGS[1], 3.0, 3, 4))
    assert broken(one_component.check_votes, log, history) == "Q1"
