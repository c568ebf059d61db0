"""The members of one ring come to one verdict, though some of them count otherwise (sections 3.1 and 13)."""

from __future__ import annotations

from quorum.messages import Flag, NodeInfo, encode
from tests.quorum.world import World, options_of
from transport.ids import RingId


def test_who_becomes_quorate_tells_who_expects_more() -> None:
    """An operator gave n1 three votes; it restarts with one, and n2 would wait for the other two for good."""
    world = World(options_of(2))
    world.ring(1, 2)
    world.nodes[1].set_votes(1, 3)
    world.deliver()
    world.ring(2)
    world.start(1)
    world.ring(1, 2)
    assert world.numbers(1) == world.numbers(2) == (2, 2, 2, True)


def test_who_becomes_quorate_tells_who_waits_for_all() -> None:
    """The device casts its vote at n1 alone, and while the barrier is under way: with it all are there."""
    world = World(options_of(2, device=True, device_votes=1, wait_for_all=True))
    world.form(1, 2)
    ring = RingId(world.seq, 1)
    world.nodes[1].set_device(registered=True, alive=True, cast=True, name="net", ring_id=ring, now=world.now)
    world.activate(1, 2)
    assert world.numbers(1)[3] and world.numbers(2)[3]


def test_who_goes_while_another_comes_costs_nobody_the_quorum() -> None:
    """n1 was quorate with n2, and is with n3, which starts: two of three at any moment."""
    world = World(options_of(3, wait_for_all=True))
    world.ring(1, 2, 3)
    world.ring(1, 2)
    world.start(3)
    world.ring(1, 3)
    assert world.numbers(1) == world.numbers(3) == (3, 2, 2, True)


def test_nobody_speaks_where_all_count_alike() -> None:
    """Two that start together, and then part and meet again: no word beside the barrier's."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.ring(1, 2)
    world.form(1, 2, 3)
    states = {node: world.nodes[node].sync_state() for node in (1, 2, 3)}
    for node in (1, 2, 3):
        world.nodes[node].sync_activate(states, world.now)
        world._events(node)
    assert world.queue == []


def test_a_word_of_the_configuration_in_force_does_not_lower_what_a_newer_one_expects() -> None:
    """n1 alone heard of a change from two votes to three: it goes on counting by it, whatever n2 says."""
    world = World(options_of(2))
    world.ring(1, 2)
    world.ring(1)
    world.nodes[1].reconfigure(options_of(4), world.now)
    world.deliver()
    world.form(1, 2)
    states = {node: world.nodes[node].sync_state() for node in (1, 2)}
    world.nodes[1].sync_activate(states, world.now, [2], True)
    world.nodes[1].receive(2, encode(NodeInfo(1, 2, Flag.QUORATE)), world.now)
    assert world.numbers(1)[0] == 4
