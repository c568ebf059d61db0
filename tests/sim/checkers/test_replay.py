"""The checker that applies the final log again accepts a tree that the log makes, and catches any other."""

from __future__ import annotations

from dataclasses import replace

from cfs.messages import Kind, Operation
from cfs.records import EpochKind, EpochRecord
from cfs.state import State
from tests.sim.checkers import replay
from tests.sim.histories import RINGS, broken, history_of, ident
from tests.sim.history import FinalStore, History
from transport.ids import NO_RING


def replayed() -> tuple[History, FinalStore]:
    """Index 1 opens an epoch, 2 puts; 3 opens another, 4 puts; what the first epoch had at 3 was set aside."""
    history = history_of()
    first, second = RINGS[:2]
    history.epochs[first] = EpochRecord(first, NO_RING, 1, 1, EpochKind.MAJORITY, 0, (1,))
    history.epochs[second] = EpochRecord(second, first, 3, 1, EpochKind.MAJORITY, 0, (1,))
    one, aside, two = (Operation(ident(n), Kind.PUT, f"f{n}", data=b"x", writer=1) for n in (1, 2, 3))
    history.records = {(first, 1): None, (first, 2): one.encode(), (first, 3): aside.encode()}
    history.records |= {(second, 3): None, (second, 4): two.encode()}
    state = State()
    state.apply(one, 2)
    state.apply(two, 4)
    outcomes = {ident(1): ("OK", 1), ident(3): ("OK", 2)}
    store = FinalStore(1, state.revision, state.digest(), outcomes, {}, epoch=second, index=4)
    return history, store


def test_what_the_log_makes_is_accepted() -> None:
    """Of the line alone: a branch that was set aside is no part of it."""
    history, store = replayed()
    history.final = [store, replace(store, node=2)]
    assert replay.check(history) == 2


def test_another_tree_or_outcome_is_caught() -> None:
    """S4: another digest, another revision, another outcome."""
    history, store = replayed()
    wrong = {**store.outcomes, ident(1): ("EXISTS", 0)}
    for bad in (replace(store, digest=bytes(32)), replace(store, revision=9), replace(store, outcomes=wrong)):
        history.final = [bad]
        assert broken(replay.check, history) == "S4"


def test_a_log_with_a_gap_is_not_judged() -> None:
    """A record that was on no disk may have been anything."""
    history, store = replayed()
    del history.records[RINGS[0], 2]
    history.final = [replace(store, digest=bytes(32))]
    assert replay.check(history) == 0
