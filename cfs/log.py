"""The log in memory: records kept since some position, the chain of epochs and the data sets they carry.

Source: DESIGN 7, "Log", "Data set", "Epoch". True between any two calls:
    records follow on `base` without a gap and on each other by their chain
    two logs whose ends, or whose record at one index, are in the same epoch agree on everything up to there
Only a tail is ever dropped (`truncate`); what lies before `base` is in the tree (`trim`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from cfs import turns
from cfs.records import (
    KEPT_EPOCHS,
    START,
    DataSet,
    EpochKind,
    EpochRecord,
    Lineage,
    LogPosition,
    LogRecord,
    RecordKind,
)
from cfs.turns import Turns, finish
from transport.errors import WireError
from transport.ids import NO_RING, NodeId, RingId

TAIL_EPOCHS = 32  # of the chain, told to others in a report

Mark = tuple[RingId, int]  # an epoch, and a log index in it; greater is later
NO_MARK: Mark = (NO_RING, 0)
_Sets = tuple[DataSet, tuple[int, DataSet] | None]  # in force, and a change of it with its index


class Stretch(NamedTuple):
    """One epoch of a chain as told to others: its ring id, the index of its first record, its kind."""

    ring_id: RingId
    first_index: int
    kind: EpochKind


class Standing(NamedTuple):
    """What decides whose log leads: compared field by field, the greatest leads (docs/protocol-store.md, "Leader").

    era: raised only by a confirmed recovery.  majority: the last epoch opened by a data majority and the last index in
    it.  last: the epoch and the index of the last record.
    """

    era: int
    majority: Mark
    last: Mark


NO_STANDING = Standing(0, NO_MARK, NO_MARK)


class Log:
    """Records after `base`, and what is known of everything before.

    lineage: the epochs and the data set at `base`.
    """

    def __init__(self, base: LogPosition = START, lineage: Lineage | None = None) -> None:
        lineage = lineage or Lineage()
        self.base = base
        self.end = base
        self.size = 0  # bytes of the bodies kept
        self._records: list[LogRecord] = []
        self._base_set = lineage.data_set
        self._epochs: list[EpochRecord] = list(lineage.epochs)
        self._marks: list[tuple[int, DataSet | EpochRecord]] = []  # data set records, and narrow epochs that void them
        self._sets: _Sets | None = None  # what they come to, once somebody asked

    # --- records -------------------------------------------------------------------------------------------------

    def append(self, record: LogRecord) -> None:
        """Raises WireError, and changes nothing, when the record does not follow on the end, or its body is none."""
        if not record.follows(self.end):
            raise WireError(f"log record {record.index} does not follow index {self.end.index}")
        if record.kind is RecordKind.EPOCH:
            epoch = EpochRecord.decode(record.body)
            if epoch.ring_id != record.epoch or epoch.first_index != record.index:
                raise WireError(f"epoch record at index {record.index} tells of another place")
            self._epochs.append(epoch)
            if epoch.kind is EpochKind.NARROW:
                self._marks.append((record.index, epoch))
                self._sets = None
        elif record.kind is RecordKind.DATA_SET:
            self._marks.append((record.index, DataSet.decode(record.body)))
            self._sets = None
        self._records.append(record)
        self.size += len(record.body)
        self.end = record.position

    def extending(self, records: Iterable[LogRecord]) -> Turns[None]:
        """Append all; raises WireError at the first that does not fit."""
        for count, record in enumerate(records, 1):
            self.append(record)
            if not count % turns.ENTRIES:
                yield

    def extend(self, records: Iterable[LogRecord]) -> None:
        """The same, at once."""
        finish(self.extending(records))

    def truncate(self, after_index: int) -> list[LogRecord]:
        """Drop what lies after `after_index` (>= base.index); returns it."""
        keep = max(0, after_index - self.base.index)
        dropped = self._records[keep:]
        if dropped:
            del self._records[keep:]
            self.size -= sum(len(record.body) for record in dropped)
            self.end = self._records[-1].position if self._records else self.base
            last = self.end.index
            self._epochs = [epoch for epoch in self._epochs if epoch.first_index <= last]
            self._marks = [mark for mark in self._marks if mark[0] <= last]
            self._sets = None
        return dropped

    def trim(self, upto_index: int) -> None:
        """Forget the records up to `upto_index` (<= end.index), all of them applied to the tree."""
        drop = upto_index - self.base.index
        if drop <= 0:
            return
        self._base_set = self.data_set_at(upto_index)
        self._marks = [mark for mark in self._marks if mark[0] > upto_index]
        self._sets = None
        self.base = self._records[drop - 1].position
        self.size -= sum(len(record.body) for record in self._records[:drop])
        del self._records[:drop]
        if len(self._epochs) > KEPT_EPOCHS:
            self._epochs = [self._epochs[0], *self._epochs[-KEPT_EPOCHS + 1 :]]

    def slice(self, after_index: int, upto_index: int) -> list[LogRecord]:
        """The records after_index+1 .. upto_index, as far as they are kept."""
        first = max(0, after_index - self.base.index)
        return self._records[first : max(first, upto_index - self.base.index)]

    def position(self, index: int) -> LogPosition | None:
        """The position at `index`; None when it is not kept (any more) or not there (yet)."""
        if index == self.base.index:
            return self.base
        at = index - self.base.index - 1
        return self._records[at].position if 0 <= at < len(self._records) else None

    # --- epochs --------------------------------------------------------------------------------------------------

    @property
    def epochs(self) -> list[EpochRecord]:
        """The chain, oldest first; not to be changed by the caller."""
        return self._epochs

    @property
    def era(self) -> int:
        return self._epochs[-1].era if self._epochs else 0

    @property
    def cluster(self) -> RingId:
        """The ring on which the empty tree was made, which names this history; NO_RING while there is none.

        It stands in the chain as an epoch with first index 0 and no record.
        """
        return self._epochs[0].ring_id if self._epochs else NO_RING

    def epoch_at(self, index: int) -> RingId:
        """The epoch of the record at `index`, as far as the chain is known; NO_RING before the first."""
        for epoch in reversed(self._epochs):
            if epoch.first_index <= index:
                return epoch.ring_id
        return NO_RING

    def standing(self) -> Standing:
        return Standing(self.era, self._majority_at(self.end.index), (self.end.epoch, self.end.index))

    def _majority_at(self, index: int) -> Mark:
        """The last epoch that is not narrow, as of `index`, and the last index in it."""
        end = index
        for epoch in reversed(self._epochs):
            if epoch.first_index > index:
                continue
            if epoch.kind is not EpochKind.NARROW:
                return (epoch.ring_id, end)
            end = epoch.first_index - 1
        return NO_MARK

    def holders(self) -> dict[NodeId, Mark]:
        """For each node that ever held the state when an epoch opened: the majority mark it then had on disk."""
        found: dict[NodeId, Mark] = {}
        for epoch in reversed(self._epochs):
            missing = [node for node in epoch.holders if node not in found]
            if missing:
                mark = self._majority_at(epoch.first_index - 1)
                found.update(dict.fromkeys(missing, mark))
        return found

    def tail(self) -> tuple[Stretch, ...]:
        """The newest epochs, oldest first, for a report."""
        return tuple(Stretch(e.ring_id, e.first_index, e.kind) for e in self._epochs[-TAIL_EPOCHS:])

    def fork(self, tail: tuple[Stretch, ...], end: int) -> int | None:
        """The last index at which the log with these newest epochs, and that end, is equal to this one.

        None: not known, because no epoch told is one of ours.
        """
        mine = {epoch.ring_id: place for place, epoch in enumerate(self._epochs)}
        theirs = end
        for stretch in reversed(tail):
            place = mine.get(stretch.ring_id)
            if place == 0 and len(self._epochs) >= KEPT_EPOCHS:
                return None  # what came right after the first epoch is forgotten
            if place is not None:
                last = place + 1 == len(self._epochs)
                return min(theirs, self.end.index if last else self._epochs[place + 1].first_index - 1)
            theirs = stretch.first_index - 1
        return 0 if theirs == 0 else None

    # --- data sets -----------------------------------------------------------------------------------------------

    def data_set_at(self, index: int) -> DataSet:
        """The data set of a store that holds this log up to `index`, all of it committed."""
        force, change = self._fold(index)
        return force if change is None else change[1]

    def data_sets(self, committed: int) -> _Sets:
        """The set in force, and the change under way (its index and the new set) that is not yet committed."""
        if self._sets is None:  # asked several times for each message, and changes are rare
            self._sets = self._fold(self.end.index)
        change = self._sets[1]
        return self._sets if change is None or change[0] > committed else (change[1], None)

    def _fold(self, upto: int) -> _Sets:
        """The set in force before the last change up to that index, and that change."""
        force = self._base_set
        pending: tuple[int, DataSet] | None = None
        for index, mark in self._marks:
            if isinstance(mark, EpochRecord):
                if pending is not None and pending[1].version > mark.data_set:
                    pending = None  # a narrow epoch cannot finish a change: it goes on with the old set
            elif index <= upto:
                if pending is not None:
                    force = pending[1]  # one at a time: the next is logged only once this one is in force
                pending = (index, mark)
        return force, pending

    def lineage(self, index: int) -> Lineage:
        """What stands beside the tree at `index` (<= committed)."""
        epochs = tuple(epoch for epoch in self._epochs if epoch.first_index <= index)
        if len(epochs) > KEPT_EPOCHS:
            epochs = (epochs[0], *epochs[-KEPT_EPOCHS + 1 :])
        return Lineage(epochs, self.data_set_at(index))
