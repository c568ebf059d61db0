"""The real store when each single file-system call fails, its own and SQLite's, enumerated by number (S1, S5, S6).

A script does everything a store can be asked for; the run is repeated with call 1, 2, 3 ... failing, once with EIO or
from there on with ENOSPC. What was acknowledged must be on disk although the power fails then, by the strictest reading
of fsync (tests/cfs/calls.py): above all, an fsync that failed may not be followed by one that is believed for both.
"""

from __future__ import annotations

import errno
import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import pytest

from cfs.disk import Adopt, AppendLog, Checkpoint, DiskRequest, MarkCommit, StoreHealth, StoreImage, TruncateTail
from cfs.entries import StateImage
from cfs.io import logfile
from cfs.io.store import Store, _Stop
from cfs.messages import Operation
from cfs.records import START, DataSet, EpochKind, EpochRecord, Lineage, LogPosition, LogRecord, RecordKind
from cfs.state import State
from tests.cfs.building import EPOCH, put, records, tree
from tests.cfs.calls import Calls, watching
from transport.ids import NO_RING, RingId

LINEAGE = Lineage((), DataSet(1, {1: 1}))
AGAIN = RingId(9, 1, 77)


@dataclass
class Held:
    """What was acknowledged: a tree and the log after it.

    base, image: before the first record.  synced: how many of the records must survive a power loss.
    """

    base: LogPosition = START
    image: StateImage = field(default_factory=StateImage)
    log: list[LogRecord] = field(default_factory=list)
    synced: int = 0
    there: bool = False
    aside: int = 0  # times something was set aside

    def after(self, request: DiskRequest) -> Held:
        """What is held once this one is done."""
        match request:
            case AppendLog():
                log = [*self.log, *request.records]
                return replace(self, log=log, synced=len(log) if request.sync else self.synced)
            case TruncateTail():
                kept = request.after_index - self.base.index
                return replace(self, log=self.log[:kept], synced=kept, aside=self.aside + request.set_aside)
            case Adopt():
                aside = self.aside + request.set_aside
                log = list(request.records)
                return Held(request.position, request.image, log, len(log), True, aside)
            case Checkpoint():
                return replace(self, synced=len(self.log))
            case _:
                return self


class Driver:
    """A Store whose worker is this thread: after a request the checkpoint is waited for, and time is given."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.told: dict[int, str | None] = {}
        self.image = self.store.open()
        self.store._deliver = self.told.update

    def ask(self, request: DiskRequest) -> str | None:
        """What became of it; "" of one that is not answered."""
        receipt = getattr(request, "receipt", -1)
        self.told.pop(receipt, None)
        if isinstance(request, AppendLog):
            self.store._append_group(request)
        else:
            self.store._serve(request)
        self.store._end_checkpoint()
        self.store._flush()
        return self.told.get(receipt, "") if receipt >= 0 else ""

    def later(self) -> None:
        """A second and more passes."""
        for _ in range(2):
            self.store._tick(math.inf)
            self.store._flush()

    def end(self) -> None:
        self.store._serve(_Stop())
        self.store._flush()
        self.crash()

    def crash(self) -> None:
        """The process ends here: what it has open is closed, and nothing else is done."""
        self.store.close()


def requests() -> tuple[list[DiskRequest], dict[int, Checkpoint]]:
    """Everything that can be asked; and what is asked when a checkpoint failed, by its receipt: the disk has kept the
    delta that it was given, so the next one holds only what came later, nothing."""
    receipt = count(1)
    epoch = EpochRecord(EPOCH, NO_RING, 1, 1, EpochKind.MAJORITY, 0, (1,))
    first = LogRecord.after(START, EPOCH, RecordKind.EPOCH, epoch.encode())
    made = [first, *records([put(f"f{n}", bytes([n]) * 40) for n in range(11)], first.position)]
    state = State()
    state.advance(1)
    again: dict[int, Checkpoint] = {}

    def checkpoint(upto: int) -> Checkpoint:
        for record in made[state.index : upto]:
            state.apply(Operation.decode(record.body), record.index)
        first = Checkpoint(next(receipt), state.take_delta(), made[upto - 1].position, LINEAGE)
        again[first.receipt] = replace(first, delta=state.take_delta())
        return first

    def append(some: list[LogRecord], commit: int, sync: bool = True) -> AppendLog:
        return AppendLog(next(receipt), tuple(some), commit, sync)

    other = records([put("other")], made[8].position)
    theirs = tree(put("theirs", b"t" * 6000), put("more"))
    position = LogPosition(20, AGAIN, b"p" * 32)
    theirs.advance(20)
    opening = EpochRecord(AGAIN, EPOCH, 21, 1, EpochKind.MAJORITY, 0, (1,))
    begin = LogRecord.after(position, AGAIN, RecordKind.EPOCH, opening.encode())
    script: list[DiskRequest] = [
        Adopt(next(receipt), StateImage(), START, LINEAGE),
        append(made[:1], 0),
        append(made[1:2], 1, sync=False),
        append(made[2:3], 1, sync=False),
        append(made[3:5], 2),
        MarkCommit(4),
        append(made[5:8], 5),
        checkpoint(6),
        append(made[8:10], 6),
        TruncateTail(next(receipt), 9, True, "lost", (9, 9)),
        append(other, 7),
        checkpoint(8),
        append(records([put("later")], other[-1].position), 8),
        Adopt(next(receipt), theirs.image(), position, LINEAGE, (begin,), 20, True, "lost the merge", (1, 2)),
        append(records([put("end")], begin.position, AGAIN), 21),
    ]
    return script, again


def opened(root: Path) -> tuple[StoreImage, list[str]]:
    """What a start finds there, and what kinds of things were set aside."""
    store = Store(root)
    image = store.open()
    store.close()
    return image, [found.kind for found in store.discarded()]


def replayed(state: State, log: Iterable[LogRecord]) -> State:
    """The tree when all of these are committed."""
    for record in log:
        if record.kind is RecordKind.OPERATION:
            state.apply(Operation.decode(record.body), record.index)
        else:
            state.advance(record.index)
    return state


def fits(image: StoreImage, aside: list[str], held: Held, whole: bool) -> bool:
    """Is this what is found? whole: the power did not fail, so what was not synced is there too."""
    if not held.there:
        return image.health is StoreHealth.MISSING
    if image.health is not StoreHealth.OK or "damaged" in aside or len(aside) < held.aside:
        return False
    found = (*image.retained, *image.tail)
    trimmed = sum(record.index < found[0].index for record in held.log) if found else 0
    end = trimmed + len(found)
    if found != tuple(held.log[trimmed:end]) or end < (len(held.log) if whole else held.synced):
        return False
    before = replayed(State(held.image), held.log[:end])
    return replayed(State(image.state), image.tail).digest() == before.digest()


def judged(image: StoreImage, aside: list[str], allowed: list[Held], whole: bool, when: str) -> None:
    """One of these is what is found: no acknowledged record missing, none there that nobody wrote, nothing lost."""
    if not any(fits(image, aside, held, whole) for held in allowed):
        ends = [(held.base.index + held.synced, held.base.index + len(held.log), held.aside) for held in allowed]
        told = f"{image.health} {image.message}, ends at {image.end.index}, set aside: {aside}"
        raise AssertionError(f"{when}: {told}; held {ends}")


def partly(held: Held, request: DiskRequest | None) -> list[Held]:
    """What may be there when `request` was under way and not answered."""
    if request is None:
        return [held]
    done = held.after(request)
    if isinstance(request, AppendLog):
        return [replace(done, synced=held.synced)]
    return [held, done]


@contextmanager
def fresh() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


class Run:
    """The script with one fault in it; it ends some requests after the fault."""

    def __init__(self, calls: Calls, place: Path) -> None:
        self.calls, self.place = calls, place
        self.held = Held()
        self.number = count(1)

    def power_lost(self, request: DiskRequest | None, when: str) -> None:
        """What the disk holds now, if the power fails."""
        where = self.place / f"lost{next(self.number)}"
        where.mkdir()
        image, aside = opened(self.calls.after_power_loss(where))
        judged(image, aside, partly(self.held, request), False, f"power lost {when}")
        shutil.rmtree(where)

    def run(self) -> None:
        driver = self.begun()
        left = math.inf
        script, later = requests()
        for request in script:
            failed_before = len(self.calls.failed)
            answer = driver.ask(request)
            driver.later()
            assert not answer or self.calls.failed, f"refused without a fault: {answer}"
            if not answer:
                self.held = self.held.after(request)
            if len(self.calls.failed) > failed_before:
                self.power_lost(request if answer else None, f"after {type(request).__name__}: {answer or 'done'}")
                self.calls.heal()
                driver.later()
                assert driver.told.get(0) is None, "does not recover when there is room again"
                left = 3
            if answer:
                if isinstance(request, Checkpoint):
                    request = later[request.receipt]
                refused = driver.ask(request)
                assert not refused, f"asked again: {refused}"
                self.held = self.held.after(request)
            left -= 1
            if not left:
                break
        self.power_lost(None, "at the end")
        driver.end()
        self.calls.ended = len(self.calls.made)
        self.calls.heal()
        image, aside = opened(self.calls.root)
        judged(image, aside, [self.held], True, "ended cleanly")

    def begun(self) -> Driver:
        try:
            return Driver(self.calls.root)
        except OSError:  # told, and the daemon ends; the next start finds what there is
            self.calls.heal()
            return Driver(self.calls.root)


def one(number: int, error: int, once: bool) -> None:
    """A run with call `number` failing."""
    with fresh() as place, watching(place / "store") as calls:
        calls.fail(number, error, once)
        try:
            Run(calls, place).run()
        except Exception as problem:
            raise AssertionError(f"call {number}, {errno.errorcode[error]}: {calls.failed[:3]}: {problem}") from problem
        assert calls.failed


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the log rolls and is trimmed."""
    monkeypatch.setattr(logfile, "SEGMENT_BYTES", 700)
    monkeypatch.setattr(logfile, "RETAIN_RECORDS", 2)


def calls_of_the_script() -> list[str]:
    """What is called when nothing fails, until the store has ended."""
    with fresh() as place, watching(place / "store") as calls:
        Run(calls, place).run()
        return calls.made[: calls.ended]


def test_the_script_reaches_everything() -> None:
    """Every kind of call, SQLite's too, and every file and directory of a store."""
    made = calls_of_the_script()
    kinds = {"open", "create", "read", "write", "truncate", "sync", "rename", "unlink", "mkdir"}
    assert {words.split()[0] for words in made} == kinds
    for name in (
        "CURRENT.new",
        "MARKER.new",
        "tree.db",
        "tree.db-journal",
        "replaces",
        "origin",
        "description.json.new",
    ):
        for what in ("create", "write", "sync"):
            assert any(words.startswith(what) and words.endswith(name) for words in made), (what, name)
    assert any("unlink" in words and words.endswith(".log") for words in made), "no segment was trimmed"
    assert len([words for words in made if words.startswith("create") and words.endswith(".log")]) >= 5


PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_each_call_fails_once(part: int) -> None:
    """EIO: never acknowledged what is not on disk, never an exception, and the store goes on by itself."""
    for number in range(1 + part, len(calls_of_the_script()) + 1, PARTS):
        one(number, errno.EIO, once=True)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_disk_is_full_from_each_call_on(part: int) -> None:
    """ENOSPC, of a write half is done: the same; while there is no room, every probe fails too, and leaves nothing."""
    for number, words in list(enumerate(calls_of_the_script(), 1))[part::PARTS]:
        if words.split()[0] not in ("read", "open"):
            one(number, errno.ENOSPC, once=False)


def _left_behind(place: Path) -> tuple[Held, Path]:
    """A store whose daemon was killed: a torn group at the log's end, and a replaced store not yet moved away."""
    root = place / "store"
    driver, held = Driver(root), Held()
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr("cfs.io.generations.retire", lambda root, current: None)
        for request in requests()[0]:
            assert not driver.ask(request)
            held = held.after(request)
    driver.crash()
    with max(root.glob("gen-*/log/*.log")).open("ab") as segment:
        segment.write(b"torn")
    return held, root


def test_each_call_of_a_start_fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start is told to have failed, or finds this store damaged (it counts no more, S6); the next one finds all."""
    with fresh() as place:
        held, origin = _left_behind(place)
        for number in count(1):
            with fresh() as copy, watching(shutil.copytree(origin, copy / "store")) as calls:
                calls.fail(number, errno.EIO, once=True)
                try:
                    image, _ = opened(calls.root)
                    assert image.health is StoreHealth.OK or (image.health is StoreHealth.DAMAGED and calls.failed)
                except OSError:
                    assert calls.failed
                calls.heal()
                image, aside = opened(calls.root)
                judged(image, aside, [held], True, f"call {number}: {calls.failed}")
                if not calls.failed:
                    assert number > 30
                    return
