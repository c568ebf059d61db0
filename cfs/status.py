"""What the replica is set to do, tells and answers: settings, events for the layer above, status."""

from __future__ import annotations

from dataclasses import dataclass

from cfs.disk import DiskRequest
from cfs.limits import OUTCOMES
from cfs.messages import Change, Operation, Result
from transport.ids import NodeId

COMMIT_DEADLINE = 5.0
MAX_PENDING = 4096
MAX_PENDING_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """durable: False for `durability: memory`.  deadline: seconds until a proposal's outcome is unknown.

    max_pending, max_pending_bytes: proposals of this node without an outcome; beyond, QueueFull.
    retain_bytes, retain_records: of the log kept in memory behind the tree, for members that were away.
    outcomes: log indexes for which an operation's outcome is known; part of the replicated state, alike on all nodes.
    """

    durable: bool = True
    deadline: float = COMMIT_DEADLINE
    max_pending: int = MAX_PENDING
    max_pending_bytes: int = MAX_PENDING_BYTES
    retain_bytes: int = 32 << 20
    retain_records: int = 50_000
    outcomes: int = OUTCOMES


@dataclass(slots=True)
class Multicast:
    """Send `payload` to all members in total order; safe: with safe delivery."""

    payload: bytes
    safe: bool = False


@dataclass(slots=True)
class Claim:
    """For srp.set_progress: log index on disk + 1, or None for no claim."""

    value: int | None


@dataclass(slots=True)
class Outcome:
    """What became of a proposal of this node; told once for each accepted by `propose`.

    result: what was decided; None: unknown, `reason` is one sentence.  durable_on: members known to have it on disk.
    repeated: it had been done before, under the same id.
    """

    operation: Operation
    result: Result | None
    reason: str = ""
    durable_on: tuple[NodeId, ...] = ()
    repeated: bool = False


@dataclass(slots=True)
class Changed:
    """The tree changed, visibly and for good. index: log index it is at now."""

    index: int
    changes: tuple[Change, ...]


@dataclass(slots=True)
class Replaced:
    """`replica.state` is another tree now (resynced): watchers start anew."""

    reason: str


@dataclass(slots=True)
class BarrierDone:
    """A read begun when `barrier(token)` was called may be answered from `replica.state` now."""

    token: int


@dataclass(slots=True)
class BarrierFailed:
    token: int
    reason: str


@dataclass(slots=True)
class StatusChanged:
    """`status()` differs in state, writable or reason from what it was."""


Event = Multicast | Claim | Outcome | Changed | Replaced | BarrierDone | BarrierFailed | StatusChanged | DiskRequest


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """CLI.md `status.store`, and what explains it.

    state: synced | syncing | damaged | disk_error.  reason: why writes are refused, one plain sentence, "" if not.
    durable_on: members whose disks hold durable_revision, sorted.  kind: of the open epoch: majority | narrow | forced.
    held_only_by: in a narrow epoch the members that have its writes.  received: bytes of a transfer so far.
    readable: local reads may be answered; else unreadable says why.
    """

    state: str
    writable: bool
    reason: str
    revision: int
    digest: bytes
    entries: int
    bytes: int
    durable_revision: int
    durable_on: tuple[NodeId, ...]
    durability: str
    readable: bool
    unreadable: str
    epoch: str
    kind: str | None
    held_only_by: tuple[NodeId, ...]
    data_set: dict[NodeId, int]
    learners: tuple[NodeId, ...]
    era: int
    log_index: int
    committed_index: int
    applied_index: int
    received: int | None
    disk_message: str
    alarm: bool
    malformed: int
