"""When a node tells what its ring ordered (clusterd/node.py, transport/endpoint.py)."""

from tests.clusterd.memory import Memory
from transport.groups import GroupMessage

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
            assert not endpoint.has_events
            endpoint.used()
            assert endpoint.poll_transmit(memory.now) is None
            assert not endpoint.has_events
