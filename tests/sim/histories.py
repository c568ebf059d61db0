"""Histories written by hand, for the checkers' own tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sim.history import Call, History, Process, Violation
from tests.transport.totem.evs import Trace
from transport.ids import RingId

VOTES = {1: 1, 2: 1, 3: 1}
RINGS = [RingId(4, 1, 1), RingId(8, 1, 1), RingId(12, 2, 1)]


def ident(number: int) -> bytes:
    return number.to_bytes(16, "big")


def call(
    number: int,
    kind: str,
    invoked: float,
    ended: float | None,
    outcome: str,
    value: bytes | None = None,
    revision: int = 0,
    expected: int | None = None,
    node: int = 1,
) -> Call:
    made = Call(ident(number), kind, "k", node, 0, 1, invoked, value, expected)
    made.ended, made.outcome, made.revision = ended, outcome, revision
    return made


def broken(check: Callable[[History], object], history: History) -> str:
    """The promise that `check` finds broken."""
    with pytest.raises(Violation) as caught:
        check(history)
    return caught.value.promise


def history_of(*calls: Call) -> History:
    """Three nodes of one vote each, all up, a majority needed."""
    processes = [Process(node, 0, 0.0, Trace(node, 1)) for node in (1, 2, 3)]
    return History(dict(VOTES), list(calls), processes, votes_needed=2)
