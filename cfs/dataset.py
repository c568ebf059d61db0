"""Which change brings the data set nearer to the configured nodes: one node at a time.

Source: DESIGN 7, "Data set". A node is taken in once it is ready (its disk holds the state); it goes when it is no
longer configured, or was let go (last_man_standing, allow_downscale) and is absent.
"""

from __future__ import annotations

from cfs.log import Log
from cfs.primary import Primary
from cfs.records import DataSet
from transport.ids import NodeId


def follows(last: DataSet, proposed: DataSet) -> bool:
    """Is this the next version, with one node different, and somebody left who has a vote?"""
    changed = [node for node in {*last.votes, *proposed.votes} if last.votes.get(node) != proposed.votes.get(node)]
    return proposed.version == last.version + 1 and len(changed) == 1 and any(proposed.votes.values())


def next_change(
    force: DataSet, nodes: dict[NodeId, int], lowered: frozenset[NodeId] | None, primary: Primary
) -> DataSet | None:
    """The data set to go to next, or None: nothing to do, or no majority of old and new is ready to carry it.

    nodes: the configured ones; empty while not told.  lowered: those that stay although others are absent.
    """
    if not nodes:
        return None
    for change in _candidates(force.votes, nodes, lowered, primary):
        made = DataSet(force.version + 1, change)
        if any(change.values()) and primary.required_present((force, (0, made))):
            return made
    return None


def _candidates(
    votes: dict[NodeId, int], nodes: dict[NodeId, int], lowered: frozenset[NodeId] | None, primary: Primary
) -> list[dict[NodeId, int]]:
    found = [{**votes, node: nodes[node]} for node in sorted(set(nodes) - set(votes)) if node in primary.ready]
    for node in sorted(votes):
        absent = lowered is not None and node not in lowered and node not in primary.members
        if node not in nodes or absent:
            found.append({other: count for other, count in votes.items() if other != node})
        elif nodes[node] != votes[node]:
            found.append({**votes, node: nodes[node]})
    return found


class DataSetKeeper:
    """What this node has proposed as the next data set, so that the lowest ready member proposes each once.

    nodes: the configured ones and their votes.  lowered: see `next_change`.
    """

    def __init__(self, me: NodeId) -> None:
        self.me = me
        self.nodes: dict[NodeId, int] = {}
        self.lowered: frozenset[NodeId] | None = None
        self._look = True
        self._proposed = 0  # version

    def anew(self) -> None:
        """A new choice was made: nothing proposed before counts."""
        self._look, self._proposed = True, 0

    def look(self) -> None:
        """Something changed that may change the data set."""
        self._look = True

    def due(self, primary: Primary, log: Log, committed: int) -> DataSet | None:
        """What to propose now, if anything; this node is whole."""
        if not self._look or not primary.opened or primary.narrow or min(primary.ready, default=0) != self.me:
            return None
        force, pending = log.data_sets(committed)
        if pending is not None or primary.latest_set.version != force.version or self._proposed > force.version:
            return None
        change = next_change(force, self.nodes, self.lowered, primary)
        self._look = change is not None  # look again until it is in force
        if change is not None:
            self._proposed = change.version
        return change
