"""A configuration that no longer lists a node, or gives it fewer votes: what is expected falls with it (section 6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.quorum.world import World, options_of


@pytest.mark.parametrize("keys", [{}, {"wait_for_all": True}, {"expected_votes": 2}], ids=str)
def test_a_member_that_is_removed_counts_no_longer(keys: dict[str, Any]) -> None:
    """It is in the ring still when the others put that in force; nobody may expect its votes for good."""
    world = World(options_of(3, **keys))
    world.ring(1, 2, 3)
    world.reconfigure(replace(world.options, votes={2: 1, 3: 1}, expected_votes=0), 1, 2, 3)
    assert world.numbers(2) == (2, 2, 2, True)
    world.ring(2, 3)
    assert world.numbers(3) == (2, 2, 2, True)


def test_the_last_member_of_two_stays_quorate() -> None:
    """Both are there to agree; then there is one, and it is all of the cluster."""
    world = World(options_of(2))
    world.ring(1, 2)
    world.reconfigure(options_of(1), 1, 2)
    world.ring(1)
    assert world.numbers(1) == (1, 1, 1, True)


def test_what_a_removed_member_says_before_the_ring_changes_counts_no_longer() -> None:
    world = World(options_of(3))
    world.ring(1, 2, 3)
    said = world.nodes[1].sync_state()
    world.reconfigure(options_of(3, votes={2: 1, 3: 1}), 2, 3)
    world.nodes[2].receive(1, said, world.now)
    assert world.nodes[2].view().votes == {2: 1, 3: 1}


def test_after_a_restart_all_expect_the_same() -> None:
    """With wait_for_all, who had not restarted waited for the votes of who was gone."""
    world = World(options_of(3, wait_for_all=True))
    world.ring(1, 2, 3)
    world.reconfigure(options_of(2, votes={2: 1, 3: 1}, wait_for_all=True), 1, 2, 3)
    world.ring(3)
    world.start(2, world.options)
    world.ring(2, 3)
    assert world.numbers(2) == world.numbers(3) == (2, 2, 2, True)


def test_what_the_votes_present_made_of_a_lower_expected_votes_falls_too() -> None:
    """`expected_votes: 2` among five: all five are there, so five are expected; without 1 and 2 it is three."""
    world = World(options_of(5, expected_votes=2))
    world.ring(1, 2, 3, 4, 5)
    world.ring(3, 4, 5)
    world.reconfigure(options_of(3, votes={3: 1, 4: 1, 5: 1}, expected_votes=2), 3, 4, 5)
    assert world.numbers(3) == (3, 3, 2, True)


def test_a_removal_that_would_cost_the_quorum_is_refused_by_what_would_be_expected() -> None:
    """`expected_votes: 2` among five, three of them there: without one of these, four are expected, two are there."""
    world = World(options_of(5, expected_votes=2))
    world.ring(1, 2, 3, 4, 5)
    world.ring(1, 2, 3)
    without = options_of(4, votes={2: 1, 3: 1, 4: 1, 5: 1}, expected_votes=2)
    assert "3 of 4 votes would be needed, 2 are present" in world.nodes[2].objection(without)


def test_what_an_operator_set_outlasts_a_removal_that_needs_no_less() -> None:
    """`expected 3` was said by hand; the configuration says 4 before and after, and as many are listed."""
    world = World(options_of(5, expected_votes=4))
    world.ring(1, 2, 3, 4, 5)
    world.ring(1, 2, 3)
    world.nodes[1].set_expected(3)
    world.deliver()
    world.reconfigure(options_of(4, expected_votes=4), 1, 2, 3)
    assert world.numbers(1) == (3, 3, 2, True)
