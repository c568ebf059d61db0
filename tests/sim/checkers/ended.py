"""S3: every operation ends, in time, and what was refused never was."""

from __future__ import annotations

from tests.sim.history import REFUSED, UNKNOWN, Call, History, Violation
from transport.ids import NodeId

COMMIT_DEADLINE = 5.0  # seconds after which an operation ends as unknown (S3)
GRACE = 1.0  # timers, a slow disk's answer and a busy process on top


def check_every_call_ended(history: History) -> None:
    """S3: every operation ends in acknowledged, refused or unknown in time, unless the process it was asked of died."""
    ends: dict[tuple[NodeId, int], float | None] = {(p.node, p.number): p.ended for p in history.processes}
    for call in history.calls:
        if call.ended is None and ends.get((call.node, call.process)) is None:
            raise Violation(call.invoked, "S3", f"never ended: {call}, begun at {call.invoked:.3f} s")


def check_deadline(call: Call, paused: float) -> None:
    """S3: no operation takes longer than the commit deadline; paused: seconds the process could not run meanwhile."""
    if call.ended is not None and call.ended - call.asked > COMMIT_DEADLINE + GRACE + paused:
        raise Violation(call.ended, "S3", f"took {call.ended - call.asked:.3f} s: {call}")


def stopped(history: History, node: NodeId, first: float, last: float) -> float:
    """Seconds between the two moments for which the process of `node` stood still."""
    pauses = [(max(begun, first), min(until, last)) for n, begun, until in history.pauses if n == node]
    return sum(until - begun for begun, until in pauses if until > begun)


def check_refused_never_appears(history: History) -> None:
    """S3: what was refused never entered a log."""
    for call in history.calls:
        if call.outcome == REFUSED and not call.doubtful and call.id in history.logged:
            raise Violation(call.ended or 0.0, "S3", f"refused, but in a log: {call} ({call.id.hex()})")


def unknown_writes(history: History) -> int:
    return sum(1 for call in history.calls if not call.is_read and (call.outcome == UNKNOWN or call.doubtful))
