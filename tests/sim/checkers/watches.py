"""Watch streams: every change of the tree once, in the order of revisions, without gaps, at whichever node one asks.

Source: DESIGN 7, "watch from a revision"; cfs/history.py. What was told of a branch that was set aside since is judged
by itself: its revisions mean nothing on the line.
"""

from __future__ import annotations

from tests.sim.history import ACKED, History, Violation, Watched
from transport.ids import NodeId

OPS = {"put": "put", "cas": "put", "rm": "rm", "mkdir": "mkdir", "mv": "mv"}
OPS |= {"make": "put", "part": "put", "time": "put", "put-staged": "put", "move": "mv", "delete": "rm"}


def check(history: History) -> int:
    """Raises Violation for the first promise found broken; returns how many changes watchers were told."""
    told = 0
    for number, stream in enumerate(history.watches):
        told += check_stream(number, stream)
    check_alike(history)
    return told


def check_stream(number: int, stream: list[Watched]) -> int:
    """Revisions follow one another; returns how many changes there were."""
    told = 0
    known = 0
    for event in stream:
        if event.change is not None:
            told += 1
            if event.revision != known + 1:
                what = "again" if event.revision <= known else f"after {known}: a gap"
                text = f"watcher {number} was told revision {event.revision} {what}, by node {event.node}"
                raise Violation(event.at, "watch", text)
        known = event.revision
    return told


def check_alike(history: History) -> None:
    """All watchers are told the same of one revision, and of an acknowledged write what was written."""
    branches = history.branches
    changes: dict[int, Watched] = {}
    for stream in history.watches:
        for event in stream:
            if event.change is None or event.epoch in branches.shortened:
                continue
            first = changes.setdefault(event.revision, event)
            if first.change != event.change:
                text = f"revision {event.revision} was told as {first.change} by node {first.node}"
                raise Violation(event.at, "watch", f"{text} and as {event.change} by node {event.node}")
    for call in history.calls:
        if call.outcome != ACKED or not call.has_revision or not branches.keeps(call) or call.revision not in changes:
            continue
        event = changes[call.revision]
        if event.change is not None and (event.change.op, event.change.path) != (OPS[call.kind], call.key):
            text = f"revision {call.revision} was told as {event.change.op} {event.change.path}"
            raise Violation(event.at, "watch", f"{text} by node {event.node}, but it is {call}")


def check_end(now: float, node: NodeId, known: int, revision: int) -> None:
    """All is at rest: a watcher connected to `node` was told everything up to the revision of its tree."""
    if known != revision:
        text = f"a watcher was told up to revision {known} by node {node}, which is at {revision}"
        raise Violation(now, "watch", text)
