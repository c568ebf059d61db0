"""The disk behind the replica: one worker thread that does what cfs/disk.py asks, in order, and answers.

Appends queued together share one frame and one fsync. A checkpoint runs on a thread of its own, so that appends need
not wait for SQLite; everything else waits for it. An error (full, read-only, I/O) fails all requests until a probe
write succeeds, tried once a second. When nothing is asked and no commit mark is due, the worker sleeps and the disk is
left alone.

    store = Store(root); image = store.open()          # blocking, before the loop serves anybody
    store.start(loop, answers)                         # answers([(receipt, error), ...]) is called in the loop
    store.submit(request)                              # any thread, never blocks
    store.close()                                      # blocking: what is queued is done first
"""

from __future__ import annotations

import asyncio
import math
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cfs.disk import Adopt, AppendLog, Checkpoint, DiskRequest, MarkCommit, StoreHealth, StoreImage, TruncateTail
from cfs.entries import StateDelta
from cfs.io import files, generations
from cfs.io.discarded import FOLDER, Discarded, discarded, new_id, set_aside_tail
from cfs.io.generations import Generation, Marker
from cfs.io.opening import open_store
from cfs.records import LogPosition, LogRecord, RecordKind

PROBE = 1.0  # seconds between tries of a disk that failed
QUIESCENCE = 1.0  # seconds after which a commit mark that no append carried is written
GROUP_BYTES = 4 << 20  # records of one frame
PROBE_BYTES = 64 << 10  # a disk with less room than this is still full

Answers = Callable[[list[tuple[int, str | None]]], None]
# Below, whatever goes wrong while a request is done becomes its answer: a request left without one would hang a client.


@dataclass(slots=True)
class _Done:
    """The checkpoint thread ended."""


@dataclass(slots=True)
class _Stop:
    """Everything before this was asked for; then the worker ends."""


class Store:
    """One node's store directory. Raises only from `open`; afterwards every error is an answer.

    fsyncs and bytes written to the log: `log_bytes`, for figures.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.groups = 0  # frames written for appends: requests per group is how well fsyncs are shared
        self._queue: queue.SimpleQueue[DiskRequest | _Done | _Stop] = queue.SimpleQueue()
        self._waiting: deque[DiskRequest | _Done | _Stop] = deque()
        self._thread: threading.Thread | None = None
        self._deliver: Callable[[list[tuple[int, str | None]]], None] = lambda answers: None
        self._answers: list[tuple[int, str | None]] = []
        self._lock = -1
        self._generation: Generation | None = None
        self._found = generations.Found(None, 0)
        self._marker: Marker | None = None
        self._damage = ""  # of the store found at start
        self._suspect = False  # found rolled back: the marker must not forget it before the store is whole again
        self._failed: str | None = None
        self._probe_at = 0.0
        self._refused_at: float | None = None  # when a request was last refused although the disk works
        self._mark = 0
        self._mark_at: float | None = None
        self._position = LogPosition()  # of the database
        self._delta: StateDelta | None = None
        self._checkpoint: threading.Thread | None = None
        self._checkpoint_asked: Checkpoint | None = None
        self._checkpoint_error: Exception | None = None
        self._stopped = False

    # --- called by the shell -------------------------------------------------------------------------------------

    def open(self) -> StoreImage:
        """Take the directory (made if missing) and read what is there; blocking.

        Raises StoreBusy when another process has it, OSError when it cannot be read or written at all.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = generations.lock(self.root)
        try:
            self._generation, self._marker, image = open_store(self.root)
            self._found = generations.found(self.root)
        except BaseException:
            os.close(self._lock)
            raise
        self._position = image.position
        self._damage = image.message if self._generation is None else ""
        self._suspect = image.health is StoreHealth.ROLLED_BACK
        return image

    def start(self, loop: asyncio.AbstractEventLoop, answers: Answers) -> None:
        """Begin to work. answers: called in `loop`, in order; receipt 0 tells that the disk failed or works again."""

        def deliver(told: list[tuple[int, str | None]]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(answers, told)

        self.start_with(deliver)

    def start_with(self, deliver: Answers) -> None:
        """As `start`, with answers handed over on the worker thread itself."""
        self._deliver = deliver
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    def submit(self, request: DiskRequest) -> None:
        """Queue a request."""
        self._queue.put(request)

    def close(self) -> None:
        """Do what is queued, write marker and commit mark, let go of the directory; blocking."""
        if self._thread is not None:
            self._queue.put(_Stop())
            self._thread.join()
        if self._generation is not None:
            self._generation.close()
            self._generation = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def discarded(self) -> list[Discarded]:
        """What was set aside, oldest first; reads the disk."""
        return discarded(self.root)

    @property
    def log_bytes(self) -> int:
        """Bytes written to the log since it was opened."""
        return self._generation.log.written if self._generation else 0

    # --- the worker ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stopped:
            try:
                self._waiting.append(self._queue.get(timeout=self._patience()))
            except queue.Empty:
                pass
            while not self._queue.empty():
                self._waiting.append(self._queue.get())
            while self._waiting:
                self._serve(self._waiting.popleft())
                self._flush()
            self._tick(time.monotonic())
            self._flush()

    def _patience(self) -> float | None:
        due = [self._probe_at] if self._failed else []
        if not self._failed:
            due += [at for at in (self._mark_at, self._refused_at) if at is not None]
        first = min(due, default=math.inf)
        return None if first == math.inf else max(0.0, first - time.monotonic())

    def _flush(self) -> None:
        if self._answers:
            answers, self._answers = self._answers, []
            self._deliver(answers)

    def _serve(self, item: DiskRequest | _Done | _Stop) -> None:
        if isinstance(item, AppendLog):
            self._append_group(item)
        elif isinstance(item, MarkCommit):
            self._note_mark(item)
        else:
            self._end_checkpoint()
            if isinstance(item, _Stop):
                self._stop()
            elif not isinstance(item, _Done):
                self._execute(item)

    def _execute(self, request: Adopt | TruncateTail | Checkpoint) -> None:
        if isinstance(request, Checkpoint):
            self._delta = self._delta.then(request.delta) if self._delta else request.delta
        if self._failed is not None:
            self._answers.append((request.receipt, self._failed))
            return
        try:
            if isinstance(request, Adopt):
                error = self._adopt(request)
            elif isinstance(request, TruncateTail):
                error = self._truncate(request)
            elif (error := self._begin_checkpoint(request)) is None:
                return
            if error is not None:
                self._refused_at = time.monotonic() + PROBE
        except Exception as problem:
            error = self._fail(problem)
        self._answers.append((request.receipt, error))

    # --- appending -----------------------------------------------------------------------------------------------

    def _append_group(self, first: AppendLog) -> None:
        group, size = [first], sum(len(record.body) for record in first.records)
        while self._waiting and isinstance(self._waiting[0], AppendLog | MarkCommit) and size < GROUP_BYTES:
            item = self._waiting.popleft()
            if isinstance(item, MarkCommit):
                self._note_mark(item)
            elif isinstance(item, AppendLog):
                group.append(item)
                size += sum(len(record.body) for record in item.records)
        if self._failed is not None or self._generation is None:
            if self._failed is None:
                self._refused_at = time.monotonic() + PROBE
            why = self._failed or f"no store to append to: {self._damage}"
            self._answers += [(request.receipt, why) for request in group]
            return
        log = self._generation.log
        records: list[LogRecord] = []
        good: list[AppendLog] = []
        end = log.end.index
        for request in group:
            if all(record.index == end + number for number, record in enumerate(request.records, 1)):
                good.append(request)
                records += request.records
                end += len(request.records)
            else:
                self._answers.append((request.receipt, f"the records do not follow the log's end at index {end}"))
                self._refused_at = time.monotonic() + PROBE
        if not good:
            return
        commit = max(self._mark, *(request.commit_index for request in good))
        try:
            log.append(records, commit, any(request.sync for request in good))
        except Exception as problem:
            error = self._fail(problem)
            self._answers += [(request.receipt, error) for request in good]
            return
        self.groups += 1
        if self._mark <= commit:
            self._mark_at = None
        self._answers += [(request.receipt, None) for request in good]
        if any(record.kind is RecordKind.EPOCH for record in records):
            self._flush()
            self._try_marker(whole=self._marker is None and records[-1].kind is RecordKind.EPOCH)

    def _note_mark(self, mark: MarkCommit) -> None:
        self._mark = max(self._mark, mark.index)
        if self._mark_at is None and self._generation is not None and self._mark > self._generation.log.commit_index:
            self._mark_at = time.monotonic() + QUIESCENCE

    def _write_mark(self) -> None:
        """A frame without records: so the last operations too are followed by proof that they were on disk."""
        self._mark_at = None
        if self._generation is None or self._mark <= self._generation.log.commit_index:
            return
        try:
            self._generation.log.append((), self._mark)
        except Exception as problem:
            self._fail(problem)

    # --- the others ----------------------------------------------------------------------------------------------

    def _adopt(self, request: Adopt) -> str | None:
        if request.image.index != request.position.index:
            return f"the image is at index {request.image.index}, its position at {request.position.index}"
        old = self._generation
        there = generations.numbers(self.root)
        replaced = old.number if old else (there[-1] if there else None)
        number = max([0, *there, self._marker.generation if self._marker else 0]) + 1
        described = self._describe(request, replaced)
        new = generations.build(self.root, number, request, described, replaced)
        try:
            generations.switch(self.root, number)
        except BaseException:
            new.close()
            raise
        if old is not None:
            old.close()
        self._generation, self._position = new, request.position
        self._damage = ""
        self._delta, self._mark, self._mark_at = None, 0, None
        # The store is the new one now: what fails from here on is told as the disk's failure, not as this request's.
        self._try_marker(whole=True)
        try:
            generations.retire(self.root, number)  # the next start does what is left
        except OSError as problem:
            self._fail(problem)
        return None

    def _describe(self, request: Adopt, replaced: int | None) -> Discarded | None:
        """How the generation to be replaced is set aside; None: it is removed."""
        old = self._generation
        if replaced is None or (old is not None and not request.set_aside):
            return None
        ident = new_id(f"gen-{replaced}")
        kind, epoch, entries, end = "damaged", "", 0, 0
        if old is not None:
            kind, epoch, entries, end = "store", str(old.log.end.epoch), old.database.count(), old.log.end.index
        place = str(self.root / FOLDER / ident / "store")
        reason = request.reason if old is not None else f"{self._damage}; {request.reason}".rstrip("; ")
        return Discarded(ident, time.time(), kind, reason, request.revisions, (1, end), epoch, entries, place)

    def _truncate(self, request: TruncateTail) -> str | None:
        generation = self._generation
        if generation is None:
            return f"no store to truncate: {self._damage}"
        log = generation.log
        if request.after_index < max(self._position.index, log.commit_index):
            return f"index {request.after_index} is in the tree or committed: only a log tail can be dropped"
        if request.after_index >= log.end.index:
            return None
        found = log.read()
        if found.damage:
            return found.damage
        kept = request.after_index - found.first.index
        after = found.records[kept - 1].position if kept else found.first
        if request.set_aside:
            set_aside_tail(self.root, after, found.records[kept:], request.reason, request.revisions)
        self._write_marker(after)  # first: a marker ahead of the log would make this node a learner
        log.cut(after)
        return None

    def _begin_checkpoint(self, request: Checkpoint) -> str | None:
        generation, delta = self._generation, self._delta
        if generation is None or delta is None:
            return f"no store to bring up to date: {self._damage}"
        if request.position.index > generation.log.end.index:
            return f"checkpoint at index {request.position.index}, the log ends at {generation.log.end.index}"
        generation.log.sync()  # the tree never gets ahead of the log
        self._checkpoint_asked = request

        def follow() -> None:
            try:
                generation.database.update(delta, request.position, request.lineage)
            except Exception as problem:  # told to the worker, whatever it is
                self._checkpoint_error = problem
            self._queue.put(_Done())

        self._checkpoint = threading.Thread(target=follow, name="store-checkpoint", daemon=True)
        self._checkpoint.start()
        return None

    def _end_checkpoint(self) -> None:
        """Wait for the checkpoint under way, if any, and answer it."""
        if self._checkpoint is None:
            return
        self._checkpoint.join()
        request, problem, generation = self._checkpoint_asked, self._checkpoint_error, self._generation
        self._checkpoint = self._checkpoint_asked = self._checkpoint_error = None
        assert request is not None and generation is not None
        error: str | None = None
        if isinstance(problem, sqlite3.DatabaseError) and not isinstance(problem, sqlite3.OperationalError):
            # What lies before the log is no longer safe here: this store must not count until it was resynced (S6).
            error = self._fail(problem, "the database is damaged, restart this node to resync it: ")
            self._probe_at = math.inf
        elif problem is not None:
            error = self._fail(problem)
        else:
            self._delta, self._position = None, request.position
            if self._failed is None:
                try:
                    generation.log.trim(request.position.index)
                except OSError as trouble:
                    error = self._fail(trouble)
                self._try_marker()
        self._answers.append((request.receipt, error))

    def _try_marker(self, whole: bool = False) -> None:
        """The marker follows what is on disk already, so its failure fails no request."""
        try:
            if self._failed is None:
                self._write_marker(whole=whole)
        except OSError as problem:
            self._fail(problem)

    def _write_marker(self, position: LogPosition | None = None, whole: bool = False) -> None:
        """The marker says where the log ends on disk. whole: this place is known to be the newest, whatever it said."""
        if self._generation is None:
            return
        marker = Marker(self._generation.number, position or self._generation.log.synced_end)
        if self._suspect and not whole and (self._marker is None or marker.order < self._marker.order):
            return
        self._suspect = False
        if self._marker is None or marker.order != self._marker.order:
            generations.write_marker(self.root, marker)
            self._marker = marker

    def _stop(self) -> None:
        self._stopped = True
        if self._failed is None:
            self._write_mark()
        self._try_marker()

    # --- errors --------------------------------------------------------------------------------------------------

    def _fail(self, problem: Exception, prefix: str = "") -> str:
        """Note it, tell it once; every request fails with this sentence until a probe succeeds."""
        self._failed = _sentence(problem, prefix)
        self._refused_at = None  # the probe will tell
        self._probe_at = time.monotonic() + PROBE
        self._answers.append((0, self._failed))
        return self._failed

    def _tick(self, now: float) -> None:
        if self._failed is not None and now >= self._probe_at:
            try:
                self._probe()
            except Exception as problem:
                self._probe_at = now + PROBE
                self._failed = _sentence(problem)
            else:
                self._failed = None
                self._answers.append((0, None))
            return
        if self._failed is None and self._refused_at is not None and now >= self._refused_at:
            self._refused_at = None
            self._answers.append((0, None))
        if self._failed is None and self._mark_at is not None and now >= self._mark_at:
            self._write_mark()

    def _probe(self) -> None:
        """Is there room, and does what is written reach the disk? Then make the log's end good. Raises OSError."""
        if self._generation is not None:
            if generations.read_current(self.root) != self._generation.number:  # an adoption failed half way
                generations.switch(self.root, self._generation.number)
            generations.tidy(self.root, self._generation.number)  # what is left of it fills the disk
        else:
            generations.undo(self.root, self._found)
        path = self.root / "probe"
        try:
            files.write_new(path, bytes(PROBE_BYTES))
        finally:
            path.unlink(missing_ok=True)
        if self._generation is not None:
            self._generation.log.repair()


def _sentence(problem: Exception, prefix: str = "") -> str:
    text = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return f"store disk: {prefix}{text or type(problem).__name__}"
