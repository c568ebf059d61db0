"""SQLite following the log: what goes in comes out, and nothing else is believed (cfs/io/database.py; S6)."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from cfs.io.database import Database, DatabaseDamaged
from cfs.messages import Flag, Kind
from cfs.records import DataSet, EpochKind, EpochRecord, Lineage, LogPosition
from cfs.state import State
from tests.cfs.building import EPOCH, mkdir, mv, op, put, rm, run, tree
from transport.ids import NO_RING

LINEAGE = Lineage((EpochRecord(EPOCH, NO_RING, 1, 1, EpochKind.MAJORITY, 0, (1, 2)),), DataSet(1, {1: 1, 2: 1}))


def at(state: State) -> LogPosition:
    return LogPosition(state.index, EPOCH, bytes([state.index % 256]) * 32)


def some() -> State:
    return tree(mkdir("d"), put("d/f", b"1" * 5000), put("ü", b""), op(Kind.STAGE, "", b"part", staging=bytes(16)))


def saved(path: Path, state: State) -> None:
    Database.create(path, state.image(), at(state), LINEAGE).close()
    state.take_delta()


def test_a_state_survives(tmp_path: Path) -> None:
    """Tree, outcomes, staging, limits, position and lineage come back."""
    state = some()
    saved(tmp_path / "t.db", state)
    loaded = Database(tmp_path / "t.db").load()
    assert (loaded.state, loaded.position, loaded.lineage) == (state.image(), at(state), LINEAGE)
    assert State(loaded.state).digest() == state.digest()


def test_it_follows_by_deltas(tmp_path: Path) -> None:
    """Checkpoints bring it along: rewritten, renamed, replaced, deleted and made again."""
    state = some()
    saved(tmp_path / "t.db", state)
    database = Database(tmp_path / "t.db")
    steps = [
        [put("d/f", b"2"), put("g"), mv("d/f", "h")],
        [put("d/f", b"3"), mv("h", "g"), op(Kind.PUT_STAGED, "s", staging=bytes(16), size=4)],
        [rm("d", recursive=True), mkdir("d/e", flags=Flag.PARENTS), put("no/such")],
        [],
    ]
    for operations in steps:
        run(state, *operations)
        state.advance(state.index + 1)
        database.update(state.take_delta(), at(state), LINEAGE)
        assert database.load().state == state.image()
    assert database.count() == state.entries


def test_an_interrupted_checkpoint_leaves_the_old_state(tmp_path: Path) -> None:
    """One transaction: the error is raised and the rows are those before."""
    state = some()
    saved(tmp_path / "t.db", state)
    database = Database(tmp_path / "t.db")
    before = database.load()
    run(state, put("g"), rm("ü"))
    delta = state.take_delta()
    delta.limits = None  # type: ignore[assignment]  # what makes it fail near its end
    with pytest.raises(AttributeError):
        database.update(delta, at(state), LINEAGE)
    assert database.load() == before


def test_flipped_bits_are_found(tmp_path: Path) -> None:
    """Every flipped bit that changes what is read is found; one in unused space may be harmless (S6)."""
    state = some()
    run(state, put("large", bytes(60_000)))
    saved(tmp_path / "t.db", state)
    whole = (tmp_path / "t.db").read_bytes()
    image = state.image()
    chance = random.Random(7)
    found = 0
    for _ in range(150):
        raw = bytearray(whole)
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        (tmp_path / "bad.db").write_bytes(raw)
        try:
            assert Database(tmp_path / "bad.db").load().state == image
        except (DatabaseDamaged, sqlite3.DatabaseError):
            found += 1
    assert found > 50


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tree SET data = x'00' WHERE path = 'ü'",
        "UPDATE tree SET mtime = mtime + 1",
        "DELETE FROM tree WHERE path = 'd/f'",
        "UPDATE tree SET path = 'v' WHERE path = 'ü'",
        "UPDATE outcomes SET packed = substr(packed, 1, length(packed) - 41)",
        "UPDATE staging SET data = x'00'",
        "UPDATE staging SET touched = touched + 1",
        "UPDATE staging SET id = x'00000000000000000000000000000001'",
        "UPDATE outcomes SET last = last + 1",
        "UPDATE meta SET value = x'0000' WHERE key = 'state'",
        "DELETE FROM meta WHERE key = 'lineage'",
        "PRAGMA user_version = 99",
        "DROP TABLE staging",
        "UPDATE tree SET data = 'text'",
    ],
)
def test_changed_rows_are_found(tmp_path: Path, statement: str) -> None:
    """SQLite finds such a database in order; our checksums do not."""
    saved(tmp_path / "t.db", some())
    with sqlite3.connect(tmp_path / "t.db") as sql:
        sql.execute(statement)
    with pytest.raises(DatabaseDamaged):
        Database(tmp_path / "t.db").load()


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000])
def test_no_database_at_all(tmp_path: Path, content: bytes) -> None:
    """An empty or foreign file is damaged, never an empty tree (pmxcfs X10)."""
    (tmp_path / "t.db").write_bytes(content)
    with pytest.raises((DatabaseDamaged, sqlite3.DatabaseError)):
        Database(tmp_path / "t.db").load()
