"""What the store promises about single operations: S1 durable, S3 ended, S4 alike, S5 nothing thrown away, S6.

S2 is in linearizability.py, but for the order of revisions in real time, which holds over all keys at once.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from tests.sim.history import ACKED, FAILED, REFUSED, UNKNOWN, Applied, Call, History, Violation, ancestors
from transport.ids import NodeId, RingId

COMMIT_DEADLINE = 5.0  # seconds after which an operation ends as unknown (S3)
GRACE = 1.0  # timers, a slow disk's answer and a busy process on top


def check(history: History) -> dict[str, int]:
    """Raises Violation for the first promise found broken; returns how often each was judged."""
    required = check_required_sets(history)
    check_every_call_ended(history)
    check_refused_never_appears(history)
    check_acked_is_kept(history)
    check_nothing_is_thrown_away(history)
    check_revisions_follow_real_time(history)
    aside = check_set_aside(history)
    alike = check_digests(history)
    check_reads_never_go_back(history)
    line = check_epochs_form_one_line(history)
    ended = sum(1 for call in history.calls if call.outcome)
    return {"S1": required, "S3": ended, "S4": alike, "S5": aside, "Q5": line}


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


def check_acked_is_kept(history: History) -> None:
    """S1 and S5: after everything healed each acknowledged operation has its outcome on every node; one that a narrow
    or forced epoch acknowledged may be set aside instead, and is then listed, unless nobody who held it kept its disk.
    With `durability: memory` a loss of power may take what was acknowledged before."""
    branches = history.branches
    discarded = {ident for store in history.final for ident in store.discarded}
    spared = taken_by_power(history)
    holders = {ack.id: set(ack.holders) for ack in history.durable}
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
            if narrow and (call.id in discarded or holders.get(call.id, {0}) <= lost):
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


def check_nothing_is_thrown_away(history: History) -> None:
    """S5: what was in a log, acknowledged or not, is done in the end or was set aside on the disk that had it. Not
    judged where a disk may have taken it along: one that was lost since, or of a node that is none any more."""
    kept = {ident for store in history.final for ident in (*store.outcomes, *store.discarded)}
    if not history.final or {process.node for process in history.processes} - {s.node for s in history.final}:
        return
    spared = taken_by_power(history)
    last_loss = max((at for at, _ in history.disk_losses), default=-1.0)
    kept |= spared
    for call in history.calls:
        if call.id in history.logged and call.id not in kept and call.invoked > last_loss:
            raise Violation(
                call.ended or 0.0, "S5", f"in a log, and neither done nor set aside: {call} ({call.id.hex()})"
            )


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


def check_set_aside(history: History) -> int:
    """S5: what any node had in its tree is in everybody's in the end, or was set aside by someone; unless whoever had
    it lost the disk since, or a loss of power took it with `durability: memory`. Returns how many were set aside."""
    kept = {ident for store in history.final for ident in store.outcomes}
    aside = {ident for store in history.final for ident in store.discarded}
    spared = taken_by_power(history)
    shown: dict[bytes, Applied] = {}
    holders: dict[bytes, set[NodeId]] = defaultdict(set)
    for one in history.applied:
        if one.id not in kept and history.final:
            shown.setdefault(one.id, one)
            holders[one.id].add(one.node)
    for ident, one in shown.items():
        lost = {node for at, node in history.disk_losses if at >= one.at}
        if ident not in aside and ident not in spared and not holders[ident] <= lost:
            text = f"operation {ident.hex()} was in the trees of {sorted(holders[ident])}, at log index {one.place} of "
            raise Violation(one.at, "S5", f"{text}{one.epoch}: it is in none any more, and nobody has set it aside")
    return len(shown)


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


def check_epochs_form_one_line(history: History) -> int:
    """Q5: the epochs that acknowledged anything stand in one line of parents, unless they are narrow or forced; one
    that calls itself a majority's was opened by a data majority."""
    used = {ack.epoch for ack in history.durable}
    line = sorted(ring for ring in used if ring in history.epochs and history.epochs[ring].kind.name == "MAJORITY")
    for older, newer in pairwise(line):
        if older not in ancestors(history.epochs, newer):
            at = max(ack.at for ack in history.durable if ack.epoch == newer)
            raise Violation(at, "Q5", f"epoch {newer} acknowledged writes and does not descend from {older}")
    for ring in line:
        epoch = history.epochs[ring]
        lists = [dict(votes) for votes in history.data_sets.get(epoch.data_set, ())]
        if lists and not any(2 * sum(votes.get(n, 0) for n in epoch.holders) > sum(votes.values()) for votes in lists):
            at = min(ack.at for ack in history.durable if ack.epoch == ring)
            text = f"epoch {ring} says that it is a majority's, and was opened by {epoch.holders} of {lists}"
            raise Violation(at, "Q5", text)
    return len(line)


def unknown_writes(history: History) -> int:
    return sum(1 for call in history.calls if not call.is_read and (call.outcome == UNKNOWN or call.doubtful))
