"""The checkers of O1 to O6 and L1 accept histories that keep the promise and catch others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.sim.checkers import evs, liveness
from tests.sim.histories import RINGS, broken, call, history_of
from tests.sim.history import ACKED, REFUSED, History, Past, Process, Violation
from tests.transport.totem.evs import Crash, Trace
from transport.events import ConfigurationChange, Delivery


def test_a_message_that_one_member_misses_is_caught() -> None:
    """E8: those that go on together delivered the same; the rules themselves are tested with the ring."""
    history = history_of()
    first, last = RINGS[0], RINGS[1]
    for process in history.processes[:2]:
        ring = process.ring
        incarnations = {1: 1, 2: 1}
        ring.events = [
            ConfigurationChange(True, first, (1, 2), incarnations=incarnations),
            Delivery(1, b"mark", first, 1),
            ConfigurationChange(False, first, (1, 2)),
            ConfigurationChange(True, last, (1, 2), incarnations=incarnations),
        ]
    history.processes[0].ring.sent = [(1, b"mark", False)]
    assert evs.check(history) == 2
    del history.processes[1].ring.events[1]
    assert broken(evs.check, history) == "E8"


def put_back() -> tuple[History, Process, Process]:
    """Node 1 sent two messages that waited when the snapshot was made; it had both back, was put back, and sent them
    again: node 2 delivered each a second time."""
    history = history_of()
    gone, other = history.processes[:2]
    for process in (gone, other):
        first = ConfigurationChange(True, RINGS[0], (1, 2), incarnations={1: 1, 2: 1})
        process.ring.events = [first, Delivery(1, b"one", RINGS[0], 1), Delivery(1, b"two", RINGS[0], 2)]
    gone.ring.sent = [(1, b"one", False), (1, b"two", False)]
    gone.ring.events.append(Crash())
    past = Past(gone, frozenset((b"one", b"two")), (3, 3, 0), Trace(1, 1, [Crash()]))
    past.ring.sent.append((0, b"new", False))
    history.pasts.append(past)
    other.ring.events += [Delivery(1, mark, RINGS[0], 3 + i) for i, mark in enumerate((b"one", b"two", b"new"))]
    return history, gone, other


def test_what_waited_in_a_snapshot_may_come_once_more_after_it_was_put_back() -> None:
    """O2: sent by the process of the past, to all alike and in its order; what that says itself is as any message."""
    history, _, _ = put_back()
    assert evs.check(history) == 7


@pytest.mark.parametrize(
    "what, promise",
    [("nobody", "E1"), ("did not wait", "E1"), ("before", "E1"), ("a third time", "E1"), ("order", "E12")],
)
def test_anything_else_that_comes_twice_is_caught(what: str, promise: str) -> None:
    """O2: without such a machine, before it was put back, more often than once, what had not waited, out of order."""
    history, _, other = put_back()
    past, events = history.pasts[0], other.ring.events
    match what:
        case "nobody":
            history.pasts.clear()
        case "did not wait":
            history.pasts[0] = past._replace(waiting=frozenset((b"two",)))
        case "before":
            history.pasts[0] = past._replace(events=(3, 4, 0))
        case "a third time":
            events.append(Delivery(1, b"one", RINGS[0], 6))
        case "order":
            events[3:5] = [Delivery(1, b"two", RINGS[0], 3), Delivery(1, b"one", RINGS[0], 4)]
    assert broken(evs.check, history) == promise


def condition(node: int, **more: object) -> liveness.Condition:
    good = liveness.Condition(node, "operational", RINGS[0], (1, 2), True, "synced", True, "")
    return replace(good, **more)  # type: ignore[arg-type]


def test_a_cluster_that_does_not_converge_is_caught() -> None:
    """L1: one ring of all, quorate, synced, writable."""
    liveness.check_ring(9.0, (1, 2), [condition(1), condition(2)])
    liveness.check_store(9.0, [condition(1), condition(2)])
    for bad in ({"phase": "gather"}, {"members": (2,)}, {"ring": RINGS[1]}, {"quorate": False}):
        with pytest.raises(Violation, match="node"):
            liveness.check_ring(9.0, (1, 2), [condition(1), condition(2, **bad)])
    for bad in ({"store": "syncing"}, {"writable": False}):
        with pytest.raises(Violation, match="the store of node 2"):
            liveness.check_store(9.0, [condition(1), condition(2, **bad)])


def test_a_last_write_that_is_not_acknowledged_is_caught() -> None:
    """After everything healed each node takes writes."""
    liveness.check_last_writes(9.0, [call(1, "put", 8.0, 8.1, ACKED, b"a", 5)])
    with pytest.raises(Violation, match="after everything healed"):
        liveness.check_last_writes(9.0, [call(1, "put", 8.0, 8.1, REFUSED, b"a")])
