"""What the simulator itself decides: who must have been told of its removal, and who is a process of the past."""

from copy import deepcopy

from tests.clusterd.memory import Memory
from tests.sim.minutes import CALL, WOKEN, had_time
from tests.sim.shadow import knows_more


def test_who_started_must_have_called_soon() -> None:
    """X2: a removed identity that calls gets a notice."""
    assert had_time(10.0, 0.0, 9.0, 10.0 + CALL)
    assert not had_time(10.0, 0.0, 9.0, 9.9 + CALL)


def test_who_was_stopped_first_finds_that_nobody_answers() -> None:
    """It has sessions still, and calls when they have been silent for a while."""
    assert not had_time(1.0, 10.0, 0.0, 10.0 + CALL)
    assert had_time(1.0, 10.0, 0.0, 10.0 + WOKEN)


def test_who_was_left_out_while_it_ran_finds_the_same() -> None:
    """It had made its sessions a moment before."""
    assert not had_time(9.95, 0.0, 10.0, 10.0 + CALL)
    assert had_time(9.95, 0.0, 10.0, 10.0 + WOKEN)


def past_of(memory: Memory, seconds: float) -> bool:
    """Node 1 as it is, so many seconds later: does node 2 know more of it?"""
    node = memory.hosts[1].node
    shared = {id(one): one for one in (node._log, node.changes)}
    before = deepcopy(node, shared)
    memory.run(seconds)
    return knows_more(memory.hosts[2].node, before)


def test_of_whom_others_have_heard_since_they_know_more() -> None:
    """By the numbers of its pings (transport/link/memory.py)."""
    memory = Memory(2)
    memory.run(2.0)
    assert past_of(memory, 2.0)


def test_of_whom_nobody_has_heard_since_nobody_knows_more() -> None:
    """Cut off all the while, it is like one that was stopped."""
    memory = Memory(2)
    memory.run(2.0)
    memory.cut |= {(1, 2), (2, 1)}
    memory.run(0.1)
    assert not past_of(memory, 2.0)
