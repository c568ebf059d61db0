"""What a run did, as the checkers read it: clients' calls, processes and what they were told, samples of the stores.

Times are true virtual seconds. Nothing here knows how a node works; tests/sim/host.py fills it in, and the checkers'
own tests write histories by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from cfs.records import EpochRecord
from quorum.events import Verdict
from tests.transport.totem.evs import Trace
from transport.events import ConfigurationChange
from transport.ids import NodeId, RingId


class Violation(Exception):  # noqa: N818  the field's word
    """A promise was broken: `promise` is its name in DESIGN 4 (E1-E15: totem.md section 1), `at` when it showed."""

    def __init__(self, at: float, promise: str, text: str) -> None:
        super().__init__(f"{promise}: {text}")
        self.at = at
        self.promise = promise
        self.text = text


ACKED = "acked"  # the operation is in the log: done
FAILED = "failed"  # judged in log order and found impossible (conflict, exists, ...): nothing changed
REFUSED = "refused"  # never entered a log
UNKNOWN = "unknown"  # may have happened


@dataclass(slots=True)
class Call:
    """One operation of a client, from its first attempt to its last answer.

    kind: put | cas | rm | mkdir | mv | read | local.  key: the path.  value: written, or read (None: no such entry).
    expected: the revision a cas asked for (0: must not exist).  ended None: still open.
    revision: ACKED: of the change (reads: of the entry, 0 = absent); FAILED: the entry's revision then, where told.
    process: which life of the node answered (or would have).  attempts: retries under the same id included; once one of
        them is unknown, only ACKED or FAILED ends the doubt.
    code: the result's word for FAILED.  asked: when the last attempt began.
    """

    id: bytes
    kind: str
    key: str
    node: NodeId
    process: int
    client: int
    invoked: float
    value: bytes | None = None
    expected: int | None = None
    to: str = ""
    ended: float | None = None
    outcome: str = ""
    revision: int = 0
    code: str = ""
    attempts: int = 1
    doubtful: bool = False
    asked: float = 0.0

    @property
    def is_read(self) -> bool:
        return self.kind in ("read", "local")

    def __str__(self) -> str:
        shown = f"{self.kind} {self.key} at node {self.node} {self.outcome or 'open'}"
        return f"{shown} revision {self.revision}" if self.outcome == ACKED else shown


class Configured(NamedTuple):
    """The ring gave a configuration to the node."""

    at: float
    change: ConfigurationChange


class Told(NamedTuple):
    """The node told its subscribers a verdict."""

    at: float
    verdict: Verdict


class Heard(NamedTuple):
    """The node gave subscribers something of a configuration other than its verdict: what, and of which ring."""

    at: float
    what: str
    ring: RingId


Event = Configured | Told | Heard


@dataclass(slots=True)
class Process:
    """One life of a node's daemon. ended: killed or powered off at; left: it went by a clean leave.

    ring: what passed between the ring and the node; the payload of each message is its unique mark.
    """

    node: NodeId
    number: int
    started: float
    ring: Trace
    ended: float | None = None
    left: bool = False
    events: list[Event] = field(default_factory=list)


class StoreSample(NamedTuple):
    """A node's store as a reader there would see it; process -1: its disk was lost just now."""

    at: float
    node: NodeId
    process: int
    revision: int
    digest: bytes


class Durable(NamedTuple):
    """Whose disks held an operation when it was acknowledged.

    epoch: that of its record at the proposer.  votes: of the data set in force there.
    failing: nodes whose disk took no writes then, so that their store was no good one.
    """

    at: float
    id: bytes
    proposer: NodeId
    holders: tuple[NodeId, ...]
    votes: dict[NodeId, int]
    epoch: RingId
    failing: tuple[NodeId, ...] = ()


@dataclass(slots=True)
class FinalStore:
    """A node's store after everything healed: outcomes known by id -> (code word, revision); set aside: ids."""

    node: NodeId
    revision: int
    digest: bytes
    outcomes: dict[bytes, tuple[str, int]]
    values: dict[str, tuple[bytes, int]]
    discarded: frozenset[bytes] = frozenset()


@dataclass(slots=True)
class History:
    """Everything the checkers are given."""

    votes: dict[NodeId, int]
    calls: list[Call] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    samples: list[StoreSample] = field(default_factory=list)
    durable: list[Durable] = field(default_factory=list)
    epochs: dict[RingId, EpochRecord] = field(default_factory=dict)
    final: list[FinalStore] = field(default_factory=list)
    logged: frozenset[bytes] = frozenset()  # operation ids that ever were in any log
    exact_quorum: bool = True  # none of the options under which Q1 is not promised

    @property
    def narrow(self) -> bool:
        """Some epoch was opened without a data majority: what it acknowledged may have been set aside (S1, S5)."""
        return any(epoch.kind.name != "MAJORITY" for epoch in self.epochs.values())
