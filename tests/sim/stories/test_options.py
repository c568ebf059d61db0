"""Stories of the quorum section beyond two nodes: last_man_standing, tie breakers, the device (docs/quorum.md)."""

from __future__ import annotations

from tests.sim.stories.story import Story


def test_last_man_standing_down_to_one(story: Story) -> None:
    """Who stays quorate for the window lowers what is expected; with a tie breaker five become one, one by one. The
    data set follows, so each store but the last one's is held by a majority."""
    s = story(5, last_man_standing=True, last_man_standing_window=0.5, auto_tie_breaker="lowest", wait_for_all=True)
    s.formed()
    for gone in (5, 4, 3):
        s.kill(gone)
        s.run(2.5)
        here = set(range(1, gone))
        assert s.quorate() == here
        assert (s.kind(1), s.data_set(1)) == ("majority", here)
        s.acked(gone - 1, "x")
    s.kill(2)
    s.run(2.5)
    assert s.quorate() == {1}
    last = s.acked(1, "x")
    assert s.on_disk(last) == {1}
    s.formed(2, 3, 4, 5)
    assert s.shown(last) == {1, 2, 3, 4, 5}


def test_last_man_standing_stops_at_two(story: Story) -> None:
    """Without a tie breaker: from three, one loss is survived; then 2 of 2, and stop."""
    s = story(3, last_man_standing=True, last_man_standing_window=0.5, wait_for_all=True)
    s.formed()
    s.kill(3)
    s.run(2.5)
    assert "2 of 2 votes needed, 2 present" in s.verdict(1)
    s.kill(2)
    s.run(2.5)
    assert s.quorate() == set()
    s.refused(1, "x")


def test_two_quorate_parts_under_last_man_standing(story: Story) -> None:
    """quorum.md: {1,2,3} | {4}, then {1,2} | {3,4}: both halves act. One store is narrow, so only one line counts."""
    s = story(4, last_man_standing=True, last_man_standing_window=0.5)
    s.formed()
    s.split([1, 2, 3], [4])
    s.run(2.5)
    assert s.quorate() == {1, 2, 3}
    s.split([1, 2], [3, 4])
    s.run(2.0)
    assert s.quorate() == {1, 2, 3, 4}
    ours, theirs = s.write(1, "x"), s.write(3, "x")
    s.ended(ours)
    s.ended(theirs)
    s.heal()
    s.formed()


def test_two_quorate_parts_under_auto_tie_breaker(story: Story) -> None:
    """quorum.md: {1} | {2,3,4}, then {2,3} | {1,4}: node 1 sees its own lowest, and is quorate beside {2,3}."""
    s = story(4, auto_tie_breaker="lowest", wait_for_all=False)
    s.formed()
    s.split([1], [2, 3, 4])
    s.run(2.0)
    assert s.quorate() == {2, 3, 4}
    s.split([2, 3], [1, 4])
    s.run(2.0)
    assert s.quorate() == {1, 2, 3}
    s.refused(4, "x")
    s.heal()
    s.formed()


def test_one_node_plus_device(story: Story) -> None:
    """A whole power cut, and one of two returns: with the device's vote it is quorate, and its store is narrow."""
    s = story(2, device=True, device_votes=1, device_timeout=1.0, device_sync_timeout=1.0)
    s.formed()
    before = s.acked(2, "x")
    s.power_off(1, 2)
    s.start(1)
    s.run(3.0)
    assert s.quorate() == {1}
    assert (s.kind(1), s.held_only_by(1)) == ("narrow", {1})
    assert s.shown(before) == {1}
    alone = s.acked(1, "y")
    s.formed(2)
    assert s.on_disk(alone) == {1, 2}
    assert s.kind(1) == "majority"


def test_the_vote_of_the_device_arrives_late(story: Story) -> None:
    """A vote counts until 0.8 s after it was asked for: an answer that takes longer counts for nothing."""
    s = story(2, device=True, device_votes=1, device_timeout=1.0, device_sync_timeout=1.0)
    s.formed()
    s.stage.arbiter.late = 1.0
    s.kill(2)
    s.run(4.0)
    assert s.quorate() == set()
    s.refused(1, "x")
    s.stage.arbiter.late = 0.4
    s.run(1.5)
    assert s.quorate() == {1}
    s.acked(1, "x")
