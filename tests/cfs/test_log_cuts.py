"""A store's log cut at every byte, with anything behind its end, with sectors missing: what is kept is a prefix of what
was written, and where it ends is told honestly by the store's own marker (cfs/io; S6).

A process that ends cleanly leaves its marker at the end of the log: every cut after that is noticed. One that is killed
leaves it where the last epoch or checkpoint put it: behind that a shorter log looks like a crash that came earlier, and
only the other members can know better (docs/store-format.md, "MARKER").
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise, product
from pathlib import Path

import pytest

from cfs.disk import Adopt, AppendLog, MarkCommit, StoreHealth, StoreImage
from cfs.entries import StateImage
from cfs.io import logfile
from cfs.io.logfile import HEAD_BYTES
from cfs.io.store import Store
from cfs.records import START, DataSet, EpochKind, EpochRecord, Lineage, LogRecord, RecordKind
from tests.cfs.building import EPOCH, put, records
from tests.cfs.disks import RealDisk
from transport.ids import NO_RING

RECEIPTS = count(1)
LINEAGE = Lineage((), DataSet(1, {1: 1}))
SECTOR = 512


@dataclass
class Kept:
    """A store as a daemon left it. ends: the segments' frames, as (file, offset behind the frame, records so far)."""

    root: Path
    log: list[LogRecord]
    ends: list[tuple[Path, int, int]]

    @property
    def last(self) -> Path:
        return self.ends[-1][0]


def left(root: Path, groups: list[int], size: int, clean: bool) -> Kept:
    """An epoch record, then groups of so many records each; ended cleanly, or killed."""
    disk = RealDisk(root)
    disk.open()
    opening = EpochRecord(EPOCH, NO_RING, 1, 1, EpochKind.MAJORITY, 0, (1,))
    log = [LogRecord.after(START, EPOCH, RecordKind.EPOCH, opening.encode())]
    assert disk.ask(Adopt(next(RECEIPTS), StateImage(), START, LINEAGE, tuple(log))) == [None]
    ends = [_end(root, log)]
    for number, many in enumerate(groups):
        made = records([put(f"g{number}-{n}", bytes([n]) * size) for n in range(many)], log[-1].position)
        assert disk.ask(AppendLog(next(RECEIPTS), tuple(made))) == [None]
        log += made
        ends.append(_end(root, log))
    if not clean:
        shutil.copytree(root, root.with_name("killed"))
        disk.close()
        shutil.rmtree(root)
        root.with_name("killed").rename(root)
    else:
        disk.submit(MarkCommit(len(log)))
        disk.close()
    return Kept(root, log, ends)


def _end(root: Path, log: list[LogRecord]) -> tuple[Path, int, int]:
    segment = max(root.glob("gen-*/log/*.log"))
    return segment, segment.stat().st_size, len(log)


def opened(root: Path) -> StoreImage:
    store = Store(root)
    image = store.open()
    store.close()
    return image


class Copies:
    """The same store again and again, damaged in its log."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.raw = {path: path.read_bytes() for path in kept.root.glob("gen-*/log/*.log")}
        self.marker = (kept.root / "MARKER").read_bytes()

    def opened(self, path: Path, data: bytes | None) -> StoreImage:
        """With this segment's content changed; None: it is gone. Nothing but the log and MARKER is written by a
        start that does not adopt, so these are put back before."""
        for other in self.kept.root.glob("gen-*/log/*.log"):
            other.unlink()
        for other, raw in (self.raw | {path: data}).items():
            if raw is not None:
                other.write_bytes(raw)
        (self.kept.root / "MARKER").write_bytes(self.marker)
        return opened(self.kept.root)

    def still(self, path: Path) -> bytes:
        return path.read_bytes()


@pytest.mark.parametrize("clean", [True, False])
def test_cut_at_every_byte(memory: Path, clean: bool) -> None:
    """A prefix of whole groups is kept; it counts only if nothing the marker knows of is gone."""
    kept = left(memory / "store", [1, 2, 1], 20, clean)
    copies = Copies(kept)
    raw = copies.raw[kept.last]
    healths = set()
    near = {end + n for _, end, _ in kept.ends for n in (-1, 0, 1)}
    for size in range(len(raw) + 1):
        if clean and size % 5 and size not in near:
            continue  # every byte is done once, for the one that was killed
        image = copies.opened(kept.last, raw[:size])
        healths.add(image.health)
        whole = max((many for _, end, many in kept.ends if end <= size), default=0)
        if size < HEAD_BYTES:
            assert image.health is StoreHealth.DAMAGED and image.tail == ()
            assert copies.still(kept.last) == raw[:size]  # nothing is changed where nothing is understood
            continue
        assert image.tail == tuple(kept.log[:whole])
        assert image.commit_index <= image.end.index
        sound = whole >= (len(kept.log) if clean else 1)  # the marker is at the end, or at the epoch's record
        assert image.health is (StoreHealth.OK if sound else StoreHealth.ROLLED_BACK), size
    assert healths == {StoreHealth.OK, StoreHealth.DAMAGED, StoreHealth.ROLLED_BACK}


def _rubbish(raw: bytes) -> Iterator[bytes]:
    yield from (bytes(size) for size in (1, 4, 25, SECTOR, 5000))
    yield from (b"\xff" * 700, raw[HEAD_BYTES:][::-1], raw, raw[HEAD_BYTES:], b"\xc7CL1" * 100)


@pytest.mark.parametrize("clean", [True, False])
def test_anything_behind_the_end(memory: Path, clean: bool) -> None:
    """Zeros, garbage, the file itself once more: all that was written is there, and what comes next is found again.

    A copy of a sound frame does not follow on the log's end, so it is no torn write: told as damage, and kept."""
    kept = left(memory / "store", [1, 2, 1], 20, clean)
    copies = Copies(kept)
    raw = copies.raw[kept.last]
    for more in _rubbish(raw):
        image = copies.opened(kept.last, raw + more)
        assert image.tail == tuple(kept.log)
        repeats = more == raw[HEAD_BYTES:]
        assert image.health is (StoreHealth.DAMAGED if repeats else StoreHealth.OK)
        if repeats:
            assert copies.still(kept.last) == raw + more
            continue
        disk = RealDisk(kept.root)
        disk.open()
        later = records([put("later")], kept.log[-1].position)
        assert disk.ask(AppendLog(next(RECEIPTS), tuple(later))) == [None]
        disk.close()
        assert opened(kept.root).tail == (*kept.log, *later)


def test_sectors_of_an_unfinished_group_are_missing(memory: Path) -> None:
    """A group write that the power cut: any of its sectors may be there. The group is there or not, nothing else, and
    no earlier one suffers; it was not answered, so the store counts."""
    kept = left(memory / "store", [2, 10], 350, clean=False)
    copies = Copies(kept)
    raw = copies.raw[kept.last]
    begin = kept.ends[-2][1]
    edges = [begin, *range((begin // SECTOR + 1) * SECTOR, len(raw), SECTOR), len(raw)]
    sectors = list(pairwise(edges))
    assert len(sectors) >= 8
    found = set()
    for there in product((True, False), repeat=8):
        data = bytearray(raw)
        for (first, last), is_there in zip(sectors[-8:], there, strict=True):
            if not is_there:
                data[first:last] = bytes(last - first)
        image = copies.opened(kept.last, bytes(data))
        assert image.health is StoreHealth.OK
        assert image.tail in (tuple(kept.log), tuple(kept.log[:3]))
        assert (len(image.tail) == len(kept.log)) == all(there)
        found.add(len(image.tail))
    assert found == {3, len(kept.log)}


@pytest.mark.parametrize("clean", [True, False])
def test_a_log_of_many_segments_cut(memory: Path, monkeypatch: pytest.MonkeyPatch, clean: bool) -> None:
    """At each frame's end and beside it, and at every 61st byte, in every segment; and each segment gone."""
    monkeypatch.setattr(logfile, "SEGMENT_BYTES", 6000)
    kept = left(memory / "store", [1, 3, 2, 5, 1, 4, 2, 6, 3], 400, clean)
    copies = Copies(kept)
    assert len(copies.raw) >= 3
    counted = 0
    for path, raw in copies.raw.items():
        last = path == kept.last
        ends = {end: many for file, end, many in kept.ends if file == path}
        before = max((many for file, _, many in kept.ends if file < path), default=0)
        for size in sorted({n + d for n in ends for d in (-1, 0, 1)} | set(range(0, len(raw), 61))):
            if size >= len(raw):
                continue
            counted += 1
            image = copies.opened(path, raw[:size])
            whole = max((many for end, many in ends.items() if end <= size), default=before)
            assert image.tail == tuple(kept.log[:whole])
            if not last:
                assert image.health is StoreHealth.DAMAGED, "what follows in the next segment was on disk"
                assert copies.still(path) == raw[:size]
            elif size < HEAD_BYTES and path == min(copies.raw):
                assert image.health is StoreHealth.DAMAGED
            else:
                sound = whole >= (len(kept.log) if clean else 1)
                assert image.health is (StoreHealth.OK if sound else StoreHealth.ROLLED_BACK)
        image = copies.opened(path, None)
        assert image.tail == tuple(kept.log[: len(image.tail)])
        assert image.health is not StoreHealth.OK or (last and not clean)
    assert counted > 150


def test_a_damaged_log_is_kept_when_the_store_is_made_anew(memory: Path) -> None:
    """docs/store-format.md, "Adoption": a damaged store is never removed; its bytes lie in discarded/ as they were."""
    kept = left(memory / "store", [1, 2, 1], 20, clean=True)
    copies = Copies(kept)
    rotten = bytearray(copies.raw[kept.last])
    rotten[kept.ends[0][1] + 40] ^= 1
    assert copies.opened(kept.last, bytes(rotten)).health is StoreHealth.DAMAGED
    disk = RealDisk(kept.root)
    disk.open()
    (refused,) = disk.ask(AppendLog(next(RECEIPTS), tuple(records([put("x")], kept.log[-1].position))))
    assert refused is not None
    assert disk.ask(Adopt(next(RECEIPTS), StateImage(), START, LINEAGE, tuple(kept.log))) == [None]
    disk.close()
    image = opened(kept.root)
    assert (image.health, image.tail) == (StoreHealth.OK, tuple(kept.log))
    (aside,) = kept.root.glob("discarded/*/store/log/*.log")
    assert aside.read_bytes() == bytes(rotten)
