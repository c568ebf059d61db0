"""Votes and expected votes as operators set them, and as they follow from who is there (votequorum.md 3 and 5.4)."""

from __future__ import annotations

import pytest

from tests.quorum.world import World, options_of
from transport.errors import BadArgument, Refused


def test_set_votes() -> None:
    """5.4: unknown node refused; the new threshold must be within total/2 .. total; told to all in order."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    with pytest.raises(Refused):
        world.nodes[1].set_votes(9, 1)
    with pytest.raises(BadArgument):
        world.nodes[1].set_votes(2, -1)
    world.nodes[1].set_votes(2, 3)
    assert world.nodes[1].view().votes[2] == 1, "nothing changes before the message is ordered"
    world.deliver()
    assert world.numbers(3) == (5, 5, 3, True)


def test_set_votes_that_would_lose_quorum_is_refused() -> None:
    world = World(options_of(5))
    world.ring(1, 2, 3, 4, 5)
    world.ring(1, 2, 3)
    with pytest.raises(Refused):
        world.nodes[1].set_votes(3, 0)
    assert world.nodes[1].view().votes == {1: 1, 2: 1, 3: 1}, "what was only judged changes nothing"


def test_requests_need_a_ring() -> None:
    world = World(options_of(3))
    with pytest.raises(Refused):
        world.nodes[1].set_expected(1)


def test_expected_goes_up_with_the_votes_seen() -> None:
    """3: all votes above my expected: my expected := all votes."""
    world = World(options_of(4, expected_votes=2))
    world.ring(1, 2, 3, 4)
    assert world.numbers(1) == (4, 4, 3, True)


def test_inquorate_joiner_takes_the_quorate_sides_number() -> None:
    """5.4: not persistent, and inquorate joiners take over the quorate side's number."""
    world = World(options_of(5))
    world.ring(1, 2, 3, 4, 5)
    world.ring(1, 2, 3)
    world.nodes[1].set_expected(3)
    world.deliver()
    world.start(4)
    world.ring(4)
    world.ring(1, 2, 3, 4)
    assert world.numbers(4) == (4, 4, 3, True)
