"""What a run did, as the checkers read it: clients' calls, processes and what they were told, samples of the stores.

Times are true virtual seconds. Nothing here knows how a node works; the hosts and clients fill it in, and the checkers'
own tests write histories by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from cfs.messages import Change
from cfs.records import EpochRecord
from quorum.events import Verdict
from tests.transport.totem.evs import Trace
from transport.events import ConfigurationChange
from transport.ids import NO_RING, NodeId, RingId


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

    kind: put | cas | rm | mkdir | mv | read | local, or one of tests/sim/tree_load.py.  key: the path.
    value: written, or read (None: no such entry).
    expected: the revision a cas asked for (0: must not exist).  ended None: still open.
    revision: ACKED: of the change (reads: of the entry, 0 = absent); FAILED: the entry's revision then, where told.
    process: which life of the node answered (or would have).  attempts: retries under the same id included; once one of
        them is unknown, only ACKED or FAILED ends the doubt.
    code: the result's word for FAILED.  asked: when the last attempt began.  epoch: of the primary it was answered in.
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
    epoch: RingId = NO_RING

    @property
    def is_read(self) -> bool:
        return self.kind in ("read", "local")

    @property
    def has_revision(self) -> bool:
        """Did it, acknowledged, make a change with a revision of its own?"""
        return not self.is_read and self.kind not in ("stage", "drop-staged", "limits", "parents")

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


class Stranger(NamedTuple):
    """A message of a node that the receiver's configuration did not list when it was delivered there; its mark, and the
    ring it was sent on."""

    at: float
    sender: NodeId
    mark: bytes
    ring: RingId


@dataclass(slots=True)
class Process:
    """One life of a node's daemon. ended: killed or powered off at; left: it went by a clean leave, asked for at
    `leaving`.

    ring: what passed between the ring and the node; the payload of each message is its unique mark.  sent_at: when it
    gave each of its messages to the ring.  claims: how often it claimed to have the log on disk.
    """

    node: NodeId
    number: int
    started: float
    ring: Trace
    ended: float | None = None
    left: bool = False
    leaving: float | None = None
    events: list[Event] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    strangers: list[Stranger] = field(default_factory=list)
    claims: int = 0


class Past(NamedTuple):
    """A process of the past went on where a virtual machine was put back with its memory and nobody told (shadow.py).

    process: the life that it is of.  waiting: marks of what that one had given to the ring and not had back when the
    snapshot was made: this one may send it once more.  events: how many there were in the trace of each process when it
    was put back.  ring: what it gave to the ring itself.
    """

    process: Process
    waiting: frozenset[bytes]
    events: tuple[int, ...]
    ring: Trace


class StoreSample(NamedTuple):
    """A node's store as a reader there would see it; process -1: its disk was lost just now.

    epoch: of the last log record that is in the tree.
    """

    at: float
    node: NodeId
    process: int
    revision: int
    digest: bytes
    epoch: RingId = NO_RING


class Durable(NamedTuple):
    """Whose disks held an operation when it was acknowledged.

    epoch: in which the proposer acknowledged it.  votes: of the data set in force there.
    lost: nodes that had it on disk and lost that disk since it was begun: their word may have been on its way, or have
    counted when it was committed, which a retry only tells.
    failing: nodes whose disk took no writes then or shortly before, so that their store was no good one.
    """

    at: float
    id: bytes
    proposer: NodeId
    holders: tuple[NodeId, ...]
    votes: dict[NodeId, int]
    epoch: RingId
    failing: tuple[NodeId, ...] = ()
    lost: tuple[NodeId, ...] = ()


class Watched(NamedTuple):
    """What a watcher of the tree was given by a node.

    change: None: the watch begins here (again), with everything up to `revision` read at once.  epoch: of the last log
    record in that node's tree.
    """

    at: float
    node: NodeId
    revision: int
    change: Change | None
    epoch: RingId


class Applied(NamedTuple):
    """A node made the changes `revisions` because of the log record at `place` of `epoch`, which has operation `id`."""

    at: float
    node: NodeId
    id: bytes
    epoch: RingId
    place: int
    revisions: tuple[int, ...]


@dataclass(slots=True)
class FinalStore:
    """A node's store after everything healed: outcomes known by id -> (code word, revision); set aside: ids.

    epoch: of the last record of its log.  index: of the last one in its tree.
    """

    node: NodeId
    revision: int
    digest: bytes
    outcomes: dict[bytes, tuple[str, int]]
    values: dict[str, tuple[bytes, int]]
    discarded: frozenset[bytes] = frozenset()
    epoch: RingId = NO_RING
    index: int = 0


@dataclass(slots=True)
class History:
    """Everything the checkers are given.

    votes_needed: a component with fewer votes is never quorate.  data_nodes: who may hold data (a device never does).
    in_memory: `durability: memory`; power_losses: when the power of all nodes went.
    disk_losses: when what a node's disk held was lost, damaged or put back to an older copy; old_copies: the last.
    data_sets: who held data with how many votes, by version; branches may have one each.
    pauses: which process stood still, from when to when.
    watches: one list for each watcher of the tree, in the order in which it was told.
    records: what was at each epoch and index of any log: an encoded operation, None for another kind of record.
    pasts: in the order in which they went on.
    """

    votes: dict[NodeId, int]
    calls: list[Call] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    samples: list[StoreSample] = field(default_factory=list)
    durable: list[Durable] = field(default_factory=list)
    watches: list[list[Watched]] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    epochs: dict[RingId, EpochRecord] = field(default_factory=dict)
    final: list[FinalStore] = field(default_factory=list)
    records: dict[tuple[RingId, int], bytes | None] = field(default_factory=dict)
    data_sets: dict[int, set[tuple[tuple[NodeId, int], ...]]] = field(default_factory=dict)
    logged: frozenset[bytes] = frozenset()  # operation ids that ever were in any log
    votes_needed: int = 1
    in_memory: bool = False
    power_losses: list[float] = field(default_factory=list)
    disk_losses: list[tuple[float, NodeId]] = field(default_factory=list)
    old_copies: list[tuple[float, NodeId]] = field(default_factory=list)
    pauses: list[tuple[NodeId, float, float]] = field(default_factory=list)
    pasts: list[Past] = field(default_factory=list)

    @property
    def branches(self) -> Branches:
        """What of this history is on the line that the cluster went on with. Asked for once the run is over."""
        return Branches(self)


class Branches:
    """Which operations and epochs lie on the line of history that the cluster ended on.

    An acknowledgement given in a narrow epoch may be set aside later (S1, S5); what was written and read there then
    belongs to a branch of its own, and only what is on the line is one register. With `durability: memory` a loss of
    power may take acknowledged operations in the same way.

    line: the epochs on it. gone: acknowledged operations of which no store has the outcome that was answered.
    otherwise: those of them that the line did for itself, as it had the message too, while the branch that answered
    was set aside. torn: epochs that are not on the line, or lost something that was acknowledged in them: what was
    read there may be of the branch. shortened: these, and with `durability: memory` those before a loss of power,
    which may have taken their end from all: revisions of theirs may be used again.
    """

    def __init__(self, history: History) -> None:
        kept = {ident: outcome for store in history.final for ident, outcome in store.outcomes.items()}
        answered = [c for c in history.calls if c.outcome in (ACKED, FAILED) and not c.is_read]
        self.line = set(history.epochs) if not history.final else set()
        for store in history.final:
            self.line |= {store.epoch, *ancestors(history.epochs, store.epoch)}
        off = set(history.epochs) - self.line

        aside = [c for c in answered if c.epoch in off and c.outcome == ACKED and c.id in kept]
        self.otherwise = frozenset(c.id for c in aside if kept[c.id][1] != c.revision)
        self.gone = self.otherwise | {c.id for c in answered if c.id not in kept and history.final}
        self.torn = frozenset(off | {c.epoch for c in answered if c.id in self.gone})
        last = max(history.power_losses, default=-1.0) if history.in_memory else -1.0
        self.shortened = self.torn | {sample.epoch for sample in history.samples if sample.at <= last}

    def keeps(self, call: Call) -> bool:
        """Is this operation, with its answer, part of the line?"""
        if call.is_read:
            return call.epoch not in self.torn
        return call.id not in self.gone


def ancestors(epochs: dict[RingId, EpochRecord], ring: RingId) -> set[RingId]:
    """The epochs that `ring` descends from."""
    found: set[RingId] = set()
    while ring in epochs and epochs[ring].parent not in found:
        ring = epochs[ring].parent
        found.add(ring)
    return found


def ends_on_line(epochs: dict[RingId, EpochRecord], tip: RingId) -> dict[RingId, float]:
    """The epochs of the log that ends in `tip`, each with the first log index that does not belong to it there."""
    found: dict[RingId, float] = {}
    ring, end = tip, inf
    while ring in epochs and ring not in found:
        found[ring] = end
        ring, end = epochs[ring].parent, epochs[ring].first_index
    return found


def operation_id(body: bytes) -> bytes:
    """The id of an encoded operation (cfs/messages.py)."""
    return body[4:20]
