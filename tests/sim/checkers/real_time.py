"""S2 over all keys at once: revisions follow real time, and what a node shows never gets older.

The operations of one key are in linearizability.py.
"""

from __future__ import annotations

from tests.sim.history import ACKED, Call, History, Violation
from transport.ids import NodeId


def check_revisions_follow_real_time(history: History) -> None:
    """S2: of two writes, the one that was acknowledged before the other was begun has the lower revision. What was set
    aside since is no part of the order."""
    branches = history.branches
    writes = [c for c in history.calls if c.outcome == ACKED and c.has_revision and c.ended is not None]
    writes = [c for c in writes if branches.keeps(c)]
    begun = sorted(writes, key=lambda c: c.invoked)
    ended = sorted(writes, key=lambda c: c.ended or 0.0)
    highest: Call | None = None
    next_ended = 0
    for call in begun:
        while next_ended < len(ended) and (ended[next_ended].ended or 0.0) < call.invoked:
            if highest is None or ended[next_ended].revision > highest.revision:
                highest = ended[next_ended]
            next_ended += 1
        if highest is not None and highest.revision >= call.revision:
            raise Violation(call.ended or 0.0, "S2", f"{call} was begun after {highest} had been acknowledged")


def check_reads_never_go_back(history: History) -> None:
    """S2: what a node shows of its own copy never gets older, also across a restart, and has the writes it
    acknowledged. A sample of process -1 says that the node's disk was lost: it starts anew. What it showed of a branch
    that was set aside since does not bind it; with `durability: memory` nor does what it showed before a loss of power,
    of which its disk may hold less."""
    branches = history.branches
    seen: dict[NodeId, int] = {}
    acks = sorted(
        (c.ended, c.node, c.revision)
        for c in history.calls
        if c.outcome == ACKED and not c.is_read and c.ended and branches.keeps(c)
    )
    position = 0
    losses = sorted(history.power_losses) if history.in_memory else []
    for sample in history.samples:
        while position < len(acks) and acks[position][0] < sample.at:
            _, node, revision = acks[position]
            seen[node] = max(seen.get(node, 0), revision)
            position += 1
        while losses and losses[0] <= sample.at:
            del losses[0]
            seen.clear()
        if sample.process < 0:
            seen[sample.node] = 0
            continue
        if sample.epoch in branches.torn:
            continue
        if sample.revision < seen.get(sample.node, 0):
            text = f"node {sample.node} shows revision {sample.revision} after {seen[sample.node]}"
            raise Violation(sample.at, "S2", text)
        seen[sample.node] = sample.revision
