"""After faults end everything converges in bounded virtual time (L1, L3): one ring, one verdict, one tree, writable."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.history import ACKED, Call, Violation
from transport.ids import NodeId, RingId

RING_WITHIN = 2.0  # seconds from the last fault's end to one ring of all and its verdict (L1)
STORE_WITHIN = 3.5  # the same for a store that is synced and writable everywhere: transfers are small here


@dataclass(frozen=True, slots=True)
class Condition:
    """How one node stands. store: `synced` and why it is not writable, if it is not."""

    node: NodeId
    phase: str
    ring: RingId
    members: tuple[NodeId, ...]
    quorate: bool
    store: str
    writable: bool
    reason: str


def check_ring(now: float, nodes: tuple[NodeId, ...], conditions: list[Condition]) -> None:
    """L1: all nodes in operation in one ring of all, quorate."""
    for condition in conditions:
        if condition.members != nodes or condition.phase != "operational":
            text = f"node {condition.node} is in {condition.phase} with {list(condition.members)} after faults ended"
            raise Violation(now, "L1", text)
        if condition.ring != conditions[0].ring:
            first = conditions[0]
            text = f"nodes {first.node} and {condition.node} are in rings {first.ring} and {condition.ring}"
            raise Violation(now, "L1", text)
        if not condition.quorate:
            raise Violation(now, "L1", f"node {condition.node} is not quorate after faults ended")


def check_store(now: float, conditions: list[Condition]) -> None:
    """L1: every store is synced and writable."""
    for condition in conditions:
        if condition.store != "synced" or not condition.writable:
            text = f"the store of node {condition.node} is {condition.store}, not writable: {condition.reason}"
            raise Violation(now, "L1", text)


def check_last_writes(now: float, calls: list[Call]) -> None:
    """Once everything has healed, a write is acknowledged on every node."""
    for call in calls:
        if call.outcome != ACKED:
            raise Violation(now, "L1", f"after everything healed: {call}")
