"""The disk of a simulated machine: what a crash leaves, and what the checkers are told of it."""

from __future__ import annotations

from random import Random

import pytest

from cfs.disk import Adopt, AppendLog, StoreHealth, TruncateTail
from cfs.entries import StateImage
from cfs.messages import Kind, Operation
from cfs.records import START, DataSet, EpochKind, EpochRecord, Lineage, LogPosition, LogRecord, RecordKind
from tests.sim.clock import Clock
from tests.sim.snapshot import put_back, take
from tests.sim.storage import Storage
from transport.events import Persist
from transport.ids import RingId

EPOCH = RingId(4, 1, 7)


def ident(number: int) -> bytes:
    return number.to_bytes(16, "big")


class Bench:
    """A disk with an empty store and the answers it gave."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = Clock()
        self.answers: list[tuple[float, int, str | None]] = []
        self.disk = Storage(
            self.clock, Random(seed), self._answer, lambda file: self._answer(file.receipt, None), Random(seed)
        )
        self.end: LogPosition = START
        self.disk.request(Adopt(1, StateImage(), START, Lineage()))
        self.wait()
        self.answers.clear()

    def _answer(self, receipt: int, error: str | None) -> None:
        self.answers.append((self.clock.now, receipt, error))

    def wait(self) -> None:
        self.clock.run(self.clock.now + 3.0)

    def records(self, count: int) -> tuple[LogRecord, ...]:
        found = []
        for _ in range(count):
            body = Operation(ident(self.end.index), Kind.PUT, "a").encode()
            record = LogRecord.after(self.end, EPOCH, RecordKind.OPERATION, body)
            self.end = record.position
            found.append(record)
        return tuple(found)


def test_what_was_answered_is_held() -> None:
    """The checkers see an operation on this disk from its fsync on, and its epoch."""
    bench = Bench()
    bench.disk.request(AppendLog(2, bench.records(2)))
    assert not bench.disk.holds(ident(1))
    bench.wait()
    assert [answer[1:] for answer in bench.answers] == [(2, None)]
    assert bench.disk.holds(ident(1))


def test_a_disk_that_hangs_counts_as_bad_once_its_node_may_have_said_so() -> None:
    """After two seconds, and until all can have heard that it answers again."""
    bench = Bench()
    start = bench.clock.now
    bench.disk.hang(True)
    bench.disk.request(AppendLog(2, bench.records(1)))
    bench.clock.run(start + 1.9)
    assert not bench.disk.known_bad
    bench.clock.run(start + 2.0)
    assert bench.disk.known_bad
    bench.disk.hang(False)
    bench.clock.run(start + 2.1)
    assert bench.answers and bench.disk.known_bad
    bench.clock.run(start + 2.5)
    assert not bench.disk.known_bad


def test_a_slow_disk_takes_longer() -> None:
    """The factor is in force from the next request on."""
    bench = Bench()
    bench.disk.slow = 1000.0
    before = bench.clock.now
    bench.disk.request(AppendLog(2, bench.records(1)))
    bench.clock.run(before + 10.0)
    assert bench.answers[0][0] - before > 0.2


@pytest.mark.parametrize("seed", range(10))
def test_a_crash_keeps_what_was_answered_and_a_prefix_of_the_rest(seed: int) -> None:
    """No answer comes any more; the checkers' view is what a restart will find."""
    bench = Bench(seed)
    bench.disk.request(AppendLog(2, bench.records(2)))
    bench.wait()
    bench.disk.request(AppendLog(3, bench.records(5)))
    bench.disk.crash()
    bench.wait()
    assert [receipt for _, receipt, _ in bench.answers] == [2]
    image = bench.disk.load()
    assert image.health is StoreHealth.OK
    held = [number for number in range(7) if bench.disk.holds(ident(number))]
    assert held == list(range(len(image.tail))) and len(held) >= 2


def test_a_dropped_tail_is_listed_as_discarded() -> None:
    """What is set aside is no longer held, and can be found."""
    bench = Bench()
    bench.disk.request(AppendLog(2, bench.records(3)))
    bench.disk.request(TruncateTail(3, 1, True, "the cluster went on without it"))
    bench.wait()
    assert [bench.disk.holds(ident(number)) for number in range(3)] == [True, False, False]
    assert bench.disk.discarded() == {ident(1), ident(2)}


def test_a_wiped_disk_may_leave_its_marker() -> None:
    """A store that is gone is told from a node that never had one (S6)."""
    bench = Bench()
    bench.disk.wipe(keep_marker=True)
    assert not bench.disk.load().fresh
    bench.disk.wipe(keep_marker=False)
    assert bench.disk.load().fresh


def test_small_files_are_written_whole_and_tried_again() -> None:
    """Persist: temporary file, fsync, rename; on a full disk tried every second until it works."""
    bench = Bench()
    bench.disk.persist(Persist(9, "ring", b"17"))
    bench.wait()
    bench.disk.store.full = True
    bench.disk.persist(Persist(10, "ring", b"18"))
    bench.wait()
    assert bench.disk.files == {"ring": b"17"}
    bench.disk.store.full = False
    bench.wait()
    assert bench.disk.files == {"ring": b"18"}
    assert [answer[1:] for answer in bench.answers] == [(9, None), (10, None)]


def test_a_machine_put_back_has_the_disk_it_had_and_its_marker_agrees() -> None:
    """Nothing on it shows that it is old; what the checkers know was on it once, they go on knowing."""
    bench = Bench()
    bench.disk.request(AppendLog(2, bench.records(2)))
    bench.wait()
    bench.disk.files["votequorum"] = b"3 0"
    saved = take(bench.disk, 7.0)
    bench.disk.request(AppendLog(3, bench.records(2)))
    bench.wait()
    bench.disk.files["votequorum"] = b"5 0"
    assert bench.disk.load().end.index == 4
    put_back(bench.disk, saved)
    image = bench.disk.load()
    assert (image.health, image.end.index, saved.reading) == (StoreHealth.OK, 2, 7.0)
    assert bench.disk.files == {"votequorum": b"3 0"}
    assert not bench.disk.holds(ident(3)) and ident(3) in bench.disk.ever_logged


def test_a_narrow_epoch_voids_a_change_of_the_data_set() -> None:
    """It goes on with the set before (cfs/log.py): what is logged from then on is judged by that one."""
    bench = Bench()
    three, two = DataSet(1, {1: 1, 2: 1, 3: 1}), DataSet(2, {1: 1, 2: 1})
    bench.disk.request(Adopt(2, StateImage(), START, Lineage((), three)))
    bench.wait()
    change = LogRecord.after(bench.end, EPOCH, RecordKind.DATA_SET, two.encode())
    ring = RingId(8, 1, 7)
    epoch = EpochRecord(ring, EPOCH, change.index + 1, 1, EpochKind.NARROW, 0, (1, 3))
    opening = LogRecord.after(change.position, ring, RecordKind.EPOCH, epoch.encode())
    bench.end = opening.position
    bench.disk.request(AppendLog(3, (change, opening)))
    bench.disk.request(AppendLog(4, bench.records(1)))
    bench.wait()
    assert bench.disk.data_set_of(ident(2)) == three.votes
