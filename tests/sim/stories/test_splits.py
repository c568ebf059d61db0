"""Stories of networks that come apart: who may go on, who is told what, and how all become one again."""

from __future__ import annotations

from tests.sim.stories.story import Story


def test_an_even_split_of_four(story: Story) -> None:
    """Q1: 2 of 4 votes are no majority, so neither half may write; both can be read, and nothing is lost."""
    s = story(4)
    s.formed()
    before = s.acked(1, "x")
    s.split([1, 2], [3, 4])
    s.run(2.0)
    assert s.quorate() == set()
    assert "3 of 4 votes needed, 2 present" in s.verdict(1)
    s.refused(1, "x")
    s.refused(4, "x")
    assert s.shown(before) == {1, 2, 3, 4}
    s.heal()
    s.converges()
    assert s.shown(before) == s.on_disk(before) == {1, 2, 3, 4}


def test_the_leader_of_a_merge_has_the_older_state(story: Story) -> None:
    """Leader: a majority's log leads whatever the counters of writes say; here it is far shorter than the other one."""
    s = story(3, administered=("set-expected",))
    s.formed()
    s.split([1], [2, 3])
    s.settled([1], [2, 3])
    s.run(1.0)
    assert s.quorate() == {2, 3}
    kept = s.acked(2, "x")
    assert s.expected(1, 1) == ""
    s.run(0.5)
    lost = [s.acked(1, "x") for _ in range(20)]
    assert s.revision(1) > s.revision(2)
    s.heal()
    s.formed()
    assert s.leader(1) in {2, 3}
    assert s.shown(kept) == {1, 2, 3}
    assert all(s.set_aside(call) == {1} for call in lost)


def test_all_are_alone_and_the_last_has_the_older_state(story: Story) -> None:
    """Q5: no primary opens where there is no quorum, not even one that takes no write: all three are cut off from each
    other, and the one with the highest id, which would be the newest, lacks what the other two have."""
    s = story(3)
    s.formed()
    s.split([1, 2], [3])
    s.settled([1, 2], [3])
    s.ready(1, 2)
    kept = [s.acked(1, "x"), s.acked(2, "y")]
    s.split([1], [2], [3])
    s.settled([1], [2], [3])
    s.run(1.0)
    assert s.kind(1) is s.kind(2) is s.kind(3) is None
    s.split([1], [2, 3])
    s.settled([1], [2, 3])
    s.ready(2, 3)
    s.run(0.1)
    assert all(s.shown(call) >= {2, 3} for call in kept)


def test_an_asymmetric_link(story: Story) -> None:
    """L4: node 3 hears node 1, which does not hear it. Rows must agree both ways, so it is out of any ring with 1."""
    s = story(3)
    s.formed()
    s.cut((3, 1))
    s.settled([1, 2], [3])
    s.run(3.0)
    s.settled([1, 2], [3])
    assert s.quorate() == {1, 2}
    s.acked(2, "x")
    s.refused(3, "x")
    s.heal()
    s.formed()
    assert s.on_disk(s.acked(3, "y")) >= {3}


def test_a_message_lost_with_its_sender(story: Story) -> None:
    """{1,2,4} lose a message together with its sender, 3, while {3,5} deliver it (O1 to O4): nobody of the majority has
    it, though they have the message numbered after it. {3,5} log both, acknowledge neither, and set them aside when
    they meet the majority; each client's retry is done exactly once."""
    s = story(5)
    s.formed()
    s.acked(1, "x")
    s.run(0.1)
    lost = s.lose(lambda m: m.kind == "multicast" and m.author == 3 and m.receiver in {1, 2, 4}, times=None)
    theirs = s.write(3, "y")
    s.until(lambda: s.on_disk(theirs) == {3, 5}, "the message at node 5")
    ours = s.write(1, "z")
    s.until(lambda: s.on_disk(ours) >= {3, 5}, "the message behind it")
    assert {m.receiver for m in lost.dropped} == {1, 2, 4}
    s.split([1, 2, 4], [3, 5])
    lost.left = 0
    assert s.on_disk(ours) == {3, 5}
    s.settled([1, 2, 4], [3, 5])
    s.unknown(theirs)
    assert s.ended(ours).outcome == "acked"
    assert (s.quorate(), s.shown(theirs)) == ({1, 2, 4}, set())
    s.heal()
    s.formed()
    s.run(0.1)  # until it is on their disks that it was dropped
    assert s.set_aside(theirs) == {3, 5}
    assert s.on_disk(theirs) == set()
    assert s.again(theirs, 3).outcome == "acked"
    s.run(0.1)
    assert s.shown(ours) == s.shown(theirs) == {1, 2, 3, 4, 5}


def test_what_is_delivered_behind_a_gap_is_not_logged(story: Story) -> None:
    """S1: {1,2,4} of five acknowledge a write that {3,5} lack, and die. What 3 wrote behind that gap is delivered to
    {3,5} after the transitional event: if they logged it, their logs would end behind the one of 4, that comes back,
    and lead, without the write that was acknowledged."""
    s = story(5)
    s.formed()
    s.acked(2, "x")
    s.run(0.1)
    gap = s.lose(lambda m: m.author == 1 and m.kind == "multicast" and m.receiver in {3, 5}, times=None)
    tail = s.lose(lambda m: m.author == 3 and m.kind == "multicast" and m.receiver in {1, 2, 4}, times=None)
    kept = s.acked(1, "y")
    behind = [s.write(3, "z"), s.write(3, "z")]
    s.run(0.03)
    assert s.on_disk(kept) == {1, 2, 4} and not any(s.on_disk(call) for call in behind)
    s.kill(1, 2, 4)
    s.settled([3, 5])
    gap.left = tail.left = 0
    s.run(0.1)
    s.start(4)
    s.settled([3, 4, 5])
    s.ready(3, 4, 5)
    s.run(0.1)
    assert s.shown(kept) == {3, 4, 5}
