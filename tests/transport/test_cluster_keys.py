"""Cluster keys in motion: rotation, a node that was away, a node that was removed."""

from __future__ import annotations

import pytest

from tests.transport.security_world import SECRET, Packet, World, address, identity
from transport.errors import BadArgument, Refused
from transport.handshake import HANDSHAKE_INIT, RING
from transport.keyring import Keyring
from transport.noise import public_key
from transport.security import ClusterKeyLearned, RemovedNotice, SessionUp
from transport.sender_keys import SenderKey

NEXT = b"the next cluster key, longer than 1024 bytes " * 60


def established(count: int = 3, **options: int) -> World:
    world = World(count=count, **options)  # type: ignore[arg-type]  # counts only
    world.run(0.5)
    for node, security in world.nodes.items():
        security.members(frozenset(world.nodes) - {node}, world.now)
    return world


def generations(world: World, node: int) -> list[int]:
    pairs = world.nodes[node]._peering.pairs.values()
    return [pair.current.generation for pair in pairs if pair.current is not None]


def listed(*nodes: int) -> dict[int, bytes]:
    return {node: public_key(identity(node)) for node in nodes}


def test_rotation_without_a_gap() -> None:
    """add on one: all learn it and say so; use on all: sessions go over to it; drop: the old one is retired. The ring
    and every session work at each step (DESIGN 6; knet.md section 8, the hole of the forebear)."""
    world = established()
    world.nodes[1].add_cluster_key(2, NEXT, world.now)
    assert world.nodes[1].holders(2) == frozenset()
    world.run(0.2)
    assert world.nodes[1].holders(2) == {2, 3}
    for node in (2, 3):
        learned = [e for e in world.events[node] if isinstance(e, ClusterKeyLearned)]
        assert learned == [ClusterKeyLearned(1, 2, False, NEXT)]
        assert generations(world, node) == [1, 1]
    for node in (2, 1, 3):
        if world.nodes[node]._keyring.current.generation != 2:
            world.nodes[node].use_cluster_key(2, world.now)
        world.run(1.0)
        assert world.connected(1, 2) and world.connected(2, 3) and world.ring_works(1, 3)
    assert generations(world, 1) == generations(world, 2) == generations(world, 3) == [2, 2]
    for node in (1, 2, 3):
        world.nodes[node].drop_cluster_key(1)
    world.run(200.0)
    assert world.connected(1, 2) and world.connected(2, 3) and world.ring_works(1, 3)
    assert generations(world, 1) == [2, 2]


@pytest.mark.parametrize("first", [1, 3])
def test_node_that_was_away_fetches_the_key(first: int) -> None:
    """It knows the old key alone: its session carries the new one and nothing else, then it calls under that."""
    world = established()
    away = world.nodes.pop(3)
    for node in (1, 2):
        world.nodes[node].add_cluster_key(2, NEXT, world.now)
        world.nodes[node].use_cluster_key(2, world.now)
        world.nodes[node].drop_cluster_key(1)
    world.run(200.0)
    del away
    world.start(3)
    ring = world.nodes[3]
    world.received[1].clear()
    world.ping(only=first)
    world.settle()
    assert not any(sender == 3 for sender, _, _ in world.received[1])
    world.run(1.0)
    assert ring._keyring.current.generation == 2 and ring._keyring.current.secret == NEXT
    assert world.connected(1, 3) and world.connected(2, 3) and world.ring_works(3, 1) and world.ring_works(1, 3)
    assert [e.in_use for e in world.events[3] if isinstance(e, ClusterKeyLearned)] == [True]
    assert [e for e in world.events[1] if isinstance(e, SessionUp) and e.peer == 3][-1].restarted


def test_old_key_opens_nothing_but_the_new_one() -> None:
    """Under a retired generation a listed node neither pings nor speaks on the ring."""
    world = World(count=2)
    ring = Keyring(2, NEXT)
    ring.retire(1, SECRET)
    world.start(1, ring)
    world.filter = lambda packet: [] if len(packet.data) > 500 else [packet]  # the key itself gets lost
    world.run(2.0)
    assert not world.nodes[1].has_session(2)
    assert world.nodes[1].seal_session(2, 0, b"\x01ping", world.now) is None
    assert world.nodes[1].dropped.refused > 0
    assert not world.received[1] and not world.ring_works(2, 1)


def test_a_call_answered_when_its_key_has_retired_is_followed_by_another() -> None:
    """Both have the current key by then: neither waits for the other to fetch it, until the session ends."""
    world = World()
    retired = Keyring(2, NEXT)
    retired.retire(1, SECRET)
    world.start(1, retired)
    held: list[Packet] = []
    world.filter = lambda packet: [] if packet.sender == 1 and held.append(packet) is None else [packet]
    world.ping(only=2)
    world.settle()
    world.nodes[2].add_cluster_key(2, NEXT, world.now)  # as from a third node
    world.nodes[2].use_cluster_key(2, world.now)
    world.nodes[2].drop_cluster_key(1)
    world.filter = lambda packet: [packet]
    assert held
    for packet in held:
        world.deliver(packet)
    world.settle()
    assert generations(world, 1) == generations(world, 2) == [1]
    world.run(2.0)
    assert generations(world, 1) == generations(world, 2) == [2]
    assert world.connected() and world.ring_works(1, 2) and world.ring_works(2, 1)


def test_forgotten_generation_is_silence() -> None:
    """A generation neither live nor retired: not answered."""
    world = World(count=2)
    world.start(1, Keyring(2, NEXT))
    world.run(1.0)
    assert not world.nodes[1].has_session(2) and world.nodes[1].dropped.not_authentic > 0
    assert {p.kind for p in world.seen} == {HANDSHAKE_INIT}


def test_never_in_a_ring_message_and_never_shown() -> None:
    """The secret travels sealed in sessions, and is in no log line and no repr of an event."""
    world = established()
    world.nodes[1].add_cluster_key(2, NEXT, world.now)
    world.run(0.5)
    assert not any(p.kind == RING for p in world.seen)
    assert not any(NEXT[:32] in p.data for p in world.seen)
    shown = repr(world.events) + "".join(line for log in world.logs.values() for line in log.lines)
    assert NEXT[:16].decode() not in shown and "generation 2" in shown


def test_lost_pieces_and_acks_are_repeated() -> None:
    """A key of three datagrams, most of them lost: repeated until acknowledged."""
    world = established(count=2)
    count = [0]

    def lose(packet: Packet) -> list[Packet]:
        count[0] += 1
        return [packet] if count[0] % 4 == 0 else []

    world.filter = lose
    world.nodes[1].add_cluster_key(2, NEXT, world.now)
    world.run(60.0, pings=False)
    assert world.nodes[2]._keyring.is_live(2)
    world.filter = lambda packet: [packet]
    world.run(3.0, pings=False)
    assert world.nodes[1].holders(2) == {2}


def test_what_a_rotation_refuses() -> None:
    """The keyring's refusals come through, and change nothing."""
    world = established(count=2)
    with pytest.raises(Refused):
        world.nodes[1].use_cluster_key(2, world.now)
    with pytest.raises(Refused):
        world.nodes[1].drop_cluster_key(1)
    assert world.connected()


def test_removed_node_is_out_at_once() -> None:
    """Its datagrams are nothing from the moment it is removed, its handshakes give no session (X2)."""
    world = established()
    ring, session = world.nodes[3].seal_ring(b"\x00", world.now), world.nodes[3].seal_session(1, 0, b"\x01", world.now)
    assert session is not None
    world.nodes[1].remove(3, 1_700_000_000, "root on alpha", world.now)
    for data in (ring, session):
        assert world.nodes[1].open(data, 0, address(3, 0), world.now) is None
    world.received[1].clear()
    world.run(10.0)
    assert not world.nodes[1].has_session(3)
    assert not any(sender == 3 for sender, _, _ in world.received[1])
    assert not world.ring_works(3, 1)


def test_removed_node_reads_nothing_more() -> None:
    """The others get a key it never saw, in fresh handshakes, and use it within the removal limit (DESIGN 6)."""
    world = established()
    for node in (1, 2):
        world.nodes[node].remove(3, 1_700_000_000, "root", world.now)
        world.nodes[node].members(frozenset({3 - node}), world.now)
    assert world.ring_works(1, 3)  # not confirmed by node 2 yet
    before = len(world.seen)
    world.run(1.0)
    assert any(p.kind == HANDSHAKE_INIT and {p.sender, p.receiver} == {1, 2} for p in world.seen[before:])
    for node in (1, 2):
        assert not world.ring_works(node, 3)
        assert world.ring_works(node, 3 - node)
    assert world.connected(1, 2)


def test_removed_node_speaks_for_nobody_else() -> None:
    """It holds the sender keys of all: once the others use new ones, nothing under the old ones is heard (X2)."""
    world = established()
    known = world.nodes[3]._exchange.peer_keys.of(1)[0]
    forged = SenderKey(known.key_id, known.key, fresh_after=0.0)
    forged.counter = 1 << 20
    for node in (1, 2):
        world.nodes[node].remove(3, 1_700_000_000, "root", world.now)
        world.nodes[node].members(frozenset({3 - node}), world.now)
    world.run(1.0)
    assert world.ring_works(1, 2) and world.ring_works(2, 1)
    assert world.nodes[2].open(forged.seal(b"\x00as node 1"), 0, address(1, 0), world.now) is None
    assert world.ring_works(1, 2)


def test_removed_node_is_told_once_in_a_while() -> None:
    """One bounded notice inside a session of its own, which informs and deletes nothing."""
    world = established()
    for node in (1, 2):
        world.nodes[node].remove(3, 1_700_000_000, "root on alpha" + "é" * 60, world.now)
    world.run(30.0)
    notices = [e for e in world.events[3] if isinstance(e, RemovedNotice)]
    assert 2 <= len(notices) <= 8
    assert {e.sender for e in notices} == {1, 2} and notices[0].date == 1_700_000_000
    assert notices[0].by.startswith("root on alphaé") and len(notices[0].by.encode()) <= 64
    assert set(world.nodes[3]._peering.pairs) == {1, 2}
    assert len(world.nodes[1]._peering.tombs[3].sessions()) <= 10


def test_removed_by_configuration_alone() -> None:
    """A nodelist without it has the same effect, only without the notice; listed again, it is back."""
    world = established()
    world.nodes[1].reconfigure(listed(2), world.now)
    assert world.nodes[1].seal_session(3, 0, b"\x01", world.now) is None
    world.run(2.0)
    assert not [e for e in world.events[3] if isinstance(e, RemovedNotice)]
    world.nodes[1].remove(2, 1, "root", world.now)
    world.nodes[1].reconfigure(listed(1, 2, 3), world.now)
    world.run(8.0)
    assert world.connected(1, 3) and world.connected(1, 2) and not world.nodes[1]._peering.tombs


def test_changed_identity_begins_anew() -> None:
    """Another public key for the same id: the sessions of the old one end."""
    world = established(count=2)
    world.nodes[1].reconfigure({2: public_key(identity(9))}, world.now)
    assert not world.nodes[1].has_session(2)
    world.run(1.0)
    assert not world.nodes[1].has_session(2)


@pytest.mark.parametrize("key", [b"", bytes(32), bytes(31), b"\x01" + bytes(31)])
def test_unusable_identity_is_refused_whole(key: bytes) -> None:
    """A nodelist with a bad key changes nothing."""
    world = established(count=2)
    with pytest.raises(BadArgument):
        world.nodes[1].reconfigure({2: public_key(identity(2)), 3: key}, world.now)
    assert world.connected()


def test_tombstones_are_bounded() -> None:
    """The last 64 removed nodes are remembered; a listed one cannot be buried."""
    world = World(count=2)
    for node in range(100, 200):
        world.nodes[1].bury(node, public_key(identity(node)), 1, "root")
    assert sorted(world.nodes[1]._peering.tombs) == list(range(136, 200))
    with pytest.raises(BadArgument):
        world.nodes[1].bury(2, public_key(identity(2)), 1, "root")
