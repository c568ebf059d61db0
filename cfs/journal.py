"""What this node asked of its disk, and how much of the log is known to be there.

Source: cfs/disk.py says what the disk promises. A claim rests on `on_disk` alone. True between any two calls:
    the log's records up to `on_disk` are on disk (written, with `durability: memory`), and no truncation is pending
        that goes below it
    asked >= on_disk; records beyond `asked` are asked for by `flush`
A failed disk keeps nothing of what was asked and not answered: when it works again everything beyond `on_disk` is asked
for anew. One that hangs may still do all of it: nothing more is asked of it until it answers, and never more than
MAX_ASKED at once, so that what waits for it is bounded.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from cfs.disk import Adopt, AppendLog, Checkpoint, DiskRequest, MarkCommit, TruncateTail
from cfs.entries import StateDelta
from cfs.log import Log
from cfs.records import Lineage, LogPosition, RecordKind

STALLED = 2.0  # seconds a request may wait before the disk counts as not working
MAX_BATCH = 4 << 20  # bytes of bodies in one append
MAX_ASKED = 16 << 20  # bytes of bodies asked for and not answered


@dataclass(slots=True)
class _Asked:
    """end: for an append, the log index it reaches; for a truncation, where it cuts.  size: of an append's bodies."""

    request: DiskRequest
    end: int
    since: float
    size: int = 0


class Journal:
    """on_disk: see the file's first lines.  failed: one sentence while the disk does not work, else empty."""

    def __init__(self, on_disk: int, committed: int, durable: bool) -> None:
        self.on_disk = on_disk
        self.asked = on_disk
        self.failed = ""
        self.adopting = False
        self._committed = committed
        self._marked = committed
        self._durable = durable
        self._receipt = 0
        self._waiting: dict[int, _Asked] = {}
        self._size = 0  # of the appends that wait for an answer
        self._cutting: dict[int, int] = {}  # of those, the truncations: receipt -> where it cuts
        self._cut: tuple[int, bool, str] | None = None  # a truncation that has to be asked for (again)
        self._queue: deque[DiskRequest] = deque()
        self._checkpointing = False

    # --- asking --------------------------------------------------------------------------------------------------

    def _ask(self, receipt: int, request: DiskRequest, end: int, now: float, size: int = 0) -> None:
        self._waiting[receipt] = _Asked(request, end, now, size)
        self._size += size
        self._queue.append(request)

    def _next_receipt(self) -> int:
        self._receipt += 1
        return self._receipt

    def flush(self, log: Log, now: float) -> None:
        """Ask for what the log has and the disk was not asked for yet."""
        if self.failed or self.adopting or self.stalled(now):
            return
        if self._cut is not None:
            receipt, (after, aside, reason) = self._next_receipt(), self._cut
            self._cut = None
            self._cutting[receipt] = after
            self._ask(receipt, TruncateTail(receipt, after, aside, reason), after, now)
        while self.asked < log.end.index and self._size < MAX_ASKED:
            records, size = [], 0
            for record in log.slice(self.asked, log.end.index):
                records.append(record)
                size += len(record.body)
                if size >= MAX_BATCH:
                    break
            sync = self._durable or any(record.kind is not RecordKind.OPERATION for record in records)
            receipt, last = self._next_receipt(), records[-1].index
            commit = min(self._committed, last)
            self._ask(receipt, AppendLog(receipt, tuple(records), commit, sync), last, now, size)
            self.asked = last
            self._marked = max(self._marked, commit)

    def truncate(self, after_index: int, set_aside: bool, reason: str) -> None:
        """Drop the log's records after `after_index` from the disk; asked for with the next flush."""
        if after_index >= self.asked and not any(one.end > after_index for one in self._waiting.values()):
            return
        if self._cut is not None:
            old, aside, why = self._cut
            after_index, set_aside, reason = min(old, after_index), aside or set_aside, reason if set_aside else why
        self._cut = (after_index, set_aside, reason)
        self.asked = self.on_disk = min(self.on_disk, after_index)

    def adopt(self, request: Adopt, now: float) -> int:
        """Replace the store; returns the receipt. Appends wait until it is answered."""
        receipt = self._next_receipt()
        made = Adopt(
            receipt,
            request.image,
            request.position,
            request.lineage,
            request.records,
            request.commit_index,
            request.set_aside,
            request.reason,
        )
        self.adopting = True
        self._ask(receipt, made, 0, now)
        return receipt

    def checkpoint(self, delta: StateDelta, position: LogPosition, lineage: Lineage, now: float) -> None:
        """Bring the database up to `position`."""
        receipt = self._next_receipt()
        self._checkpointing = True
        self._ask(receipt, Checkpoint(receipt, delta, position, lineage), 0, now)

    @property
    def checkpointing(self) -> bool:
        return self._checkpointing

    def mark(self, committed: int) -> None:
        """Everything up to `committed` is committed: to be remembered, in no hurry."""
        self._committed = max(self._committed, committed)

    def next_request(self) -> DiskRequest | None:
        """The next thing for the disk to do."""
        if self._queue:
            return self._queue.popleft()
        index = min(self._committed, self.on_disk)
        if index > self._marked and not self.failed and not self.adopting:
            self._marked = index
            return MarkCommit(index)
        return None

    # --- answers -------------------------------------------------------------------------------------------------

    def persisted(self, receipt: int, error: str | None) -> DiskRequest | None:
        """Take an answer; returns the request it answers when that succeeded. Unknown receipts are ignored."""
        if receipt == 0:
            if error is None:
                self.failed = ""
                self.asked = self.on_disk
            else:
                self.failed = error
            return None
        one = self._waiting.pop(receipt, None)
        self._cutting.pop(receipt, None)
        if one is None:
            return None
        self._size -= one.size
        request = one.request
        if isinstance(request, Checkpoint):
            self._checkpointing = False
        if isinstance(request, Adopt):
            self.adopting = False
        if error is not None:
            self.failed = self.failed or error
            if isinstance(request, TruncateTail):
                self._again(request)
            return None
        if isinstance(request, AppendLog):
            cuts = [*self._cutting.values(), *([self._cut[0]] if self._cut else [])]
            self.on_disk = max(self.on_disk, min([one.end, *cuts]))
        return request

    def _again(self, request: TruncateTail) -> None:
        after, aside, reason = self._cut or (request.after_index, request.set_aside, request.reason)
        self._cut = (min(after, request.after_index), aside or request.set_aside, reason)
        self.asked = self.on_disk = min(self.on_disk, self._cut[0])

    def replaced(self, end_index: int, committed: int) -> None:
        """The store is now another one, on disk up to `end_index`."""
        self._cut = None
        self.on_disk = self.asked = end_index
        self._committed = self._marked = committed

    def stalled(self, now: float) -> bool:
        """Does a request wait for too long?"""
        due = self.stall_time()
        return due is not None and now >= due

    def bad(self, now: float) -> bool:
        """Does the disk not work, or not answer?"""
        return bool(self.failed) or self.stalled(now)

    def adopting_since(self) -> float | None:
        """When the store began to be replaced, while it is."""
        for one in self._waiting.values():
            if isinstance(one.request, Adopt):
                return one.since
        return None

    def stall_time(self) -> float | None:
        """When the oldest append will have waited too long; what replaces or checkpoints a store may take its time."""
        for one in self._waiting.values():
            if isinstance(one.request, AppendLog | TruncateTail):
                return one.since + STALLED
        return None
