"""The vote of a quorum device: for one ring, for a time, and from one device (votequorum.md 4.7)."""

from __future__ import annotations

import pytest

from tests.quorum.world import World, options_of
from transport.errors import Refused
from transport.ids import RingId


def two_with_device() -> World:
    world = World(options_of(2, device=True, device_votes=1, device_timeout=10.0, device_sync_timeout=30.0))
    world.ring(1, 2)
    return world


def cast(world: World, node: int, vote: bool, name: str = "net", master: bool = False) -> None:
    ring_id = world.nodes[node].view().verdict.ring_id
    world.nodes[node].set_device(
        registered=True, alive=True, cast=vote, name=name, ring_id=ring_id, now=world.now, master_wins=master
    )
    world.deliver()


def test_device_vote_is_for_one_ring() -> None:
    """4.7: a poll is refused unless it carries the current ring; a vote of the old ring does not count in the new."""
    world = two_with_device()
    cast(world, 1, True)
    assert world.numbers(1) == (3, 3, 2, True)
    old = world.last(1).ring_id
    world.ring(1)
    assert not world.quorate(1)
    assert world.last(1).reason == "2 of 3 votes needed, 1 present; the quorum device has not voted in this ring yet"
    with pytest.raises(Refused):
        world.nodes[1].set_device(registered=True, alive=True, cast=True, name="net", ring_id=old, now=world.now)
    cast(world, 1, True)
    assert world.quorate(1)


def test_a_yes_by_the_device_ends_with_its_ring() -> None:
    """Q4: in the next ring the arbiter is asked anew, and may have voted for others meanwhile: what it gave in the old
    ring keeps no verdict alive until the barrier is passed."""
    world = World(options_of(3, device=True, device_votes=2, device_timeout=10.0, device_sync_timeout=30.0))
    world.ring(1, 2, 3)
    cast(world, 1, True)
    core = world.nodes[1]
    core.sync_init((1, 2, 3), RingId(90, 1, 1), (1,), world.now)
    assert core.quorate(world.now)  # 3 of 5 with the other members, heard just now
    core.sync_activate({n: world.nodes[n].sync_state() for n in (1, 2, 3)}, world.now)
    world.ring(1)
    cast(world, 1, True)
    assert world.quorate(1)  # 3 of 5 with the device's two
    core.sync_init((1,), RingId(99, 1, 1), (1,), world.now)
    assert not core.quorate(world.now)


def test_silent_device_loses_its_vote() -> None:
    """4.7: no poll for `timeout` -> alive and cast off; after a ring change `sync_timeout`."""
    world = two_with_device()
    cast(world, 1, True)
    world.ring(1)
    assert world.nodes[1].awaits_device
    cast(world, 1, True)
    assert not world.nodes[1].awaits_device
    world.pass_time(9.8)
    assert world.quorate(1)
    world.pass_time(0.4)
    assert not world.quorate(1)
    assert not world.nodes[1].view().device_alive


def test_a_device_vote_that_comes_too_late_counts_for_nothing() -> None:
    """Q1 with a device: the arbiter may give its vote to others from the moment on to which this one was good."""
    world = two_with_device()
    cast(world, 1, False)
    world.ring(1)
    core, ring = world.nodes[1], world.last(1).ring_id
    with pytest.raises(Refused, match="too late"):
        core.set_device(
            registered=True, alive=True, cast=True, name="net", ring_id=ring, now=world.now, valid_until=world.now
        )
    assert not world.quorate(1)
    assert core.awaits_device


def test_barrier_waits_no_longer_than_sync_timeout() -> None:
    world = two_with_device()
    cast(world, 1, True)
    world.ring(1)
    world.pass_time(29.8)
    assert world.nodes[1].awaits_device
    world.pass_time(0.4)
    assert not world.nodes[1].awaits_device


def test_first_device_name_wins() -> None:
    """4.7: register: first name wins cluster-wide; without a configured device: refused."""
    world = two_with_device()
    cast(world, 1, False)
    with pytest.raises(Refused):
        cast(world, 2, False, name="other")
    with pytest.raises(Refused):
        cast(World(options_of(2)), 1, False)


def test_master_wins() -> None:
    """3: in that mode a member with the device's vote makes its component quorate."""
    world = World(options_of(4, device=True, device_votes=1))
    world.ring(1, 2, 3, 4)
    world.ring(1)
    cast(world, 1, True, master=True)
    assert world.quorate(1)
    assert world.last(1).reason == "3 of 5 votes needed, 2 present, but the quorum device has chosen this side"
