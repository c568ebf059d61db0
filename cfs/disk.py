"""What the replica asks of its disk, and what it finds there at start.

Requests are events of the core (`next_event`), executed in order by a shell (cfs/io/store.py, in the simulator
tests/sim/disk.py). Each but MarkCommit is answered once by `persisted(receipt, error, now)`: error None = it is on disk
(and every append asked before it); a sentence = nothing of it can be relied on. A Checkpoint may be answered after
appends that were asked later.

A disk that failed (full, read-only, I/O error) fails every request until it works again; `persisted(0, sentence, now)`
tells the first failure and `persisted(0, None, now)` that it works again. Then the log on disk still ends where the
last good answer left it: the replica appends again from there. Receipts given out are therefore > 0.
A request may also be refused by itself (records that do not follow, a cut below a commit, no store yet) on a disk that
works; `persisted(0, None, now)` follows a second later: ask anew from the last good answer.

Only a log tail is ever dropped, never a tree: TruncateTail saves what it drops when asked, Adopt makes a new generation
complete before it replaces the old one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from cfs.entries import StateDelta, StateImage
from cfs.records import START, Lineage, LogPosition, LogRecord


@dataclass(frozen=True, slots=True)
class AppendLog:
    """Append `records`, which follow directly on the log's end; all or a prefix of them survives a crash.

    commit_index: the highest index known committed, remembered with it.  sync False (`durability: memory`): answered
    when written, not when on disk. Appends queued together share one fsync. To catch up and open an epoch, append the
    missing records with the EPOCH record last: without that one the store keeps its old label.
    """

    receipt: int
    records: tuple[LogRecord, ...]
    commit_index: int = 0
    sync: bool = True


@dataclass(frozen=True, slots=True)
class MarkCommit:
    """Everything up to `index` is committed. Never answered; rides on the next append, else on disk within 1 s."""

    index: int


@dataclass(frozen=True, slots=True)
class TruncateTail:
    """Drop the log's records after `after_index` (>= the last checkpoint and every known commit).

    set_aside: save them first under discarded/ with `reason`; without, they are just dropped.
    revisions: first and last revision that were only here, for the listing (`fs discarded`).
    """

    receipt: int
    after_index: int
    set_aside: bool
    reason: str
    revisions: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Adopt:
    """Replace the whole store in one atomic step: after a crash there is the old one or the new one, whole.

    image, lineage: the state at `position` (image.index == position.index).  records: the log that follows it, at least
    the EPOCH record when this opens one.  commit_index: >= position.index.
    set_aside: keep the old generation under discarded/ with `reason`; else it is removed (one that is damaged is always
    kept). Also how the first store is made: Adopt of an empty image.
    """

    receipt: int
    image: StateImage
    position: LogPosition
    lineage: Lineage
    records: tuple[LogRecord, ...] = ()
    commit_index: int = 0
    set_aside: bool = False
    reason: str = ""
    revisions: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Bring the database to `position` by `delta` (State.take_delta()), so that the log before it may be trimmed.

    Ask every CHECKPOINT_BYTES or CHECKPOINT_RECORDS of log, and when leaving; not when idle. A delta given once is
    not given again: after an error the disk keeps it and writes it with the next.
    """

    receipt: int
    delta: StateDelta
    position: LogPosition
    lineage: Lineage


CHECKPOINT_BYTES = 16 << 20
CHECKPOINT_RECORDS = 20_000

DiskRequest = AppendLog | MarkCommit | TruncateTail | Adopt | Checkpoint


class StoreHealth(StrEnum):
    """What opening the store found. Only OK may count or lead (S6)."""

    OK = "ok"
    MISSING = "missing"  # no store here; `marker` tells whether there once was one
    DAMAGED = "damaged"  # a checksum failed; what is readable is in the image, for reading only
    ROLLED_BACK = "rolled_back"  # older than this node's own marker


@dataclass(slots=True)
class StoreImage:
    """A store as found at start.

    state, lineage: at `position`.  retained: records up to position still in the log (for peers that are behind);
    tail: records after it, oldest first.  commit_index: the highest index known committed, >= position.index.
    marker: the last position (chain unknown: GENESIS) this node once had for certain; None: never had a store.
    message: one sentence for log and status when health is not OK.
    """

    health: StoreHealth = StoreHealth.MISSING
    message: str = ""
    state: StateImage = field(default_factory=StateImage)
    position: LogPosition = START
    lineage: Lineage = field(default_factory=Lineage)
    retained: tuple[LogRecord, ...] = ()
    tail: tuple[LogRecord, ...] = ()
    commit_index: int = 0
    marker: LogPosition | None = None

    @property
    def fresh(self) -> bool:
        """There never was a store here: a new node."""
        return self.health is StoreHealth.MISSING and self.marker is None

    @property
    def end(self) -> LogPosition:
        """Where the log ends."""
        return self.tail[-1].position if self.tail else self.position
