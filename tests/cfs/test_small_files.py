"""The small files of a store's directory, rotten in every bit: what one of them says is believed whole or not at all
(cfs/io/generations.py; S5, S6)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from cfs.disk import Adopt, AppendLog, StoreHealth
from cfs.entries import StateImage
from cfs.io import generations
from cfs.io.discarded import read_discarded
from cfs.io.store import Store
from cfs.records import START, Lineage, LogPosition
from cfs.state import State
from tests.cfs.building import EPOCH, put, records, tree, whole
from tests.cfs.disks import RealDisk

RECEIPTS = count(1)


def rotten(raw: bytes) -> Iterator[bytes]:
    """A flipped bit in every byte, and every fifth of the shorter beginnings."""
    for at in range(len(raw)):
        flipped = bytearray(raw)
        flipped[at] ^= 1 << (at % 8)
        yield bytes(flipped)
    for size in range(0, len(raw), 5):
        yield raw[:size]


@pytest.fixture
def replaced(memory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that adopted another tree, and whose daemon was killed before the old one was moved out of the way."""
    root = memory / "store"
    disk = RealDisk(root)
    disk.open()
    disk.ask(Adopt(next(RECEIPTS), tree(put("mine", b"1")).image(), LogPosition(1, EPOCH, b"a" * 32), Lineage()))
    with monkeypatch.context() as killed:
        killed.setattr(generations, "retire", lambda root, current: None)
        new = tree(put("theirs", b"2"))
        position = LogPosition(1, EPOCH, b"b" * 32)
        (done,) = disk.ask(Adopt(next(RECEIPTS), new.image(), position, Lineage(), (), 1, True, "lost the merge"))
        assert done is None
        disk.close()
    assert generations.numbers(root) == [1, 2]
    return root


def test_rot_in_replaces_loses_nothing(replaced: Path, memory: Path) -> None:
    """S5: whatever became of the file that says what to do with the replaced tree, that tree is set aside, listed."""
    raw = (generations.folder(replaced, 2) / "replaces").read_bytes()
    for bad in rotten(raw):
        root = memory / "rotten"
        shutil.copytree(replaced, root)
        (generations.folder(root, 2) / "replaces").write_bytes(bad)
        store = Store(root)
        image = store.open()
        store.close()
        assert (image.health, whole(State(image.state))) == (StoreHealth.OK, {"theirs": b"2"})
        (found,) = store.discarded()
        kept, _ = read_discarded(root, found.id)
        assert kept is not None and whole(State(kept)) == {"mine": b"1"}
        shutil.rmtree(root)


@pytest.mark.parametrize("name", ["CURRENT", "MARKER", "gen-00000001/origin"])
def test_rot_in_a_small_file_shows_nothing_else(memory: Path, name: str) -> None:
    """S6: the tree is the one written; without a sound MARKER it does not count. Nothing else rests on these files."""
    root = memory / "store"
    disk = RealDisk(root)
    disk.open()
    made = records([put(f"f{n}") for n in range(3)])
    assert disk.ask(Adopt(next(RECEIPTS), StateImage(), START, Lineage())) == [None]
    assert disk.ask(AppendLog(next(RECEIPTS), tuple(made), 3)) == [None]
    disk.close()
    raw = (root / name).read_bytes()
    for bad in rotten(raw):
        (root / name).write_bytes(bad)
        store = Store(root)
        image = store.open()
        store.close()
        assert image.tail == tuple(made)
        assert image.health is (StoreHealth.ROLLED_BACK if name == "MARKER" else StoreHealth.OK)
