"""What makes two trees equal: a digest of 32 bytes that costs one hash per changed entry.

An entry's digest is SHA-256 over its canonical encoding; the tree's is the sum of all modulo 2^256, so the order does
not matter and a change is one subtraction and one addition. 256 partial sums, by CRC-32 of the path, tell which part of
two trees differs, so that a transfer sends only that. The sum guards against faults, not against a member that crafts
entries: members trust each other (DESIGN 4, X2).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable

from cfs.entries import DIRECTORY, FILE, Entry
from cfs.limits import PATH_BYTES
from cfs.messages import MAX_TIME
from transport.errors import WireError

BUCKETS = 256
DIGEST_BYTES = 32
MAX_ENTRY = (16 << 20) + PATH_BYTES + 64  # bytes of the longest encoded entry
MAX_REVISION = 1 << 62
_MASK = (1 << 256) - 1
_ENTRY = struct.Struct("!BHQQQH")  # type, writer, revision, created, mtime, length of path
_FINAL = struct.Struct("!16sQ32s")
_TAG = b"clusterd tree 1\0"


def make_entry(path: str, kind: int, data: bytes, *, revision: int, created: int, mtime: int, writer: int) -> Entry:
    """An entry with its digest."""
    made = Entry(path, kind, data, revision, created, mtime, writer, 0)
    made.digest = int.from_bytes(hashlib.sha256(encode_entry(made)).digest(), "big")
    return made


def encode_entry(entry: Entry) -> bytes:
    """Canonical: u8 type, u16 writer, u64 revision, u64 created, u64 mtime, u16 + path, then the data."""
    path = entry.path.encode()
    head = _ENTRY.pack(entry.type, entry.writer, entry.revision, entry.created, entry.mtime, len(path))
    return b"".join((head, path, entry.data))


def decode_entry(data: bytes | memoryview) -> Entry:
    """The entry with its digest computed from these bytes. Raises WireError."""
    if not _ENTRY.size <= len(data) <= MAX_ENTRY:
        raise WireError(f"entry: {len(data)} bytes, {_ENTRY.size} to {MAX_ENTRY} expected")
    kind, writer, revision, created, mtime, size = _ENTRY.unpack_from(data)
    body = _ENTRY.size + size
    if (
        kind not in (FILE, DIRECTORY)
        or size > PATH_BYTES
        or body > len(data)
        or (kind == DIRECTORY and body < len(data))
        or mtime > MAX_TIME
        or max(revision, created) > MAX_REVISION
    ):
        raise WireError(f"entry: type {kind}, path of {size} bytes in {len(data)}")
    try:
        path = str(data[_ENTRY.size : body], "utf-8")
    except UnicodeDecodeError as error:
        raise WireError("entry: path is not UTF-8") from error
    digest = int.from_bytes(hashlib.sha256(data).digest(), "big")
    return Entry(path, kind, bytes(data[body:]), revision, created, mtime, writer, digest)


def bucket_of(path: str) -> int:
    """0..255; alike on every node and in every process."""
    return zlib.crc32(path.encode()) & (BUCKETS - 1)


class TreeDigest:
    """The sums over a tree's entries."""

    __slots__ = ("_buckets", "_sum")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._sum = 0
        self._buckets = [0] * BUCKETS
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        self._change(entry.path, entry.digest)

    def remove(self, entry: Entry) -> None:
        self._change(entry.path, -entry.digest)

    def _change(self, path: str, amount: int) -> None:
        bucket = bucket_of(path)
        self._sum = (self._sum + amount) & _MASK
        self._buckets[bucket] = (self._buckets[bucket] + amount) & _MASK

    def digest(self, revision: int) -> bytes:
        """32 bytes over the entries and the revision: equal exactly when both are."""
        return hashlib.sha256(_FINAL.pack(_TAG, revision, self._sum.to_bytes(DIGEST_BYTES, "big"))).digest()

    def buckets(self) -> tuple[bytes, ...]:
        """256 partial sums of 32 bytes."""
        return tuple(value.to_bytes(DIGEST_BYTES, "big") for value in self._buckets)
