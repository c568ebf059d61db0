"""What is expected follows who leaves or was seen: allow_downscale, expected_votes_tracking (votequorum.md 4.6)."""

from __future__ import annotations

import pytest

from quorum.votequorum import SavedState
from tests.quorum.world import World, options_of
from transport.errors import Refused


def test_clean_leave_lowers_expected_down_to_the_barrier() -> None:
    """4.6, right: expected and quorum go down together, never below what is configured."""
    world = World(options_of(5, allow_downscale=True, expected_votes=3))
    world.ring(1, 2, 3, 4, 5)
    assert world.numbers(1) == (5, 5, 3, True)
    for leaver, expected, quorum in ((5, 4, 3), (4, 3, 2), (3, 3, 2)):
        world.nodes[leaver].leave()
        world.deliver()
        world.ring(*range(1, leaver))
        assert world.numbers(1) == (expected, leaver - 1, quorum, True)
    world.nodes[2].leave()
    world.deliver()
    world.ring(1)
    assert not world.quorate(1)


def test_leave_from_an_inquorate_component_lowers_nothing() -> None:
    """4.6, right: the side without quorum could make itself quorate by shrinking."""
    world = World(options_of(7, allow_downscale=True, expected_votes=3))
    world.ring(*range(1, 8))
    world.ring(1, 2, 3, 7)
    world.ring(4, 5, 6)
    world.nodes[6].leave()
    world.deliver()
    world.ring(4, 5)
    assert world.numbers(4) == (7, 2, 4, False)


def test_tracked_expected_votes_survive_a_restart() -> None:
    """4.6: the highest expected ever is the minimum at start; detached leavers do not become a cluster."""
    world = World(options_of(5, allow_downscale=True, expected_votes=2))
    world.ring(1, 2, 3, 4, 5)
    assert world.saved[4] == SavedState(highest_expected=5)
    for leaver in (5, 4):
        world.nodes[leaver].leave()
        world.deliver()
        world.ring(*range(1, leaver))
    world.start(4)
    world.start(5)
    world.ring(4, 5)
    assert world.numbers(4) == (5, 2, 3, False)
    assert world.quorate(1)


def test_a_configuration_lowers_the_tracked_number() -> None:
    """4.6 [D]: the number binds in the absence of any higher authority; nodes taken out of the list do not count on."""
    options = options_of(5, expected_votes_tracking=True)
    world = World(options)
    world.ring(1, 2, 3, 4, 5)
    world.ring(1, 2, 3)
    world.reconfigure(options_of(3, expected_votes_tracking=True), 1, 2, 3)
    assert world.numbers(1) == (3, 3, 2, True)
    world.ring(1, 2)
    assert world.quorate(1)
    assert world.saved[1] == SavedState(highest_expected=3)


def test_an_operator_cannot_go_below_the_tracked_number() -> None:
    """4.6: expected stays at the highest number seen; said at once instead of waiting for what never comes."""
    world = World(options_of(3, expected_votes_tracking=True))
    world.ring(1, 2, 3)
    world.ring(1)
    with pytest.raises(Refused, match="expected_votes_tracking keeps the highest expected votes seen, 3"):
        world.nodes[1].set_expected(1)


def test_quorate_cluster_overrides_the_tracked_number_of_a_joiner() -> None:
    """4.6 [D]: the stored value binds in the absence of a quorate cluster; a joiner does not cost it its quorum."""
    world = World(options_of(7, allow_downscale=True, expected_votes=2))
    world.ring(*range(1, 8))
    for leaver in (7, 6, 5, 4):
        world.nodes[leaver].leave()
        world.deliver()
        world.ring(*range(1, leaver))
    world.start(7)
    world.ring(7)
    world.ring(1, 2, 3, 7)
    assert world.quorate(1)
    assert world.numbers(7) == (4, 4, 3, True)


def test_a_node_that_forgot_the_highest_expected_votes_waits() -> None:
    """S6: its part could be a minority of the cluster there once was; a quorate member, or all, tell it otherwise."""
    world = World(options_of(3, expected_votes_tracking=True), nodes=())
    for node in (1, 2, 3):
        world.saved[node] = SavedState(5) if node == 1 else SavedState(lost=True)
        world.start(node)
    world.ring(2, 3)
    assert not world.nodes[2].quorate(world.now)
    assert not world.nodes[3].quorate(world.now)
    world.ring(1, 2, 3)
    assert world.nodes[2].quorate(world.now)


def test_a_lost_state_without_tracking_costs_nothing() -> None:
    """What is lost is then only who is not counted yet: all are."""
    world = World(options_of(3))
    world.saved[2] = SavedState(lost=True)
    world.start(2)
    world.ring(1, 2)
    assert world.nodes[2].quorate(world.now)


def left_behind() -> World:
    """Of four that track, 4 was removed in the moment in which 2 died; then all were off."""
    old = options_of(4, expected_votes_tracking=True)
    world = World(old)
    world.ring(1, 2, 3, 4)
    world.ring(1, 2, 3)
    before = world.saved[2]
    world.reconfigure(options_of(3, expected_votes_tracking=True), 1, 3)
    world.saved[2] = before
    assert (world.saved[1], world.saved[2]) == (SavedState(highest_expected=3), SavedState(highest_expected=4))
    for node, options in ((1, world.options), (2, old), (3, world.options)):
        world.start(node, options)
    return world


def test_who_takes_a_smaller_configuration_late_tracks_what_the_others_do() -> None:
    """Nobody is quorate to say it; two of the three listed are."""
    world = left_behind()
    world.reconfigure(world.options, 2, late=True)
    assert world.saved[2] == SavedState(highest_expected=3)
    world.ring(1, 2)
    assert world.numbers(1) == world.numbers(2) == (3, 2, 2, True)


def test_who_has_an_older_configuration_binds_nobody_beyond_the_votes_that_are_listed() -> None:
    """Who has the newer one is quorate, and tells it."""
    world = left_behind()
    world.form(1, 2)
    world.activate(1, 2, newest=(1,))
    assert world.numbers(1) == world.numbers(2) == (3, 2, 2, True)
    world.reconfigure(world.options, 2, late=True)
    world.ring(1, 2)
    assert world.numbers(1) == world.numbers(2) == (3, 2, 2, True)


def test_a_tracked_number_above_what_was_ever_listed_binds_who_takes_another_link_late() -> None:
    """Two nodes came without being listed; a change that concerns no votes takes nothing back."""
    world = World(options_of(4, expected_votes=2, expected_votes_tracking=True))
    world.saved[1] = SavedState(highest_expected=6)
    world.start(1)
    world.reconfigure(world.options, 1, late=True)
    world.ring(1, 2, 3)
    assert world.numbers(1)[0] == 6
