"""Somebody on the network without keys who recorded what processes that ended had called, and sends it again."""

from __future__ import annotations

import itertools
from collections import defaultdict

from tests.transport.security_world import Packet, World
from transport.handshake import HANDSHAKE_INIT
from transport.ids import NodeId
from transport.session import MAX_PENDING

BEHIND_EACH = MAX_PENDING
"""How many old calls go out right behind each true one: as many as a node keeps answers to."""


def ended_twice() -> tuple[World, dict[NodeId, list[Packet]]]:
    """Two nodes that were started twice, called each other in vain, and were started again; and what was called."""
    world = World()
    world.filter = lambda packet: []
    for _ in range(2):
        for node in (1, 2):
            world.start(node)
        world.run(5.0)
    recorded = defaultdict(list)
    for packet in world.seen:
        recorded[packet.sender].append(packet)
    for node in (1, 2):
        assert len(recorded[node]) > 2 * BEHIND_EACH
        world.start(node)
    world.seen.clear()
    world.filter = lambda packet: [packet]
    return world, recorded


def attack(world: World, recorded: dict[NodeId, list[Packet]]) -> None:
    """From now on each true call is followed by old ones, before anything that it causes comes back."""
    old = {node: itertools.cycle(packets) for node, packets in recorded.items()}

    def follow(packet: Packet) -> list[Packet]:
        if packet.kind != HANDSHAKE_INIT:
            return [packet]
        return [packet, *itertools.islice(old[packet.sender], BEHIND_EACH)]

    world.filter = follow


def test_old_calls_of_ended_processes_do_not_keep_two_nodes_apart() -> None:
    """X1: both have just started and know none of these processes; what they answered a true call with stays."""
    world, recorded = ended_twice()
    attack(world, recorded)
    world.run(10.0)
    assert world.connected() and world.ring_works(1, 2) and world.ring_works(2, 1)


def test_a_node_that_lost_its_disk_is_heard_among_old_calls() -> None:
    """It counts from the beginning again, so all that is recorded of it looks newer; there is room for it besides."""
    world, recorded = ended_twice()
    world.start(1, birth=0)
    for packet in recorded[1]:
        world.deliver(packet)
    assert len(world.nodes[2]._peering.pairs[1].pending) == MAX_PENDING
    world.ping(only=1)
    world.settle()
    assert world.connected()
