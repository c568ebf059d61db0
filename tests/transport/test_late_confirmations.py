"""A process's first packet in a session proves it; one that was kept on the way comes when the peer has gone on."""

from __future__ import annotations

import pytest

from tests.transport.security_world import Packet, World
from transport.handshake import HANDSHAKE_INIT, RING, SESSION
from transport.ids import NodeId
from transport.peering import UNCONFIRMED
from transport.security import SessionUp


def everything(packet: Packet) -> list[Packet]:
    return [packet]


def first_packets(world: World, caller: NodeId) -> list[Packet]:
    """What `caller` says in the session that it now calls for, and nobody hears: the other goes on waiting for it."""
    kept: list[Packet] = []

    def keep(packet: Packet) -> list[Packet]:
        if packet.kind != SESSION or packet.sender != caller:
            return [packet]
        kept.append(packet)
        return []

    world.filter = keep
    world.ping(only=caller)
    world.settle()
    world.filter = everything
    assert kept
    return kept


def called(world: World, caller: NodeId) -> None:
    world.ping(only=caller)
    world.settle()
    assert world.connected()


def pending(world: World) -> int:
    return len(world.nodes[1]._peering.pairs[2].pending)


@pytest.mark.parametrize("who", [1, 2])
@pytest.mark.parametrize("birth", [None, 0])
def test_a_late_first_packet_of_a_process_that_was_replaced_is_not_heard(who: NodeId, birth: int | None) -> None:
    """X1: the process that runs has proved itself, by its call or by its answer to ours, and with its disk or without
    (birth 0): that of before had ended, and what it said in a session nobody waits for any more is a stranger's."""
    world = World()
    late = first_packets(world, 2)
    world.start(2, birth=birth)
    world.now += 1.0
    called(world, who)
    told = list(world.events[1])
    for packet in late:
        world.deliver(packet)
    world.settle()
    assert world.connected() and world.ring_works(1, 2) and world.ring_works(2, 1)
    assert world.events[1] == told
    assert pending(world) == 0


def test_what_was_heard_before_a_restart_is_not_heard_again_after_a_late_first_packet() -> None:
    """X1: both called at once, and went by one of the two sessions. The first packets in the other bring back neither
    the process that has ended since nor its sender key, with an empty window for all that was recorded under it."""
    world = World()
    world.ping(only=1)
    kept = first_packets(world, 2)
    waiting = set(world.nodes[1]._peering.pairs[2].pending)
    late = [packet for packet in kept if int.from_bytes(packet.data[4:8], "big") in waiting]
    for packet in kept:
        if packet not in late:
            world.deliver(packet)
    world.settle()
    assert late and world.connected()
    world.multicast(2, b"\x00once")
    world.settle()
    world.start(2)
    called(world, 2)
    recorded = [packet for packet in world.seen if packet.kind == RING]
    for packet in (*late, *recorded):
        world.deliver(packet)
    assert world.received[1].count((2, True, b"\x00once")) == 1
    assert world.connected() and world.ring_works(2, 1)


def test_a_late_first_packet_in_an_earlier_session_does_not_bring_it_back() -> None:
    """The caller has gone on to a third session and forgotten the first: who went back to that would not be heard."""
    world = World()
    late = first_packets(world, 2)
    world.now += 2 * UNCONFIRMED
    first_packets(world, 2)
    world.now += 2 * UNCONFIRMED
    called(world, 2)
    assert sum(packet.kind == HANDSHAKE_INIT for packet in world.seen) == 3
    for packet in late:
        world.deliver(packet)
    assert world.connected()


def test_a_call_answered_after_that_of_the_process_before_it_waits_for_its_own_first_packet() -> None:
    """Two processes, one after the other, are proved late and in their order: neither has to call again."""
    world = World()
    first = first_packets(world, 2)
    world.start(2)
    second = first_packets(world, 2)
    for packet in (*first, *second):
        world.deliver(packet)
    world.settle()
    assert sum(packet.kind == HANDSHAKE_INIT for packet in world.seen) == 2
    assert world.connected() and world.ring_works(1, 2) and world.ring_works(2, 1)
    assert world.events[1] == [SessionUp(2, False), SessionUp(2, True)]
