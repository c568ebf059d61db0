"""The real store under a failing disk and sudden ends (S5, S6; REQUIREMENTS "Bad input": disk full or read-only)."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cfs.disk import Adopt, AppendLog, Checkpoint, StoreHealth, StoreImage, TruncateTail
from cfs.entries import StateImage
from cfs.io import files
from cfs.io.store import Store
from cfs.messages import Operation
from cfs.records import START, Lineage, LogPosition, LogRecord
from cfs.state import State
from tests.cfs.building import EPOCH, put, records, tree
from tests.cfs.disks import RealDisk, settle

RECEIPTS = count(1)


class PowerCut(BaseException):
    """The process ends here; no handler for errors sees it."""


class Steps:
    """Lets `left` steps that touch the disk happen, then cuts the power."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 1 << 30
        for owner, names in (
            (os, ("pwrite", "fdatasync", "fsync")),
            (shutil, ("rmtree",)),
            (Path, ("replace", "unlink", "mkdir")),
        ):
            for name in names:
                monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            if self.left == 0:
                raise PowerCut
            self.left -= 1
            return real(*args, **options)

        return step


def begun(root: Path) -> list[LogRecord]:
    made = records([put(f"f{n}", bytes([n]) * 10) for n in range(4)])
    disk = RealDisk(root)
    disk.open()
    assert disk.ask(Adopt(next(RECEIPTS), StateImage(), START, Lineage())) == [None]
    assert disk.ask(AppendLog(next(RECEIPTS), tuple(made), 2)) == [None]
    disk.close()
    return made


def opened(root: Path) -> StoreImage:
    store = Store(root)
    image = store.open()
    store.close()
    return image


def cut_at_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Adopt | TruncateTail, judge: Callable[[StoreImage], str]
) -> set[str]:
    """Do `request` on copies of one store, cutting the power after 0, 1, 2 ... steps; what was found afterwards."""
    begun(tmp_path / "origin")
    steps = Steps(monkeypatch)
    seen: set[str] = set()
    for number in range(1000):
        root = tmp_path / f"cut{number}"
        shutil.copytree(tmp_path / "origin", root)
        store = Store(root)
        store.open()
        steps.left = number
        try:
            store._execute(request)  # on this thread: the worker does just this
            done = True
        except PowerCut:
            done = False
        steps.left = 1 << 30
        store.close()
        for _ in range(2):  # the second start finds what the first one left
            image = opened(root)
            assert image.health is StoreHealth.OK, image.message
            found = judge(image)
        seen.add(found)
        if done:
            return seen
        shutil.rmtree(root)
    raise AssertionError("never done")


@pytest.mark.parametrize("set_aside", [True, False])
def test_adoption_cut_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_aside: bool) -> None:
    """After a crash there is the old store or the new one, whole; the old is never lost before the new is there."""
    state, position = tree(put("new"), put("newer")), LogPosition(2, EPOCH, b"p" * 32)
    first = records([put("later")], position)

    def judge(image: StoreImage) -> str:
        if image.position == position:
            assert (image.state, image.tail) == (state.image(), tuple(first))
            return "new"
        assert (image.state, len(image.tail)) == (StateImage(), 4)
        return "old"

    request = Adopt(next(RECEIPTS), state.image(), position, Lineage(), tuple(first), 2, set_aside, "lost")
    assert cut_at_each_step(tmp_path, monkeypatch, request, judge) == {"old", "new"}
    last = max(tmp_path.glob("cut*"), key=lambda path: int(path.name[3:]))
    assert len(Store(last).discarded()) == (1 if set_aside else 0)


def test_dropping_a_tail_cut_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole or cut, never rolled back by its own marker."""
    request = TruncateTail(next(RECEIPTS), 3, True, "lost")
    assert cut_at_each_step(tmp_path, monkeypatch, request, lambda image: str(len(image.tail))) == {"4", "3"}


def test_first_adoption_cut_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new node whose first store was half made has none, or a whole one."""
    steps = Steps(monkeypatch)
    seen = set()
    for number in range(1000):
        root = tmp_path / f"cut{number}"
        store = Store(root)
        store.open()
        steps.left = number
        try:
            store._execute(Adopt(next(RECEIPTS), tree(put("f")).image(), LogPosition(1, EPOCH, b"p" * 32), Lineage()))
            done = True
        except PowerCut:
            done = False
        steps.left = 1 << 30
        store.close()
        image = opened(root)
        assert image.fresh or (image.health is StoreHealth.OK and image.state.revision == 1)
        seen.add(image.health)
        if done:
            break
    assert seen == {StoreHealth.MISSING, StoreHealth.OK}


def _broken(error: int) -> Callable[..., Any]:
    def fail(*args: object, **options: object) -> None:
        raise OSError(error, os.strerror(error))

    return fail


@pytest.mark.parametrize(("error", "where"), [(errno.ENOSPC, "write"), (errno.EIO, "sync"), (errno.EROFS, "write")])
def test_a_failing_disk_refuses_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, where: str
) -> None:
    """Every request fails with a sentence until a probe succeeds; then the log goes on after the last good answer."""
    monkeypatch.setattr("cfs.io.store.PROBE", 0.05)
    made = begun(tmp_path / "store")
    disk = RealDisk(tmp_path / "store")
    disk.open()
    more = records([put("g"), put("h")], made[-1].position)
    with monkeypatch.context() as broken:
        broken.setattr(files, where, _broken(error))
        first, second = disk.ask(
            AppendLog(next(RECEIPTS), tuple(more[:1])), TruncateTail(next(RECEIPTS), 3, True, "not now")
        )
        assert first == second == f"store disk: {os.strerror(error)}"
        assert disk.answers[0] == (0, first)
    disk.wait(lambda: (0, None) in disk.answers)
    assert disk.ask(AppendLog(next(RECEIPTS), tuple(more))) == [None]
    disk.close()
    image = opened(tmp_path / "store")
    assert image.tail == (*made, *more)


@pytest.mark.parametrize("step", ["write_marker", "retire"])
def test_an_adoption_that_came_into_use_is_answered_as_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Once CURRENT names it the store is the new one, whatever fails behind: the replica must not keep the old."""
    monkeypatch.setattr("cfs.io.store.PROBE", 0.05)
    begun(tmp_path / "store")
    disk = RealDisk(tmp_path / "store")
    disk.open()
    state = tree(put("new"))
    position = LogPosition(1, EPOCH, b"c" * 32)
    with monkeypatch.context() as broken:
        broken.setattr(f"cfs.io.generations.{step}", _broken(errno.ENOSPC))
        assert disk.ask(Adopt(next(RECEIPTS), state.image(), position, Lineage(), (), 1, True, "diverged")) == [None]
    disk.wait(lambda: (0, None) in disk.answers)
    disk.close()
    image = opened(tmp_path / "store")
    assert (image.health, image.state) == (StoreHealth.OK, state.image())


@pytest.mark.parametrize("step", ["generations.Database.create", "generations.LogFile.create", "generations.switch"])
def test_a_failed_adoption_leaves_the_disk_no_fuller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What was made of the new store is gone, or a full disk would stay full of it ("recovers by itself")."""
    monkeypatch.setattr("cfs.io.store.PROBE", 0.05)
    begun(tmp_path)
    disk = RealDisk(tmp_path)
    disk.open()
    state = tree(put("leader", b"other"))
    position = LogPosition(1, EPOCH, b"p" * 32)
    with monkeypatch.context() as broken:
        broken.setattr(f"cfs.io.{step}", _broken(errno.ENOSPC))
        (error,) = disk.ask(Adopt(next(RECEIPTS), state.image(), position, Lineage(), (), 1, True, "diverged"))
        assert error is not None
    disk.wait(lambda: (0, None) in disk.answers)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["gen-00000001"]
    assert disk.store.discarded() == []
    disk.close()


def test_a_failed_checkpoint_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its delta is kept and written with the next one."""
    monkeypatch.setattr("cfs.io.store.PROBE", 0.05)
    made = begun(tmp_path / "store")
    disk = RealDisk(tmp_path / "store")
    disk.open()
    state = State()
    for record in made[:2]:
        state.apply(Operation.decode(record.body), record.index)
    request = Checkpoint(next(RECEIPTS), state.take_delta(), made[1].position, Lineage())
    with monkeypatch.context() as broken:
        broken.setattr("cfs.io.database.Database.update", _broken(errno.EIO))
        assert disk.ask(request) != [None]
    disk.wait(lambda: (0, None) in disk.answers)
    for record in made[2:]:
        state.apply(Operation.decode(record.body), record.index)
    assert disk.ask(Checkpoint(next(RECEIPTS), state.take_delta(), made[3].position, Lineage())) == [None]
    disk.close()
    assert opened(tmp_path / "store").state == state.image()


def test_a_database_that_rots_under_us_counts_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies before the log is not safe here: every request fails until the node was restarted and resynced (S6)."""
    monkeypatch.setattr("cfs.io.store.PROBE", 0.05)
    made = begun(tmp_path / "store")
    disk = RealDisk(tmp_path / "store")
    disk.open()

    def rotten(*args: object) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr("cfs.io.database.Database.update", rotten)
    state = State()
    for record in made[:2]:
        state.apply(Operation.decode(record.body), record.index)
    (first,) = disk.ask(Checkpoint(next(RECEIPTS), state.take_delta(), made[1].position, Lineage()))
    assert first is not None
    assert "restart this node" in first
    settle(0.2)
    assert (0, None) not in disk.answers
    assert disk.ask(AppendLog(next(RECEIPTS), tuple(records([put("g")], made[-1].position)))) == [first]
    disk.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB of its own."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_file_system(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real ENOSPC: answered at once, nothing acknowledged is lost, room made: it goes on by itself."""
    monkeypatch.setattr("cfs.io.store.PROBE", 0.05)
    made = begun(small_disk / "store")
    disk = RealDisk(small_disk / "store")
    disk.open()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    end, kept, error = made[-1].position, list(made), None
    while error is None:
        record = records([put("big", bytes(200_000))], end)
        (error,) = disk.ask(AppendLog(next(RECEIPTS), tuple(record)))
        if error is None:
            kept += record
            end = record[-1].position
    assert error == "store disk: No space left on device"
    ballast.unlink()
    disk.wait(lambda: disk.answers[-1] == (0, None))
    more = records([put("after")], end)
    assert disk.ask(AppendLog(next(RECEIPTS), tuple(more))) == [None]
    disk.close()
    assert opened(small_disk / "store").tail == (*kept, *more)


_WRITER = """
import sys, threading
from itertools import count
from pathlib import Path
from cfs.disk import Adopt, AppendLog
from cfs.entries import StateImage
from cfs.io.store import Store
from cfs.records import START, Lineage, LogRecord, RecordKind
from transport.ids import RingId

told = threading.Semaphore(0)

def answered(answers):
    for receipt, error in answers:
        assert error is None, error
        print(receipt, flush=True)
        told.release()

store = Store(Path(sys.argv[1]))
store.open()
store.start_with(answered)
store.submit(Adopt(1, StateImage(), START, Lineage()))
told.acquire()
end = START
for receipt in count(2):
    record = LogRecord.after(end, RingId(1, 1, 1), RecordKind.OPERATION, bytes(500))
    end = record.position
    store.submit(AppendLog(receipt, (record,)))
    if receipt > 20:
        told.acquire()
"""


def test_sigkill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    """A real process killed in the middle of appending: every answered record is there (S1)."""
    arguments = [sys.executable, "-c", _WRITER, str(tmp_path / "store")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        last = 0
        for line in process.stdout:
            last = int(line)
            if last == 120:
                process.kill()
        process.wait()
    image = opened(tmp_path / "store")
    assert image.health is StoreHealth.OK
    assert image.end.index >= last - 1 >= 119
