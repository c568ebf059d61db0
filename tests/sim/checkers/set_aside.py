"""S5: nothing is thrown away: what goes is set aside on a disk, where an operator finds it."""

from __future__ import annotations

from collections import defaultdict

from tests.sim.checkers.durable import taken_by_power
from tests.sim.history import Applied, History, Violation
from transport.ids import NodeId


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
