"""L2: a killed node is out of every membership within token + 300 ms, one that leaves within 100 ms."""

from __future__ import annotations

from tests.sim.checkers.calm import Calm
from tests.sim.history import Process, Violation


def check(calm: Calm) -> int:
    """Raises Violation; returns how often it was judged."""
    judged = 0
    if not calm.tempo.lossless:
        return judged
    settled = calm.tempo.settled
    for gone in calm.history.processes:
        if gone.ended is None or (gone.left and gone.leaving is None):
            continue
        begun = gone.leaving if gone.left and gone.leaving is not None else gone.ended
        if gone.left and _together(gone, calm):
            continue
        within = calm.tempo.left if gone.left else calm.tempo.detected
        if not calm.quiet(begun - settled, begun + within, {begun, gone.ended}):
            continue
        for other in calm.at_work(begun - settled, begun + within):
            before, after = calm.ring_at(other, begun), calm.ring_at(other, begun + within)
            if before is None or after is None or gone.node not in before.members:
                continue
            judged += 1
            if gone.node in after.members:
                what = "said goodbye" if gone.left else "was killed"
                text = f"node {gone.node} {what} at {begun:.3f} s and is in ring {after.ring_id} of node "
                raise Violation(begun + within, "L2", f"{text}{other.node} {within * 1000:.0f} ms later")
    return judged


def _together(gone: Process, calm: Calm) -> bool:
    """Does another one leave at the same moment? Who comes second goes from the ring that is formed without the first,
    and goes once that is there."""
    return any(other is not gone and other.leaving == gone.leaving for other in calm.history.processes)
