"""What a node must be told, once there is a way to it again (docs/protocol-security.md, SENDER_KEY)."""

from tests.clusterd.memory import DELAY, Memory


def test_a_sender_key_that_was_lost_on_the_way_is_told_as_soon_as_a_path_is_up() -> None:
    """It is repeated more and more seldom while nobody answers; with a path up nobody waits for the next time."""
    memory = Memory(2)
    memory.run(2.0)
    one, two = memory.hosts[1].node, memory.hosts[2].node
    key = one.endpoint.security._own.current.key_id
    pair = one.endpoint.security._peering.pairs[2]
    memory.cut = {(1, 2), (2, 1)}
    memory.run(4.0)
    pair.acked.clear()
    del two.endpoint.security._peer_keys[key]
    pair.attempts = 4  # it has been told in vain for a while
    one.endpoint.security._tell(pair, memory.now)
    memory.give(1, one.endpoint.used)
    assert not one.endpoint.security.told
    assert pair.retry_at is not None and pair.retry_at - memory.now == 2.0
    memory.cut.clear()
    while 2 not in one.endpoint.links.reachable():
        memory.run(0.01)
    memory.run(4 * DELAY)
    assert key in two.endpoint.security._peer_keys
    assert key in pair.acked
