"""A node that goes on from a past of its own, and one that is only told so (clusterd/past.py)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from clusterd.past import PATIENCE, Past, WentBack
from tests.clusterd.memory import Memory
from transport.ids import NodeId

ONE_EACH = {1: 1, 2: 1, 3: 1}


def went_back(memory: Memory, n: int) -> list[WentBack]:
    return [event for event in memory.hosts[n].events if isinstance(event, WentBack)]


def put_back(memory: Memory, n: int) -> None:
    """What this node gave out lately was never given out, as far as it knows."""
    for path in memory.hosts[n].node.endpoint.links._paths.values():
        path.memory.given -= 15


def lie(memory: Memory, liar: NodeId, victim: NodeId) -> None:
    """It tells of much more than it heard."""
    for (peer, _), path in memory.hosts[liar].node.endpoint.links._paths.items():
        if peer == victim:
            path.memory._their_top = 1_000_000


def verdicts(memory: Memory, nodes: Iterable[NodeId]) -> list[bool]:
    return [memory.hosts[n].node.quorate(memory.now) for n in nodes]


@pytest.mark.parametrize(
    ("votes", "needed", "tellers", "reached", "waited", "believed"),
    [
        (ONE_EACH, 2, {2, 3}, {2, 3}, 0.0, True),  # the others, all of them
        (ONE_EACH, 2, {2}, {2, 3}, 99.0, False),  # one of three that lies ends nobody
        (ONE_EACH, 2, {2}, {2}, PATIENCE / 2, False),  # the third may only be late
        (ONE_EACH, 2, {2}, {2}, PATIENCE, True),  # it is away: with the teller alone there could be a yes
        ({1: 1, 2: 1}, 2, {2}, {2}, 0.0, True),  # of two, either can deny the other its quorum
        ({1: 1, 2: 1}, 1, {2}, {2}, 0.0, False),  # two_node
        ({1: 1, 2: 1}, 1, {2}, {2}, PATIENCE, True),
        (dict.fromkeys(range(1, 6), 1), 3, {2, 3}, {2, 3, 4, 5}, 99.0, False),
        (dict.fromkeys(range(1, 6), 1), 3, {2, 3, 4}, {2, 3, 4, 5}, 0.0, True),
        ({1: 1, 2: 3, 3: 1}, 3, {2}, {2, 3}, 0.0, True),  # without it nobody is quorate at all
        (ONE_EACH, 2, {4}, {2, 3}, 99.0, False),  # not listed any more
    ],
)
def test_when_tellers_are_believed(
    votes: dict[NodeId, int], needed: int, tellers: set[NodeId], reached: set[NodeId], waited: float, believed: bool
) -> None:
    """As many as can deny this node its quorum, of all there are, or for a while of all it reaches."""
    past = Past(1)
    for teller in sorted(tellers):
        assert past.told(teller, 10.0) and not past.told(teller, 10.0)
    assert past.believes(votes, reached, lambda count: count >= needed, 10.0 + waited) is believed


def test_a_node_put_back_with_its_memory_ends_and_says_nothing_more() -> None:
    """Q4, X1: the others tell it within a few pings; they go on without it."""
    memory = Memory(3)
    memory.run(3.0)
    put_back(memory, 1)
    memory.cut = {(1, 2), (1, 3)}  # what it says was said before, and is dropped
    memory.run(0.8)
    assert went_back(memory, 1) == [WentBack((2, 3))]
    memory.run(2 * PATIENCE)  # nobody ended it: it is silent, and does not ask itself again
    assert went_back(memory, 1) == [WentBack((2, 3))]
    assert memory.hosts[1].node.poll_transmit(memory.now) is None
    memory.hosts[1].alive = False
    memory.run(2.0)
    assert verdicts(memory, (2, 3)) == [True, True]
    assert not went_back(memory, 2) and not went_back(memory, 3)


def test_one_member_that_lies_ends_nobody() -> None:
    """It tells both others that they went back: all go on, and stay quorate by each other."""
    memory = Memory(3)
    memory.run(3.0)
    for victim in (1, 3):
        lie(memory, 2, victim)
    memory.run(4 * PATIENCE)
    assert not went_back(memory, 1) and not went_back(memory, 3)
    assert memory.hosts[1].node.past.tellers == {2} == memory.hosts[3].node.past.tellers
    assert verdicts(memory, (1, 2, 3)) == [True, True, True]


def test_who_tells_answers_for_no_verdict() -> None:
    """What it answers was asked in a future of this node, or is a lie: a yes takes others."""
    memory = Memory(3)
    memory.run(3.0)
    lie(memory, 2, 1)
    memory.run(1.0)
    memory.cut = {(1, 3), (3, 1)}
    memory.run(0.6)
    assert verdicts(memory, (1,)) == [False]


def test_a_node_started_anew_is_told_nothing() -> None:
    """What others remember of the process before is not of this one."""
    memory = Memory(3)
    memory.run(3.0)
    memory.hosts[1].alive = False
    memory.run(2.0)
    memory.boot(1, ring_seq=10_000)
    memory.run(3.0)
    assert verdicts(memory, (1, 2, 3)) == [True, True, True]
    assert not memory.hosts[1].node.past.tellers
