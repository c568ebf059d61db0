"""The rules of the options one by one: wait_for_all, auto_tie_breaker, last_man_standing (votequorum.md 3 and 4)."""

from __future__ import annotations

import pytest

from tests.quorum.world import World, options_of
from transport.errors import Refused


def test_large_votes_do_not_wrap() -> None:
    """Section 1, the u8 trap: 300 + 300 votes, threshold 301, one alone is not quorate; 256 + 256 neither."""
    for votes in (256, 300):
        world = World(options_of(2, votes={1: votes, 2: votes}))
        world.ring(1, 2)
        assert world.numbers(1) == (2 * votes, 2 * votes, votes + 1, True)
        world.ring(1)
        assert not world.quorate(1)


def test_clean_leave_and_crash_look_alike() -> None:
    """3.1: without allow_downscale a clean exit says nothing; expected stays."""
    world = World(options_of(4))
    world.ring(1, 2, 3, 4)
    world.nodes[4].leave()
    world.deliver()
    world.ring(1, 2, 3)
    assert world.numbers(1) == (4, 3, 3, True)


# -- wait_for_all --------------------------------------------------------------------------------------------------


def test_wait_for_all_is_rearmed_when_quorum_is_lost() -> None:
    """4.3 [M]: set again at every loss of quorum: a half that lost it cannot regain it with one newcomer."""
    world = World(options_of(5, wait_for_all=True))
    world.ring(1, 2, 3, 4, 5)
    world.ring(4, 5)
    world.ring(3)
    world.ring(3, 4, 5)
    assert not world.quorate(4)
    assert world.last(4).reason == "waiting for all: 3 of 5 votes present"
    assert world.nodes[4].view().waiting_for_all


def test_wait_for_all_ends_when_a_quorate_peer_is_heard() -> None:
    """3.1: n quorate and n's status clear -> clear mine."""
    world = World(options_of(5, wait_for_all=True))
    world.ring(1, 2, 3, 4, 5)
    world.ring(1, 2, 3)
    world.start(4)
    world.ring(4)
    assert not world.quorate(4)
    world.ring(1, 2, 3, 4)
    assert world.quorate(4)


def test_wait_for_all_is_set_at_every_start() -> None:
    """4.3: set at start; a rebooted node of two must not act alone before it has seen the other."""
    world = World(options_of(2, two_node=True))
    world.ring(1, 2)
    world.start(2)
    world.ring(2)
    assert not world.quorate(2)


def test_cancel_wait_for_all_reaches_every_member() -> None:
    """4.3: cancelled by an operator, cluster-wide; threshold and votes still decide."""
    world = World(options_of(5, wait_for_all=True))
    world.ring(1, 2, 3)
    world.nodes[1].cancel_wait_for_all()
    world.deliver()
    assert [world.quorate(n) for n in (1, 2, 3)] == [True] * 3
    with pytest.raises(Refused):
        World(options_of(3)).nodes[1].cancel_wait_for_all()


def test_expected_set_to_what_is_present_ends_the_wait() -> None:
    """4.3 [M]: `-e N` with N == present votes."""
    world = World(options_of(5, wait_for_all=True))
    world.ring(1, 2)
    world.nodes[2].set_expected(2)
    world.deliver()
    assert world.numbers(1) == (2, 2, 2, True)


# -- auto_tie_breaker ----------------------------------------------------------------------------------------------


def test_two_halves_at_cold_start_never_win() -> None:
    """4.5 [M]: no extreme id is remembered until once quorate."""
    world = World(options_of(4, auto_tie_breaker="lowest"))
    world.ring(1, 2)
    world.ring(3, 4)
    assert not world.quorate(1)
    assert not world.quorate(3)


def test_highest_decides() -> None:
    world = World(options_of(4, auto_tie_breaker="highest"))
    world.ring(1, 2, 3, 4)
    world.ring(1, 2)
    world.ring(3, 4)
    assert not world.quorate(1)
    assert world.quorate(3)
    assert world.last(3).reason == "2 of 4 votes present, the tie is broken by n4"
    assert world.last(3).flags == ("Quorate", "AutoTieBreaker")


def test_first_present_of_the_list_decides_unless_an_earlier_one_was_here() -> None:
    """4.5: granted unless an earlier listed node was in the previous configuration."""
    world = World(options_of(4, auto_tie_breaker=(3, 1)))
    world.ring(1, 2, 3, 4)
    world.ring(1, 2)
    world.ring(3, 4)
    assert not world.quorate(1)
    assert world.quorate(3)
    world = World(options_of(4, auto_tie_breaker=(3, 1)))
    world.ring(1, 2, 3, 4)
    world.ring(1, 2, 4)
    world.ring(1, 2)
    assert world.quorate(1)


def test_both_sides_may_be_quorate_under_the_tie_breaker() -> None:
    """4.9: {1}|{2,3,4} then {2,3}|{1,4}: 2 remembers lowest 2, 1 remembers lowest 1; a verdict belongs to a node."""
    world = World(options_of(4, auto_tie_breaker="lowest"))
    world.ring(1, 2, 3, 4)
    world.ring(1)
    world.ring(2, 3, 4)
    world.ring(2, 3)
    world.ring(1, 4)
    assert [world.quorate(n) for n in (1, 2, 3, 4)] == [True, True, True, False]


# -- last_man_standing ---------------------------------------------------------------------------------------------


def test_both_halves_may_be_quorate_under_last_man_standing() -> None:
    """4.9: {1,2,3}|{4}, window, {1,2}|{3,4}: 3 carries expected 3 over and 4 adopts it (Q1)."""
    world = World(options_of(4, last_man_standing=True))
    world.ring(1, 2, 3, 4)
    world.ring(4)
    world.ring(1, 2, 3)
    world.pass_time(10.2)
    world.ring(1, 2)
    world.ring(3, 4)
    assert [world.quorate(n) for n in (1, 2, 3, 4)] == [True] * 4


def test_a_member_without_a_vote_is_not_expected_to_have_one_when_the_window_is_over() -> None:
    """4.4 counts members, which is the same where each has a vote; here it would cost the quorum."""
    world = World(options_of(3, votes={1: 1, 2: 0, 3: 0}, last_man_standing=True))
    world.ring(1, 2, 3)
    world.ring(1, 2)
    world.pass_time(10.2)
    assert world.numbers(1) == (1, 1, 1, True)


def test_heavy_node_ends_last_man_standing() -> None:
    """4.4: a nodeinfo with more than one vote -> log and LMS off."""
    world = World(options_of(3, last_man_standing=True))
    world.ring(1, 2, 3)
    world.nodes[1].set_votes(2, 2)
    world.deliver()
    world.ring(1, 2)
    world.pass_time(10.2)
    assert "LastManStanding" not in world.last(1).flags
    assert world.numbers(1)[0] == 4
