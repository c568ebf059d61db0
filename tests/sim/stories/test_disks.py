"""Stories of disks: lost, full, late, and what a store that is gone may and may not do (S1, S6, protocol-store.md)."""

from __future__ import annotations

from tests.sim.stories.story import Story


def test_a_disk_lost_at_one_of_two_that_are_up(story: Story) -> None:
    """Of three, one good store with one lost one waits for the third; then what was acknowledged is everywhere."""
    s = story(3)
    s.formed()
    s.kill(3)
    s.run(2.0)
    kept = s.acked(1, "x")
    s.lose_disk(2)
    s.start(2)
    s.run(3.0)
    assert s.quorate() == {1, 2}
    assert "too few good stores: 1 of 1, 2" in s.why_read_only(1)
    s.refused(1, "y")
    assert s.shown(kept) == {1}
    s.formed(3)
    assert s.shown(kept) == s.on_disk(kept) == {1, 2, 3}


def test_a_lost_disk_at_two_of_three(story: Story) -> None:
    """A majority of disks is gone: what is left is read and never written, until one of the lost disks is found."""
    s = story(3)
    s.formed()
    kept = s.acked(1, "x")
    s.run(0.5)
    s.power_off(3)
    found = s.saved_disk(3)
    s.lose_disk(2)
    s.lose_disk(3)
    s.start(2, 3)
    s.run(3.0)
    assert s.quorate() == {1, 2, 3}
    assert "too few good stores: 1 of 1, 2, 3; lost: 2, 3" in s.why_read_only(1)
    s.refused(1, "y")
    s.refused(3, "y")
    assert s.shown(kept) == {1}
    s.find_disk(3, found)
    s.formed(3)
    assert s.shown(kept) == {1, 2, 3}


def test_two_empty_joiners_and_one_veteran(story: Story) -> None:
    """Empty stores never lead: the two are learners until they hold the veteran's state, then they hold data too."""
    s = story(1, administered=("add",))
    s.formed()
    kept = [s.acked(1, f"x{number}") for number in range(20)]
    s.add(2, at=1)
    s.add(3, at=1)
    s.until(lambda: all(s.data_set(node) == {1, 2, 3} for node in (1, 2, 3)), "three that hold data")
    assert s.leader(2) == s.leader(3) == 1
    assert all(s.shown(call) == {1, 2, 3} for call in kept)
    s.kill(1)
    s.run(2.0)
    assert s.quorate() == {2, 3}
    assert s.kind(2) == "majority"
    assert s.on_disk(s.acked(3, "y")) == {2, 3}


def test_two_of_three_disks_full(story: Story) -> None:
    """No required set of working disks: new writes are refused at once; ring, quorum and reads go on."""
    s = story(3)
    s.formed()
    kept = s.acked(1, "x")
    s.run(0.1)
    s.fill_disk(2, 3)
    s.unknown(s.write(1, "y"))
    s.refused(1, "z")
    s.refused(2, "z")
    assert s.quorate() == {1, 2, 3}
    assert s.rings() == [{1, 2, 3}]
    assert s.shown(kept) == {1, 2, 3}
    assert s.state(2) == "disk_error"
    s.fill_disk(2, 3, full=False)
    s.run(1.5)
    assert s.on_disk(s.acked(2, "z")) >= {2}


def test_a_node_that_starts_while_its_disk_hangs(story: Story) -> None:
    """The others do not hear of it, and keep the ring they have (L4): none could form with who has no ring number on
    disk. It comes in when the disk answers. So with a disk that is full."""
    s = story(3)
    s.formed()
    for trouble in (s.hang_disk, s.fill_disk):
        s.kill(3)
        s.settled([1, 2])
        s.ready(1, 2)
        before = s.ring_id(1)
        trouble(3)
        s.start(3)
        for _ in range(5):
            s.run(1.0)
            s.acked(1, "x")
        assert s.ring_id(1) == s.ring_id(2) == before
        assert s.ring(3) == set()
        s.hang_disk(3, hung=False)
        s.fill_disk(3, full=False)
        s.formed()


def test_an_fsync_that_finishes_after_the_split(story: Story) -> None:
    """A late receipt commits nothing in the configuration that has ended: the client is told that the outcome is not
    known. The write is in the log of those who go on, and is committed with their next epoch."""
    s = story(3)
    s.formed()
    s.hang_disk(2, 3)
    late = s.write(1, "x")
    s.run(0.2)
    assert s.on_disk(late) == {1}
    s.split([1], [2, 3])
    s.run(0.1)
    s.hang_disk(2, 3, hung=False)
    s.unknown(late)
    assert s.quorate() == {2, 3}
    assert s.on_disk(late) == {1, 2, 3}
    s.run(0.5)
    assert s.shown(late) == {2, 3}
    s.heal()
    s.formed()
    s.run(0.1)  # until node 1 shows it too
    first = s.revision(1)
    assert s.again(late, 1).outcome == "acked"
    assert s.revision(1) == first
