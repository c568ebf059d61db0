"""The checker of Q2 accepts what votequorum's rules say, and catches a node that counts, says or believes otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quorum import electorate, lease
from quorum.electorate import Electorate
from quorum.events import SavedState
from quorum.messages import NodeInfo, SetExpected, encode
from quorum.options import QuorumOptions
from quorum.votequorum import Votequorum
from tests.sim.checkers.verdicts import Follower, Verdicts
from tests.sim.history import Violation
from transport.core import SilentLog
from transport.ids import NodeId, RingId


class Nodes:
    """Followed services in rings that the test chooses; everybody is heard at the moment a ring begins."""

    def __init__(self, count: int, **options: Any) -> None:
        self.now = 0.0
        self.judge = Verdicts(lambda: self.now, alike=True)
        chosen = QuorumOptions(votes=dict.fromkeys(range(1, count + 1), 1), **options)
        self.services: dict[NodeId, Votequorum] = {}
        self.followers: dict[NodeId, Follower] = {}
        for node in chosen.votes:
            service = Votequorum(node, chosen, SavedState(), lambda n: f"n{n}", SilentLog())
            self.followers[node] = self.judge.follow(node, service, chosen, SavedState())
            self.services[node] = service
        self._seq = 0

    def ring(self, *members: NodeId) -> None:
        self._seq += 4
        for node in members:
            self.services[node].sync_init(members, RingId(self._seq, members[0], 1), members, self.now)
            for peer in members:
                self.services[node].beat((peer,), self.now, self.now)
        states = {node: self.services[node].sync_state() for node in members}
        for node in members:
            self.services[node].sync_activate(states, self.now)
            self.drain(node)

    def drain(self, node: NodeId) -> None:
        while self.services[node].next_event() is not None:
            pass


def caught(promise: str) -> Any:
    return pytest.raises(Violation, match=f"^{promise}: ")


def test_what_the_rules_say_is_accepted() -> None:
    """Rings that form and fall apart, an operator's word, a lease that ends and comes back."""
    nodes = Nodes(4)
    nodes.ring(1, 2, 3, 4)
    nodes.ring(1, 2, 3)
    nodes.ring(4)
    nodes.services[1].set_expected(3)
    nodes.drain(1)
    for node in (1, 2, 3):
        nodes.services[node].receive(1, encode(SetExpected(3)), 0.1)
        nodes.drain(node)
    nodes.now = 0.6
    nodes.services[2].handle_timeout(0.6)
    nodes.drain(2)
    for peer in (1, 3):
        nodes.services[2].beat((peer,), 0.6, 0.6)
    nodes.drain(2)
    assert nodes.services[2].quorate(0.6)
    assert nodes.judge.judged > 20
    assert nodes.judge.barriers == 5


def test_a_threshold_that_is_too_low_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 3: more than half of what is expected."""
    nodes = Nodes(3)
    monkeypatch.setattr(electorate, "threshold", lambda *_, **__: 1)
    with caught("Q2"):
        nodes.ring(1)


def test_a_half_that_should_break_the_tie_and_does_not_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 4.5: a no where the rules say yes is wrong too."""
    nodes = Nodes(4, auto_tie_breaker="lowest")
    nodes.ring(1, 2, 3, 4)
    monkeypatch.setattr(Electorate, "_is_tie", lambda _: False)
    with caught("Q2"):
        nodes.ring(1, 2)


def test_a_node_that_says_of_itself_what_is_not_so_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its word is what the others count by."""
    nodes = Nodes(3)
    honest = Electorate.node_info

    def more_votes(self: Electorate, leaving: bool = False) -> NodeInfo:
        info = honest(self, leaving)
        return replace(info, votes=info.votes + 1)

    monkeypatch.setattr(Electorate, "node_info", more_votes)
    with caught("Q2"):
        nodes.ring(1, 2)


def test_a_yes_beyond_its_lease_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q4: 0.8 of T_excl after the members were heard, by default 0.48 s."""
    nodes = Nodes(3)
    nodes.ring(1, 2, 3)
    monkeypatch.setattr(lease, "SHARE", 1.0)
    nodes.services[1].handle_timeout(0.45)
    with caught("Q4"):
        nodes.services[1].handle_timeout(0.5)


def test_a_yes_of_the_ring_before_does_not_outlive_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q4, while the barrier is not passed."""
    nodes = Nodes(3)
    nodes.ring(1, 2, 3)
    monkeypatch.setattr(lease, "SHARE", 1.0)
    nodes.services[1].sync_init((1, 2), RingId(8, 1, 1), (1, 2), 0.45)
    nodes.services[1].handle_timeout(0.47)
    with caught("Q4"):
        nodes.services[1].handle_timeout(0.5)


def test_members_that_were_given_different_words_are_caught() -> None:
    """Q3: all activate at one place of the order, with the same words of everybody."""
    nodes = Nodes(2)
    ring = RingId(4, 1, 1)
    for node in (1, 2):
        nodes.services[node].sync_init((1, 2), ring, (1, 2), 0.0)
    states = {node: nodes.services[node].sync_state() for node in (1, 2)}
    nodes.services[1].sync_activate(states, 0.0)
    with caught("Q3"):
        nodes.services[2].sync_activate({1: states[1]}, 0.0)


def test_members_that_count_differently_are_caught() -> None:
    """Q3: without options that let a node's own past decide, all have the same numbers."""
    nodes = Nodes(3)
    nodes.judge.counted(1, RingId(4, 1, 1), (3, 3, 2, 2, True))
    nodes.judge.counted(2, RingId(4, 1, 1), (3, 3, 2, 2, True))
    with caught("Q3"):
        nodes.judge.counted(3, RingId(4, 1, 1), (3, 3, 2, 2, False))


def test_a_window_that_is_not_noticed_is_caught() -> None:
    """Section 4.4: the timer of last_man_standing is over before anything that comes later."""
    nodes = Nodes(5, last_man_standing=True, last_man_standing_window=1.0)
    nodes.ring(1, 2, 3, 4, 5)
    nodes.ring(1, 2, 3)
    with caught("Q2"):
        nodes.services[1].receive(2, encode(SetExpected(5)), 2.0)
