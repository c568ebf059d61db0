"""Exactly-once: however often an operation was asked for and logged, it changed the tree once at most (S3).

An operation may stand in several places of the logs, because its client or its node asked again. On one line of history
at most one of them changed the tree; a branch that was set aside is another line.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

from cfs.records import EpochRecord
from tests.sim.history import Applied, History, Violation
from transport.ids import RingId

Place = tuple[RingId, int]  # epoch and index of a log record


def check(history: History) -> int:
    """Raises Violation when an operation was applied twice; returns how many were applied."""
    by_id: dict[bytes, dict[Place, Applied]] = defaultdict(dict)
    operations: dict[Place, Applied] = {}
    for one in history.applied:
        place = (one.epoch, one.place)
        known = operations.setdefault(place, one)
        if (known.id, known.revisions) != (one.id, one.revisions):
            text = f"nodes {known.node} and {one.node} made different changes of log record {one.place} of {one.epoch}"
            raise Violation(one.at, "S4", text)
        by_id[one.id][place] = one
    for places in by_id.values():
        for first, second in combinations(places, 2):
            if on_one_line(history.epochs, first, second):
                one, other = places[first], places[second]
                text = f"operation {one.id.hex()} was applied at log index {one.place} as revision {one.revisions}"
                text += f" and again at {other.place} as {other.revisions}"
                raise Violation(max(one.at, other.at), "S3", text)
    return len(by_id)


def on_one_line(epochs: dict[RingId, EpochRecord], first: Place, second: Place) -> bool:
    """Could one log hold both records?"""
    (ring, index), (newer, _) = sorted((first, second))
    if ring == newer:
        return True
    below = None  # where the epoch after `ring` begins on the way from `newer` down
    at = newer
    while at in epochs and at != ring and epochs[at].parent < at:
        below, at = epochs[at].first_index, epochs[at].parent
    return at == ring and (below is None or index < below)
