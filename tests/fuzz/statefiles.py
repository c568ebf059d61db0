"""The small files of a node's state directory and of its store, as rot or a hand may have left them.

Each is read by the function that the daemon reads it by at start. It may be taken for what it is, or be found damaged;
nothing is raised that the daemon does not expect, and nothing is believed that does not carry its checksum. Half of
the inputs are sealed anew after the change, so that they get past it.
"""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from cfs.io import generations
from cfs.io.discarded import FOLDER, Discarded, describe, discarded
from cfs.records import DataSet, EpochKind, EpochRecord, Lineage
from clusterd import keystore, promises, removals
from clusterd.sealed import read_sealed, seal
from quorum.events import SavedState
from quorum.io import statefile
from quorum.options import MAX_VOTES
from tests.fuzz.draws import Draws
from tests.fuzz.mutation import changed
from transport.core import SilentLog
from transport.errors import WireError
from transport.ids import NO_RING, RingId
from transport.keyring import MAX_LIVE, MAX_RETIRED, Keyring

LOG = SilentLog()
AUTHKEY = bytes(range(256))
RING = RingId(7, 1, 99)


def _sealed_file(folder: Path, raw: bytes) -> bytes | None:
    path = folder / "file"
    path.write_bytes(raw)
    found = read_sealed(path, LOG)
    assert found is None or raw == seal(found)
    assert path.exists() == (found is not None)  # a damaged one is kept under another name
    return found


@cache
def _keyring() -> bytes:
    ring = Keyring(3, AUTHKEY)
    ring.add(4, b"b" * 256)
    ring.retire(2, b"a" * 256)
    return keystore.save(ring)[1]


def _keyring_file(folder: Path, raw: bytes) -> None:
    data = _sealed_file(folder, raw)
    ring = keystore.restore(AUTHKEY, data)
    assert len(ring.live()) <= MAX_LIVE and len(ring.retired()) <= MAX_RETIRED


def _keyring_sealed(data: bytes) -> bytes:
    return seal(data[:-32] + hashlib.sha256(data[:-32]).digest())


@cache
def _removed() -> bytes:
    known = (removals.Removal(n, bytes([n]) * 32, 1_700_000_000, n, f"n{n}") for n in (4, 5))
    return removals.Removals(known).encode()


def _removed_file(folder: Path, raw: bytes) -> None:
    data = _sealed_file(folder, raw)
    if data is not None:
        try:
            found = removals.decode(data)
        except WireError:
            return
        assert list(removals.decode(found.encode())) == list(found)


@cache
def _promised() -> bytes:
    held = [promises.Promise(bytes([n]) * 16, n, 40 + n, (1, 2, 3), b"totem { }") for n in (8, 9)]
    return promises.Promises(7, held).encode()


def _promised_file(folder: Path, raw: bytes) -> None:
    data = _sealed_file(folder, raw)
    if data is not None:
        try:
            found = promises.decode(data)
        except WireError:
            return
        assert found.encode() == data


def _ringseq_file(folder: Path, raw: bytes) -> None:
    _sealed_file(folder, raw)


def _quorum_file(folder: Path, raw: bytes) -> None:
    path = folder / "quorum"
    path.write_bytes(raw)
    state = statefile.load(path, LOG)
    assert state.highest_expected <= MAX_VOTES
    assert state.lost or statefile.encode(state) == raw


def _line(text: bytes) -> bytes:
    return text + f" {zlib.crc32(text):08x}\n".encode()


def _without_check(raw: bytes) -> bytes:
    return raw.rpartition(b" ")[0]


def _current_file(folder: Path, raw: bytes) -> None:
    (folder / "CURRENT").write_bytes(raw)
    try:
        generations.read_current(folder)
    except ValueError:
        pass


def _marker_file(folder: Path, raw: bytes) -> None:
    (folder / "MARKER").write_bytes(raw)
    try:
        found = generations.read_marker(folder)
    except ValueError:
        return
    assert found is not None
    generations.write_marker(folder, found)
    assert generations.read_marker(folder) == found


@cache
def _lineage() -> bytes:
    return Lineage((EpochRecord(RING, NO_RING, 1, 1, EpochKind.MAJORITY, 0, (1, 2)),), DataSet(1, {1: 1})).encode()


def _origin_file(folder: Path, raw: bytes) -> None:
    (folder / "origin").write_bytes(raw)
    found = generations.origin(folder)
    assert found is None or Lineage.decode(found.encode()) == found


_DESCRIPTION = Discarded("id", 1.5, "store", "lost the merge", (3, 4), (1, 9), "7.1", 3, "/somewhere")


@cache
def _description() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return (describe(Path(folder), _DESCRIPTION) / "description.json").read_bytes()


def _description_file(folder: Path, raw: bytes) -> None:
    place = folder / FOLDER / "id"
    place.mkdir(parents=True)
    (place / "description.json").write_bytes(raw)
    assert len(discarded(folder)) <= 1


@cache
def _replaces() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = generations.folder(Path(folder), 2)
        path.mkdir()
        generations.write_replaces(path, 1, _DESCRIPTION)
        return (path / "replaces").read_bytes()


def _replaces_file(folder: Path, raw: bytes) -> None:
    """The generation before is set aside, unless a whole file says to remove it or that it was another."""
    for number in (1, 2):
        generations.folder(folder, number).mkdir()
    (generations.folder(folder, 1) / "precious").write_bytes(b"x")
    (generations.folder(folder, 2) / "replaces").write_bytes(raw)
    generations.retire(folder, 2)
    assert generations.numbers(folder) == [2]
    kept = any(folder.glob(f"{FOLDER}/*/store/precious"))
    assert kept or generations.read_replaces(generations.folder(folder, 2)) == (1, None)


_FILES: list[tuple[Callable[[Path, bytes], None], Callable[[], bytes], Callable[[bytes], bytes]]] = [
    (_keyring_file, _keyring, _keyring_sealed),
    (_removed_file, _removed, seal),
    (_ringseq_file, lambda: (4096).to_bytes(8, "big"), seal),
    (_quorum_file, lambda: _without_check(statefile.encode(SavedState(5, 3))), _line),
    (_current_file, lambda: b"generation 3", _line),
    (_marker_file, lambda: b"marker 3 7 1 99 9", _line),
    (_origin_file, _lineage, lambda data: zlib.crc32(data).to_bytes(4, "big") + data),
    (_description_file, _description, bytes),
    (_replaces_file, lambda: _without_check(_replaces()), _line),
    (_promised_file, _promised, seal),
]


def state_files(data: bytes) -> None:
    """Any bytes as one of the small files."""
    draw = Draws(data)
    read, recorded, sealed = draw.of(_FILES)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        match draw.below(3):
            case 0:
                raw = sealed(changed(draw, [recorded()]))
            case 1:
                raw = changed(draw, [sealed(recorded())])
            case _:
                raw = draw.rest()
        read(Path(folder), raw)
