"""Opening a store: what is there, whether it may be trusted, and what its log still adds to its tree (S6)."""

from __future__ import annotations

import time
from pathlib import Path

from cfs.disk import StoreHealth, StoreImage
from cfs.entries import StateImage
from cfs.io import generations
from cfs.io.database import Database, DatabaseDamaged, Loaded
from cfs.io.discarded import Discarded, new_id, set_aside_store
from cfs.io.generations import Generation, Marker
from cfs.io.logfile import LogFile, Recovered
from cfs.records import START, Lineage


def open_store(root: Path) -> tuple[Generation | None, Marker | None, StoreImage]:
    """The generation to write to (None: nothing that may be appended to), the marker, and the image for the replica.

    Changes nothing but what a crash left half done. Raises OSError when the directory itself cannot be read or written.
    """
    marker, doubt = _marker(root)
    there = generations.numbers(root)
    current = _current(root, there)
    if current is None and there:
        text = "CURRENT is missing or damaged: no telling which of several stores is in use"
        return None, marker, _image(marker, StoreHealth.DAMAGED, text)
    if current is not None and current not in there:
        return None, marker, _image(marker, StoreHealth.MISSING, f"{generations.folder(root, current).name} is gone")
    if current is not None and marker is not None and there[-1] > current and marker.generation >= there[-1]:
        text = f"CURRENT names generation {current}, but {there[-1]} was in use"
        return None, marker, _image(marker, StoreHealth.DAMAGED, text)
    generations.tidy(root, current)
    if current is None:
        text = "the store is gone, but there was one: see MARKER" if marker or doubt else "no store yet"
        return None, marker, _image(marker, StoreHealth.MISSING, text)
    generation, image = _open_generation(root, current, marker)
    if doubt and image.health is StoreHealth.OK:
        image.health, image.message = StoreHealth.ROLLED_BACK, doubt
    return generation, marker, image


def _marker(root: Path) -> tuple[Marker | None, str]:
    try:
        return generations.read_marker(root), ""
    except ValueError as error:
        return None, f"{error}: no telling whether this store is an older one put back"


def _current(root: Path, there: list[int]) -> int | None:
    """The generation in use. Without a sound CURRENT: the only one there is, if there is only one."""
    try:
        current = generations.read_current(root)
    except ValueError:
        current = None
    if current is None and len(there) == 1:
        current = there[0]
        generations.switch(root, current)
    return current


def _image(marker: Marker | None, health: StoreHealth, message: str) -> StoreImage:
    return StoreImage(health, message, marker=marker.position if marker else None)


def _open_generation(root: Path, number: int, marker: Marker | None) -> tuple[Generation | None, StoreImage]:
    path = generations.folder(root, number)
    problems: list[str] = []
    database: Database | None = None
    loaded: Loaded | None = None
    log: LogFile | None = None
    found: Recovered | None = None
    try:
        database, loaded = _open_database(path / "tree.db")
    except DatabaseDamaged as error:
        problems.append(str(error))
    try:
        log, found = LogFile.open(path / "log")
        if found.damage:
            problems.append(found.damage)
    except FileNotFoundError as error:
        problems.append(f"the log is gone: {error}")
    if loaded is None and log is not None and found is not None and found.first == START:
        # The log reaches back to the beginning, so the tree is worth nothing by itself: make it anew, keep the bad one.
        origin = generations.origin(path)
        if origin is not None:
            loaded = Loaded(StateImage(), START, origin)
            database = _rebuilt(root, path, problems, origin)
            problems = []
    if loaded is not None and found is not None and not found.damage:
        problems += _disagreement(loaded, found)
    image = _found(loaded, found, marker)
    if problems or database is None or log is None:
        image.health, image.message = StoreHealth.DAMAGED, "; ".join(problems)
        for open_file in (database, log):
            if open_file is not None:
                open_file.close()
        return None, image
    here = Marker(number, image.end)
    if marker is not None and here.order < marker.order:
        image.health = StoreHealth.ROLLED_BACK
        was, now = marker.position, image.end
        image.message = (
            f"the store ends at {now.epoch} index {now.index}, but this node was at {was.epoch} index {was.index}"
        )
    return Generation(number, database, log), image


def _open_database(path: Path) -> tuple[Database, Loaded]:
    if not path.exists():
        raise DatabaseDamaged(f"{path.name} is gone")
    try:
        database = Database(path)
    except Exception as error:  # sqlite3.connect and its pragmas tell damage by several classes
        raise DatabaseDamaged(f"{path.name}: {error}") from error
    try:
        return database, database.load()
    except DatabaseDamaged:
        database.close()
        raise


def _rebuilt(root: Path, path: Path, problems: list[str], origin: Lineage) -> Database:
    bad = path / "tree.db"
    if bad.exists():
        aside = path / "tree.db.damaged"
        bad.replace(aside)
        ident = new_id("database")
        described = Discarded(
            ident, time.time(), "damaged", "; ".join(problems), (0, 0), (0, 0), "", 0, str(root / "discarded" / ident)
        )
        set_aside_store(root, aside, described)
    for name in ("tree.db-journal", "tree.db-wal", "tree.db-shm"):
        (path / name).unlink(missing_ok=True)
    return Database.create(bad, StateImage(), START, origin)


def _disagreement(loaded: Loaded, found: Recovered) -> list[str]:
    """Is the tree's position a place of this log?"""
    position, first = loaded.position, found.first
    if not first.index <= position.index <= found.end.index:
        return [f"the tree is at index {position.index}, the log has {first.index + 1} to {found.end.index}"]
    there = first if position.index == first.index else found.records[position.index - first.index - 1].position
    return [] if there == position else [f"tree and log differ at index {position.index}"]


def _found(loaded: Loaded | None, found: Recovered | None, marker: Marker | None) -> StoreImage:
    """All that is readable, for the replica: complete when nothing is wrong, for reading only otherwise."""
    image = StoreImage(StoreHealth.OK, marker=marker.position if marker else None)
    if loaded is None:
        return image
    image.state, image.position, image.lineage = loaded.state, loaded.position, loaded.lineage
    image.commit_index = loaded.position.index
    if found is not None and not _disagreement(loaded, found):
        behind = max(0, image.position.index - found.first.index)
        image.retained, image.tail = tuple(found.records[:behind]), tuple(found.records[behind:])
        image.commit_index = max(image.commit_index, min(found.commit_index, found.end.index))
    return image
