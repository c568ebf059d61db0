"""What a store set aside: dropped log tails, replaced and damaged stores, each with a description (S5, S6).

    discarded/<id>/description.json     what, when, why
    discarded/<id>/<first index>.log    the records of a dropped tail, in the form of a log segment, or
    discarded/<id>/store/               a whole generation: tree.db and log/
The description is on disk before anything is moved or dropped. Nothing here is ever deleted by the program.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cfs.entries import StateImage
from cfs.io import files
from cfs.io.database import Database
from cfs.io.logfile import read_log, write_records
from cfs.records import LogPosition, LogRecord

FOLDER = "discarded"
_DESCRIPTION = "description.json"


@dataclass(frozen=True, slots=True)
class Discarded:
    """One thing set aside.

    time: Unix seconds.  kind: tail | store | damaged.  revisions: first and last that were only there, (0, 0) if none
    or not known.  entries: records of a tail, entries of a store (0 when damaged).  file: where it is.
    """

    id: str
    time: float
    kind: str
    reason: str
    revisions: tuple[int, int]
    indexes: tuple[int, int]
    epoch: str
    entries: int
    file: str

    @classmethod
    def of(cls, told: dict[str, Any]) -> Discarded:
        """From its JSON. Raises TypeError, KeyError."""
        pairs = {name: tuple(told[name]) for name in ("revisions", "indexes")}
        return cls(**(told | pairs))


def new_id(what: str) -> str:
    """A name that sorts by time: 20260102T030405.678Z-WHAT."""
    now = time.time()
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}.{int(now * 1000) % 1000:03d}Z-{what}"


def describe(root: Path, found: Discarded) -> Path:
    """Make its folder with the description, on disk; returns the folder."""
    folder = root / FOLDER / found.id
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write_atomic(folder / _DESCRIPTION, json.dumps(asdict(found), indent=1).encode() + b"\n")
    files.sync_path(root / FOLDER)
    files.sync_path(root)
    return folder


def set_aside_tail(
    root: Path, after: LogPosition, records: list[LogRecord], reason: str, revisions: tuple[int, int]
) -> Discarded:
    """Save the records that follow `after`; on disk when it returns."""
    ident = new_id(f"tail-{after.index + 1}-{records[-1].index}")
    path = root / FOLDER / ident / f"{after.index + 1:020d}.log"
    indexes = (after.index + 1, records[-1].index)
    made = Discarded(
        ident, time.time(), "tail", reason, revisions, indexes, str(records[-1].epoch), len(records), str(path)
    )
    folder = describe(root, made)
    write_records(path, after, records)
    files.sync_path(folder)
    return made


def set_aside_store(root: Path, generation: Path, found: Discarded) -> None:
    """Move a whole generation; may be called again for the same one after a crash."""
    folder = describe(root, found)
    if generation.exists():
        files.replace(generation, folder / "store")


def discarded(root: Path) -> list[Discarded]:
    """All that was set aside, oldest first; a folder without a readable description is left out."""
    found: list[Discarded] = []
    for path in sorted((root / FOLDER).glob(f"*/{_DESCRIPTION}")):
        try:
            found.append(Discarded.of(json.loads(path.read_bytes())))
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return found


def read_discarded(root: Path, ident: str) -> tuple[StateImage | None, list[LogRecord]]:
    """The tree set aside (None for a tail) and the log records after it, for a restore.

    Raises FileNotFoundError, DatabaseDamaged.
    """
    folder = root / FOLDER / Path(ident).name
    if (folder / "store").is_dir():
        database = Database(folder / "store" / "tree.db")
        try:
            loaded = database.load()
        finally:
            database.close()
        log, _ = read_log(folder / "store" / "log")
        return loaded.state, [record for record in log.records if record.index > loaded.position.index]
    return None, read_log(folder)[0].records
