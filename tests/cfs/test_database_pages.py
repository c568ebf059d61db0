"""The tree's database damaged page by page: each kind of page flipped in many places, the file cut at every page and
inside, its rollback journal cut at every record and inside: detected, or harmless (cfs/io/database.py; S6)."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from cfs.disk import Adopt, AppendLog, StoreHealth
from cfs.io.database import Database, DatabaseDamaged
from cfs.io.store import Store
from cfs.messages import Kind
from cfs.records import DataSet, Lineage, LogPosition
from cfs.state import State
from tests.cfs.building import EPOCH, mkdir, op, put, records, rm, run, whole
from tests.cfs.calls import watching
from tests.cfs.disks import RealDisk
from tests.cfs.pages import HEADER, Pages

RECEIPTS = count(1)
LINEAGE = Lineage((), DataSet(1, {1: 1}))
KINDS = (
    "schema root",
    "table interior",
    "table leaf",
    "index interior",
    "index leaf",
    "overflow",
    "freelist trunk",
    "freelist leaf",
)


def at(state: State) -> LogPosition:
    return LogPosition(state.index, EPOCH, bytes([state.index % 256]) * 32)


def large() -> State:
    """Long names, so that the index has two levels; files of all sizes."""
    state = State()
    run(state, mkdir("d"), *(put(f"d/{n:03}-{'x' * 120}", bytes([n]) * (n % 40)) for n in range(120)))
    run(state, put("d/large", bytes(range(256)) * 60), put("gone", b"g" * 30_000), put("d/middle", b"m" * 5000))
    run(state, op(Kind.STAGE, "", b"part", staging=bytes(16)))
    return state


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, State]:
    """A database with pages of every kind, and what is in it."""
    path = tmp_path_factory.mktemp("sound") / "tree.db"
    state = large()
    database = Database.create(path, state.image(), at(state), LINEAGE)
    state.take_delta()
    run(state, rm("gone"))
    database.update(state.take_delta(), at(state), LINEAGE)
    database.close()
    return path.read_bytes(), state


def test_there_are_pages_of_every_kind(sound: tuple[bytes, State]) -> None:
    """Each page of the file is accounted for; there are no pointer maps, as nothing asks for auto_vacuum."""
    pages = Pages(sound[0])
    assert sorted(pages.kinds) == list(range(1, len(sound[0]) // pages.size + 1))
    assert set(pages.kinds.values()) == set(KINDS)
    assert not pages.pointer_maps


def places(pages: Pages, kind: str) -> Iterator[int]:
    """Offsets in the file: heads, cell pointers, cells' beginnings, middles and ends of some pages of this kind."""
    draw = random.Random(kind)
    numbers = pages.of(kind)
    for number in dict.fromkeys((numbers[0], numbers[len(numbers) // 2], numbers[-1])):
        begin = (number - 1) * pages.size
        if kind == "schema root":
            yield from range(HEADER)
        head = HEADER if number == 1 else 0
        inside = [*range(head, head + 16), pages.size // 2, pages.size - 1]
        if kind not in ("overflow", "freelist trunk", "freelist leaf"):
            inside += [cell + n for cell in pages.cells(number)[:2] for n in range(8)]
        inside += [draw.randrange(head, pages.size) for _ in range(12)]
        yield from (begin + offset for offset in dict.fromkeys(inside) if offset < pages.size)


def loaded(path: Path) -> State | None:
    """What it says, or that it is damaged."""
    try:
        database = Database(path)
    except (DatabaseDamaged, sqlite3.Error):
        return None
    try:
        return State(database.load().state)
    except DatabaseDamaged:
        return None
    finally:
        database.close()


def changed(path: Path, state: State) -> State | None:
    """A checkpoint that touches many rows is written; what is there afterwards. None: found to be damaged."""
    database = Database(path)
    try:
        run(
            state, rm(f"d/000-{'x' * 120}"), *(put(f"d/{n:03}-{'x' * 120}", b"new") for n in range(1, 120, 7)), put("n")
        )
        database.update(state.take_delta(), at(state), LINEAGE)
    except sqlite3.DatabaseError:
        return None
    finally:
        database.close()
    return loaded(path)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes(sound: tuple[bytes, State], memory: Path, kind: str) -> None:
    """What is shown is what was written, also after the next checkpoint; else it is called damaged, never shown."""
    raw, state = sound
    path, found, harmless = memory / "tree.db", 0, 0
    for number, offset in enumerate(places(Pages(raw), kind)):
        bad = bytearray(raw)
        bad[offset] ^= 0xFF if number % 2 else 1 << (number // 2 % 8)
        path.write_bytes(bad)
        path.with_name("tree.db-journal").unlink(missing_ok=True)
        seen = loaded(path)
        if seen is None:
            found += 1
            continue
        harmless += 1
        assert seen.digest() == state.digest() and seen.image() == state.image(), offset
        after = State(state.image())
        if (shown := changed(path, after)) is not None:
            assert shown.digest() == after.digest(), offset
    assert found + harmless >= 20
    assert found or kind == "freelist leaf"


def test_cut_at_every_page_and_inside(sound: tuple[bytes, State], memory: Path) -> None:
    """No shorter database is taken for a whole one."""
    raw, _ = sound
    size, path = Pages(raw).size, memory / "tree.db"
    for end in range(0, len(raw), size):
        for cut in (end, end + 1, end + size // 2, end + size - 1):
            path.write_bytes(raw[:cut])
            assert loaded(path) is None, cut


def _killed(memory: Path) -> Iterator[tuple[bytes, bytes, State, State]]:
    """(database, journal, before, after) as a process left them that was killed at each call of one checkpoint."""
    before = large()
    path = memory / "store" / "tree.db"
    path.parent.mkdir()
    database = Database.create(path, before.image(), at(before), LINEAGE)
    before.take_delta()
    database.close()
    after = State(before.image())
    run(after, *(put(f"d/{n:03}-{'x' * 120}", b"new") for n in range(0, 120, 5)), rm("gone"))
    seen: list[tuple[bytes, bytes]] = []
    with watching(path.parent) as calls:
        database = Database(path)
        calls.before = lambda: seen.append(_files(path))
        database.update(after.take_delta(), at(after), LINEAGE)
        database.close()
    for raw, journal in dict.fromkeys(seen):
        yield raw, journal, before, after


def _files(path: Path) -> tuple[bytes, bytes]:
    journal = path.with_name("tree.db-journal")
    return path.read_bytes(), journal.read_bytes() if journal.exists() else b""


def _record_ends(journal: bytes) -> list[int]:
    """Ends of its page records: behind the sector of its head, each a number, the page, a checksum."""
    if len(journal) < 28:
        return []
    sector, size = struct.unpack_from("!II", journal, 20)
    return list(range(sector, len(journal) + 1, size + 8)) if size else []


def test_the_journal_cut_at_every_record_and_inside(memory: Path) -> None:
    """A checkpoint that was killed at any call is undone or done. With its journal cut short as well, which no crash
    does, the tree is still the one before or the one after, or called damaged."""
    path = memory / "tree.db"
    journal_path = memory / "tree.db-journal"
    states, cuts, damaged = set(), 0, 0
    for number, (raw, journal, before, after) in enumerate(_killed(memory)):
        digests = {before.digest(): "before", after.digest(): "after"}
        path.write_bytes(raw)
        journal_path.write_bytes(journal)
        seen = loaded(path)
        assert seen is not None and seen.digest() in digests
        states.add(digests[seen.digest()])
        if path.read_bytes() == raw or number % 3:  # nothing was undone, or much as in the moment before
            continue
        ends = _record_ends(journal)
        for cut in {0, 1, 27, 28, 511} | {end + n for end in ends for n in (0, 3, 2000)}:
            path.write_bytes(raw)
            journal_path.write_bytes(journal[:cut])
            seen = loaded(path)
            cuts += 1
            damaged += seen is None
            assert seen is None or seen.digest() in digests
    assert states == {"before", "after"}
    assert cuts > 50 and damaged


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_with_a_damaged_page(memory: Path, sound: tuple[bytes, State], kind: str) -> None:
    """Adopted from a peer, so its log does not reach back: it shows what was written, or counts no more until it was
    given the tree again, and then the bad one is kept aside (S5, S6)."""
    raw, state = sound
    root = memory / "store"
    disk = RealDisk(root)
    disk.open()
    later = records([put("later")], at(state))
    assert disk.ask(Adopt(next(RECEIPTS), state.image(), at(state), LINEAGE, (), state.index)) == [None]
    assert disk.ask(AppendLog(next(RECEIPTS), tuple(later))) == [None]
    disk.close()
    pages = Pages(raw)
    (database,) = root.glob("gen-*/tree.db")
    for number, offset in enumerate(list(places(pages, kind))[::9]):
        copy = shutil.copytree(root, memory / f"copy{number}")
        bad = bytearray(raw)
        bad[offset] ^= 0x55
        (copy / database.relative_to(root)).write_bytes(bad)
        disk = RealDisk(copy)
        image = disk.open()
        if image.health is StoreHealth.OK:
            assert whole(State(image.state)) == whole(state) and image.tail == tuple(later)
            disk.close()
            continue
        assert image.health is StoreHealth.DAMAGED and "tree.db" in image.message
        assert disk.ask(AppendLog(next(RECEIPTS), tuple(records([put("no")], later[-1].position)))) != [None]
        assert disk.ask(Adopt(next(RECEIPTS), state.image(), at(state), LINEAGE, tuple(later), state.index)) == [None]
        disk.close()
        store = Store(copy)
        image = store.open()
        store.close()
        assert (image.health, image.tail) == (StoreHealth.OK, tuple(later))
        (aside,) = copy.glob("discarded/*/store/tree.db")
        assert aside.read_bytes() == bytes(bad)
        shutil.rmtree(copy)
