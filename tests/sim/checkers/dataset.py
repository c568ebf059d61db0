"""Who holds data changes one node at a time (DESIGN 7, "Data set"): on this rests that any majority of the old set and
any of the new one have a member in common, and on that S1."""

from __future__ import annotations

from tests.sim.history import History, Violation
from transport.ids import NodeId


def check(history: History) -> int:
    """Raises Violation; returns how many changes were judged: those of which the version before is known too.

    Where histories parted each may have a set of its own under one number; each must follow on one of those before.
    """
    judged = 0
    for version, sets in sorted(history.data_sets.items()):
        before = [dict(votes) for votes in sorted(history.data_sets.get(version - 1, ()))]
        for votes in sorted(sets) if before else ():
            judged += 1
            changes = [_changed(old, dict(votes)) for old in before]
            if not any(len(nodes) == 1 for nodes in changes):
                text = f"data set {version} differs from the one before in nodes {changes[0]}, not in one"
                raise Violation(0.0, "S1", text)
    return judged


def _changed(old: dict[NodeId, int], new: dict[NodeId, int]) -> list[NodeId]:
    return sorted(node for node in {*old, *new} if old.get(node) != new.get(node))
