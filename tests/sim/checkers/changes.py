"""What was changed in a cluster and what its nodes made of it, as the checkers are told it (tests/sim/minutes.py)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from transport.ids import NodeId, RingId
from transport.keyring import ClusterKey

DONE = "done"
REFUSED = "refused"
UNKNOWN = "unknown"


@dataclass(slots=True)
class Change:
    """Something the administrator asked for at a node. body: the new text, if it was one. process: which life of the
    node was asked. generation: of the key in use there when it was answered. then: what follows when it is done.
    cannot: a node that must say no to it, 0 for none."""

    at: float
    node: NodeId
    process: int
    what: str
    body: bytes = b""
    outcome: str = ""
    why: str = ""
    ended: float = 0.0
    generation: int = 0
    then: Callable[[], None] | None = None
    cannot: NodeId = 0


class InForce(NamedTuple):
    """A process runs this text from here on. ring: the one it was in. started: it began with it. members: of the
    configuration that its subscribers were told last before this, none before the first."""

    at: float
    node: NodeId
    process: int
    version: int
    text: bytes
    ring: RingId
    started: bool
    members: tuple[NodeId, ...] = ()


class Keys(NamedTuple):
    """The cluster keys of a process from here on."""

    at: float
    node: NodeId
    process: int
    current: ClusterKey
    live: tuple[ClusterKey, ...]


class Notice(NamedTuple):
    """A node learned that it was removed; by itself: by the change, not by a member's word."""

    at: float
    node: NodeId
    itself: bool


@dataclass(slots=True)
class Log:
    """Everything the administrator and the nodes did to the cluster. first: the text of the start.

    final: what each listed node runs once all is healed: version and text.  called: removed nodes that ran long enough
    at the end to be told.  settled: no rotation waits for an old key to retire any more.
    """

    first: bytes
    changes: list[Change] = field(default_factory=list)
    in_force: list[InForce] = field(default_factory=list)
    keys: list[Keys] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    final: dict[NodeId, tuple[int, bytes]] = field(default_factory=dict)
    called: tuple[NodeId, ...] = ()
    settled: bool = True

    def total(self, outcome: str, *whats: str) -> int:
        return sum(1 for change in self.changes if change.outcome == outcome and (not whats or change.what in whats))


def runs_of(log: Log) -> dict[tuple[NodeId, int], list[InForce]]:
    """What each process ran, in order."""
    runs: dict[tuple[NodeId, int], list[InForce]] = defaultdict(list)
    for one in log.in_force:
        runs[one.node, one.process].append(one)
    return runs


def at_that_time(runs: list[InForce], when: float) -> InForce | None:
    """The last one before that moment."""
    found = None
    for one in runs:
        if one.at <= when:
            found = one
    return found


def title_of(text: bytes) -> str:
    """What the simulator calls this text."""
    return text.split(b"\n", 1)[0].decode().lstrip("# ")
