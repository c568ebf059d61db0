"""What the clients of the tree ask: every kind of operation, each fit for the wire; and how its answer is judged."""

from __future__ import annotations

from random import Random

from cfs.messages import Flag, Kind, Operation
from cfs.state import State
from tests.sim import tree_load
from tests.sim.checkers import real_time, watches
from tests.sim.histories import call, history_of
from tests.sim.history import ACKED


def test_every_kind_and_flag_is_asked_and_done() -> None:
    """No kind of operation is left to the unit tests alone; each is done at least once, not always refused."""
    random, state = Random(1), State()
    done: set[Kind] = set()
    flags = Flag.NONE
    for _ in range(600):
        for _, operation in tree_load.draw(random, random.choice(list(tree_load.KINDS))):
            flags |= operation.flags
            decoded = Operation.decode(operation.encode())
            if state.apply(decoded, state.index + 1).result.ok:
                done.add(operation.kind)
    assert done == set(Kind)
    assert flags == ~Flag.NONE


def test_calls_without_a_revision_of_their_own_have_no_place_in_the_order() -> None:
    """A staged chunk is answered with revision 0, whatever was acknowledged before it."""
    write, chunk = call(1, "put", 0.0, 1.0, ACKED, revision=5), call(2, "stage", 2.0, 3.0, ACKED)
    real_time.check_revisions_follow_real_time(history_of(write, chunk))
    watches.check_alike(history_of(write, chunk))


def test_every_call_with_a_revision_has_its_word_for_watchers() -> None:
    """What the tree's clients change is told to watchers, and compared."""
    random = Random(2)
    for kind in tree_load.KINDS:
        for _ in range(20):
            for name, _ in tree_load.draw(random, kind):
                assert not call(1, name, 0.0, 1.0, ACKED).has_revision or name in watches.OPS
