"""Stories of nodes that come back: from a power cut, from far behind, from the wrong side, from outside the cluster."""

from __future__ import annotations

from tests.sim.stories.story import Story


def test_all_power_off_and_return_one_by_one(story: Story) -> None:
    """One of three has no quorum and shows nothing it is not sure of; two go on with all that was acknowledged."""
    s = story(3)
    s.formed()
    kept = s.acked(2, "x")
    s.power_off(1, 2, 3)
    s.start(3)
    s.run(2.0)
    assert s.quorate() == set()
    s.refused(3, "y")
    s.formed(1)
    assert s.quorate() == s.shown(kept) == {1, 3}
    more = s.acked(1, "y")
    s.formed(2)
    assert s.shown(kept) == s.shown(more) == {1, 2, 3}


def test_a_node_returns_after_10_000_revisions(story: Story) -> None:
    """It gets what it lacks while the others write on, shows nothing older than before, and then counts again."""
    s = story(3)
    s.formed()
    before = s.acked(3, "x")
    s.power_off(3)
    s.run(1.0)
    for first in range(0, 10_000, 500):
        calls = [s.write(1 + number % 2, f"k{(first + number) % 2000}") for number in range(500)]
        s.until(lambda calls=calls: all(call.outcome == "acked" for call in calls), "500 writes")  # type: ignore[misc]
    assert s.revision(1) >= 10_001
    s.formed(3)
    s.until(lambda: s.revision(3) == s.revision(1), "all of it to be visible", within=0.2)
    assert s.shown(calls[-1]) == s.shown(before) == {1, 2, 3}
    s.kill(1)
    s.run(2.0)
    s.acked(3, "y")


def test_a_removed_node_powers_on_again(story: Story) -> None:
    """X2: node 5 was removed while it was off; node 4 was merely off, and the cluster key was rotated twice meanwhile.
    Node 4 fetches configuration and key and is in; node 5 is told that it was removed, and gets in nowhere: a key that
    node 4 may have passed on to it, before it heard of the removal, is rotated away."""
    s = story(5, administered=("remove", "rotate"))
    s.formed()
    s.power_off(4, 5)
    s.run(1.5)
    s.remove(5, at=1)
    s.run(3.0)
    s.rotate_key(2)
    s.run(1.5)
    assert s.generation(1) == s.generation(3) == 3
    kept = s.acked(1, "x")
    s.start(4, 5)
    s.until(lambda: s.told_removed(5), "a word that it was removed")
    s.settled([1, 2, 3, 4], [5])
    s.run(1.5)  # a rotation begins a second after the members heard which keys are outside
    assert s.quorate() == {1, 2, 3, 4}
    assert s.generation(5) < s.generation(1) == s.generation(4)
    assert s.shown(kept) == {1, 2, 3, 4}
    s.refused(5, "x")


def test_a_forced_minority_whose_majority_survived(story: Story) -> None:
    """`expected 1` on one of three while the others live: its store is narrow, and what it acknowledged is set aside
    when they meet; the history with a data majority leads."""
    s = story(3, administered=("set-expected",))
    s.formed()
    s.split([1], [2, 3])
    s.settled([1], [2, 3])
    s.run(1.0)
    s.refused(1, "x")
    assert s.expected(1, 1) == ""
    s.run(0.5)
    assert s.quorate() == {1, 2, 3}
    forced, kept = s.acked(1, "x"), s.acked(2, "x")
    assert (s.kind(1), s.held_only_by(1), s.kind(2)) == ("narrow", {1}, "majority")
    s.heal()
    s.formed()
    assert s.leader(1) in {2, 3}
    assert (s.shown(kept), s.set_aside(forced)) == ({1, 2, 3}, {1})
    assert "2 of 3 votes needed, 3 present" in s.verdict(1)


def test_a_forced_minority_whose_majority_did_not_survive(story: Story) -> None:
    """The others were off, as an operator must make sure: what the forced node wrote leads when they return."""
    s = story(3, administered=("set-expected",))
    s.formed()
    before = s.acked(2, "x")
    s.power_off(2, 3)
    s.run(2.0)
    assert s.quorate() == set()
    assert s.expected(1, 1) == ""
    s.run(0.5)
    forced = s.acked(1, "x")
    assert s.held_only_by(1) == s.on_disk(forced) == {1}
    s.formed(2)
    assert (s.leader(2), s.kind(1)) == (1, "majority")
    s.formed(3)
    assert s.shown(forced) == s.on_disk(forced) == {1, 2, 3}
    assert s.set_aside(forced) == s.set_aside(before) == set()


def test_a_forced_minority_whose_majority_lost_its_disks(story: Story) -> None:
    """The others come back with empty disks: what is left stays readable and is not written, for a program must not
    decide what is lost; with one of the disks found again, all is as the forced node has it."""
    s = story(3, administered=("set-expected",))
    s.formed()
    s.acked(2, "x")
    s.power_off(2, 3)
    found = s.saved_disk(2)
    s.run(2.0)
    assert s.expected(1, 1) == ""
    s.run(0.5)
    forced = s.acked(1, "x")
    s.lose_disk(2)
    s.lose_disk(3)
    s.start(2, 3)
    s.run(3.0)
    assert "too few good stores: 1 of 1, 2, 3; lost: 2, 3" in s.why_read_only(1)
    s.refused(1, "y")
    assert s.shown(forced) == {1}
    s.find_disk(2, found)
    s.formed(2)
    assert s.shown(forced) == {1, 2, 3}
