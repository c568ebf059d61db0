"""What was asked of the disk, and what is known to be on it."""

from __future__ import annotations

import pytest

from cfs.disk import Adopt, AppendLog, DiskRequest, MarkCommit, TruncateTail
from cfs.entries import StateImage
from cfs.journal import STALLED, Journal
from cfs.log import Log
from cfs.records import START, Lineage, LogRecord, RecordKind
from transport.ids import RingId

A = RingId(10, 1)


def add(log: Log, count: int = 1, epoch: RingId = A) -> None:
    for _ in range(count):
        log.append(LogRecord.after(log.end, epoch, RecordKind.OPERATION, b"op"))


def requests(journal: Journal, log: Log, now: float = 0.0) -> list[DiskRequest]:
    journal.flush(log, now)
    found = []
    while (request := journal.next_request()) is not None:
        found.append(request)
    return found


def answer(journal: Journal, *asked: DiskRequest, error: str | None = None) -> None:
    for request in asked:
        if not isinstance(request, MarkCommit):
            journal.persisted(request.receipt, error)


def test_records_are_asked_for_once_and_count_when_answered():
    """A claim never says more than the disk."""
    journal, log = Journal(0, 0, True), Log()
    add(log, 3)
    asked = requests(journal, log)
    assert [type(request) for request in asked] == [AppendLog]
    assert requests(journal, log) == []
    assert journal.on_disk == 0
    answer(journal, *asked)
    assert journal.on_disk == 3


def test_commit_mark_rides_on_the_next_append_and_goes_alone_when_there_is_none():
    """Commit marks are written with the next append and lazily."""
    journal, log = Journal(0, 0, True), Log()
    add(log)
    answer(journal, *requests(journal, log))
    journal.mark(1)
    assert requests(journal, log) == [MarkCommit(1)]
    add(log)
    (asked,) = requests(journal, log)
    assert isinstance(asked, AppendLog)
    assert asked.commit_index == 1


def test_answer_to_an_append_that_was_cut_since_counts_up_to_the_cut():
    """Late receipts of records that were dropped say nothing of those that took their place."""
    journal, log = Journal(0, 0, True), Log()
    add(log, 5)
    first = requests(journal, log)
    log.truncate(2)
    journal.truncate(2, True, "why")
    add(log, 4, RingId(20, 1))
    later = requests(journal, log)
    assert [type(request) for request in later] == [TruncateTail, AppendLog]
    answer(journal, *first)
    assert journal.on_disk == 2
    answer(journal, *later)
    assert journal.on_disk == 6


def test_failed_disk_is_asked_again_for_all_it_did_not_answer():
    """It recovers by itself: everything beyond the last good answer is asked for anew."""
    journal, log = Journal(0, 0, True), Log()
    add(log, 2)
    answer(journal, *requests(journal, log))
    log.truncate(1)
    journal.truncate(1, True, "why")
    add(log, 2, RingId(20, 1))
    asked = requests(journal, log)
    journal.persisted(0, "full")
    answer(journal, *asked, error="full")
    add(log, 1, RingId(20, 1))
    assert requests(journal, log) == []
    assert journal.failed == "full"
    journal.persisted(0, None)
    again = requests(journal, log)
    assert [type(request) for request in again] == [TruncateTail, AppendLog]
    assert isinstance(again[0], TruncateTail)
    assert (again[0].after_index, again[0].set_aside) == (1, True)
    answer(journal, *again)
    assert journal.on_disk == 4


def test_nothing_is_cut_that_was_never_asked_for():
    """A cut beyond what the disk has is no request."""
    journal, log = Journal(0, 0, True), Log()
    add(log, 3)
    log.truncate(0)
    journal.truncate(0, True, "why")
    assert requests(journal, log) == []


def test_appends_wait_while_the_store_is_replaced():
    """Records that follow on the new state are not for the old one."""
    journal, log = Journal(0, 0, True), Log()
    journal.adopt(Adopt(0, StateImage(), START, Lineage()), 0.0)
    add(log)
    (asked,) = requests(journal, log)
    assert isinstance(asked, Adopt)
    answer(journal, asked)
    journal.replaced(0, 0)
    assert [type(request) for request in requests(journal, log)] == [AppendLog]


def test_append_without_an_answer_is_a_stall():
    """A hanging disk counts as one that does not work."""
    journal, log = Journal(0, 0, True), Log()
    add(log)
    asked = requests(journal, log, 1.0)
    assert not journal.stalled(2.9)
    assert journal.stalled(3.0)
    answer(journal, *asked)
    assert not journal.stalled(9.0)


def test_memory_durability_syncs_epochs_only():
    """`durability: memory`: received, epoch record on disk."""
    journal, log = Journal(0, 0, False), Log()
    add(log)
    (asked,) = requests(journal, log)
    assert isinstance(asked, AppendLog)
    assert not asked.sync


def test_unknown_receipt_is_ignored():
    """Answers of an earlier process mean nothing."""
    journal = Journal(0, 0, True)
    assert journal.persisted(77, None) is None
    assert journal.on_disk == 0


def test_a_disk_that_does_not_answer_is_asked_for_nothing_more():
    """What waits for it is bounded; when it answers, the rest is asked for."""
    journal, log = Journal(0, 0, True), Log()
    add(log)
    asked = requests(journal, log, 1.0)
    add(log)
    assert requests(journal, log, 1.0 + STALLED) == []
    answer(journal, *asked)
    assert [request.records[0].index for request in requests(journal, log, 9.0)] == [2]


def test_what_is_asked_for_at_once_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch):
    """A disk slower than the ring has so much to do at most."""
    monkeypatch.setattr("cfs.journal.MAX_BATCH", 4)
    monkeypatch.setattr("cfs.journal.MAX_ASKED", 8)
    journal, log = Journal(0, 0, True), Log()
    add(log, 9)
    asked = requests(journal, log)
    assert [len(request.records) for request in asked] == [2, 2]
    answer(journal, asked[0])
    assert [request.records[0].index for request in requests(journal, log)] == [5]
