"""Q4: a lease ends before others go on. What is answered at one moment, right and wrong."""

from __future__ import annotations

import pytest

from tests.sim.checkers import leases
from tests.sim.histories import RINGS, VOTES
from tests.sim.history import Violation
from transport.ids import RingId

Rings = dict[int, tuple[RingId, tuple[int, ...]]]


def judge(answers: dict[int, leases.Answer], installed: Rings, exclusive: bool = True) -> leases.Leases:
    return leases.Leases(dict(VOTES), answers.get, installed.get, exclusive)


def test_two_components_that_say_quorate_at_once_are_caught() -> None:
    """Q4: a node that others went on without stops saying quorate before they begin."""
    answers = {
        1: leases.Answer(True, RINGS[0], (1, 2, 3), 3, 2),
        2: leases.Answer(True, RINGS[1], (2, 3), 2, 2),
        3: leases.Answer(True, RINGS[0], (1, 2, 3), 3, 2),
    }
    judged = judge(answers, {})
    with pytest.raises(Violation, match="node 1 says quorate"):
        judged.check(1.0)
    answers[1].quorate = False
    judged.check(1.0)  # node 3 is still in the old ring, but in the new one's membership too


def test_a_yes_that_rests_on_those_who_went_on_is_caught() -> None:
    """Q4 under any option: who installed a ring without a node does not keep its verdict yes."""
    answers = {1: leases.Answer(True, RINGS[0], (1, 2, 3), 3, 2)}
    installed: Rings = {1: (RINGS[0], (1, 2, 3)), 2: (RINGS[1], (2,)), 3: (RINGS[0], (1, 2, 3))}
    judged = judge(answers, installed, exclusive=False)
    judged.check(1.0)  # with node 3 it still has 2 of 3
    installed[3] = (RINGS[2], (3,))
    with pytest.raises(Violation, match="node 1 says quorate"):
        judged.check(1.0)
    answers[1].needed = 1  # two_node: it needs nobody, and the others may go on too
    judged.check(1.0)


def test_a_yes_by_a_special_rule_needs_every_member() -> None:
    """Q4: what a tie breaker decided holds while all members are heard."""
    answers = {1: leases.Answer(True, RINGS[0], (1, 2), 2, 3)}
    installed: Rings = {1: (RINGS[0], (1, 2)), 2: (RINGS[0], (1, 2))}
    judged = judge(answers, installed, exclusive=False)
    judged.check(1.0)
    installed[2] = (RINGS[1], (2, 3))
    with pytest.raises(Violation, match="node 1 says quorate"):
        judged.check(1.0)


def test_votes_that_were_changed_count_as_they_are() -> None:
    """Q4 where the votes of nodes move: by what the verdict counted."""
    answers = {1: leases.Answer(True, RINGS[0], (1, 2, 3), 5, 3, {1: 1, 2: 3, 3: 1})}
    installed: Rings = {1: (RINGS[0], (1, 2, 3)), 2: (RINGS[1], (2,)), 3: (RINGS[0], (1, 2, 3))}
    with pytest.raises(Violation, match="node 1 says quorate"):
        judge(answers, installed, exclusive=False).check(1.0)


def test_a_yes_at_the_moment_of_waking_is_caught() -> None:
    """Q4: a process that stood still for longer than a lease says no before anything else, also if nobody went on."""
    answers = {1: leases.Answer(True, RINGS[0], (1, 2, 3), 3, 2, dict(VOTES))}
    judged = judge(answers, {}, exclusive=False)
    judged.woke(5.0, 1, 0.3, 0.48)
    with pytest.raises(Violation, match="when it wakes"):
        judged.woke(5.0, 1, 0.6, 0.48)
    answers[1].needed = 1  # it needs nobody
    judged.woke(5.0, 1, 0.6, 0.48)
    answers[1] = leases.Answer(False, RINGS[0], (1, 2, 3), 3, 2, dict(VOTES))
    judged.woke(5.0, 1, 0.6, 0.48)
    assert judged.woken == 3
