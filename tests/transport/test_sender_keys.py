"""Sender keys: handed over, confirmed, renewed, forgotten."""

from __future__ import annotations

import random

import pytest

from tests.transport.security_world import Packet, World, address
from transport import sender_keys
from transport.handshake import SESSION
from transport.sender_keys import MAX_KEYS, OwnKeys, PeerKeys


def established(count: int = 2, **options: int) -> World:
    world = World(count=count, **options)  # type: ignore[arg-type]  # counts only
    world.run(0.5)
    reachable(world)
    return world


def reachable(world: World) -> None:
    for node, security in world.nodes.items():
        security.members(frozenset(world.nodes) - {node}, world.now)


def key_id(world: World, node: int) -> int:
    return int.from_bytes(world.nodes[node].seal_ring(b"\x00", world.now)[4:8], "big")


def test_sealed_once_for_all() -> None:
    """One datagram, opened by every peer; its header says sender and counter, nothing of receiver or link."""
    world = established(count=3, links=2)
    before = {node: world.nodes[node].dropped.duplicates for node in (2, 3)}
    data = world.multicast(1, b"\x00to all")
    world.settle()
    for node in (2, 3):
        assert [r for r in world.received[node] if r[1]] == [(1, True, b"\x00to all")]
        assert world.nodes[node].dropped.duplicates == before[node] + 1
    assert data[:4] == b"\x01\x05\x00\x00" and data[4:6] == b"\x00\x01"
    assert len(data) == len(b"\x00to all") + 32


def test_every_datagram_has_its_own_counter() -> None:
    """The same bytes sealed twice are two datagrams: a nonce is never used again."""
    world = established()
    first, second = (world.nodes[1].seal_ring(b"\x00same", world.now) for _ in range(2))
    assert int.from_bytes(second[8:16], "big") == int.from_bytes(first[8:16], "big") + 1
    assert first[16:] != second[16:]


def test_copies_and_what_is_too_old_are_told_apart() -> None:
    """Seen before: duplicate, whoever brings it. Below the window of 65,536: replayed (RFC 6479)."""
    world = established()
    sealed = [world.nodes[1].seal_ring(b"\x00", world.now) for _ in range(65_600)]
    for data in (sealed[0], sealed[0], sealed[-1], sealed[1], sealed[100], sealed[100]):
        world.nodes[2].open(data, 0, address(1, 0), world.now)
    assert world.nodes[2].dropped.duplicates == 2
    assert world.nodes[2].dropped.replayed == 1


def test_any_changed_byte_is_refused_and_moves_no_window() -> None:
    """A forged counter is looked up, fails to decrypt, and the true datagram still opens."""
    world = established()
    data = world.nodes[1].seal_ring(b"\x00payload", world.now)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x80
        assert world.nodes[2].open(bytes(changed), 0, address(1, 0), world.now) is None
    assert world.nodes[2].open(data, 0, address(1, 0), world.now) is not None


def test_latecomer_accepts_nothing_from_before() -> None:
    """The key comes with its counter as the floor: older datagrams, recorded, are refused (DESIGN 6)."""
    world = established(count=3)
    recorded = [world.multicast(1, b"\x00before") for _ in range(5)]
    world.settle()
    world.start(3)
    world.run(0.5)
    for data in recorded:
        assert world.nodes[3].open(data, 0, address(1, 0), world.now) is None
    assert world.nodes[3].dropped.replayed == 5
    assert world.ring_works(1, 3)


def test_resent_key_keeps_the_window() -> None:
    """A handover repeated (its ack was lost, or a new session) does not make old datagrams fresh again."""
    world = established()
    data = world.multicast(1, b"\x00once")
    world.settle()
    world.now += 125.0
    world.run(1.0)  # a new session: the key was handed over again
    assert world.nodes[2].open(data, 0, address(1, 0), world.now) is None
    assert world.nodes[2].dropped.unknown_sender == 0


def test_handover_is_repeated_until_acknowledged() -> None:
    """Lost handovers and lost acks: repeated at 0.25, 0.5, 1, 2, 2 s ... and then silence."""
    world = World()
    world.ping(only=1)
    world.settle()
    world.filter = lambda packet: [] if packet.kind == SESSION and len(packet.data) != 37 else [packet]
    world.nodes[1]._own.begin(world.now)
    reachable(world)
    world.nodes[1]._tell_all(world.now)
    sent_before = len(world.seen)
    world.run(6.0, pings=False)
    times = len([p for p in world.seen[sent_before:] if p.sender == 1 and len(p.data) == 45 + 32])
    assert times == 6
    world.filter = lambda packet: [packet]
    world.run(3.0, pings=False)
    quiet = len(world.seen)
    world.run(10.0, pings=False)
    assert len(world.seen) == quiet
    assert world.ring_works(1, 2)


def test_renewed_after_120_s_once_all_confirmed() -> None:
    """By time: a new key, used as soon as every reachable member acknowledged it; no datagram is lost over it."""
    world = established(count=3)
    before = key_id(world, 1)
    for step in range(125):
        world.run(1.0)
        world.multicast(1, b"\x00%d" % step)
    world.settle()
    assert key_id(world, 1) == (before & 0xFFFF0000) | ((before + 1) & 0xFFFF)
    for node in (2, 3):
        assert [p for _, ring, p in world.received[node] if ring] == [b"\x00%d" % step for step in range(125)]


def test_renewed_after_2_to_the_22_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    """By count: the packet that reaches the limit wakes the timer."""
    world = established()
    before = key_id(world, 1)
    world.nodes[1]._own.current.counter = sender_keys.RENEW_PACKETS
    world.nodes[1].seal_ring(b"\x00", world.now)
    assert world.nodes[1].next_timeout() == world.now
    world.run(0.1)
    assert key_id(world, 1) != before
    assert world.ring_works(1, 2)


def test_unconfirmed_key_waits_and_is_used_after_30_s() -> None:
    """A reachable member that cannot confirm delays the switch to 30 s after it was due, no longer."""
    world = established(count=3)
    before = key_id(world, 1)
    world.filter = lambda packet: [] if packet.receiver == 3 or packet.sender == 3 else [packet]
    world.run(149.0)
    assert key_id(world, 1) == before
    world.run(1.5)
    assert key_id(world, 1) != before
    assert world.ring_works(1, 2)


def test_member_that_is_gone_delays_nothing() -> None:
    """Only members count that are reachable: told anew, the switch follows."""
    world = established(count=3)
    before = key_id(world, 1)
    world.filter = lambda packet: [] if packet.receiver == 3 or packet.sender == 3 else [packet]
    world.run(121.0)
    assert key_id(world, 1) == before
    world.nodes[1].members(frozenset({2}), world.now)
    assert key_id(world, 1) != before


def test_key_before_is_kept_for_a_while() -> None:
    """What was sealed before the switch and comes after it still opens, for 10 s after the first new one."""
    world = established()
    late, too_late = (world.nodes[1].seal_ring(b"\x00late", world.now) for _ in range(2))
    world.run(121.0)
    assert world.ring_works(1, 2)
    assert world.nodes[2].open(late, 0, address(1, 0), world.now) is not None
    world.run(11.0)
    assert world.nodes[2].open(too_late, 0, address(1, 0), world.now) is None
    assert len(world.nodes[2]._peer_keys) == 1


def test_a_handover_held_back_brings_no_old_key_to_life() -> None:
    """X1: a SENDER_KEY that somebody on the way kept until its key was over would come with a fresh window, and all
    that was recorded under it would open again."""
    world = World()
    held: list[Packet] = []

    def hold(packet: Packet) -> list[Packet]:
        handover = packet.sender == 1 and packet.kind == SESSION and len(packet.data) == 77
        if handover and not held:
            held.append(packet)  # its repetition arrives
            return []
        return [packet]

    world.filter = hold
    world.run(1.0)
    reachable(world)
    recorded = world.multicast(1, b"\x00recorded")
    world.run(121.0)
    assert world.ring_works(1, 2)
    world.run(11.0)
    dropped = world.nodes[2].dropped.replayed
    world.deliver(held[0])
    assert world.nodes[2].open(recorded, 0, address(1, 0), world.now) is None
    assert world.nodes[2].dropped.replayed == dropped + 1
    assert world.ring_works(1, 2)


def test_unknown_key_is_never_answered() -> None:
    """A datagram under a key we do not have: counted; the sender's own repetition brings the key."""
    world = World()
    data = world.nodes[1].seal_ring(b"\x00", world.now)
    assert world.nodes[2].open(data, 0, address(1, 0), world.now) is None
    assert world.nodes[2].dropped.unknown_sender == 1
    assert world.nodes[2].poll_transmit(world.now) is None and world.nodes[2].poll_session() is None


def test_renew_starts_over_at_once() -> None:
    """A clock jump or a copied machine: the next datagram is under another key, every session is made anew, and
    nothing sealed or received before counts (DESIGN 6)."""
    world = established(count=3)
    before, old = key_id(world, 1), world.nodes[2].seal_ring(b"\x00old", world.now)
    world.nodes[1].renew(world.now)
    assert key_id(world, 1) != before
    assert world.nodes[1].seal_session(2, 0, b"\x01", world.now) is None
    assert world.nodes[1].open(old, 0, address(2, 0), world.now) is None
    world.run(1.0)
    assert all(world.ring_works(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b)
    assert world.connected(1, 3)


def test_two_steps_of_the_clock_cost_a_handshake_each() -> None:
    """A clock that is set and corrected must not cost a membership: the second handshake does not wait for the first
    one's interval (L3)."""
    world = established(count=3)
    for _ in range(3):
        world.nodes[1].renew(world.now)
        world.run(0.15)
        assert all(world.ring_works(1, other) and world.ring_works(other, 1) for other in (2, 3))


@pytest.mark.parametrize("seed", range(10))
def test_renewal_under_loss_loses_no_member(seed: int) -> None:
    """A third of all packets lost for five minutes: at every moment after the first second, what gets through opens."""
    rng = random.Random(seed)
    world = World(count=3, seed=seed)
    world.run(0.5)
    reachable(world)

    def lose(packet: Packet) -> list[Packet]:
        return [packet] if rng.random() > 0.33 else []

    world.filter = lose
    for _ in range(30):
        world.run(10.0)
        assert world.ring_works(1, 2) and world.ring_works(2, 3) and world.ring_works(3, 1)


def test_key_ids_name_their_sender() -> None:
    """A member cannot hand over a key in another's name, nor change one of its own, nor fill memory."""
    keys = PeerKeys()
    assert not keys.install(2, (3 << 16) | 1, bytes(32), 0, incarnation=7)
    assert keys.install(2, (2 << 16) | 1, bytes(32), 0, incarnation=7)
    assert keys.install(2, (2 << 16) | 1, bytes(32), 9, incarnation=7)
    assert not keys.install(2, (2 << 16) | 1, b"\x01" * 32, 0, incarnation=7)
    for number in (0x0000, 0x7000, 0xE000, 0x3000, 0xA000, 0xFFFF):  # numbers that run in a circle
        keys.install(2, (2 << 16) | number, bytes([number & 0xFF]) * 32, 0, incarnation=7)
    assert len(keys.of(2)) == MAX_KEYS
    assert keys.install(2, (2 << 16) | 1, b"\x02" * 32, 0, incarnation=8)
    assert [key.incarnation for key in keys.of(2)] == [8]


def test_oldest_key_goes_first() -> None:
    """Of more than four the one made first goes, over the wrap of the number."""
    keys = PeerKeys()
    for number in (0xFFFE, 0xFFFF, 0x0000, 0x0001, 0x0002):
        assert keys.install(2, (2 << 16) | number, bytes([number & 0xFF]) * 32, 0, incarnation=7)
    assert sorted(key.key_id & 0xFFFF for key in keys.of(2)) == [0x0000, 0x0001, 0x0002, 0xFFFF]


def test_two_nodes_never_share_a_key_id() -> None:
    """The node id is in the key id: no draw of random numbers can make two senders collide."""
    ids = {OwnKeys(node, lambda size: bytes(size), 0.0).current.key_id for node in range(1, 65)}
    assert len(ids) == 64
