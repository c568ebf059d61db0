"""The tree in SQLite: what a store starts from, so that the log need not reach back for ever.

It follows the log: a checkpoint brings it from one log position to a later one in one transaction. Each row carries or
enters a checksum that is checked when it is read: an entry its SHA-256, all entries together the tree's digest, the
rest CRC-32. So a flipped bit is found at start (S6), beside SQLite's own quick_check.

    tree       one row per file or directory; inode = the revision that made it
    outcomes   one row per checkpoint: the packed outcomes it added
    staging    one row per upload under way
    meta       `state` (position, revision, limits, counts, digest) and `lineage` (epochs, data set)
Anybody may read it with sqlite3 while the daemon is stopped; the table `tree` is what a person wants.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from cfs.digest import DIGEST_BYTES, TreeDigest, decode_entry, encode_entry
from cfs.entries import Entry, Staged, StateDelta, StateImage, forgotten
from cfs.io import files
from cfs.limits import OUTCOMES, Limits
from cfs.messages import ID_BYTES, RESULT_BYTES
from cfs.records import Lineage, LogPosition
from cfs.staging import staged_from
from transport.codec import Reader, Writer
from transport.errors import ClusterError

FORMAT = 1
_OUTCOME = ID_BYTES + RESULT_BYTES
_U32 = struct.Struct("!I")
_U64 = struct.Struct("!Q")
_SCHEMA = f"""
PRAGMA user_version = {FORMAT};
CREATE TABLE tree (inode INTEGER PRIMARY KEY NOT NULL, path TEXT NOT NULL UNIQUE, type INTEGER NOT NULL,
    revision INTEGER NOT NULL, mtime INTEGER NOT NULL, writer INTEGER NOT NULL, checksum BLOB NOT NULL, data BLOB NOT
    NULL);
CREATE TABLE outcomes (last INTEGER PRIMARY KEY NOT NULL, packed BLOB NOT NULL);
CREATE TABLE staging (id BLOB PRIMARY KEY NOT NULL, touched INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL);
"""


class DatabaseDamaged(ClusterError):  # noqa: N818
    """The database cannot be read or its checksums do not match; the text says which."""


@dataclass(slots=True)
class Loaded:
    """What the database holds, checked."""

    state: StateImage
    position: LogPosition
    lineage: Lineage


class Database:
    """One open database. Blocking; raises sqlite3.Error and OSError when the disk fails.

    Used by one thread at a time (the connection itself does not mind which).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=32)
        # A rollback journal writes a new page once, WAL twice; nobody reads beside us, so WAL has nothing to give.
        for pragma in ("journal_mode = TRUNCATE", "synchronous = FULL", "temp_store = MEMORY", "cache_size = -4096"):
            self._sql.execute(f"PRAGMA {pragma}").fetchall()

    @classmethod
    def create(cls, path: Path, image: StateImage, position: LogPosition, lineage: Lineage) -> Database:
        """A new database with this state, on disk when it returns (its name: sync the directory)."""
        made = cls(path)
        path.chmod(0o600)
        made._sql.execute("PRAGMA journal_mode = MEMORY").fetchall()  # half a new database is of no use to anybody
        made._sql.executescript(_SCHEMA)
        entries: dict[str, Entry | None] = dict(image.entries)
        staging: dict[bytes, Staged | None] = dict(image.staging)
        digest = TreeDigest(image.entries.values()).digest(image.revision)
        delta = StateDelta(image.index, image.revision, digest, image.limits, entries, image.outcomes, 0, staging)
        made.update(delta, position, lineage)
        made._sql.execute("PRAGMA journal_mode = TRUNCATE").fetchall()
        files.sync_path(path)
        return made

    def update(self, delta: StateDelta, position: LogPosition, lineage: Lineage) -> None:
        """Bring it to `position` in one transaction.

        With the error nothing has changed, or, when the disk failed at its very end, everything: so a delta may be
        given again, alone or with what followed it.
        """
        sql = self._sql
        sql.execute("BEGIN IMMEDIATE")
        try:
            sql.executemany("DELETE FROM tree WHERE path = ?", ((path,) for path in delta.entries))
            rows = (_row_of(entry) for entry in delta.entries.values() if entry is not None)
            sql.executemany("INSERT INTO tree VALUES (?,?,?,?,?,?,?,?)", rows)
            if delta.outcomes:
                packed = b"".join(ident + result for ident, result in delta.outcomes.items())
                sql.execute(
                    "INSERT OR REPLACE INTO outcomes VALUES (?,?)",
                    (delta.index, _sealed(packed, _U64.pack(delta.index))),
                )
            sql.execute("DELETE FROM outcomes WHERE last <= ?", (delta.outcomes_after,))
            for ident, staged in delta.staging.items():
                sql.execute("DELETE FROM staging WHERE id = ?", (ident,))
                if staged is not None:
                    data = b"".join(staged.chunks)
                    row = (ident, staged.touched, _check(data, ident + _U64.pack(staged.touched)), data)
                    sql.execute("INSERT INTO staging VALUES (?,?,?,?)", row)
            self._write_meta(delta, position, lineage)
            sql.execute("COMMIT")
        except BaseException:
            if sql.in_transaction:
                sql.execute("ROLLBACK")
            raise

    def _write_meta(self, delta: StateDelta, position: LogPosition, lineage: Lineage) -> None:
        state = Writer().raw(position.encode()).u64(delta.revision).raw(delta.digest).blob(delta.limits.encode())
        for key, value in (("state", state.done()), ("lineage", lineage.encode())):
            self._sql.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, _sealed(value)))

    def load(self) -> Loaded:
        """Everything, every checksum looked at. Raises DatabaseDamaged."""
        try:
            version = self._sql.execute("PRAGMA user_version").fetchone()[0]
            if version != FORMAT:
                raise DatabaseDamaged(f"{self.path.name}: format {version}, this program knows {FORMAT}")
            check = self._sql.execute("PRAGMA quick_check(1)").fetchone()[0]
            if check != "ok":
                raise DatabaseDamaged(f"{self.path.name}: {check}")
            return self._load()
        except (
            sqlite3.Error,
            ClusterError,
            ValueError,
            TypeError,
            OverflowError,
            AttributeError,
            struct.error,
        ) as error:
            text = str(error)
            told = text if text.startswith(f"{self.path.name}: ") else f"{self.path.name}: {text}"
            raise DatabaseDamaged(told) from error

    def _load(self) -> Loaded:
        meta = {key: _unsealed(value, key) for key, value in self._sql.execute("SELECT key, value FROM meta")}
        if "state" not in meta or "lineage" not in meta:
            raise DatabaseDamaged(f"{self.path.name}: its head is missing")
        reader = Reader(meta["state"])
        position, revision, digest = LogPosition.read(reader), reader.u64(), reader.raw(DIGEST_BYTES)
        image = StateImage(position.index, revision, Limits.decode(reader.blob(1024)))
        for row in self._sql.execute("SELECT * FROM tree"):
            entry = _entry_of(row)
            image.entries[entry.path] = entry
        if TreeDigest(image.entries.values()).digest(revision) != digest:
            raise DatabaseDamaged(f"{self.path.name}: the tree's digest does not match its rows")
        for last, packed in self._sql.execute("SELECT last, packed FROM outcomes ORDER BY last"):
            rows = _unsealed(packed, f"outcomes up to {last}", _U64.pack(last))
            for start in range(0, len(rows), _OUTCOME):
                image.outcomes[rows[start : start + ID_BYTES]] = rows[start + ID_BYTES : start + _OUTCOME]
        for ident in forgotten(image.outcomes, position.index - OUTCOMES):
            del image.outcomes[ident]
        for ident, touched, crc, data in self._sql.execute("SELECT id, touched, crc, data FROM staging ORDER BY id"):
            if _check(data, ident + _U64.pack(touched)) != crc:
                raise DatabaseDamaged(f"{self.path.name}: upload {ident.hex()}: checksum does not match")
            image.staging[ident] = staged_from(data, touched)
        return Loaded(image, position, Lineage.decode(meta["lineage"]))

    def count(self) -> int:
        """Entries in the tree."""
        count: int = self._sql.execute("SELECT count(*) FROM tree").fetchone()[0]
        return count

    def close(self) -> None:
        self._sql.close()


def _row_of(entry: Entry) -> tuple[int, str, int, int, int, int, bytes, bytes]:
    checksum = entry.digest.to_bytes(DIGEST_BYTES, "big")
    return entry.created, entry.path, entry.type, entry.revision, entry.mtime, entry.writer, checksum, entry.data


def _entry_of(row: tuple[int, str, int, int, int, int, bytes, bytes]) -> Entry:
    inode, path, kind, revision, mtime, writer, checksum, data = row
    entry = decode_entry(encode_entry(Entry(path, kind, data, revision, inode, mtime, writer, 0)))
    if entry.digest != int.from_bytes(checksum, "big"):
        raise DatabaseDamaged(f"{path}: checksum does not match")
    return entry


def _check(value: bytes, about: bytes = b"") -> int:
    """CRC-32 over both: what a row says, and under which key it says it."""
    return zlib.crc32(value, zlib.crc32(about))


def _sealed(value: bytes, about: bytes = b"") -> bytes:
    return _U32.pack(_check(value, about)) + value


def _unsealed(value: bytes, what: str, about: bytes = b"") -> bytes:
    if len(value) < 4 or _U32.pack(_check(value[4:], about)) != value[:4]:
        raise DatabaseDamaged(f"{what}: checksum does not match")
    return value[4:]
