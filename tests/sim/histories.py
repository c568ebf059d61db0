"""Histories written by hand, for the checkers' own tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cfs.records import EpochKind, EpochRecord
from tests.sim.history import Call, FinalStore, History, Process, Told, Violation
from tests.transport.totem.evs import Trace
from transport.ids import NO_RING, RingId

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


def stores(outcomes: dict[bytes, tuple[str, int]], **more: Any) -> list[FinalStore]:
    return [FinalStore(node, 9, b"d", dict(outcomes), {}, **more) for node in (1, 2, 3)]


def narrow_branch(history: History) -> None:
    """RINGS[0] is where all begin; RINGS[1] is a narrow epoch that was set aside, RINGS[2] the line they ended on."""
    for ring, parent, kind in (
        (RINGS[0], NO_RING, EpochKind.MAJORITY),
        (RINGS[1], RINGS[0], EpochKind.NARROW),
        (RINGS[2], RINGS[0], EpochKind.MAJORITY),
    ):
        history.epochs[ring] = EpochRecord(ring, parent, 1, 1, kind, 0, (1,))


@dataclass
class Words:
    """What the checkers read of a verdict."""

    quorate: bool
    ring_id: RingId
    members: tuple[int, ...]


def told(at: float, quorate: bool, ring: RingId, *members: int) -> Told:
    return Told(at, Words(quorate, ring, members))  # type: ignore[arg-type]  # the rest of it is not read
