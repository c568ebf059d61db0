"""A disk in memory for the simulator: the requests of cfs/disk.py with latency, power loss, torn writes, errors and bit
rot.

Seconds are virtual. All chance comes from the given random.Random, so a seed repeats. What a request wrote counts as
durable only once its fsync ended; a crash before that keeps a random prefix of an append and either side of an atomic
step. Of the record behind that prefix some sectors may be there and others not: the next process has to see that it is
none.

    disk.request(event, now)                  for every disk request the replica emits
    disk.next_timeout(); disk.poll(now)       -> [(receipt, error)] to hand to replica.persisted, in order
    disk.crash()                              power loss; then disk.open(now) -> StoreImage for the next process
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from random import Random

from cfs.disk import Adopt, AppendLog, Checkpoint, DiskRequest, MarkCommit, StoreHealth, StoreImage, TruncateTail
from cfs.entries import StateDelta
from cfs.records import Lineage, LogPosition, LogRecord, RecordKind
from tests.sim.generation import Discarded, Generation, tear
from transport.core import earliest

PROBE = 1.0  # a failed disk is tried again so often
UNSYNCED = 0.05  # of an fsync's time: what writing alone takes
LATENCY = (0.0003, 0.004)  # seconds of one fsync, usually
QUIESCENCE = 1.0  # a commit mark nothing else carried is on disk after so long


@dataclass
class _Job:
    requests: list[DiskRequest]
    done: float


class SimDisk:
    """See the file's first lines.

    latency: bounds in seconds of one fsync, drawn evenly, set at will.  retain: records kept in the log behind the
    checkpoint.
    full, broken: while True every write fails; hung: nothing is done or answered; set at will.
    discarded: everything set aside, oldest first.
    """

    def __init__(self, random: Random, latency: tuple[float, float] = LATENCY, retain: int = 10_000) -> None:
        self.full = False
        self.broken = False
        self.hung = False
        self.discarded: list[Discarded] = []
        self.fsyncs = 0
        self.did: Counter[str] = Counter()  # what befell it: torn, unsynced, refused, slowed, held up
        self.works_since = -1.0  # when it was last told that the disk works again
        self._random = random
        self.latency = latency
        self._retain = retain
        self._store: Generation | None = None
        self._marker: tuple[int, LogPosition] | None = None
        self._generations = 0
        self._power_on()

    def _power_on(self) -> None:
        self._queue: deque[DiskRequest] = deque()
        self._job: _Job | None = None
        self._answers: list[tuple[int, str | None]] = []
        self._failed = False
        self._probe: float | None = None
        self._refused: float | None = None  # when (0, None) follows a request that was refused by itself
        self._mark = 0
        self._mark_due: float | None = None
        self._suspect = False
        self._delta: tuple[StateDelta, LogPosition, Lineage] | None = None

    # --- what the shell does -------------------------------------------------------------------------------------

    def open(self, now: float = 0.0) -> StoreImage:
        """The store as the next process finds it; forgets whatever the last one had queued."""
        self._power_on()
        image, store = self.peek(), self._store
        if store is not None and store.torn:  # cut off, unless whoever reads takes it for a record
            if image.end.index > store.end_index():
                store.log.append(store.torn)
            store.torn = b""
        return image

    def peek(self) -> StoreImage:
        """What a process that starts now would find."""
        marker = self._marker[1] if self._marker else None
        store = self._store
        if store is None:
            lost = "the store is gone" if marker else "no store yet"
            return StoreImage(StoreHealth.MISSING, lost, marker=marker)
        records, message = store.readable()
        retained = tuple(r for r in records if r.index <= store.position.index)
        tail = tuple(r for r in records if r.index > store.position.index)
        health = StoreHealth.DAMAGED if message else StoreHealth.OK
        image = StoreImage(
            health,
            message,
            store.image.copy(),
            store.position,
            store.lineage,
            retained,
            tail,
            store.commit_index,
            marker,
        )
        if not message and self._marker is not None:
            number, position = self._marker
            there = (store.number, image.end.epoch, image.end.index)
            if there[0] < number or (there[0] == number and there < (number, position.epoch, position.index)):
                image.health = StoreHealth.ROLLED_BACK
                self._suspect = True
                image.message = f"the log ends at index {image.end.index}, but this node had index {position.index}"
        return image

    def position(self, index: int) -> LogPosition | None:
        """Of the record at `index` as a process would find it now; None: not there, or only in the tree."""
        return self._store.position_of(index) if self._store is not None else None

    def end(self) -> LogPosition | None:
        """Where the log ends; None: there is no store."""
        return self._store.end() if self._store is not None else None

    def request(self, request: DiskRequest, now: float) -> None:
        """Queue one request; answers come out of `poll`."""
        if isinstance(request, MarkCommit):
            self._mark = max(self._mark, request.index)
            if self._mark_due is None:
                self._mark_due = now + QUIESCENCE
            return
        assert request.receipt > 0
        self._queue.append(request)
        self._start(now)

    def next_timeout(self) -> float | None:
        """When `poll` has something to do."""
        if self.hung:
            return None
        return earliest(self._job.done if self._job else None, self._probe, self._refused, self._mark_due)

    def overdue(self, now: float) -> int:
        """How many requests would be done by now, had it not hung."""
        return len(self._job.requests) if self._job is not None and self._job.done < now else 0

    def poll(self, now: float) -> list[tuple[int, str | None]]:
        """Advance to `now`; the answers that came due, in order."""
        if self.hung:
            return []
        while self._job is not None and now >= self._job.done:
            job, self._job = self._job, None
            for request in job.requests:
                self._finish(request, job.done)
            self._start(job.done)
        if self._probe is not None and now >= self._probe:
            self._probe = now + PROBE if self._trouble() else None
            if self._probe is None:
                self._failed = False
                self.works_since = now
                self._answers.append((0, None))
        if self._refused is not None and now >= self._refused:
            self._refused = None
            self._answers.append((0, None))
        if self._mark_due is not None and now >= self._mark_due:
            self._mark_due = None
            if self._store is not None and not self._trouble() and not self._failed:
                self._commit(self._mark)
                self._store.synced = self._store.end_index()
                self.fsyncs += 1
        answers, self._answers = self._answers, []
        return answers

    def close(self) -> None:
        """A clean end of the process: everything queued is on disk, and the marker."""
        if self._job is not None:
            for request in self._job.requests:
                self._finish(request, self._job.done)
        while self._queue:
            self._finish(self._queue.popleft(), 0.0)
        if self._store is not None and not self._failed:
            self._commit(self._mark)
            self._store.synced = self._store.end_index()
            self._mark_here(self._store)
        self._power_on()

    # --- what the world does to it -------------------------------------------------------------------------------

    def crash(self, power: bool = True) -> None:
        """The process dies: what was under way survives in part or not at all. With `power` the machine: the same goes
        for what was written (`durability: memory`) and not fsynced."""
        pending = (self._job.requests if self._job else []) + list(self._queue)
        torn: bytes | None = None  # the record that is lost in part
        if not self._failed and not self._trouble():
            for request in pending:
                if self._random.random() < 0.5:
                    self.did["unsynced"] += 1
                    torn = request.records[0].encode() if isinstance(request, AppendLog) and request.records else None
                    break
                if isinstance(request, AppendLog):
                    keep = self._random.randint(0, len(request.records))
                    self.did["torn"] += 0 < keep < len(request.records)
                    kept = AppendLog(0, request.records[:keep], request.commit_index, request.sync)
                    if self._append(kept) is not None:
                        break
                    if keep < len(request.records):
                        torn = request.records[keep].encode()
                        break
                else:
                    self._finish(request, 0.0)
        store = self._store
        if power and store is not None and store.synced < store.end_index():
            keep = self._random.randint(store.synced, store.end_index())
            self.did["unsynced"] += keep < store.end_index()
            torn = store.lose_tail(keep) if keep < store.end_index() else torn
        if store is not None and torn is not None:
            store.torn = tear(torn)
            self.did["torn inside"] += bool(store.torn)
        self._power_on()

    def lose(self) -> None:
        """Somebody deletes the store; the marker, elsewhere, stays."""
        self._store = None

    def rot(self, index: int) -> bool:
        """Flip a bit in the log record at `index`; False if it is not in the log (any more)."""
        return self._store is not None and self._store.rot(index, self._random)

    def backup(self) -> Generation | None:
        """A copy of the store without the marker, as an administrator may make one."""
        return self._store.copy() if self._store is not None else None

    def restore(self, saved: Generation | None) -> None:
        """Put an old copy in place of the store."""
        self._store = saved.copy() if saved is not None else None

    # --- inside --------------------------------------------------------------------------------------------------

    @property
    def failed(self) -> bool:
        """It was told that the disk does not work, and not yet that it does again."""
        return self._failed or self._trouble() is not None

    def _trouble(self) -> str | None:
        if self.broken:
            return "Input/output error"
        return "No space left on device" if self.full else None

    def _start(self, now: float) -> None:
        if self._job is not None or not self._queue:
            return
        batch = [self._queue.popleft()]
        if isinstance(batch[0], AppendLog):
            while self._queue and isinstance(self._queue[0], AppendLog):
                batch.append(self._queue.popleft())
        last = batch[-1]
        written = isinstance(last, AppendLog) and not any(one.sync for one in batch if isinstance(one, AppendLog))
        fsync = self._random.uniform(*self.latency)
        self.did["slowed"] += len(batch) if fsync > LATENCY[1] else 0
        self._job = _Job(batch, now + fsync * (UNSYNCED if written else 1.0))

    def _finish(self, request: DiskRequest, now: float) -> None:
        assert not isinstance(request, MarkCommit)
        if isinstance(request, Checkpoint):
            earlier = self._delta[0] if self._delta else None
            delta = earlier.then(request.delta) if earlier else request.delta
            self._delta = (delta, request.position, request.lineage)
        error = self._trouble()
        if self._failed or error is not None:
            self.did["refused"] += 1
            error = error or "the disk failed and was not tried again yet"
            if not self._failed:
                self._failed = True
                self._refused = None
                self._probe = now + PROBE
                self._answers.append((0, error))
        else:
            self.fsyncs += 1
            error = self._execute(request)
            if error is not None:
                self._refused = now + PROBE
        self._answers.append((request.receipt, error))

    def _execute(self, request: DiskRequest) -> str | None:
        if isinstance(request, AppendLog):
            return self._append(request)
        if isinstance(request, Adopt):
            return self._adopt(request)
        if isinstance(request, TruncateTail):
            return self._truncate(request)
        assert isinstance(request, Checkpoint)
        return self._checkpoint()

    def _append(self, request: AppendLog) -> str | None:
        store = self._store
        if store is None:
            return "no store to append to: adopt one first"
        if (wrong := store.append(request.records)) is not None:
            return wrong
        self._commit(max(request.commit_index, self._mark))
        if request.sync:
            store.synced = store.end_index()
        if any(record.kind is RecordKind.EPOCH for record in request.records):
            self._mark_here(store)
        return None

    def _adopt(self, request: Adopt) -> str | None:
        if request.image.index != request.position.index:
            return f"image at index {request.image.index}, position {request.position.index}"
        old = self._store
        self._generations += 1
        new = Generation(
            self._generations,
            request.image.copy(),
            request.position,
            request.lineage,
            request.position,
            [record.encode() for record in request.records],
            max(request.commit_index, request.position.index),
        )
        new.synced = new.end_index()
        if old is not None:
            records, damage = old.readable()
            if request.set_aside or damage:
                self.discarded.append(Discarded(request.reason or damage, records, old.image, old.position))
        self._store = new
        self._delta = None
        self._mark = 0
        self._mark_here(new)
        return None

    def _truncate(self, request: TruncateTail) -> str | None:
        store = self._store
        if store is None:
            return "no store to truncate"
        if request.after_index < max(store.position.index, store.commit_index):
            return f"index {request.after_index} is committed or in the tree: only a log tail can be dropped"
        keep = request.after_index - store.first.index
        if request.set_aside and keep < len(store.log):
            dropped = [LogRecord.decode(data) for data in store.log[keep:]]
            self.discarded.append(Discarded(request.reason, dropped))
        del store.log[keep:]
        store.synced = store.end_index()
        self._mark_here(store)
        return None

    def _checkpoint(self) -> str | None:
        store = self._store
        if store is None or self._delta is None:
            return "no store to bring up to date"
        delta, position, lineage = self._delta
        if position.index > store.end_index():
            return f"checkpoint at {position.index}, but the log on disk ends at {store.end_index()}"
        self._delta = None
        store.image.update(delta)
        store.position, store.lineage = position, lineage
        store.synced = store.end_index()
        self._commit(position.index)
        drop = position.index - store.first.index - self._retain
        if drop > 0:
            store.drop_first(drop)
        self._mark_here(store)
        return None

    def _commit(self, index: int) -> None:
        store = self._store
        if store is not None:
            store.commit_index = max(store.commit_index, min(index, store.end_index()))
        self._mark_due = None if index >= self._mark else self._mark_due

    def _mark_here(self, store: Generation) -> None:
        """The marker says where the log ends; one found ahead of the store stays until the store is there."""
        end, marker = store.end(), self._marker
        if self._suspect and marker is not None:
            number, position = marker
            if (store.number, end.epoch, end.index) < (number, position.epoch, position.index):
                return
        self._suspect = False
        self._marker = (store.number, end)
