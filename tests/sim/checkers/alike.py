"""S4: two nodes at the same revision hold the same tree. What the log makes of an empty one is in replay.py."""

from __future__ import annotations

from tests.sim.history import History, Violation
from transport.ids import NodeId, RingId


def check_digests(history: History) -> int:
    """S4: two nodes at the same revision hold the same tree; where revisions may be used again, as of one epoch."""
    judged = 0
    again = history.branches.shortened
    known: dict[tuple[int, RingId | None], tuple[bytes, NodeId]] = {}
    for sample in history.samples:
        if sample.process < 0:
            continue
        place = (sample.revision, sample.epoch if sample.epoch in again else None)
        digest, node = known.setdefault(place, (sample.digest, sample.node))
        judged += node != sample.node
        if digest != sample.digest:
            text = f"nodes {node} and {sample.node} differ at revision {sample.revision}"
            raise Violation(sample.at, "S4", text)
    for store in history.final[1:]:
        first = history.final[0]
        if (store.revision, store.digest) != (first.revision, first.digest):
            at = max((sample.at for sample in history.samples), default=0.0)
            text = f"node {first.node} ended at revision {first.revision}, node {store.node} at {store.revision}"
            raise Violation(at, "S4", f"{text}, digests {'alike' if store.digest == first.digest else 'differ'}")
    return judged
