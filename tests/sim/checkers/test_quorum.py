"""The checkers of Q1, Q3 and Q4 accept histories that keep the promise and catch others."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.sim.checkers import quorum
from tests.sim.histories import RINGS, VOTES, broken, history_of
from tests.sim.history import Configured, Event, Heard, Told, Violation
from transport.events import ConfigurationChange
from transport.ids import RingId


@dataclass
class Verdict:
    """What the checkers read of a verdict."""

    quorate: bool
    ring_id: RingId
    members: tuple[int, ...]


def told(at: float, quorate: bool, ring: RingId, *members: int) -> Told:
    return Told(at, Verdict(quorate, ring, members))  # type: ignore[arg-type]  # the rest of it is not read


def configured(at: float, ring: RingId, *members: int) -> Configured:
    return Configured(at, ConfigurationChange(True, ring, members))


def test_a_quorate_minority_is_caught() -> None:
    """Q1: one component at most, so each has more than half of the votes."""
    history = history_of()
    history.processes[0].events = [told(1.0, True, RINGS[0], 1, 2), told(2.0, False, RINGS[1], 1)]
    quorum.check_one_component(history)
    history.processes[1].events = [told(2.0, True, RINGS[2], 2)]
    assert broken(quorum.check_one_component, history) == "Q1"
    history.votes_needed = 1  # two_node
    quorum.check_one_component(history)


def test_one_ring_has_one_membership() -> None:
    """Two nodes are told the same members of one ring."""
    history = history_of()
    history.processes[0].events = [told(1.0, True, RINGS[0], 1, 2)]
    history.processes[1].events = [told(1.0, True, RINGS[0], 1, 2, 3)]
    assert broken(quorum.check_one_component, history) == "Q1"


def test_a_verdict_stands_between_membership_and_messages() -> None:
    """Q3: not before the membership it is about, not after the first message."""
    history = history_of()
    events: list[Event] = [configured(1.0, RINGS[0], 1), told(1.1, True, RINGS[0], 1), Heard(1.2, "a change", RINGS[0])]
    history.processes[0].events = list(events)
    quorum.check_order(history)
    history.processes[0].events = [events[0], events[2], events[1]]
    assert broken(quorum.check_order, history) == "Q3"
    history.processes[0].events = [events[1], events[0]]
    assert broken(quorum.check_order, history) == "Q3"


Rings = dict[int, tuple[RingId, tuple[int, ...]]]


def leases(answers: dict[int, quorum.Answer], installed: Rings, exclusive: bool = True) -> quorum.Leases:
    return quorum.Leases(dict(VOTES), answers.get, installed.get, exclusive)


def test_two_components_that_say_quorate_at_once_are_caught() -> None:
    """Q4: a node that others went on without stops saying quorate before they begin."""
    answers = {
        1: quorum.Answer(True, RINGS[0], (1, 2, 3), 3, 2),
        2: quorum.Answer(True, RINGS[1], (2, 3), 2, 2),
        3: quorum.Answer(True, RINGS[0], (1, 2, 3), 3, 2),
    }
    judged = leases(answers, {})
    with pytest.raises(Violation, match="node 1 says quorate"):
        judged.check(1.0)
    answers[1].quorate = False
    judged.check(1.0)  # node 3 is still in the old ring, but in the new one's membership too


def test_a_yes_that_rests_on_those_who_went_on_is_caught() -> None:
    """Q4 under any option: who installed a ring without a node does not keep its verdict yes."""
    answers = {1: quorum.Answer(True, RINGS[0], (1, 2, 3), 3, 2)}
    installed: Rings = {1: (RINGS[0], (1, 2, 3)), 2: (RINGS[1], (2,)), 3: (RINGS[0], (1, 2, 3))}
    judged = leases(answers, installed, exclusive=False)
    judged.check(1.0)  # with node 3 it still has 2 of 3
    installed[3] = (RINGS[2], (3,))
    with pytest.raises(Violation, match="node 1 says quorate"):
        judged.check(1.0)
    answers[1].needed = 1  # two_node: it needs nobody, and the others may go on too
    judged.check(1.0)


def test_a_yes_by_a_special_rule_needs_every_member() -> None:
    """Q4: what a tie breaker decided holds while all members are heard."""
    answers = {1: quorum.Answer(True, RINGS[0], (1, 2), 2, 3)}
    installed: Rings = {1: (RINGS[0], (1, 2)), 2: (RINGS[0], (1, 2))}
    judged = leases(answers, installed, exclusive=False)
    judged.check(1.0)
    installed[2] = (RINGS[1], (2, 3))
    with pytest.raises(Violation, match="node 1 says quorate"):
        judged.check(1.0)


def test_votes_that_were_changed_count_as_they_are() -> None:
    """Q4 where the votes of nodes move: by what the verdict counted."""
    answers = {1: quorum.Answer(True, RINGS[0], (1, 2, 3), 5, 3, {1: 1, 2: 3, 3: 1})}
    installed: Rings = {1: (RINGS[0], (1, 2, 3)), 2: (RINGS[1], (2,)), 3: (RINGS[0], (1, 2, 3))}
    with pytest.raises(Violation, match="node 1 says quorate"):
        leases(answers, installed, exclusive=False).check(1.0)


def test_a_yes_at_the_moment_of_waking_is_caught() -> None:
    """Q4: a process that stood still for longer than a lease says no before anything else, also if nobody went on."""
    answers = {1: quorum.Answer(True, RINGS[0], (1, 2, 3), 3, 2, dict(VOTES))}
    judged = leases(answers, {}, exclusive=False)
    judged.woke(5.0, 1, 0.3, 0.48)
    with pytest.raises(Violation, match="when it wakes"):
        judged.woke(5.0, 1, 0.6, 0.48)
    answers[1].needed = 1  # it needs nobody
    judged.woke(5.0, 1, 0.6, 0.48)
    answers[1] = quorum.Answer(False, RINGS[0], (1, 2, 3), 3, 2, dict(VOTES))
    judged.woke(5.0, 1, 0.6, 0.48)
    assert judged.woken == 3
