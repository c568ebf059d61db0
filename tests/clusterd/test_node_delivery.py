"""When a node tells what its ring ordered (clusterd/node.py, transport/endpoint.py)."""

from quorum.events import Verdict
from tests.clusterd.memory import Memory
from transport.events import ConfigurationChange
from transport.groups import GroupChange, GroupMessage

GROUP = b"g"


def test_what_a_resting_token_orders_is_delivered_in_the_same_turn() -> None:
    """What is sent from a resting token is in order at once: delivered here now, not with the next packet."""
    memory = Memory(3)
    memory.run(2.0)
    node = memory.hosts[1].node
    node.groups.join(GROUP, 1)
    node.pump(memory.now)
    memory.settle(1)
    memory.run(1.0)
    for count in range(4):  # the first ones bring the token here
        node.groups.mcast(GROUP, 1, b"%d" % count)
        node.pump(memory.now)
        memory.settle(1)
        if count < 3:
            memory.run(0.0015)
    assert node.endpoint.srp.stats.rests > 0
    got = [event.payload for event in memory.hosts[1].events if isinstance(event, GroupMessage)]
    assert got == [b"0", b"1", b"2", b"3"]


def test_a_silent_endpoint_has_nothing_left_to_say() -> None:
    """All parts said all they had to say, and nothing was put in since."""
    memory = Memory(3)
    for _ in range(400):
        memory.run(0.005)
        for host in memory.hosts.values():
            endpoint = host.node.endpoint
            assert endpoint.poll_transmit(memory.now) is None
            assert not endpoint.events
            endpoint.used()
            assert endpoint.poll_transmit(memory.now) is None
            assert not endpoint.events


def test_alone_in_a_ring_an_answer_to_an_answer_is_delivered_in_the_same_turn() -> None:
    """There is nobody to send to, so nothing but what was ordered shows that there is more to do."""
    memory = Memory(1)
    memory.run(2.0)
    node = memory.hosts[1].node
    node.groups.join(GROUP, 1)
    node.pump(memory.now)
    memory.settle(1)
    answers = iter(range(5))
    deliver = node.groups.deliver

    def deliver_and_answer(sender: int, payload: bytes) -> None:
        deliver(sender, payload)
        if (number := next(answers, None)) is not None:
            node.groups.mcast(GROUP, 1, b"%d" % number)

    node.groups.deliver = deliver_and_answer  # type: ignore[method-assign]
    node.groups.mcast(GROUP, 1, b"first")
    node.pump(memory.now)
    assert node.poll_transmit(memory.now) is None  # a driver's turn: all there is to send, then the events
    got = []
    while (event := node.next_event()) is not None:
        got += [event.payload] if isinstance(event, GroupMessage) else []
    assert got == [b"first", b"0", b"1", b"2", b"3", b"4"]
    assert not node.endpoint.events


def joined(memory: Memory, *nodes: int) -> None:
    for n in nodes:
        node = memory.hosts[n].node
        node.groups.join(GROUP, n)
        memory.give(n, lambda node=node: node.pump(memory.now))  # type: ignore[misc]
        memory.run(0.2)


def test_groups_learn_who_left_before_the_verdict_is_told() -> None:
    """In the order of the reference's services: groups first, then quorum."""
    memory = Memory(3)
    memory.run(2.0)
    joined(memory, 1, 3)
    events = memory.hosts[1].events
    events.clear()
    memory.kill(3)
    memory.run(3.0)
    kinds = [type(event) for event in events if isinstance(event, ConfigurationChange | GroupChange | Verdict)]
    assert kinds == [ConfigurationChange, GroupChange, Verdict]


def test_what_a_ring_held_back_is_told_before_the_next_configuration() -> None:
    """O5: configuration changes stand in order among messages, also those that waited for a barrier never passed."""
    memory = Memory(2)
    memory.run(2.0)
    joined(memory, 1)
    node = memory.hosts[1].node
    node.sync.done = False  # as if the barrier of this ring were still to be passed
    node.groups.mcast(GROUP, 1, b"held")
    memory.give(1, lambda: node.pump(memory.now))
    memory.run(0.2)
    assert not [event for event in memory.hosts[1].events if isinstance(event, GroupMessage)]
    events = memory.hosts[1].events
    events.clear()
    memory.kill(2)
    memory.run(3.0)
    kinds = [type(event) for event in events if isinstance(event, ConfigurationChange | GroupMessage)]
    assert kinds == [GroupMessage, ConfigurationChange]


def test_a_verdict_on_a_ring_is_told_before_the_next_configuration() -> None:
    """Q3: a word that revives the lease may come with the very packet that ends the ring."""
    memory = Memory(3)
    memory.run(5.0)
    node, events = memory.hosts[1].node, memory.hosts[1].events
    (last,) = [event for event in events if isinstance(event, Verdict)][-1:]
    next_event = node.endpoint.next_event

    def with_a_late_word() -> object:
        event = next_event()
        if isinstance(event, ConfigurationChange) and not event.regular:
            node.votequorum.events.append(last)
        return event

    node.endpoint.next_event = with_a_late_word  # type: ignore[assignment, method-assign]
    events.clear()
    memory.kill(3)
    memory.run(3.0)
    told = [event for event in events if isinstance(event, ConfigurationChange | Verdict)]
    assert [type(event) for event in told] == [Verdict, ConfigurationChange, Verdict]
    assert told[0] is last and told[1].ring_id == told[2].ring_id


def test_who_has_said_goodbye_is_not_quorate() -> None:
    """Q4: the others go on without it at once and do not wait for its lease to end, so the verdict ends before."""
    memory = Memory(3)
    memory.run(5.0)
    host = memory.hosts[1]
    assert host.node.quorate(memory.now)
    memory.give(1, lambda: host.node.leave(memory.now))
    assert host.node.left and not host.node.quorate(memory.now)
    assert host.node.votequorum.lease_left(memory.now) == 0.0
    (last,) = [event for event in host.events if isinstance(event, Verdict)][-1:]
    assert not last.quorate and last.reason == "this node has left the cluster"
    memory.run(0.1)
    assert memory.hosts[2].node.endpoint.srp.members == (2, 3)
    assert not host.node.quorate(memory.now)
