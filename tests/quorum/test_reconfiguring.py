"""The configuration changes while nodes run: nodes added one at a time, votes, and what changes live (section 6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.quorum.world import World, options_of, with_nodes


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


@pytest.mark.parametrize("added", [{5: 2}, {5: 1, 6: 1}])
def test_more_than_one_new_vote_counts_at_once(added: dict[int, int]) -> None:
    """Left out until they join, two new votes with a minority could be quorate beside the old majority."""
    world = World(options_of(4))
    world.ring(1, 2, 3, 4)
    options = replace(world.options, votes={**world.options.votes, **added})
    assert world.nodes[1].objection(options) == ""
    world.reconfigure(options, 1, 2, 3, 4)
    assert world.numbers(1) == (6, 4, 4, True)
    world.ring(1, 2, 3)
    assert not world.quorate(1)


@pytest.mark.parametrize(
    ("members", "votes"),
    [
        ((1, 2, 3), {1: 1, 2: 1, 3: 1}),
        ((1, 2, 3, 4, 5), dict.fromkeys(range(1, 8), 1)),
        ((1, 2, 3), {1: 1, 2: 1, 3: 1, 4: 1, 6: 1}),
        ((1, 2, 3, 4, 5), {1: 1, 2: 1, 3: 3, 4: 1, 5: 1}),
    ],
    ids=["two removed", "two added", "one for another", "two votes more"],
)
def test_what_could_leave_two_majorities_is_refused(members: tuple[int, ...], votes: dict[int, int]) -> None:
    """Q1 across a change, of five nodes: who is cut off before the last agreement runs the old configuration on."""
    world = World(options_of(5))
    world.ring(*members)
    assert "too much at once" in world.nodes[1].objection(replace(world.options, votes=votes))


def test_one_after_the_other_nobody_is_locked_out() -> None:
    """Two of five are gone for good: removed one by one, and two others added one by one, no step is refused."""
    world = World(options_of(5))
    world.ring(1, 2, 3)
    for gone in (5, 4):
        options = replace(world.options, votes={n: v for n, v in world.options.votes.items() if n != gone})
        assert world.nodes[1].objection(options) == ""
        world.reconfigure(options, 1, 2, 3)
    assert world.numbers(1) == (3, 3, 2, True)
    present = [1, 2, 3]
    for new in (6, 7):
        options = with_nodes(world.options, new)
        assert world.nodes[1].objection(options) == ""
        world.reconfigure(options, *present)
        world.start(new)
        present.append(new)
        world.ring(*present)
    assert world.numbers(1) == (5, 5, 3, True)


def test_one_more_waits_for_the_one_before() -> None:
    """{1,4,5} by a list with 4 and 5 beside {2,3} by one where 4 is not expected yet: 4 must have joined before."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.reconfigure(with_nodes(world.options, 4), 1, 2, 3)
    assert "one node at a time" in world.nodes[1].objection(with_nodes(world.options, 5))


def test_a_part_made_quorate_by_hand_may_remove_all_others_at_once() -> None:
    """An operator's override promises nothing (Q1), and by single steps its quorum would be lost."""
    world = World(options_of(5))
    world.ring(1, 2)
    world.nodes[1].set_expected(2)
    world.deliver()
    assert world.quorate(1)
    assert world.nodes[1].objection(replace(world.options, votes={1: 1, 2: 1})) == ""
    one_less = replace(world.options, votes=dict.fromkeys((1, 2, 3, 4), 1))
    assert "quorum would be lost" in world.nodes[1].objection(one_less)


@pytest.mark.parametrize("changes", [{"expected_votes": 3}, {"device": True, "device_votes": 2}], ids=str)
def test_where_two_parts_may_be_quorate_anyway_no_step_is_too_much(changes: dict[str, int]) -> None:
    """expected_votes below the sum of all, or a device: nothing is promised that a large step could break."""
    world = World(options_of(5, **changes))
    world.ring(1, 2, 3, 4, 5)
    world.nodes[1].set_expected(5)
    world.deliver()
    options = replace(world.options, votes=dict.fromkeys((1, 2, 3), 1))
    assert "too much" not in world.nodes[1].objection(options)


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


def test_who_was_away_while_a_node_was_removed_does_not_wait_for_it() -> None:
    """wait_for_all: 3 was away when 1 was removed of six. It meets the other four, who wait for all five, and are: it
    must not wait for six."""
    world = World(options_of(6, wait_for_all=True))
    world.ring(1, 2, 3, 4, 5, 6)
    world.ring(1, 2, 4, 5, 6)
    left = replace(world.options, votes=dict.fromkeys((2, 3, 4, 5, 6), 1))
    world.reconfigure(left, 1, 2, 4, 5, 6)
    for node in (2, 4, 5, 6):
        world.ring(node)
    world.ring(3)
    world.form(2, 3, 4, 5, 6)
    world.activate(2, 3, 4, 5, 6, newest=(2, 4, 5, 6))
    world.reconfigure(left, 3, late=True)
    world.beats(2, 3, 4, 5, 6)
    assert [world.quorate(node) for node in (2, 3, 4, 5, 6)] == [True] * 5
