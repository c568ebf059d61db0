"""The disk of one simulated machine: its store (tests/sim/disk.py) on the run's clock, and its small files.

It outlives processes. `holds` tells the checkers, from outside, whether an operation is on this disk right now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from cfs.disk import Adopt, AppendLog, Checkpoint, DiskRequest, MarkCommit, StoreHealth, StoreImage, TruncateTail
from cfs.journal import STALLED
from cfs.records import DataSet, EpochKind, EpochRecord, LogRecord, RecordKind
from clusterd.promises import NAME as PROMISES
from tests.sim.clock import Clock
from tests.sim.disk import SimDisk
from tests.sim.generation import Generation
from transport.events import Persist
from transport.ids import NodeId, RingId

RETRY = 1.0  # seconds until a small file that could not be written is tried again (transport/io/files.py)
WORD = 0.3  # seconds for all to hear that a disk works again
HANGS = STALLED / 1.01  # seconds after which a node may say that its disk hangs, by a clock of its own
_ID, _BEHIND_ID = 4, 20  # where an encoded operation has its id (cfs/messages.py)
Answered = AppendLog | TruncateTail | Adopt | Checkpoint


def operation_id(record: LogRecord) -> bytes | None:
    return record.body[_ID:_BEHIND_ID] if record.kind is RecordKind.OPERATION else None


class Storage:
    """answer(receipt, error) hears of the store's requests, filed(file) of small files that are on disk."""

    def __init__(
        self,
        clock: Clock,
        random: Random,
        answer: Callable[[int, str | None], None],
        filed: Callable[[Persist], None],
        later: Random,
    ) -> None:
        """later: draws how long the files take that were not written yet when the seeds of today were chosen."""
        self._clock = clock
        self._random = random
        self._later = later
        self._answer = answer
        self._filed = filed
        self._life = 0  # what belongs to a process that died is dropped
        self._asked: dict[int, Answered] = {}
        self._since: dict[int, float] = {}  # when it was asked to write to its log, oldest first
        self._hung_until = -1.0  # when it answered last what had waited for so long that the disk counted as hanging
        self._files_under_way: list[Persist] = []
        self._wake: float | None = None
        # Operations on this disk: epoch and index of their records; None: only in the tree's outcomes.
        self._place: dict[bytes, tuple[RingId, int] | None] = {}
        self.end = 0  # the log index up to which everything is on this disk
        self._data_sets: list[tuple[int, DataSet]] = []  # each from this log index on
        self.store = SimDisk(random)
        self.files: dict[str, bytes] = {}
        self.slow = 1.0
        self.ever_logged: set[bytes] = set()
        self.epochs: dict[RingId, EpochRecord] = {}
        self.records: dict[tuple[RingId, int], bytes | None] = {}  # ever on this disk; None: no operation
        self.data_sets: set[tuple[int, tuple[tuple[NodeId, int], ...]]] = set()  # ever on this disk, by version
        self.transfers = 0
        self.found: Counter[StoreHealth] = Counter()  # by processes that started

    # -- asked by the process --------------------------------------------------------------------------------

    def request(self, request: DiskRequest) -> None:
        if not isinstance(request, MarkCommit):
            self._asked[request.receipt] = request
        if isinstance(request, AppendLog | TruncateTail):
            self._since[request.receipt] = self._clock.now
        self.store.latency = (0.0003 * self.slow, 0.004 * self.slow)
        self.store.request(request, self._clock.now)
        self._arm()

    def persist(self, file: Persist) -> None:
        self._files_under_way = [other for other in self._files_under_way if other.name != file.name]
        self._files_under_way.append(file)
        random = self._later if file.name == PROMISES else self._random
        delay = random.uniform(0.0003, 0.004) * self.slow
        self._clock.after(delay, self._file_done, self._life, file)

    def hang(self, hung: bool) -> None:
        """Nothing is done or answered meanwhile; it is no failure."""
        if not hung:
            self._note_held_up()
        self.store.hung = hung
        self._arm()

    def _note_held_up(self) -> None:
        if self.store.hung:
            self.store.did["held up"] += self.store.overdue(self._clock.now)

    def is_writing(self, name: str = "") -> bool:
        """A small file (of this name) was asked for and is not on the disk yet."""
        return any(name in ("", file.name) for file in self._files_under_way)

    def _arm(self) -> None:
        due = self.store.next_timeout()
        if due is not None and (self._wake is None or due < self._wake):
            self._wake = due
            self._clock.at(due, self._poll, self._life, due)

    def _poll(self, life: int, due: float) -> None:
        if life != self._life or due != self._wake:
            return
        self._wake = None
        answers = self.store.poll(self._clock.now)
        for receipt, error in answers:
            request = self._asked.pop(receipt, None)
            if self._clock.now - self._since.pop(receipt, self._clock.now) >= HANGS:
                self._hung_until = self._clock.now
            if error is None and request is not None:
                self._note(request)
        self._arm()
        for receipt, error in answers:
            if life == self._life:  # an answer may be the last thing that this process did
                self._answer(receipt, error)

    def _file_done(self, life: int, file: Persist) -> None:
        if life != self._life or file not in self._files_under_way:
            return
        if self.failing or self.store.hung:
            self.store.did["held up"] += self.store.hung
            self._clock.after(RETRY, self._file_done, self._life, file)
            return
        self._files_under_way.remove(file)
        self.files[file.name] = file.value
        self._filed(file)

    # -- what is on it ---------------------------------------------------------------------------------------

    def _note(self, request: Answered) -> None:
        if isinstance(request, AppendLog):
            self._note_records(request.records)
        elif isinstance(request, Adopt):
            self.transfers += bool(request.image.index)
            self._place = dict.fromkeys(request.image.outcomes)
            first = request.lineage.data_set
            self._data_sets = [(request.position.index, first)]
            self.data_sets.add((first.version, tuple(sorted(first.votes.items()))))
            self.end = request.position.index
            self._note_records(request.records)
            self.epochs.update((epoch.ring_id, epoch) for epoch in request.lineage.epochs)
        elif isinstance(request, TruncateTail):
            self._read_again()

    def _note_records(self, records: tuple[LogRecord, ...]) -> None:
        for record in records:
            ident = operation_id(record)
            self.end = record.index
            self.records.setdefault((record.epoch, record.index), record.body if ident is not None else None)
            if ident is not None:
                self._place[ident] = (record.epoch, record.index)
                self.ever_logged.add(ident)
            elif record.kind is RecordKind.DATA_SET:
                data_set = DataSet.decode(record.body)
                self._data_sets.append((record.index, data_set))
                self.data_sets.add((data_set.version, tuple(sorted(data_set.votes.items()))))
            elif record.kind is RecordKind.EPOCH:
                epoch = EpochRecord.decode(record.body)
                self.epochs[epoch.ring_id] = epoch
                self._void_change(epoch)

    def _void_change(self, epoch: EpochRecord) -> None:
        """A narrow epoch cannot finish a change of the data set: it goes on with the one before."""
        before = [data_set for _, data_set in self._data_sets if data_set.version <= epoch.data_set]
        if epoch.kind is EpochKind.NARROW and before and before[-1] != self._data_sets[-1][1]:
            self._data_sets.append((epoch.first_index, before[-1]))

    def _read_again(self) -> None:
        image = self.store.peek()
        self._place = dict.fromkeys(image.state.outcomes)
        self._data_sets = [(image.position.index, image.lineage.data_set)]
        self._note_records(image.retained)
        self._note_records(image.tail)
        self.end = image.tail[-1].index if image.tail else image.position.index

    def holds(self, operation: bytes) -> bool:
        return operation in self._place

    def data_set_of(self, operation: bytes) -> dict[NodeId, int] | None:
        """The votes of the data members when the operation was logged; None: not known, the tree is past it."""
        place = self._place.get(operation)
        if place is None:
            return None
        return next((dict(one.votes) for index, one in reversed(self._data_sets) if index <= place[1]), None)

    @property
    def failing(self) -> bool:
        """Does the disk take no writes now?"""
        return self.store.full or self.store.broken

    @property
    def known_bad(self) -> bool:
        """May others still hold that this disk takes no writes? Word that it works again goes over the ring."""
        now = self._clock.now
        hangs = any(now - since >= HANGS for since in self._since.values())
        return self.store.failed or hangs or now < max(self.store.works_since, self._hung_until) + WORD

    def discarded(self) -> frozenset[bytes]:
        """The operations set aside on this disk."""
        found: set[bytes] = set()
        for part in self.store.discarded:
            found.update(ident for record in part.records if (ident := operation_id(record)) is not None)
            if part.image is not None:
                found.update(part.image.outcomes)
        return frozenset(found)

    # -- done to it ------------------------------------------------------------------------------------------

    def crash(self, power: bool = False) -> None:
        """The process dies, or with `power` the machine; of what was under way a part may be there."""
        self._forget()
        for file in self._files_under_way:
            if self._random.random() < 0.5 and not self.failing:
                self.files[file.name] = file.value
        self._files_under_way.clear()
        self.store.crash(power)
        self._read_again()

    def close(self) -> None:
        """The process ends cleanly: what it asked for is on disk."""
        self._forget()
        for file in self._files_under_way:
            self.files[file.name] = file.value
        self._files_under_way.clear()
        self.store.close()
        self._read_again()

    def _forget(self) -> None:
        self._note_held_up()
        self._life += 1
        self._asked.clear()
        self._since.clear()
        self._wake = None

    def wipe(self, keep_marker: bool) -> None:
        """A new, empty disk in the machine; with `keep_marker` only the store itself was lost."""
        if keep_marker:
            self.store.lose()
        else:
            discarded, did = self.store.discarded, self.store.did
            self.store = SimDisk(self._random)
            self.store.discarded, self.store.did = discarded, did
            self.files.clear()
        self._read_again()

    def rot(self) -> None:
        """A bit of some record in the log flips while nobody looks."""
        image = self.store.peek()
        records = [*image.retained, *image.tail]
        if records:
            self.store.rot(self._random.choice(records).index)
        self._read_again()

    def restore(self, saved: Generation | None) -> None:
        """An old copy is put in place of the store; this machine's marker stays what it was."""
        self.store.restore(saved)
        self._read_again()

    def load(self) -> StoreImage:
        """What a starting process finds."""
        image = self.store.open(self._clock.now)
        self.found[image.health] += 1
        return image
