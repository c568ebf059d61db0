"""S1: what was acknowledged is durable, at the moment of the answer and in the end."""

from __future__ import annotations

from tests.sim.history import ACKED, FAILED, Call, Configured, History, Violation
from transport.ids import NodeId, RingId


def check_required_sets(history: History) -> int:
    """S1: at the moment of the ack the operation is on disk at the proposer and on a data majority, or, where the epoch
    is narrow, on every member with a good store. What was asked for before a loss of power and known committed may be
    confirmed after it, also where `durability: memory` let the others lose it."""
    spared = taken_by_power(history)
    judged = 0
    for ack in history.durable:
        strangers = sorted(set(ack.votes) - set(history.votes))
        if strangers:
            raise Violation(ack.at, "S1", f"{strangers} are counted as holding data, but are no nodes with a disk")
        if ack.id in spared:
            continue
        judged += 1
        if ack.proposer not in ack.holders:
            text = f"acknowledged by node {ack.proposer}, which does not have it on disk"
            raise Violation(ack.at, "S1", f"operation {ack.id.hex()} {text}")
        epoch = history.epochs.get(ack.epoch)
        if epoch is not None and epoch.kind.name != "MAJORITY":
            missing = sorted(set(epoch.holders) - {*ack.holders, *ack.failing, *ack.lost})
            if missing:
                raise Violation(
                    ack.at, "S1", f"operation {ack.id.hex()} acknowledged in a narrow epoch without {missing}"
                )
            continue
        total = sum(ack.votes.values())
        held = sum(ack.votes.get(node, 0) for node in {*ack.holders, *ack.lost})
        if 2 * held <= total:
            text = f"acknowledged with {held} of {total} data votes on disk (nodes {list(ack.holders)})"
            raise Violation(ack.at, "S1", f"operation {ack.id.hex()} {text}")
    return judged


def taken_by_power(history: History) -> frozenset[bytes]:
    """Operations that a loss of power may have taken: with `durability: memory` all that were begun before it."""
    last = max(history.power_losses, default=-1.0)
    return frozenset(call.id for call in history.calls if history.in_memory and call.invoked <= last)


def check_acked_is_kept(history: History) -> None:
    """S1 and S5: after everything healed each acknowledged operation has its outcome on every node; one that a narrow
    or forced epoch acknowledged may be set aside instead, and is then listed, unless nobody who held it kept its disk,
    or is a node still: whoever was removed and switched on again may go on by itself until it is told.
    With `durability: memory` a loss of power may take what was acknowledged before. And an old copy that nobody who was
    there could know to be old (S6) may have been taken for what was on the disk."""
    branches = history.branches
    discarded = {ident for store in history.final for ident in store.discarded}
    spared = taken_by_power(history)
    holders = {ack.id: set(ack.holders) for ack in history.durable}
    removed = {process.node for process in history.processes} - {store.node for store in history.final}
    for call in history.calls:
        if call.outcome not in (ACKED, FAILED) or call.is_read:
            continue
        at = call.ended or 0.0
        if call.id in branches.gone:
            if call.id in spared:
                continue
            epoch = history.epochs.get(call.epoch)
            narrow = epoch is not None and epoch.kind.name != "MAJORITY"
            lost = {node for when, node in history.disk_losses if when >= at}
            if narrow and (call.id in discarded or holders.get(call.id, {0}) <= lost | removed):
                continue
            old = {node for when, node in history.old_copies if when >= at} & holders.get(call.id, set())
            if call.id in discarded and went_on_with_a_copy(history, call, old):
                continue
            raise Violation(at, "S5" if narrow else "S1", f"lost: {call} ({call.id.hex()})")
        for store in history.final:
            found = store.outcomes.get(call.id)
            if found is None:
                raise Violation(at, "S1", f"lost on node {store.node}: {call} ({call.id.hex()})")
            word = "OK" if call.outcome == ACKED else call.code
            if word and found[0] != word:
                raise Violation(at, "S3", f"node {store.node} has it as {found[0]}, it was answered {word}: {call}")
            if call.outcome == ACKED and found[1] != call.revision:
                raise Violation(at, "S1", f"node {store.node} has it as revision {found[1]}: {call}")


def went_on_with_a_copy(history: History, call: Call, old: set[NodeId]) -> bool:
    """S6: did the cluster go on from this operation's epoch with one of `old`, who had it on disk when it was
    acknowledged and an older copy since, and without anybody who had been in that epoch and not restarted?"""
    epochs = history.epochs
    after = [ring for ring in history.branches.line if ring in epochs and epochs[ring].parent == call.epoch]
    return any(
        old.intersection(epochs[ring].holders) and not (_in_ring(history, call.epoch) & _in_ring(history, ring))
        for ring in after
    )


def _in_ring(history: History, ring: RingId) -> set[tuple[NodeId, int]]:
    """The processes that were in this ring."""
    return {
        (process.node, process.number)
        for process in history.processes
        for event in process.events
        if isinstance(event, Configured) and event.change.ring_id == ring and event.change.regular
    }
