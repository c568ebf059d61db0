"""The log in memory."""

from __future__ import annotations

import pytest

from cfs.log import Log
from cfs.records import DataSet, EpochKind, EpochRecord, Lineage, LogRecord, RecordKind
from transport.errors import WireError
from transport.ids import NO_RING, RingId

A, B, C = RingId(10, 1), RingId(20, 1), RingId(30, 1)


def add(log: Log, epoch: RingId, count: int = 1) -> None:
    for _ in range(count):
        log.append(LogRecord.after(log.end, epoch, RecordKind.OPERATION, b"op"))


def open_epoch(log: Log, ring: RingId, kind: EpochKind = EpochKind.MAJORITY, data_set: int = 1) -> None:
    record = EpochRecord(ring, log.end.epoch, log.end.index + 1, data_set, kind, 0, (1, 2))
    log.append(LogRecord.after(log.end, ring, RecordKind.EPOCH, record.encode()))


def change(log: Log, data_set: DataSet) -> int:
    log.append(LogRecord.after(log.end, log.end.epoch, RecordKind.DATA_SET, data_set.encode()))
    return log.end.index


def two(first: int, second: int) -> tuple[Log, Log]:
    """Two logs equal in epoch A up to the shorter, then in epochs B and C of their own."""
    logs = Log(), Log()
    for log, count, ring in zip(logs, (first, second), (B, C), strict=True):
        open_epoch(log, A)
        add(log, A, count)
        open_epoch(log, ring)
        add(log, ring, 3)
    return logs


def test_record_that_does_not_follow_is_no_record():
    """The chain ties each record to its predecessor."""
    log = Log()
    open_epoch(log, A)
    stranger = LogRecord(2, A, RecordKind.OPERATION, b"op", bytes(32))
    with pytest.raises(WireError):
        log.append(stranger)
    assert log.end.index == 1


def test_fork_is_where_the_last_common_epoch_ends_in_the_shorter():
    """Records of one epoch are one sequence, of which each log has a prefix."""
    one, other = two(5, 9)
    assert one.fork(other.tail(), other.end.index) == 6
    assert other.fork(one.tail(), one.end.index) == 6
    assert one.fork((), 0) == 0


def test_fork_of_unrelated_logs_is_not_known():
    """None of the epochs told is ours."""
    log, other = Log(), Log()
    open_epoch(log, A)
    open_epoch(other, B)
    add(other, B, 3)
    assert log.fork(other.tail()[1:] or other.tail(), 4) in (None, 0)


def test_truncating_takes_epochs_and_data_sets_back():
    """Only a tail is dropped, with all it said."""
    log = Log(lineage=Lineage((), DataSet(1, {1: 1})))
    open_epoch(log, A)
    add(log, A)
    change(log, DataSet(2, {1: 1, 2: 1}))
    open_epoch(log, B)
    assert [record.index for record in log.truncate(2)] == [3, 4]
    assert log.data_sets(2) == (DataSet(1, {1: 1}), None)
    assert [epoch.ring_id for epoch in log.epochs] == [A]


def test_change_of_the_data_set_is_pending_until_committed():
    """In force once committed under both."""
    log = Log(lineage=Lineage((), DataSet(1, {1: 1})))
    open_epoch(log, A)
    new = DataSet(2, {1: 1, 2: 1})
    index = change(log, new)
    assert log.data_sets(index - 1) == (DataSet(1, {1: 1}), (index, new))
    assert log.data_sets(index) == (new, None)


def test_narrow_epoch_voids_a_pending_change():
    """A narrow epoch cannot finish a change: it goes on with the set in force."""
    log = Log(lineage=Lineage((), DataSet(1, {1: 1})))
    open_epoch(log, A)
    change(log, DataSet(2, {1: 1, 2: 1}))
    open_epoch(log, B, EpochKind.NARROW, data_set=1)
    assert log.data_sets(log.end.index) == (DataSet(1, {1: 1}), None)
    assert log.lineage(log.end.index).data_set.version == 1


def test_standing_counts_the_last_majority_epoch_with_its_end():
    """A narrow epoch behind it does not raise it."""
    log = Log()
    open_epoch(log, A)
    add(log, A, 4)
    open_epoch(log, B, EpochKind.NARROW)
    add(log, B, 2)
    assert log.standing().majority == (A, 5)
    assert log.standing().last == (B, 8)


def test_trimming_keeps_what_the_records_said():
    """What lies before the base is in the tree; epochs and the data set stay known."""
    log = Log(lineage=Lineage((), DataSet(1, {1: 1})))
    open_epoch(log, A)
    change(log, DataSet(2, {1: 2}))
    add(log, A, 5)
    before = log.standing()
    log.trim(4)
    assert log.base.index == 4
    assert log.position(3) is None
    assert log.standing() == before
    assert log.data_sets(7)[0] == DataSet(2, {1: 2})
    assert [record.index for record in log.slice(4, 6)] == [5, 6]
    assert log.epoch_at(5) == A
    assert Log().epoch_at(0) == NO_RING


def test_data_sets_follow_every_change_of_the_log():
    """What is in force follows from the records kept, also when it was asked for before one was added or dropped."""
    first, second, third = DataSet(1, {1: 1}), DataSet(2, {1: 1, 2: 1}), DataSet(3, {2: 1})
    log = Log(lineage=Lineage((), first))
    open_epoch(log, A)
    assert log.data_sets(log.end.index) == (first, None)
    index = change(log, second)
    assert log.data_sets(index) == (second, None)
    log.truncate(index - 1)
    assert log.data_sets(index) == (first, None)
    change(log, second)
    assert log.data_sets(index - 1) == (first, (index, second))
    open_epoch(log, B, EpochKind.NARROW, data_set=1)
    assert log.data_sets(log.end.index) == (first, None)
    change(log, third)
    assert log.data_sets(index) == (first, (index + 2, third))
    log.trim(index + 2)
    assert log.data_sets(log.end.index) == (third, None)
