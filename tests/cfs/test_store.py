"""The store on disk and its twin in memory: one script, the same answers, the same image after a restart."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from cfs.disk import Adopt, AppendLog, Checkpoint, MarkCommit, StoreHealth, StoreImage, TruncateTail
from cfs.entries import StateImage
from cfs.io import generations
from cfs.io.discarded import read_discarded
from cfs.io.generations import StoreBusy
from cfs.io.store import Store
from cfs.messages import Operation
from cfs.records import (
    START,
    DataSet,
    EpochKind,
    EpochRecord,
    Lineage,
    LogPosition,
    LogRecord,
    RecordKind,
)
from cfs.state import State
from tests.cfs.building import EPOCH, put, records, tree, whole
from tests.cfs.disks import MemoryDisk, RealDisk, settle
from transport.ids import NO_RING, RingId

Disk = RealDisk | MemoryDisk
RECEIPTS = count(1)
LINEAGE = Lineage((), DataSet(1, {1: 1}))


@pytest.fixture(params=["real", "simulated"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    made: Disk = RealDisk(tmp_path / "store") if request.param == "real" else MemoryDisk()
    yield made
    made.close()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealDisk]:
    made = RealDisk(tmp_path / "store")
    yield made
    made.close()


def adopt(image: StateImage | None = None, position: LogPosition = START, **fields: object) -> Adopt:
    return Adopt(next(RECEIPTS), image or StateImage(), position, LINEAGE, **fields)  # type: ignore[arg-type]


def append(made: list[LogRecord], commit: int = 0, sync: bool = True) -> AppendLog:
    return AppendLog(next(RECEIPTS), tuple(made), commit, sync)


def opening(after: LogPosition, ring: RingId = EPOCH) -> LogRecord:
    epoch = EpochRecord(ring, NO_RING, after.index + 1, 1, EpochKind.MAJORITY, 0, (1,))
    return LogRecord.after(after, ring, RecordKind.EPOCH, epoch.encode())


def restart(disk: Disk) -> StoreImage:
    disk.close()
    return disk.open()


def begun(disk: Disk, number: int = 4) -> list[LogRecord]:
    """A fresh store with an epoch record and `number` puts in its log, none committed."""
    disk.open()
    first = opening(START)
    made = [first, *records([put(f"f{n}", bytes([n]) * 10) for n in range(number)], first.position)]
    assert disk.ask(adopt(), append(made)) == [None, None]
    return made


def test_a_new_node_has_no_store(disk: Disk) -> None:
    """Missing, and never had one: fresh."""
    image = disk.open()
    assert (image.health, image.fresh, image.marker) == (StoreHealth.MISSING, True, None)
    (error,) = disk.ask(append(records([put("f")])))
    assert error is not None
    assert "no store" in error


def test_what_was_answered_is_there_after_a_restart(disk: Disk) -> None:
    """Adopt of the empty image makes the store; appended records are its tail."""
    made = begun(disk)
    image = restart(disk)
    assert image.health is StoreHealth.OK
    assert (image.position, image.retained, image.tail, image.lineage) == (START, (), tuple(made), LINEAGE)
    assert image.end == made[-1].position
    assert not image.fresh


def test_commit_index_rides_on_appends(disk: Disk) -> None:
    """The highest index known committed is remembered with the next append."""
    made = begun(disk)
    more = records([put("g")], made[-1].position)
    assert disk.ask(MarkCommit(3), append(more, commit=2)) == [None]
    assert restart(disk).commit_index == 3


def test_a_commit_mark_is_kept_at_a_clean_end(disk: Disk) -> None:
    """Without a further append the mark is on disk when the process ends cleanly."""
    begun(disk)
    disk.ask(MarkCommit(4), append([]))
    assert restart(disk).commit_index == 4


def test_records_that_do_not_follow_are_refused(disk: Disk) -> None:
    """A gap is an error answered to its receipt; the others of the group go through."""
    made = begun(disk)
    more = records([put("g"), put("h"), put("i")], made[-1].position)
    first, gap, second = disk.ask(append(more[:1]), append(more[2:]), append(more[1:2]))
    assert (first, second) == (None, None)
    assert gap is not None
    assert restart(disk).tail == (*made, *more[:2])


def test_after_a_refusal_it_is_told_that_the_disk_works(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receipt 0 without an error follows: ask anew from the last good answer (cfs/disk.py)."""
    monkeypatch.setattr("cfs.io.store.PROBE", 0.05)
    begun(disk)
    disk.ask(append(records([put("g")], LogPosition(99, EPOCH, bytes(32)))))
    if isinstance(disk, RealDisk):
        disk.wait(lambda: (0, None) in disk.answers)
    else:
        assert disk.sim.poll(disk.now + 2.0) == [(0, None)]


def test_a_checkpoint_moves_the_base(disk: Disk) -> None:
    """After it the tree is in the image, the records before it are `retained`, the rest is the tail."""
    made = begun(disk)
    state = State()
    state.advance(1)
    for record in made[1:4]:
        state.apply(Operation.decode(record.body), record.index)
    request = Checkpoint(next(RECEIPTS), state.take_delta(), made[3].position, LINEAGE)
    assert disk.ask(request) == [None]
    image = restart(disk)
    assert (image.position, image.retained, image.tail) == (made[3].position, tuple(made[:4]), tuple(made[4:]))
    assert (image.state, image.commit_index) == (state.image(), 4)
    assert State(image.state).digest() == state.digest()


def test_a_checkpoint_ahead_of_the_log_is_refused_and_its_delta_kept(disk: Disk) -> None:
    """The tree never gets ahead of the log; the delta is written with the next checkpoint."""
    made = begun(disk)
    state = State()
    state.advance(1)
    for record in made[1:]:
        state.apply(Operation.decode(record.body), record.index)
    more = records([put("g")], made[-1].position)
    state.apply(Operation.decode(more[0].body), more[0].index)
    first = Checkpoint(next(RECEIPTS), state.take_delta(), more[0].position, LINEAGE)
    assert disk.ask(first) != [None]
    second = Checkpoint(next(RECEIPTS), state.take_delta(), more[0].position, LINEAGE)
    assert disk.ask(append(more), second) == [None, None]
    assert restart(disk).state == state.image()


def test_dropping_a_tail(disk: Disk) -> None:
    """Only what is neither committed nor in the tree can go; what follows takes its place."""
    made = begun(disk)
    disk.ask(append([], commit=2))
    bad = TruncateTail(next(RECEIPTS), 1, True, "below the commit")
    good = TruncateTail(next(RECEIPTS), 3, True, "lost the merge", (4, 5))
    error, done = disk.ask(bad, good)
    assert error is not None
    assert done is None
    other = records([put("other")], made[2].position)
    assert disk.ask(append(other)) == [None]
    image = restart(disk)
    assert image.health is StoreHealth.OK
    assert image.tail == (*made[:3], *other)


def test_a_dropped_tail_is_set_aside_first(real: RealDisk) -> None:
    """S5: saved, listed, readable."""
    made = begun(real)
    assert real.ask(TruncateTail(next(RECEIPTS), 3, True, "lost the merge", (4, 5))) == [None]
    (found,) = real.store.discarded()
    assert (found.kind, found.reason, found.revisions, found.indexes) == ("tail", "lost the merge", (4, 5), (4, 5))
    assert read_discarded(real.root, found.id) == (None, made[3:])


def test_adopting_replaces_everything(disk: Disk) -> None:
    """The new state, position and log; the old tail is no more."""
    begun(disk)
    state = tree(put("new"), put("newer"))
    position = LogPosition(2, RingId(9, 2, 5), b"c" * 32)
    first = opening(position, RingId(12, 1, 5))
    assert disk.ask(adopt(state.image(), position, records=(first,), set_aside=True, reason="diverged")) == [None]
    image = restart(disk)
    assert image.health is StoreHealth.OK
    assert (image.state, image.position, image.tail) == (state.image(), position, (first,))
    assert image.commit_index == 2


def test_a_replaced_store_is_set_aside_when_asked(real: RealDisk) -> None:
    """S5: the losing tree is kept whole and can be read back."""
    begun(real)
    state = tree(put("mine", b"1"))
    position = LogPosition(1, EPOCH, b"a" * 32)
    real.ask(adopt(state.image(), position))
    real.ask(adopt(tree(put("theirs")).image(), position, set_aside=True, reason="lost the merge", revisions=(1, 1)))
    (found,) = real.store.discarded()
    assert (found.kind, found.entries, found.revisions) == ("store", 1, (1, 1))
    kept, tail = read_discarded(real.root, found.id)
    assert kept is not None
    assert whole(State(kept)) == {"mine": b"1"}
    assert tail == []
    assert generations.numbers(real.root) == [3]


def test_an_older_store_put_back_is_noticed(disk: Disk) -> None:
    """Older than its own marker: a learner until resynced (DESIGN 7, "Data set"; S6)."""
    made = begun(disk)
    disk.close()
    saved = keep(disk)
    disk.open()
    ring = RingId(8, 1, 77)
    disk.ask(append([opening(made[-1].position, ring)]))
    disk.close()
    put_back(disk, saved)
    image = disk.open()
    assert image.health is StoreHealth.ROLLED_BACK
    assert image.marker is not None
    assert (image.marker.epoch, image.marker.index) == (ring, 6)
    assert image.tail == tuple(made)


def test_an_older_store_stays_noticed_until_it_caught_up(disk: Disk) -> None:
    """A clean restart, a catch-up half done, a checkpoint: still a learner; whole again: good."""
    made = begun(disk)
    disk.close()
    saved = keep(disk)
    disk.open()
    epoch = opening(made[-1].position, RingId(8, 1, 77))
    missing = [epoch, *records([put("g"), put("h")], epoch.position, epoch.epoch)]
    disk.ask(append(missing))
    disk.close()
    put_back(disk, saved)
    assert disk.open().health is StoreHealth.ROLLED_BACK
    assert disk.ask(append(missing[:1]), TruncateTail(next(RECEIPTS), 5, False, "again")) == [None, None]
    assert restart(disk).health is StoreHealth.ROLLED_BACK
    assert disk.ask(append(missing)) == [None]
    assert restart(disk).health is StoreHealth.OK


def test_a_store_that_went_away_is_noticed(disk: Disk) -> None:
    """Missing, but the marker remembers: not fresh."""
    begun(disk)
    disk.close()
    if isinstance(disk, RealDisk):
        for number in generations.numbers(disk.root):
            shutil.rmtree(generations.folder(disk.root, number))
    else:
        disk.sim.lose()
    image = disk.open()
    assert (image.health, image.fresh) == (StoreHealth.MISSING, False)
    assert disk.ask(adopt()) == [None]
    assert restart(disk).health is StoreHealth.OK


def test_rot_makes_a_store_damaged_until_it_adopts(disk: Disk) -> None:
    """S6: told plainly, never appended to, kept aside when it is replaced."""
    begun(disk)
    disk.ask(append([], commit=5))
    disk.close()
    if isinstance(disk, RealDisk):
        (segment,) = disk.root.glob("gen-*/log/*.log")
        raw = bytearray(segment.read_bytes())
        raw[400] ^= 1
        segment.write_bytes(raw)
    else:
        assert disk.sim.rot(3)
    image = disk.open()
    assert image.health is StoreHealth.DAMAGED
    assert "checksum" in image.message
    assert disk.ask(append(records([put("g")], image.end))) != [None]
    assert disk.ask(adopt(reason="resynced")) == [None]
    image = restart(disk)
    assert image.health is StoreHealth.OK
    if isinstance(disk, RealDisk):
        (found,) = disk.store.discarded()
        assert found.kind == "damaged"
        assert "checksum" in found.reason


@pytest.mark.parametrize("name", ["MARKER", "CURRENT"])
def test_damaged_small_files(real: RealDisk, name: str) -> None:
    """Without a sound MARKER the store may be an old one; CURRENT can be told when there is only one."""
    made = begun(real)
    real.close()
    (real.root / name).write_text("rubbish\n")
    image = real.open()
    assert image.health is (StoreHealth.ROLLED_BACK if name == "MARKER" else StoreHealth.OK)
    assert restart(real).health is image.health
    assert real.ask(append([opening(made[-1].position, RingId(9, 1, 1))])) == [None]
    assert restart(real).health is StoreHealth.OK


def keep(disk: Disk) -> object:
    if isinstance(disk, MemoryDisk):
        return disk.sim.backup()
    shutil.copytree(disk.root, disk.root.with_name("backup"))
    return None


def put_back(disk: Disk, saved: object) -> None:
    if isinstance(disk, MemoryDisk):
        disk.sim.restore(saved)  # type: ignore[arg-type]  # what `keep` gave
        return
    for number in generations.numbers(disk.root):
        shutil.rmtree(generations.folder(disk.root, number))
        shutil.copytree(
            generations.folder(disk.root.with_name("backup"), number), generations.folder(disk.root, number)
        )


def test_a_damaged_database_is_made_anew_from_a_whole_log(real: RealDisk) -> None:
    """While the log reaches back to its beginning the tree needs nobody else; the bad file is kept."""
    made = begun(real)
    state = State()
    state.advance(1)
    for record in made[1:]:
        state.apply(Operation.decode(record.body), record.index)
    real.ask(Checkpoint(next(RECEIPTS), state.take_delta(), made[-1].position, LINEAGE))
    real.close()
    (database,) = real.root.glob("gen-*/tree.db")
    database.write_bytes(b"garbage" * 999)
    image = real.open()
    assert image.health is StoreHealth.OK
    assert (image.position, image.tail, image.lineage) == (START, tuple(made), LINEAGE)
    assert [d.kind for d in real.store.discarded()] == ["damaged"]


def test_a_damaged_database_without_its_origin_is_damaged(real: RealDisk) -> None:
    """Who holds data is told by no record of the log when the set never changed: without it a store would count and
    lead, and no primary could open (S6)."""
    begun(real)
    real.close()
    for name in ("tree.db", "origin"):
        (found,) = real.root.glob(f"gen-*/{name}")
        found.write_bytes(b"garbage" * 999)
    image = real.open()
    assert image.health is StoreHealth.DAMAGED
    assert "tree.db" in image.message


def test_a_damaged_database_without_its_log_is_damaged(real: RealDisk) -> None:
    """It cannot be rebuilt from a log that begins later: peers must help (S6)."""
    real.open()
    real.ask(adopt(tree(put("f")).image(), LogPosition(1, EPOCH, b"a" * 32)))
    real.close()
    (database,) = real.root.glob("gen-*/tree.db")
    raw = bytearray(database.read_bytes())
    raw[100] ^= 0xFF
    database.write_bytes(raw)
    image = real.open()
    assert image.health is StoreHealth.DAMAGED
    assert "tree.db" in image.message


def test_two_daemons_cannot_share_a_store(real: RealDisk) -> None:
    """flock for life."""
    real.open()
    with pytest.raises(StoreBusy):
        Store(real.root).open()


def test_appends_queued_together_share_an_fsync(real: RealDisk) -> None:
    """Group commit: many requests, few frames."""
    made = begun(real, 1)
    more = records([put(f"g{n}") for n in range(200)], made[-1].position)
    before = real.store.groups
    assert set(real.ask(*(append([record]) for record in more))) == {None}
    assert real.store.groups - before < 100
    assert restart(real).tail == (*made, *more)


def test_memory_durability_is_answered_without_waiting(real: RealDisk) -> None:
    """sync=False is written, and on disk after a clean end."""
    made = begun(real, 1)
    more = records([put("g")], made[-1].position)
    assert real.ask(append(more, sync=False)) == [None]
    assert restart(real).tail == (*made, *more)


def test_an_idle_store_leaves_the_disk_alone(real: RealDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit mark is written once after the quiescence, then nothing (brief; pmxcfs section 21, wear)."""
    monkeypatch.setattr("cfs.io.store.QUIESCENCE", 0.05)
    made = begun(real)
    real.submit(MarkCommit(made[-1].index))
    before = real.store.log_bytes
    settle(0.3)
    marked = real.store.log_bytes
    assert 0 < marked - before < 60
    stamps = {path: path.stat().st_mtime_ns for path in real.root.rglob("*")}
    real.submit(MarkCommit(made[-1].index))
    settle(0.3)
    assert {path: path.stat().st_mtime_ns for path in real.root.rglob("*")} == stamps
    assert real.store.log_bytes == marked


async def test_answers_come_in_the_loop(tmp_path: Path) -> None:
    """start(loop, answers): the callback runs in the event loop's thread."""
    store = Store(tmp_path / "store")
    store.open()
    arrived: asyncio.Future[list[tuple[int, str | None]]] = asyncio.get_running_loop().create_future()
    store.start(asyncio.get_running_loop(), arrived.set_result)
    store.submit(adopt())
    assert [error for _, error in await asyncio.wait_for(arrived, 10)] == [None]
    await asyncio.to_thread(store.close)


def test_files_are_private(real: RealDisk) -> None:
    """The store holds `priv/`: nobody else may read its files (pmxcfs section 2)."""
    begun(real)
    for path in [real.root, *real.root.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
