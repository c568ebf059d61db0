"""Stories of two nodes: what each option of the quorum section makes of losing one of them (docs/quorum.md)."""

from __future__ import annotations

from tests.sim.stories.story import Story


def test_two_nodes_without_an_option(story: Story) -> None:
    """2 of 2 votes are needed: whoever is left can be read and refuses writes."""
    s = story(2)
    s.formed()
    before = s.acked(1, "x")
    s.kill(2)
    s.run(2.0)
    assert s.quorate() == set()
    s.refused(1, "x")
    assert s.shown(before) == {1}
    s.formed(2)
    assert s.on_disk(s.acked(2, "x")) == {1, 2}


def test_two_node(story: Story) -> None:
    """two_node: either alone suffices, and its store is narrow; it implies wait_for_all for whoever starts alone."""
    s = story(2, two_node=True)
    s.formed()
    s.kill(2)
    s.run(2.0)
    assert s.quorate() == {1}
    alone = s.acked(1, "x")
    assert (s.kind(1), s.held_only_by(1), s.on_disk(alone)) == ("narrow", {1}, {1})
    s.kill(1)
    s.start(2)
    s.run(3.0)
    assert s.quorate() == set()
    assert "waiting for all: 1 of 2 votes present" in s.verdict(2)
    s.formed(1)
    assert s.shown(alone) == s.on_disk(alone) == {1, 2}
    assert s.kind(1) == "majority"


def test_both_halves_of_two_node(story: Story) -> None:
    """Both halves of a split are quorate by design. Both stores are narrow; the later epoch leads when they meet, and
    what the other acknowledged is set aside, not lost."""
    s = story(2, two_node=True)
    s.formed()
    s.split([1], [2])
    s.run(2.0)
    assert s.quorate() == {1, 2}
    ours, theirs = s.acked(1, "x"), s.acked(2, "x")
    s.heal()
    s.formed()
    leader = s.leader(1)
    kept, lost = (ours, theirs) if leader == 1 else (theirs, ours)
    assert s.shown(kept) == {1, 2}
    assert s.set_aside(lost) == {1, 2} - {leader}
    assert s.set_aside(kept) == set()


def test_two_node_without_wait_for_all(story: Story) -> None:
    """wait_for_all off: a node that starts alone is quorate at once, and goes on narrow with what it had."""
    s = story(2, two_node=True, wait_for_all=False)
    s.formed()
    before = s.acked(1, "x")
    s.power_off(1, 2)
    s.start(2)
    s.run(2.0)
    assert s.quorate() == {2}
    assert s.kind(2) == "narrow"
    assert s.shown(before) == {2}
    alone = s.acked(2, "y")
    s.formed(1)
    assert s.on_disk(alone) == {1, 2}


def test_two_nodes_with_wait_for_all(story: Story) -> None:
    """wait_for_all alone lowers nothing: with one of two there is no quorum, before and after all were present."""
    s = story(2, wait_for_all=True)
    s.start(1)
    s.run(2.0)
    assert "waiting for all" in s.verdict(1)
    s.formed(2)
    s.leave(2)
    s.run(1.0)
    assert s.quorate() == set()
    s.refused(1, "x")


def test_two_nodes_with_auto_tie_breaker(story: Story) -> None:
    """auto_tie_breaker lowest: of two equal halves node 1 goes on, narrow, and node 2 does not."""
    s = story(2, auto_tie_breaker="lowest")
    s.formed()
    s.split([1], [2])
    s.run(2.0)
    assert s.quorate() == {1}
    alone = s.acked(1, "x")
    s.refused(2, "x")
    assert s.held_only_by(1) == {1}
    s.heal()
    s.formed()
    assert (s.leader(2), s.on_disk(alone), s.set_aside(alone)) == (1, {1, 2}, set())


def test_two_nodes_with_auto_tie_breaker_highest(story: Story) -> None:
    """auto_tie_breaker_node: highest: it is node 2 that goes on."""
    s = story(2, auto_tie_breaker="highest")
    s.formed()
    s.kill(1)
    s.run(2.0)
    assert s.quorate() == {2}
    s.formed(1)
    s.kill(2)
    s.run(2.0)
    assert s.quorate() == set()


def test_two_nodes_with_last_man_standing(story: Story) -> None:
    """last_man_standing: who stayed must be quorate for the window; one of two never is, so two cannot become one."""
    s = story(2, last_man_standing=True, last_man_standing_window=0.5, wait_for_all=True)
    s.formed()
    s.kill(2)
    s.run(4.0)
    assert s.quorate() == set()
    s.refused(1, "x")


def test_two_nodes_with_last_man_standing_and_tie_breaker(story: Story) -> None:
    """With auto_tie_breaker as well, two members can become one: the deciding one."""
    s = story(2, last_man_standing=True, last_man_standing_window=0.5, wait_for_all=True, auto_tie_breaker="lowest")
    s.formed()
    s.kill(2)
    s.run(4.0)
    assert s.quorate() == {1}
    assert s.on_disk(s.acked(1, "x")) == {1}


def test_two_nodes_with_allow_downscale(story: Story) -> None:
    """allow_downscale: a clean leave lowers expected votes down to the configured ones; a crash lowers nothing."""
    s = story(2, allow_downscale=True, expected_votes=1)
    s.formed()
    s.leave(2)
    s.run(1.0)
    assert s.quorate() == {1}
    s.acked(1, "x")
    s.formed(2)
    s.kill(2)
    s.run(2.0)
    assert s.quorate() == set()


def test_a_goodbye_under_allow_downscale_that_was_lost_first(story: Story) -> None:
    """The others hear of the leave in order before the goodbye, also when the network loses its first datagram."""
    s = story(2, allow_downscale=True, expected_votes=1)
    s.formed()
    s.run(0.5)
    lost = s.lose(lambda message: message.kind == "multicast" and message.sender == 2)
    s.leave(2)
    s.run(1.0)
    assert len(lost.dropped) == 1
    assert s.quorate() == {1}


def test_two_nodes_with_expected_votes_tracking(story: Story) -> None:
    """expected_votes_tracking: the highest number ever seen is on disk, and binds a node that starts alone."""
    s = story(2, expected_votes_tracking=True, expected_votes=1)
    s.formed()
    s.power_off(1, 2)
    s.start(1)
    s.run(2.0)
    assert s.quorate() == set()
    assert "2 of 2 votes needed, 1 present" in s.verdict(1)
    s.formed(2)


def test_two_nodes_with_a_device(story: Story) -> None:
    """The device's vote makes one of two a majority of three votes; it holds no data, so the store is narrow."""
    s = story(2, device=True, device_votes=1, device_timeout=1.0, device_sync_timeout=1.0)
    s.formed()
    s.split([1], [2])
    s.run(4.0)
    (chosen,) = s.quorate()
    other = 3 - chosen
    alone = s.acked(chosen, "x")
    s.refused(other, "x")
    assert s.held_only_by(chosen) == s.on_disk(alone) == {chosen}
    s.heal()
    s.formed()
    assert (s.leader(other), s.on_disk(alone)) == (chosen, {1, 2})


def test_two_nodes_with_a_device_where_the_master_wins(story: Story) -> None:
    """master_wins: only who has the device's vote goes on, and both have it when nothing is wrong."""
    s = story(2, device=True, device_votes=1, master_wins=True, device_timeout=1.0, device_sync_timeout=1.0)
    s.formed()
    s.stage.arbiter.cut[1] += 1
    s.split([1], [2])
    s.run(4.0)
    assert s.quorate() == {2}
    s.refused(1, "x")
    alone = s.acked(2, "x")
    s.heal()
    s.formed()
    assert s.on_disk(alone) == {1, 2}


def test_two_nodes_that_expect_one_vote(story: Story) -> None:
    """expected_votes below the sum: who saw two votes goes on needing both, but after a restart both halves are quorate
    alone. Both stores are narrow then, and one of the two histories is set aside."""
    s = story(2, expected_votes=1)
    s.formed()
    s.split([1], [2])
    s.run(2.0)
    assert s.quorate() == set()
    assert "2 of 2 votes needed, 1 present" in s.verdict(1)
    s.power_off(1, 2)
    s.start(1, 2)
    s.run(2.0)
    assert s.quorate() == {1, 2}
    calls = {node: s.acked(node, "x") for node in (1, 2)}
    s.heal()
    s.formed()
    leader = s.leader(1) or 0
    assert s.shown(calls[leader]) == {1, 2}
    assert s.set_aside(calls[3 - leader]) == {3 - leader}
