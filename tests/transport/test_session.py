"""Pairwise sessions: made, replaced, lost, replayed, crossed."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.transport.security_world import Packet, World, address, identity
from transport.handshake import (
    COOKIE,
    COOKIE_SIZE,
    HANDSHAKE_INIT,
    HANDSHAKE_RESPONSE,
    INIT_SIZE,
    RESPONSE_SIZE,
    SESSION,
)
from transport.keyring import Keyring
from transport.noise import public_key
from transport.security import SessionUp


def dropped(world: World, node: int) -> dict[str, int]:
    counters = world.nodes[node].dropped
    return {name: getattr(counters, name) for name in counters.__dataclass_fields__ if getattr(counters, name)}


@pytest.mark.parametrize("caller", [1, 2])
def test_two_messages_make_a_session_both_ways(caller: int) -> None:
    """Init, response, and the caller's first packet: then both sides seal and open (DESIGN 6)."""
    world = World()
    world.ping(only=caller)
    world.settle()
    assert [p.kind for p in world.seen[:3]] == [HANDSHAKE_INIT, HANDSHAKE_RESPONSE, SESSION]
    assert world.connected() and world.ring_works(1, 2) and world.ring_works(2, 1)
    assert all(world.nodes[n].has_session(3 - n) for n in (1, 2))
    assert world.events == {1: [SessionUp(2, False)], 2: [SessionUp(1, False)]}
    assert dropped(world, 1) == dropped(world, 2) == {}


def test_answers_are_never_larger_than_what_they_answer() -> None:
    """Nothing unauthentic is answered with more bytes than it had (DESIGN 6)."""
    world = World()
    world.ping(only=1)
    world.settle()
    sizes = {p.kind: len(p.data) for p in world.seen}
    assert sizes[HANDSHAKE_INIT] == INIT_SIZE and sizes[HANDSHAKE_RESPONSE] == RESPONSE_SIZE
    assert INIT_SIZE >= RESPONSE_SIZE and INIT_SIZE >= COOKIE_SIZE


def test_both_call_at_once() -> None:
    """Both ends go by the session of the lower id, and no further handshake follows."""
    world = World()
    world.ping()
    world.settle()
    assert world.connected()
    world.run(3.0)
    assert sum(p.kind == HANDSHAKE_INIT for p in world.seen) == 2
    currents = [world.nodes[n]._peering.pairs[3 - n].current for n in (1, 2)]
    assert [s is not None and s.initiator for s in currents] == [True, False]


@pytest.mark.parametrize("seed", range(40))
def test_any_order_and_loss_ends_in_one_session(seed: int) -> None:
    """Both call on three links, a third of all is lost, the rest comes late and out of order: within 3 s both send
    under keys the other opens, and then stay with one session."""
    rng = random.Random(seed)
    held: list[Packet] = []

    def shuffle(packet: Packet) -> list[Packet]:
        if rng.random() < 0.33:
            return []
        held.append(packet)
        rng.shuffle(held)
        return [held.pop() for _ in range(rng.randrange(len(held) + 1))]

    world = World(links=3, seed=seed, filter=shuffle)
    world.run(2.0)
    world.filter = lambda packet: [packet]
    world.wire += held
    world.run(2.0)
    assert world.connected() and world.ring_works(1, 2) and world.ring_works(2, 1)
    before = sum(p.kind == HANDSHAKE_INIT for p in world.seen)
    world.run(6.0)
    assert world.connected()
    assert sum(p.kind == HANDSHAKE_INIT for p in world.seen) == before


@pytest.mark.parametrize("lost", list(itertools.product([HANDSHAKE_INIT, HANDSHAKE_RESPONSE, SESSION], [1, 2, 3])))
def test_each_message_may_be_lost(lost: tuple[int, int]) -> None:
    """The first 1..3 of a kind are lost: the ping after that repairs it."""
    kind, count = lost
    missing = [count]

    def lose(packet: Packet) -> list[Packet]:
        if packet.kind == kind and missing[0]:
            missing[0] -= 1
            return []
        return [packet]

    world = World(filter=lose)
    world.run(3.0)
    assert missing == [0]
    assert world.connected() and world.ring_works(1, 2) and world.ring_works(2, 1)


def established(**options: int) -> World:
    world = World(**options)  # type: ignore[arg-type]  # counts only
    world.run(0.5)
    assert world.connected()
    return world


def test_replayed_init_changes_nothing() -> None:
    """A recorded init of the running process is counted and not answered: its stamp is not newer."""
    world = established()
    init = next(p for p in world.seen if p.kind == HANDSHAKE_INIT and p.sender == 1)
    before = repr(world.nodes[2]), list(world.events[2])
    for _ in range(10):
        world.deliver(init)
    assert world.nodes[2].poll_transmit(world.now) is None
    assert (repr(world.nodes[2]), world.events[2]) == before
    assert world.nodes[2].dropped.replayed == 10
    assert world.connected()


def test_each_call_that_was_answered_is_a_replay_from_then_on() -> None:
    """A node calls on all its links; the calls whose answers came too late are as old as the one that won."""
    world = World(links=3)
    world.ping(only=1)
    world.settle()
    calls = [packet for packet in world.seen if packet.kind == HANDSHAKE_INIT]
    assert len(calls) == 3 and world.connected()
    before = dropped(world, 2).get("replayed", 0)
    for packet in calls:
        world.deliver(packet)
    assert dropped(world, 2)["replayed"] == before + 3
    assert world.nodes[2].poll_transmit(world.now) is None


def test_replayed_init_of_an_old_process_never_replaces_a_session() -> None:
    """After a restart the old process's inits are answered at most by a response nobody can use (DESIGN 6)."""
    world = established()
    old = [p for p in world.seen if p.kind == HANDSHAKE_INIT and p.sender == 1]
    world.start(1)
    world.run(0.5)
    world.start(2)  # node 2 forgets what it knew of the old process: the hardest case
    world.run(0.5)
    assert world.connected()
    for _ in range(50):
        world.deliver(old[0])
        world.settle()
    assert world.connected() and world.ring_works(1, 2) and world.ring_works(2, 1)
    assert SessionUp(1, True) not in world.events[2][-1:]


def test_replayed_response_is_dropped() -> None:
    """A response is good for the one init it answers."""
    world = established()
    response = next(p for p in world.seen if p.kind == HANDSHAKE_RESPONSE)
    before = world.nodes[response.receiver].dropped.unknown_sender
    world.deliver(response)
    assert world.nodes[response.receiver].dropped.unknown_sender == before + 1
    assert world.connected()


def test_forged_response_leaves_the_handshake_whole() -> None:
    """Whoever sees an init on the wire can name its index, not make mac1: the true response still works."""
    world = World()
    world.ping(only=1)
    world._collect()
    world.deliver(world.wire.pop())
    world._collect()
    true = world.wire.pop()
    for position in range(12, len(true.data)):
        forged = bytearray(true.data)
        forged[position] ^= 0x20
        world.deliver(Packet(2, 1, 0, true.source, bytes(forged)))
    assert world.nodes[1].dropped.not_authentic == len(true.data) - 12
    world.deliver(true)
    world.settle()
    assert world.connected()


def test_wrong_cluster_key_is_silence() -> None:
    """Another cluster's node with the same generation number: mac1 fails, nothing is answered."""
    world = World()
    world.start(2, Keyring(1, b"the key of quite another cluster"))
    world.run(1.0)
    assert not world.nodes[1].has_session(2)
    assert {p.kind for p in world.seen} == {HANDSHAKE_INIT}
    assert set(dropped(world, 1)) == {"not_authentic"}


def test_wrong_identity_is_silence() -> None:
    """A node with the cluster key that claims another's id but has not its identity."""
    world = World(count=3)
    del world.nodes[2]
    impostor = World(count=3).start(3)
    impostor.me = impostor._peering.me = 2
    data = impostor.wants_handshake(1, 0, world.now)
    assert data is not None and data[2:4] == b"\x00\x02"
    world.deliver(Packet(2, 1, 0, address(2, 0), data))
    assert world.nodes[1].dropped.not_authentic == 1
    assert world.nodes[1].poll_transmit(world.now) is None


def test_init_meant_for_another_node_is_refused() -> None:
    """mac1 and prologue name the receiver: an init for node 2 sent on to node 3 is nothing."""
    world = World(count=3)
    data = world.nodes[1].wants_handshake(2, 0, world.now)
    assert data is not None
    world.deliver(Packet(1, 3, 0, address(1, 0), data))
    assert world.nodes[3].dropped.not_authentic == 1


def test_reflected_packets_are_refused() -> None:
    """What we sent comes back to us: init, response, session and ring datagrams are all nothing of a peer's."""
    world = established()
    ring = world.nodes[1].seal_ring(b"\x00", world.now)
    session = world.nodes[1].seal_session(2, 0, b"\x01", world.now)
    assert session is not None
    own = [p.data for p in world.seen if p.sender == 1] + [ring, session]
    before = len(world.received[1])
    for data in own:
        world.deliver(Packet(2, 1, 0, address(2, 0), data))
    assert len(world.received[1]) == before
    assert sum(dropped(world, 1).values()) >= len(own)
    assert world.connected()


def test_packet_moved_to_another_link_is_refused() -> None:
    """A ping proves one path: taken from link 0 and given to link 1 it is not authentic, relabelled or not."""
    world = established(links=2)
    data = world.nodes[1].seal_session(2, 0, b"\x01ping", world.now)
    assert data is not None
    relabelled = data[:2] + b"\x01" + data[3:]
    before = world.nodes[2].dropped.not_authentic
    assert world.nodes[2].open(data, 1, address(1, 1), world.now) is None
    assert world.nodes[2].open(relabelled, 1, address(1, 1), world.now) is None
    assert world.nodes[2].dropped.not_authentic == before + 2
    opened = world.nodes[2].open(data, 0, address(1, 0), world.now)
    assert opened is not None and (opened.sender, opened.ring, opened.payload) == (1, False, b"\x01ping")


def test_session_packet_seen_twice_is_replayed() -> None:
    """Each counter once (RFC 6479)."""
    world = established()
    data = world.nodes[1].seal_session(2, 0, b"\x01", world.now)
    assert data is not None
    assert world.nodes[2].open(data, 0, address(1, 0), world.now) is not None
    assert world.nodes[2].open(data, 0, address(1, 0), world.now) is None
    assert world.nodes[2].dropped.replayed == 1


def test_any_changed_byte_is_refused() -> None:
    """Header and payload of a session datagram are authenticated."""
    world = established()
    data = world.nodes[1].seal_session(2, 0, b"\x01payload", world.now)
    assert data is not None
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        assert world.nodes[2].open(bytes(changed), 0, address(1, 0), world.now) is None
    assert world.nodes[2].open(data, 0, address(1, 0), world.now) is not None


def test_restarted_peer_is_a_new_process() -> None:
    """The new incarnation's session wins at once, both sides are told, nothing of the old one is accepted."""
    world = established()
    old_ring = world.nodes[1].seal_ring(b"\x00old", world.now)
    world.start(1)
    world.run(0.3)
    assert world.connected() and world.ring_works(1, 2) and world.ring_works(2, 1)
    assert world.events[2][-1] == SessionUp(1, True)
    assert world.nodes[2].open(old_ring, 0, address(1, 0), world.now) is None
    assert world.nodes[2].dropped.unknown_sender >= 1


def test_old_session_works_until_the_new_one_is_proved() -> None:
    """Neither a lost response nor a lost first packet interrupts the session in use (DESIGN 6)."""
    world = established()
    world.now += 121.0
    gone = [0]

    def lose(packet: Packet) -> list[Packet]:
        if packet.kind == HANDSHAKE_RESPONSE:
            gone[0] += 1
            return []
        return [packet]

    world.filter = lose
    for _ in range(20):
        world.run(0.1)
        assert world.connected()
    assert gone[0] >= 4
    world.filter = lambda packet: [packet]
    world.run(1.0)
    assert world.connected()


def test_sessions_are_made_anew_after_120_s() -> None:
    """Rekey by time; the pair is never without a session, and no handshake is made in between."""
    world = established()
    first = sum(p.kind == HANDSHAKE_INIT for p in world.seen)
    for _ in range(13):
        world.run(10.0)
        assert world.connected()
    assert sum(p.kind == HANDSHAKE_INIT for p in world.seen) in (first + 1, first + 2)
    assert world.events == {1: [SessionUp(2, False)], 2: [SessionUp(1, False)]}


def test_peer_that_lost_its_session_is_noticed() -> None:
    """Our packets go nowhere: after some seconds of silence another handshake is tried on the path."""
    world = established()
    session = world.nodes[2]._peering.pairs[1].current
    assert session is not None
    world.nodes[2]._peering.cut(session.pair)
    world.filter = lambda packet: [] if packet.sender == 2 and packet.kind == HANDSHAKE_INIT else [packet]
    world.run(6.0)
    assert world.connected()


def test_session_ends_after_180_s_without_contact() -> None:
    """A session never outlives its time, whatever became of the next one."""
    world = established()
    world.filter = lambda packet: []
    world.run(181.0, pings=False)
    assert not world.nodes[1].has_session(2)
    assert world.nodes[1].seal_session(2, 0, b"\x01", world.now) is None
    assert not world.nodes[1]._peering.sessions and not world.nodes[1]._peering.initiations


def test_one_dead_link_does_not_starve_the_handshake() -> None:
    """No link waits for another: with all but one dead the session is there within a second."""
    world = World(links=8)
    world.filter = lambda packet: [packet] if packet.link == 6 else []
    world.run(1.0)
    assert world.nodes[1].has_session(2)


def test_handshakes_under_way_are_bounded() -> None:
    """A peer that calls and never answers fills eight places, not memory."""
    world = World()
    world.filter = lambda packet: [packet] if packet.kind == HANDSHAKE_INIT else []
    world.run(20.0)
    for node in (1, 2):
        peering = world.nodes[node]._peering
        assert len(peering.initiations) <= 8 and len(peering.sessions) <= 8
        assert sum(p.kind == HANDSHAKE_INIT and p.sender == node for p in world.seen) <= 51
    assert COOKIE not in {p.kind for p in world.seen}


def test_no_secret_is_shown() -> None:
    """Nothing that may be logged holds key bytes."""
    world = established()
    security = world.nodes[1]
    peering = security._peering
    shown = "".join(
        map(repr, [security, peering.pairs[2], peering.pairs[2].current, security._own.current, security._keyring])
    ) + "".join(world.logs[1].lines)
    assert "\\x" not in shown
    for secret in (identity(1), security._own.current.key, security._keyring.current.psk):
        assert secret.hex() not in shown and repr(secret)[2:-1] not in shown


def test_unlisted_node_is_unknown() -> None:
    """A node with the cluster key and an identity nobody listed."""
    world = World(count=3)
    stranger = world.start(3)
    world.nodes[1].reconfigure({2: public_key(identity(2))}, world.now)
    data = stranger.wants_handshake(1, 0, world.now)
    assert data is not None
    world.deliver(Packet(3, 1, 0, address(3, 0), data))
    assert world.nodes[1].dropped.unknown_sender == 1


def test_calling_on_every_link_at_each_renewal_drops_nobody() -> None:
    """A call goes out on each link; the first answer decides, the later ones are copies and no strangers."""
    world = World(count=3, links=3)
    world.run(400.0)
    for security in world.nodes.values():
        assert security.dropped.unknown_sender == 0
        assert security.dropped.duplicates > 0
