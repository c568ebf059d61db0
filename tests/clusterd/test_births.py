"""What a node's disk says when it starts orders its processes (docs/protocol-security.md, HANDSHAKE_INIT)."""

from tests.clusterd.memory import Memory


def test_a_process_calls_with_higher_stamps_than_those_before() -> None:
    """Birth is the ring seq on disk at start; each process reserves more before anybody hears of it."""
    memory = Memory(2)
    memory.run(2.0)
    before = memory.hosts[1].node.endpoint.security._peering._stamp
    memory.kill(1)
    memory.boot(1, ring_seq=1024)
    after = memory.hosts[1].node.endpoint.security._peering._stamp
    assert 0 < before < 1 << 32 < after
    assert after >> 32 == 1024
