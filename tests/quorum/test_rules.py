"""The rules of the options one by one, and what operators and configurations change (votequorum.md 3 to 6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quorum import messages
from quorum.messages import CancelWait, SetExpected, SetVotes, encode
from quorum.votequorum import SavedState, Votequorum
from tests.quorum.world import World, options_of, with_nodes
from transport.core import SilentLog
from transport.errors import BadArgument, Refused
from transport.ids import RingId


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


# -- allow_downscale, expected_votes_tracking ----------------------------------------------------------------------


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


# -- the nodelist changes ------------------------------------------------------------------------------------------


def test_added_node_raises_expected_when_it_joins() -> None:
    """Q2: expected votes rise when an added node first joins, not when its name is written."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.ring(1, 2)
    world.reconfigure(with_nodes(world.options, 4), 1, 2)
    assert world.numbers(1) == (3, 2, 2, True)
    assert world.nodes[1].view().newcomer == 4
    world.start(4)
    world.ring(1, 2, 4)
    for node in (1, 2, 4):
        assert world.numbers(node) == (4, 3, 3, True)
    assert world.nodes[1].view().newcomer == 0


def test_node_that_has_not_joined_stays_uncounted_over_a_restart() -> None:
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.reconfigure(with_nodes(world.options, 4), 1, 2, 3)
    for node in (1, 2):
        assert world.saved[node].newcomer == 4
        world.start(node)
    world.ring(1, 2)
    assert world.numbers(1) == (3, 2, 2, True)


def test_newcomer_beside_the_cluster_is_not_quorate_with_a_minority() -> None:
    """Q1 while a node is being added: {1,2}|{3,4}, 4 new: only one side is quorate."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.reconfigure(with_nodes(world.options, 4), 1, 2, 3)
    world.start(4)
    world.ring(1, 2)
    world.ring(3, 4)
    assert [world.quorate(n) for n in (1, 2, 3, 4)] == [True, True, False, False]


@pytest.mark.parametrize("added", [{4: 2}, {4: 1, 5: 1}])
def test_more_than_one_new_vote_counts_at_once(added: dict[int, int]) -> None:
    """Left out until they join, two new votes with a minority could be quorate beside the old majority."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    options = replace(world.options, votes={**world.options.votes, **added})
    assert world.nodes[1].objection(options) == ""
    world.reconfigure(options, 1, 2, 3)
    assert world.numbers(1) == (5, 3, 3, True)
    world.ring(1, 2)
    assert not world.quorate(1)


def test_a_returning_node_does_not_lower_what_the_others_expect() -> None:
    """Q1: who takes the configuration late does not know that the nodes added meanwhile have joined already."""
    world = World(options_of(4))
    world.ring(1, 2, 3, 4)
    world.ring(1, 2, 3)
    for new in (5, 6):
        present = tuple(n for n in range(1, new) if n != 4)
        world.reconfigure(with_nodes(world.options, new), *present)
        world.start(new)
        world.ring(*present, new)
    assert world.numbers(1) == (6, 5, 4, True)
    world.ring(1, 2, 3, 5)
    world.form(1, 2, 3, 4, 5)
    world.activate(1, 2, 3, 4, 5, newest=(1, 2, 3, 5))
    world.reconfigure(world.options, 4, late=True)
    for node in range(1, 6):
        assert world.numbers(node) == (6, 5, 4, True)
    assert world.nodes[4].view().newcomer == 0


@pytest.mark.parametrize("restarted", [True, False])
def test_by_an_older_configuration_nobody_is_quorate(restarted: bool) -> None:
    """Q1: {1,4,5,6}|{2,3} after three were added without 3: it knows of three nodes, and 2 says what it missed."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.ring(1, 2)
    for new in (4, 5, 6):
        present = tuple(n for n in range(1, new) if n != 3)
        world.reconfigure(with_nodes(world.options, new), *present)
        world.start(new)
        world.ring(*present, new)
    if restarted:  # else it was stopped all the time, and still says quorate
        world.start(3, options_of(3))
    world.ring(1, 4, 5, 6)
    world.ring(2)
    world.form(2, 3)
    world.activate(2, 3, newest=(2,))
    assert [world.quorate(n) for n in range(1, 7)] == [True, False, False, True, True, True]
    world.reconfigure(world.options, 3, late=True)
    assert world.numbers(3) == (6, 2, 4, False)
    world.ring(3)
    assert world.numbers(3)[0] == 6


def test_objection_names_the_loss_of_quorum() -> None:
    """Section 13.4: refuse while the result would be inquorate."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.ring(1, 2)
    assert world.nodes[1].objection(with_nodes(world.options, 4)) == ""
    assert world.nodes[1].objection(with_nodes(world.options, 4, 5)) == (
        "3 of 5 votes would be needed, 2 are present: quorum would be lost "
        "(add n4, n5 one at a time, each with one vote, and start it)"
    )


def test_removing_lowers_expected() -> None:
    """Section 6."""
    world = World(options_of(5))
    world.ring(1, 2, 3, 4, 5)
    world.ring(1, 2, 3)
    world.reconfigure(options_of(3), 1, 2, 3)
    assert world.numbers(2) == (3, 3, 2, True)


def test_votes_of_the_nodelist_change_live() -> None:
    """Section 6: quorum_votes are live; each node tells its own in order."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.reconfigure(options_of(3, votes={1: 3, 2: 1, 3: 1}), 1, 2, 3)
    for node in (1, 2, 3):
        assert world.numbers(node) == (5, 5, 3, True)
        assert world.nodes[node].view().votes == {1: 3, 2: 1, 3: 1}
    world.ring(1)
    assert world.quorate(1)


def test_keys_read_at_start_do_not_change_live() -> None:
    """Section 6: wait_for_all, last_man_standing, auto_tie_breaker, allow_downscale, tracking: no."""
    world = World(options_of(4))
    world.ring(1, 2, 3, 4)
    world.reconfigure(options_of(4, auto_tie_breaker="lowest", wait_for_all=True), 1, 2, 3, 4)
    world.ring(1, 2)
    assert world.last(1).flags == ()


def test_two_node_goes_live_with_its_implied_wait() -> None:
    """Section 6: two_node, and the implied wait_for_all, are live; who is quorate need not wait again."""
    world = World(options_of(2))
    world.ring(1, 2)
    world.reconfigure(options_of(2, two_node=True), 1, 2)
    assert world.last(1).flags == ("2Node", "Quorate", "WaitForAll")
    world.ring(1)
    assert world.quorate(1)


# -- operators -----------------------------------------------------------------------------------------------------


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


# -- the device ----------------------------------------------------------------------------------------------------


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


# -- hostile and damaged input -------------------------------------------------------------------------------------


def test_member_without_a_readable_word_counts_no_votes() -> None:
    """Sync barrier: a malformed nodeinfo counts as votes 0."""
    world = World(options_of(3))
    core = world.nodes[1]
    core.sync_init((1, 2, 3), RingId(1, 1), (1,), 0.0)
    core.sync_activate({1: core.sync_state(), 2: b"\x01\xff"}, 0.0)
    assert world.numbers(1) == (3, 1, 2, False)
    assert core.malformed == 2


def test_messages_of_strangers_and_garbage_are_counted() -> None:
    world = World(options_of(3))
    world.ring(1, 2, 3)
    core = world.nodes[1]
    core.receive(9, messages.encode(messages.SetExpected(1)), 0.0)
    core.receive(2, b"", 0.0)
    core.receive(2, messages.encode(messages.SetVotes(7, 1)), 0.0)
    assert core.malformed == 3
    assert world.numbers(1) == (3, 3, 2, True)


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


class Lines(SilentLog):
    """A Log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(event)

    warning = error = info


def test_a_member_does_not_fill_the_log_of_the_others() -> None:
    """Votes set again and again, and a word that cannot be read in ring after ring, are not a line each for ever."""
    log = Lines()
    core = Votequorum(1, options_of(3), SavedState(), lambda n: f"n{n}", log)
    for seq in range(1, 1001):
        core.sync_init((1, 2), RingId(seq, 1), (1, 2), 1.0)
        core.sync_activate({1: core.sync_state(), 2: b"?"}, 1.0)
        core.receive(2, encode(SetExpected(1 + seq % 9)), 1.0)
        core.receive(2, encode(SetVotes(2, seq % 5)), 1.0)
        core.receive(2, encode(CancelWait()), 1.0)
        core.beat((2,), 1.0, 1.0)
    assert 10 < len(log.lines) < 100
    before = len(log.lines)
    core.receive(2, encode(SetVotes(2, 1)), 100.0)
    said = log.lines[before:]
    assert said[0].startswith("n2 sets the votes of n2 to 1 (") and said[0].endswith(
        " lines before this one were left out)"
    )
