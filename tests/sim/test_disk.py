"""The simulated disk keeps what was synced, loses what was not, and never half of an atomic step."""

from __future__ import annotations

from random import Random

import pytest

from cfs.disk import Adopt, AppendLog, MarkCommit, StoreHealth, TruncateTail
from cfs.entries import StateImage
from cfs.messages import Kind, Operation
from cfs.records import START, Lineage, LogPosition, LogRecord, RecordKind
from tests.sim.clock import Clock
from tests.sim.disk import SimDisk
from transport.events import Persist
from transport.ids import RingId

EPOCH = RingId(4, 1, 7)


class Bench:
    """A disk and the answers it gave."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = Clock()
        self.answers: list[tuple[int, str | None]] = []
        self.disk = SimDisk(
            self.clock,
            Random(seed),
            lambda receipt, error: self.answers.append((receipt, error)),
            lambda file, error: self.answers.append((file.receipt, error)),
        )
        self.end: LogPosition = START

    def made(self) -> Bench:
        self.disk.request(Adopt(1, StateImage(), START, Lineage()))
        self.clock.run(self.clock.now + 1.0)
        self.answers.clear()
        return self

    def records(self, count: int) -> tuple[LogRecord, ...]:
        found = []
        for _ in range(count):
            body = Operation(self.end.index.to_bytes(16, "big"), Kind.PUT, "a").encode()
            record = LogRecord.after(self.end, EPOCH, RecordKind.OPERATION, body)
            self.end = record.position
            found.append(record)
        return tuple(found)


def test_a_disk_starts_empty_and_keeps_what_was_appended() -> None:
    """A new node finds no store; later it finds its log, with the commit index."""
    bench = Bench()
    assert bench.disk.load().fresh
    bench.made()
    bench.disk.request(AppendLog(2, bench.records(3)))
    bench.disk.request(MarkCommit(2))
    bench.clock.run(10.0)
    assert bench.answers == [(2, None)]
    image = bench.disk.load()
    assert image.health is StoreHealth.OK
    assert (image.end.index, image.commit_index) == (3, 2)
    assert image.marker is not None and image.marker.index == 3
    assert bench.disk.holds((1).to_bytes(16, "big"))


def test_appends_that_wait_together_share_one_fsync() -> None:
    """Group commit: all that queued up during one fsync are answered by the next."""
    bench = Bench().made()
    times: list[float] = []
    bench.disk._answer = lambda receipt, error: times.append(bench.clock.now)
    for receipt in range(2, 6):
        bench.disk.request(AppendLog(receipt, bench.records(1)))
    bench.clock.run(10.0)
    assert len(times) == 4
    assert len(set(times)) == 2


@pytest.mark.parametrize("seed", range(20))
def test_a_crash_leaves_a_prefix_of_what_was_under_way(seed: int) -> None:
    """Everything answered is there; of the rest a prefix, and no answer comes any more."""
    bench = Bench(seed).made()
    bench.disk.request(AppendLog(2, bench.records(2)))
    bench.clock.run(bench.clock.now + 1.0)
    bench.disk.request(AppendLog(3, bench.records(5)))
    bench.disk.crash(power=True)
    bench.clock.run(bench.clock.now + 1.0)
    assert bench.answers == [(2, None)]
    image = bench.disk.load()
    assert [r.index for r in image.tail] == list(range(1, len(image.tail) + 1))
    assert 2 <= len(image.tail) <= 7


def test_memory_durability_is_lost_with_the_power_and_kept_by_the_kernel() -> None:
    """An append with sync False survives the process, not always the machine."""
    ends = set()
    for seed in range(20):
        bench = Bench(seed).made()
        bench.disk.request(AppendLog(2, bench.records(4), sync=False))
        bench.clock.run(bench.clock.now + 1.0)
        bench.disk.crash(power=False)
        assert bench.disk.load().end.index == 4
        bench.disk.request(AppendLog(3, bench.records(1), sync=False))
        bench.clock.run(bench.clock.now + 1.0)
        bench.disk.crash(power=True)
        ends.add(bench.disk.load().end.index)
    assert ends == {4, 5}


def test_a_failing_disk_fails_everything_until_it_is_mended() -> None:
    """Receipt 0 tells the first failure and the end of it; what waited behind the failure fails with it."""
    bench = Bench().made()
    records = bench.records(3)
    bench.disk.fail("No space left on device")
    bench.disk.request(AppendLog(2, records[:1]))
    bench.disk.request(AppendLog(3, records[1:2]))
    bench.clock.run(bench.clock.now + 1.0)
    assert bench.answers == [(0, bench.disk.failing), (2, bench.disk.failing), (3, bench.disk.failing)]
    bench.disk.request(AppendLog(4, records[2:]))
    bench.disk.mend()
    bench.clock.run(bench.clock.now + 1.0)
    assert bench.answers[3:] == [(4, "No space left on device"), (0, None)]
    bench.disk.request(AppendLog(5, records))
    bench.clock.run(bench.clock.now + 1.0)
    assert bench.disk.load().end.index == 3


def test_a_dropped_tail_is_set_aside_and_no_longer_held() -> None:
    """S5: what a merge discards is listed."""
    bench = Bench().made()
    bench.disk.request(AppendLog(2, bench.records(3)))
    bench.disk.request(TruncateTail(3, 1, True, "the cluster went on without it"))
    bench.clock.run(bench.clock.now + 1.0)
    ids = tuple(n.to_bytes(16, "big") for n in (1, 2))
    assert bench.disk.discarded == [("the cluster went on without it", ids)]
    assert not bench.disk.holds(ids[0])
    assert ids[0] in bench.disk.ever_logged


def test_a_wiped_disk_may_leave_its_marker() -> None:
    """A store that is gone is told from a node that never had one (S6)."""
    bench = Bench().made()
    bench.disk.wipe(keep_marker=True)
    assert not bench.disk.load().fresh
    bench.disk.wipe(keep_marker=False)
    assert bench.disk.load().fresh


def test_small_files_are_written_or_not_at_all() -> None:
    """Persist: temporary file, fsync, rename."""
    bench = Bench()
    bench.disk.persist(Persist(9, "ring", b"17"))
    bench.clock.run(1.0)
    assert bench.disk.files == {"ring": b"17"}
    assert bench.answers == [(9, None)]
