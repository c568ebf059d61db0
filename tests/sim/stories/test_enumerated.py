"""Stories told once for every step of what happens in them, with that step gone wrong (tests/sim/stories/branches.py).

How many of how many is printed; STORIES_WHOLE=1, or `python -m tests.sim.stories.play --whole`, tries them all.
"""

from __future__ import annotations

import pytest

from tests.sim.stories.story import Story

pytestmark = pytest.mark.timeout(600)  # of a busy machine; ten seconds of work each


def test_a_message_lost_at_every_step_of_losing_a_node(story: Story) -> None:
    """Each message of gather, commit, recovery and barrier, and each of the first token visits, is lost once: a ring
    forms all the same, in time, and nothing that was written is lost or done twice. Node 3 dies with a message out that
    node 2 lacks, so that there is something to recover."""
    s = story(3)
    s.formed()
    kept = s.acked(1, "x")
    lost = s.lose(lambda m: m.kind == "multicast" and m.author == 3 and m.receiver == 2, times=None)
    last = s.write(3, "z")
    s.until(lambda: 1 in s.on_disk(last), "the message at node 1")
    with s.each_loss(sample=60, pairs=6):
        s.kill(3)
        lost.left = 0
        s.write(1, "y")
        s.settled([1, 2])
        s.ready(1, 2)
        s.acked(2, "y")
    s.formed()
    s.run(0.1)
    assert s.shown(kept) == {1, 2, 3}
    assert s.again(last, 2).outcome == "acked"


def test_a_message_lost_at_every_step_of_a_merge(story: Story) -> None:
    """The same where two parts of a cluster become one, and one side gets the state of the other."""
    s = story(3)
    s.formed()
    s.split([1], [2, 3])
    s.settled([1], [2, 3])
    s.ready(2, 3)
    kept = s.acked(2, "x")
    with s.each_loss(sample=60, pairs=6):
        s.heal()
        s.write(3, "y")
        s.settled([1, 2, 3])
        s.ready(1, 2, 3)
        s.acked(1, "y")
    s.formed()
    s.run(0.1)
    assert s.shown(kept) == {1, 2, 3}


def test_a_crash_at_every_step_of_recovery_and_of_opening_a_primary(story: Story) -> None:
    """Some node dies just before and just after each message and each answer of a disk, by SIGKILL and by power, while
    a ring recovers the messages of the last one and a primary is opened: what was acknowledged stays, and all become
    one when it is back."""
    s = story(3)
    s.formed()
    kept = s.acked(1, "x")
    lost = s.lose(lambda m: m.kind == "multicast" and m.author == 3 and m.receiver == 2, times=None)
    last = s.write(3, "z")
    s.until(lambda: 1 in s.on_disk(last), "the message at node 1")
    with s.each_crash(sample=45):
        s.kill(3)
        lost.left = 0
        s.settled([1, 2])
        s.ready(1, 2)
        s.acked(2, "y")
    s.formed()
    s.run(0.1)
    assert s.shown(kept) == {1, 2, 3}
    assert s.again(last, 2).outcome == "acked"


def test_a_crash_at_every_step_of_a_return(story: Story) -> None:
    """The same where a node comes back from a power cut into a cluster that has gone on, and gets what it lacks."""
    s = story(3)
    s.formed()
    s.power_off(3)
    s.settled([1, 2])
    s.ready(1, 2)
    kept = s.acked(2, "x")
    with s.each_crash(sample=40):
        s.start(3)
        s.write(1, "y")
        s.settled([1, 2, 3])
        s.ready(1, 2, 3)
        s.acked(3, "z")
    s.formed()
    s.run(0.1)
    assert s.shown(kept) == {1, 2, 3}


def test_a_crash_at_every_step_of_a_restart_of_all(story: Story) -> None:
    """The same where all come back from a power cut that took a write under way: each disk holds another end of it."""
    s = story(3)
    s.formed()
    kept = s.acked(1, "x")
    s.run(0.1)
    s.write(2, "y")
    s.run(0.003)
    s.power_off(1, 2, 3)
    with s.each_crash(sample=40):
        s.start(1, 2, 3)
        s.settled([1, 2, 3])
        s.ready(1, 2, 3)
        s.acked(3, "z")
    s.formed()
    s.run(0.1)
    assert s.shown(kept) == {1, 2, 3}
