"""A simulated disk: the store's log, tree and small files, with what a crash leaves of them.

Requests are carried out in order; appends that wait together share one fsync, as the real shell does. Killing the
process loses what had not been asked of the kernel, losing power also what was not yet synced: of an append under way a
prefix survives, of an atomic step all or nothing. A failing disk fails everything until it is mended. The rules are
those of cfs/disk.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from cfs.disk import Adopt, AppendLog, Checkpoint, DiskRequest, MarkCommit, StoreHealth, StoreImage, TruncateTail
from cfs.entries import StateImage
from cfs.records import GENESIS, START, Lineage, LogPosition, LogRecord, RecordKind
from tests.sim.clock import Clock
from transport.events import Persist

Waiting = AppendLog | TruncateTail | Adopt | Checkpoint  # the requests that take time and are answered
KEPT = 2000  # records before a checkpoint that stay in the log for peers that are behind
_ID = slice(4, 20)  # where an encoded operation has its id (cfs/messages.py)


@dataclass(slots=True)
class Generation:
    """One store on disk: the tree at `position`, and the log before and after it."""

    state: StateImage = field(default_factory=StateImage)
    position: LogPosition = START
    lineage: Lineage = field(default_factory=Lineage)
    log: list[LogRecord] = field(default_factory=list)
    commit_index: int = 0

    @property
    def end(self) -> int:
        return self.log[-1].index if self.log else self.position.index


def operation_ids(records: tuple[LogRecord, ...] | list[LogRecord]) -> list[bytes]:
    return [record.body[_ID] for record in records if record.kind is RecordKind.OPERATION]


class SimDisk:
    """The disk of one machine; it outlives processes.

    answer(receipt, error): of a store request.  filed(persist, error): of a small file.
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        answer: Callable[[int, str | None], None],
        filed: Callable[[Persist, str | None], None],
    ) -> None:
        self._clock = clock
        self._random = random
        self._answer = answer
        self._filed = filed
        self._queue: deque[Waiting] = deque()
        self._under_way: list[Waiting] = []
        self._life = 0  # answers to a process that died are dropped
        self._batch = 0
        self._files_under_way: list[Persist] = []
        self._told_failed = False
        self._commit = 0
        self.fsync = (0.0005, 0.003)
        self.slow = 1.0
        self.failing = ""
        self.store: Generation | None = None
        self.marker: LogPosition | None = None
        self.damaged = False
        self.files: dict[str, bytes] = {}
        self.discarded: list[tuple[str, tuple[bytes, ...]]] = []  # reason, ids of the operations set aside
        self.ever_logged: set[bytes] = set()
        self._ids: set[bytes] = set()
        self._unsynced = 0  # records at the log's end that only the kernel has
        self.writes = 0

    # -- asked by the process --------------------------------------------------------------------------------

    def request(self, request: DiskRequest) -> None:
        if isinstance(request, MarkCommit):
            self._commit = max(self._commit, request.index)
            self._clock.after(1.0, self._write_commit, self._life, request.index)
            return
        self._queue.append(request)
        if not self._under_way:
            self._begin()

    def persist(self, file: Persist) -> None:
        self._files_under_way.append(file)
        self._clock.after(self._time(), self._file_done, self._life, file)

    def _time(self) -> float:
        return self._random.uniform(*self.fsync) * self.slow

    def _begin(self) -> None:
        """Take what the next fsync covers: all waiting appends, or one step of another kind."""
        self._under_way = [self._queue.popleft()]
        if isinstance(self._under_way[0], AppendLog):
            while self._queue and isinstance(self._queue[0], AppendLog):
                self._under_way.append(self._queue.popleft())
        self._batch += 1
        self._clock.after(self._time(), self._done, self._batch)

    def _done(self, batch: int) -> None:
        if batch != self._batch:
            return
        if self.failing:
            self._fail_all()
            return
        requests, self._under_way = self._under_way, []
        for request in requests:
            self._carry_out(request)
        if self._queue:
            self._begin()
        self._answer_all(requests, None)

    def _fail_all(self) -> None:
        """What waits behind a failed request was built on it, so it fails too."""
        requests = [*self._under_way, *self._queue]
        self._under_way.clear()
        self._queue.clear()
        self._batch += 1
        if not self._told_failed:
            self._told_failed = True
            self._answer(0, self.failing)
        self._answer_all(requests, self.failing)

    def _answer_all(self, requests: list[Waiting], error: str | None) -> None:
        life = self._life
        for request in requests:
            if life == self._life:  # an answer may have been the last thing that this process did
                self._answer(request.receipt, error)

    def _file_done(self, life: int, file: Persist) -> None:
        if life != self._life:
            return
        self._files_under_way.remove(file)
        if not self.failing:
            self.files[file.name] = file.value
            self.writes += 1
        self._filed(file, self.failing or None)

    def _write_commit(self, life: int, index: int) -> None:
        if life == self._life and not self.failing and self.store is not None:
            self.store.commit_index = max(self.store.commit_index, min(index, self.store.end))

    # -- what it does ----------------------------------------------------------------------------------------

    def _carry_out(self, request: Waiting) -> None:
        self.writes += 1
        match request:
            case AppendLog():
                self._append(request.records, request.sync)
                assert self.store is not None
                commit = min(max(request.commit_index, self._commit), self.store.end)
                self.store.commit_index = max(self.store.commit_index, commit)
            case TruncateTail():
                self._truncate(request)
            case Adopt():
                self._adopt(request)
            case Checkpoint():
                self._checkpoint(request)
        if self.store is not None:
            epoch = self.store.log[-1].epoch if self.store.log else self.store.position.epoch
            self.marker = LogPosition(self.store.end, epoch, GENESIS)

    def _append(self, records: tuple[LogRecord, ...], sync: bool) -> None:
        assert self.store is not None, "an append to a disk without a store"
        for record in records:
            assert record.index == self.store.end + 1, f"record {record.index} appended after {self.store.end}"
            self.store.log.append(record)
        ids = operation_ids(records)
        self.ever_logged.update(ids)
        self._ids.update(ids)
        self._unsynced = 0 if sync else self._unsynced + len(records)

    def _truncate(self, request: TruncateTail) -> None:
        assert self.store is not None
        assert request.after_index >= self.store.position.index, "only a log tail is ever dropped"
        dropped = [record for record in self.store.log if record.index > request.after_index]
        self.store.log = [record for record in self.store.log if record.index <= request.after_index]
        self.store.commit_index = min(self.store.commit_index, request.after_index)
        if request.set_aside:
            self.discarded.append((request.reason, tuple(operation_ids(dropped))))
        self._ids.difference_update(operation_ids(dropped))

    def _adopt(self, request: Adopt) -> None:
        if request.set_aside and self.store is not None:
            ids = [*self.store.state.outcomes, *operation_ids(self.store.log)]
            self.discarded.append((request.reason, tuple(ids)))
        image = request.image
        state = replace(image, entries=dict(image.entries), outcomes=dict(image.outcomes), staging=dict(image.staging))
        log = list(request.records)
        self.store = Generation(state, request.position, request.lineage, log, request.commit_index)
        ids = operation_ids(log)
        self.ever_logged.update(ids)
        self._ids = {*ids, *image.outcomes}
        self.damaged = False

    def _checkpoint(self, request: Checkpoint) -> None:
        assert self.store is not None
        self.store.state.update(request.delta)
        self.store.position, self.store.lineage = request.position, request.lineage
        self.store.log = [r for r in self.store.log if r.index > request.position.index - KEPT]

    def holds(self, operation_id: bytes) -> bool:
        """Is the operation on this disk, so that a crash now would not lose it?"""
        return operation_id in self._ids

    def epoch_of(self, operation_id: bytes) -> LogRecord | None:
        """The record of an operation still in the log."""
        for record in reversed(self.store.log if self.store is not None else []):
            if record.kind is RecordKind.OPERATION and record.body[_ID] == operation_id:
                return record
        return None

    # -- done to it ------------------------------------------------------------------------------------------

    def crash(self, power: bool) -> None:
        """The process dies, with power all of the machine. What was under way may be there, in part or not at all."""
        self._life += 1
        self._batch += 1
        if not self.failing:
            for request in self._under_way:
                if isinstance(request, AppendLog):
                    survive = self._random.randrange(len(request.records) + 1)
                    if survive and self.store is not None:
                        self._append(request.records[:survive], True)
                    if survive < len(request.records):
                        break
                elif self._random.random() < 0.5:
                    self._carry_out(request)
            for file in self._files_under_way:
                if self._random.random() < 0.5:
                    self.files[file.name] = file.value
        if power and self._unsynced and self.store is not None:
            lost = self._random.randrange(self._unsynced + 1)
            self._ids.difference_update(operation_ids(self.store.log[len(self.store.log) - lost :]))
            del self.store.log[len(self.store.log) - lost :]
        self._unsynced = 0
        self._queue.clear()
        self._under_way.clear()
        self._files_under_way.clear()
        self._told_failed = False

    def fail(self, sentence: str) -> None:
        """From now on every request fails: "No space left on device", "Input/output error"."""
        self.failing = sentence

    def mend(self) -> None:
        """The disk works again, and a process that was told of the failure is told so."""
        if not self.failing:
            return
        if self._told_failed:
            self._fail_all()
        self.failing = ""
        if self._told_failed:
            self._told_failed = False
            self._answer(0, None)

    def wipe(self, keep_marker: bool) -> None:
        """A new, empty disk; with `keep_marker` only the store is gone and its marker tells that there was one."""
        self.store = None
        self._ids.clear()
        self.damaged = False
        if not keep_marker:
            self.marker = None
            self.files.clear()

    def load(self) -> StoreImage:
        """What a starting process finds."""
        if self.store is None:
            message = "" if self.marker is None else "the store is missing"
            return StoreImage(StoreHealth.MISSING, message, marker=self.marker)
        store = self.store
        image = replace(
            store.state,
            entries=dict(store.state.entries),
            outcomes=dict(store.state.outcomes),
            staging=dict(store.state.staging),
        )
        before = tuple(r for r in store.log if r.index <= store.position.index)
        after = tuple(r for r in store.log if r.index > store.position.index)
        health = StoreHealth.DAMAGED if self.damaged else StoreHealth.OK
        message = "a checksum failed" if self.damaged else ""
        return StoreImage(
            health, message, image, store.position, store.lineage, before, after, store.commit_index, self.marker
        )
