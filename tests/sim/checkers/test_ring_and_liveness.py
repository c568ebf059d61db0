"""The checkers of O1 to O6 and L1 accept histories that keep the promise and catch others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.sim.checkers import evs, liveness
from tests.sim.histories import RINGS, broken, call, history_of
from tests.sim.history import ACKED, REFUSED, Violation
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
