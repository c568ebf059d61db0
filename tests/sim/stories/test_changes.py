"""Stories of configurations that change, or are not the same everywhere, while the network comes apart."""

from __future__ import annotations

from tests.sim.stories.story import Story


def test_a_newcomer_joins_the_minority_first(story: Story) -> None:
    """Q1: a node that was added is not expected before it has joined (votes of 3), and counts from then on (of 4). Here
    it joins one node that is cut off: 2 of 4 are none, for the other two are quorate by 2 of 3."""
    s = story(3, administered=("add",))
    s.formed()
    s.add(4, at=1, joins=False)
    s.split([1], [2, 3], [4])
    s.settled([1], [2, 3], [4])
    s.run(1.0)
    s.split([1, 4], [2, 3])
    s.settled([1, 4], [2, 3])
    s.run(1.0)
    assert s.quorate() == {2, 3}
    s.heal()
    s.formed()
    s.split([1, 4], [2, 3])
    s.settled([1, 4], [2, 3])
    s.run(1.0)
    assert s.quorate() == set()


def test_a_node_that_cannot_take_a_shorter_token(story: Story) -> None:
    """Q4: nodes 1 and 2 run a newer configuration, by which they leave others out after 0.15 s. Node 3 is in their ring
    and cannot take it; its own token is 0.6 s, but its verdict must end before they go on without it."""
    s = story(3, administered=("token",))
    s.misses_change(3, "token", "150")
    s.formed()
    s.run(0.5)
    s.split([1, 2], [3])
    s.until(lambda: s.ring(1) == {1, 2} and 1 in s.quorate(), "a quorate ring of 1 and 2")
    assert 3 not in s.quorate()
    s.give_address(3)
    s.heal()
    s.formed()


def test_two_removed_at_once_and_a_cut_at_the_last_agreement(story: Story) -> None:
    """Q1: 4 and 5 are away and are to be removed. Were it done in one step, and 3 cut off just before it heard the last
    agreement, {1,2} would have 2 of 3 votes and {3,4,5} 3 of 5: so that is refused, and says what to do."""
    s = story(5, administered=("remove",))
    s.formed()
    s.split([1, 2, 3], [4, 5])
    s.settled([1, 2, 3], [4, 5])
    s.ready(1, 2, 3)
    refused = s.remove_unheard(4, 5, at=2, by=3)
    s.split([1, 2], [3, 4, 5])
    s.settled([1, 2], [3, 4, 5])
    s.run(1.0)
    assert s.quorate() == {3, 4, 5}
    assert "one node at a time" in refused
    s.split([1, 2, 3], [4, 5])
    s.settled([1, 2, 3], [4, 5])
    s.ready(1, 2, 3)
    s.remove(4, at=2)
    s.ready(1, 2, 3)
    assert s.remove_unheard(5, at=2, by=3) == ""
    s.split([1, 2], [3, 5], [4])
    s.settled([1, 2], [3, 5], [4])
    s.run(1.0)
    assert s.quorate() == {1, 2}


def test_a_removal_that_one_alone_heard(story: Story) -> None:
    """Node 3 is away and is removed; the network comes apart as node 2 alone has heard the last agreement, and all lose
    power. Node 1 goes on with node 3, two of three; but it knows that it had agreed, and takes the change as soon as it
    hears of node 2, which could be quorate only with it."""
    s = story(3, administered=("remove",))
    s.formed()
    s.split([1, 2], [3])
    s.settled([1, 2], [3])
    s.ready(1, 2)
    assert s.remove_unheard(3, at=2, by=1) == ""
    s.split([2], [1, 3])
    s.run(0.1)
    s.power_off(1, 2, 3)
    s.start(1, 2, 3)
    s.settled([2], [1, 3])
    s.run(1.0)
    assert s.quorate() == {1, 3}
    s.heal()
    s.until(lambda: s.ring(2) == {1, 2} and s.quorate() == {1, 2}, "the ring without node 3")
