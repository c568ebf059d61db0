"""The checker itself: each broken promise is found (facts, totem.md section 1)."""

from __future__ import annotations

import pytest

from tests.transport.totem.evs import Crash, Trace, Violation, check
from transport.events import ConfigurationChange, Delivery
from transport.ids import RingId

R1, R2 = RingId(1, 1, 0), RingId(2, 1, 0)
INCARNATIONS = {1: 11, 2: 12}


def regular(ring: RingId, *members: int) -> ConfigurationChange:
    return ConfigurationChange(True, ring, members, incarnations={m: INCARNATIONS[m] for m in members})


def transitional(ring: RingId, *members: int) -> ConfigurationChange:
    return ConfigurationChange(False, ring, members)


def message(sender: int, text: bytes, seq: int, safe: bool = False, late: bool = False) -> Delivery:
    return Delivery(sender, text, R1, seq, late, safe)


def traces(one: list[object], two: list[object], *sent: tuple[int, bytes]) -> list[Trace]:
    """Two processes that start together in R1."""
    found = []
    for node, events in ((1, one), (2, two)):
        mine = [(0, text, False) for who, text in sent if who == node]
        found.append(Trace(node, INCARNATIONS[node], [regular(R1, 1, 2), *events], mine))  # type: ignore[list-item]
    return found


A, B = message(1, b"a", 1), message(2, b"b", 2)
SENT = ((1, b"a"), (2, b"b"))
ON = [transitional(R1, 1, 2), regular(R2, 1, 2)]


def test_a_good_run() -> None:
    """Equal deliveries, in one order, and a common way on."""
    assert check(traces([A, B, *ON], [A, B, *ON], *SENT)) == 4


@pytest.mark.parametrize(
    "promise, one, two",
    [
        ("E1", [A, A, B], [A, B]),
        ("E1", [A, message(2, b"never sent", 2)], [A, B]),
        ("E2", [A, B, *ON], [A, *ON, B]),
        ("E3", [A, B, transitional(R1, 1), regular(R2, 2)], [A, B]),
        ("E4", [A, B, transitional(R1, 1), regular(R1, 1, 2)], [A, B]),
        ("E5", [A, B, transitional(R1, 1, 2), regular(R2, 1, 2)], [A, B]),
        ("E6", [A, B, transitional(R1, 1), regular(R2, 1, 2)], [A, B, *ON]),
        ("E6", [A, B, regular(R2, 1, 2)], [A, B, *ON]),
        ("E7", [B], [B]),
        ("E8", [A, *ON], [A, B, *ON]),
        ("E9", [A, B], [message(2, b"b", 1), message(1, b"a", 2)]),
        ("E10", [A, B], [B, Crash()]),
        ("E15", [A, *ON[:1], B], [A, B]),
    ],
)
def test_each_broken_promise_is_found(promise: str, one: list[object], two: list[object]) -> None:
    """A violation names its promise."""
    with pytest.raises(Violation, match=f"{promise}:"):
        check(traces(one, two, *SENT))


def test_e12_sending_order() -> None:
    """Messages of one sender are delivered in sending order."""
    swapped = [message(1, b"b", 1), message(1, b"a", 2)]
    with pytest.raises(Violation, match="E12"):
        check(traces([], swapped, (1, b"a"), (1, b"b")), ended=False)


def test_e13_safe_means_everybody() -> None:
    """Delivered as safe by one: every member delivers it, or crashes."""
    safe = message(1, b"a", 1, safe=True)
    with pytest.raises(Violation, match="E13"):
        check(traces([safe, Crash()], [], (1, b"a")))
    check(traces([safe, Crash()], [Crash()], (1, b"a")))


def test_e14_safe_means_installed_by_everybody() -> None:
    """Delivered as safe in a regular configuration: every member installed it, one that crashes, too."""
    safe = Delivery(1, b"a", R2, 1, False, True)
    with pytest.raises(Violation, match="E14"):
        check(traces([*ON, safe], [Crash()], (1, b"a")))
    check(traces([*ON, safe], [*ON, Crash()], (1, b"a")))
