"""Stories of networks that come apart: who may go on, who is told what, and how all become one again."""

from __future__ import annotations

from tests.sim.stories.language import Story


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
    s = story(3, auto_tie_breaker="lowest", wait_for_all=True, administered=("set-expected",))
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


def test_an_asymmetric_link(story: Story) -> None:
    """L4: node 3 hears node 1, which does not hear it. Rows must agree both ways, so it is out of any ring with 1."""
    s = story(3)
    s.formed()
    s.cut((3, 1))
    s.run(3.0)
    assert s.rings() == [{1, 2}, {3}]
    assert s.quorate() == {1, 2}
    s.acked(2, "x")
    s.refused(3, "x")
    s.heal()
    s.formed()
    assert s.on_disk(s.acked(3, "y")) >= {3}
