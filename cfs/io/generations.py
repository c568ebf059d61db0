"""The store's directory: one generation in use, chosen by one small file, replaced whole or not at all.

    LOCK               flock: two daemons never share a store
    CURRENT            `generation N`: the only thing an adoption switches, by rename
    MARKER             `marker GENERATION SEQ REP INCARNATION INDEX`: the last place this node was for certain, kept
                       outside the generation, so that an older one put back by hand is noticed
    gen-NNNNNNNN/      tree.db, log/*.log, and `replaces`: what to do with the generation before it; `origin` in one
                       that began with the empty tree: the lineage of the first record, which the log does not tell
    new-NNNNNNNN/      one being made
    discarded/         cfs/io/discarded.py
An adoption makes new-N+1 complete and synced, renames it gen-N+1, replaces CURRENT, writes MARKER, moves the old one
away. Interrupted before CURRENT it leaves strays, which `tidy` removes; after it, `tidy` ends what `replaces` says.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from cfs.disk import Adopt
from cfs.io import files
from cfs.io.database import Database
from cfs.io.discarded import Discarded, new_id, set_aside_store
from cfs.io.logfile import LogFile, Recovered
from cfs.records import START, Lineage, LogPosition
from transport.errors import ClusterError, WireError
from transport.ids import RingId

_PREFIX = "gen-"
_MAKING = "new-"


class StoreBusy(ClusterError):  # noqa: N818
    """Another process holds this store."""


@dataclass(frozen=True, slots=True)
class Marker:
    """generation, and a log position in it (its chain is not kept)."""

    generation: int
    position: LogPosition

    @property
    def order(self) -> tuple[int, RingId, int]:
        """The greater is the later."""
        return self.generation, self.position.epoch, self.position.index


@dataclass(slots=True)
class Generation:
    """An open generation."""

    number: int
    database: Database
    log: LogFile

    def close(self) -> None:
        self.database.close()
        self.log.close()


def lock(root: Path) -> int:
    """Hold the store for this process; close the file descriptor to let go. Raises StoreBusy."""
    fd = os.open(root / "LOCK", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise StoreBusy(f"{root}: another clusterd uses this store; give each its own --state directory") from error
    return fd


def folder(root: Path, number: int) -> Path:
    return root / f"{_PREFIX}{number:08d}"


def numbers(root: Path) -> list[int]:
    """The generations that lie there, whole or not."""
    names = (path.name.removeprefix(_PREFIX) for path in root.glob(f"{_PREFIX}*") if path.is_dir())
    return sorted(int(name) for name in names if name.isdigit())


def read_current(root: Path) -> int | None:
    """Raises ValueError if the file is damaged."""
    line = files.read_line(root / "CURRENT")
    return None if line is None else int(line.removeprefix("generation "))


def read_marker(root: Path) -> Marker | None:
    """Raises ValueError if the file is damaged."""
    line = files.read_line(root / "MARKER")
    if line is None:
        return None
    generation, seq, rep, incarnation, index = (int(word) for word in line.removeprefix("marker ").split())
    return Marker(generation, LogPosition(index, RingId(seq, rep, incarnation)))


def write_marker(root: Path, marker: Marker) -> None:
    epoch = marker.position.epoch
    text = f"marker {marker.generation} {epoch.seq} {epoch.rep} {epoch.incarnation} {marker.position.index}"
    files.write_line(root / "MARKER", text)


def build(root: Path, number: int, request: Adopt, old: Discarded | None, replaced: int | None) -> Generation:
    """A new generation, whole and on disk, not in use yet. old: how to describe the replaced one; None: remove it."""
    path = root / f"{_MAKING}{number:08d}"
    for stray in (path, folder(root, number)):
        if stray.exists():
            shutil.rmtree(stray)
    path.mkdir(mode=0o700)
    try:
        Database.create(path / "tree.db", request.image, request.position, request.lineage).close()
        log = LogFile.create(path / "log", request.position)
        try:
            log.append(request.records, max(request.commit_index, request.position.index))
        finally:
            log.close()
        if request.position == START:
            lineage = request.lineage.encode()
            files.write_new(path / "origin", zlib.crc32(lineage).to_bytes(4, "big") + lineage)
        write_replaces(path, replaced, old)
        files.sync_path(path)
        files.replace(path, folder(root, number))
    except Exception:
        shutil.rmtree(path, ignore_errors=True)  # or a full disk would stay full of it
        raise
    return open_generation(root, number)[0]


def origin(path: Path) -> Lineage | None:
    """The lineage with which a generation began that began with the empty tree; None: it did not, or it is damaged."""
    try:
        raw = (path / "origin").read_bytes()
        return Lineage.decode(raw[4:]) if raw[:4] == zlib.crc32(raw[4:]).to_bytes(4, "big") else None
    except (FileNotFoundError, WireError):
        return None


def open_generation(root: Path, number: int) -> tuple[Generation, Recovered]:
    """One known to be whole."""
    path = folder(root, number)
    log, found = LogFile.open(path / "log")
    assert log is not None
    return Generation(number, Database(path / "tree.db"), log), found


def switch(root: Path, number: int) -> None:
    """The one atomic step: from now on this generation is the store."""
    files.write_line(root / "CURRENT", f"generation {number}")


@dataclass(frozen=True, slots=True)
class Found:
    """What lay there at start. current: CURRENT as it was, None: no such file.  newest: the last generation, or 0."""

    current: bytes | None
    newest: int


def found(root: Path) -> Found:
    """Raises OSError."""
    return Found(_raw_current(root), max(numbers(root), default=0))


def undo(root: Path, before: Found) -> None:
    """Nothing remains of an adoption that failed half way, where there was no store in use that it would replace."""
    if _raw_current(root) != before.current:
        if before.current is None:
            (root / "CURRENT").unlink()
            files.sync_path(root)
        else:
            files.write_atomic(root / "CURRENT", before.current)
    made = [folder(root, number) for number in numbers(root) if number > before.newest]
    for stray in (*made, *root.glob(f"{_MAKING}*")):
        shutil.rmtree(stray)


def _raw_current(root: Path) -> bytes | None:
    try:
        return (root / "CURRENT").read_bytes()
    except FileNotFoundError:
        return None


def tidy(root: Path, current: int | None) -> None:
    """End what a crash interrupted: remove what never came into use, move away what was replaced."""
    for stray in root.glob(f"{_MAKING}*"):
        shutil.rmtree(stray)
    if current is None:
        return
    for number in numbers(root):
        if number > current:
            shutil.rmtree(folder(root, number))
    retire(root, current)


def retire(root: Path, current: int) -> None:
    """Do with the generation before this one what its `replaces` says; any other older one is set aside too."""
    replaced, described = read_replaces(folder(root, current))
    for number in numbers(root):
        if number >= current:
            continue
        if number != replaced:
            set_aside_store(root, folder(root, number), leftover(root, number))
        elif described is None:
            shutil.rmtree(folder(root, number))
        else:
            set_aside_store(root, folder(root, number), described)


def write_replaces(path: Path, replaced: int | None, old: Discarded | None) -> None:
    """Into a generation being made: which one it replaces, and how that is described; None: it is removed."""
    files.write_new(
        path / "replaces", files.checked_line(json.dumps({"generation": replaced, "as": old and asdict(old)}))
    )


def read_replaces(path: Path) -> tuple[int | None, Discarded | None]:
    """What `write_replaces` wrote; (None, None), which removes nothing, when the file is missing or damaged."""
    try:
        told = json.loads(files.read_line(path / "replaces") or "{}")
        described = told.get("as")
        return told.get("generation"), described and Discarded.of(described)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None, None


def leftover(root: Path, number: int) -> Discarded:
    """A description for a generation nobody told about."""
    ident = new_id(f"gen-{number}")
    place = str(root / "discarded" / ident)
    return Discarded(ident, time.time(), "damaged", "found beside the store in use", (0, 0), (0, 0), "", 0, place)
