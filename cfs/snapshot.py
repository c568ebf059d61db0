"""A state, or the part of it another node lacks, as a stream of bytes; and a state from such a stream.

The stream is canonical: equal states give equal bytes. It is cut anywhere into chunks. Rows, each u32 length, u8 type,
body:
    HEAD      u64 index, u64 revision, 32 tree digest, limits
    ENTRY     canonical entry (cfs/digest.py), sorted by path
    OUTCOME   16 id, 25 result, in order of application
    STAGED    16 id, u64 touched, the bytes staged so far; sorted by id
    END       SHA-256 over all before it
A transfer by digest sends only the entries of the buckets that differ; outcomes and staging go whole.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

from cfs.digest import BUCKETS, DIGEST_BYTES, MAX_ENTRY, bucket_of, decode_entry, encode_entry
from cfs.entries import Staged, StateImage
from cfs.limits import CEILINGS, INLINE_BYTES, OUTCOMES, Limits
from cfs.messages import ID_BYTES, Result
from cfs.state import State
from transport.codec import Reader
from transport.errors import ClusterError, WireError

CHUNK = 128 << 10  # bytes of a chunk, unless asked otherwise
ALL = frozenset(range(BUCKETS))
_ROW = struct.Struct("!IB")
_U64 = struct.Struct("!Q")
_HEAD, _ENTRY, _OUTCOME, _STAGED, _END = 1, 2, 3, 4, 5
_MAX_ROW = MAX_ENTRY + ID_BYTES + 8


def snapshot(state: State, buckets: Iterable[int] = ALL, size: int = CHUNK) -> Iterator[bytes]:
    """Chunks of `size` bytes (the last shorter), of the state as it is now, whatever becomes of it meanwhile."""
    image, digest, wanted = state.image(), state.digest(), frozenset(buckets)
    return _cut(_rows(image, digest, wanted), size)


def _rows(image: StateImage, digest: bytes, wanted: frozenset[int]) -> Iterator[bytes]:
    yield _row(_HEAD, _U64.pack(image.index) + _U64.pack(image.revision) + digest + image.limits.encode())
    for path in sorted(path for path in image.entries if wanted is ALL or bucket_of(path) in wanted):
        yield _row(_ENTRY, encode_entry(image.entries[path]))
    for ident, result in image.outcomes.items():
        yield _row(_OUTCOME, ident + result)
    for ident, staged in sorted(image.staging.items()):
        yield _row(_STAGED, b"".join((ident, _U64.pack(staged.touched), *staged.chunks)))


def _row(kind: int, body: bytes) -> bytes:
    return _ROW.pack(len(body), kind) + body


def _cut(rows: Iterator[bytes], size: int) -> Iterator[bytes]:
    total, buffer = hashlib.sha256(), bytearray()
    for row in rows:
        total.update(row)
        buffer += row
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    buffer += _row(_END, total.digest())
    for start in range(0, len(buffer), size):
        yield bytes(buffer[start : start + size])


class Assembler:
    """Builds a state from a stream of chunks, in order. Memory is bounded by the limits' ceilings.

    base: the state whose entries stand in the buckets that are not sent; buckets: those that are.
    """

    def __init__(self, base: State | None = None, buckets: Iterable[int] = ALL) -> None:
        self._buckets = frozenset(buckets)
        kept = base.image().entries if base else {}
        self._image = StateImage(entries={p: e for p, e in kept.items() if bucket_of(p) not in self._buckets})
        self._bytes = sum(entry.size for entry in self._image.entries.values())
        self._staged = 0
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._digest = b""
        self._done = False
        self.received = 0  # bytes so far

    def feed(self, chunk: bytes) -> None:
        """Raises WireError; this assembler is of no use then."""
        self.received += len(chunk)
        self._buffer += chunk
        start, left = 0, len(self._buffer)
        while left >= _ROW.size:
            size, kind = _ROW.unpack_from(self._buffer, start)
            if size > _MAX_ROW or self._done:
                raise WireError(f"snapshot: row of {size} bytes" + (" after the end" if self._done else ""))
            if left < _ROW.size + size:
                break
            end = start + _ROW.size + size
            row = bytes(self._buffer[start:end])
            self._take(kind, row[_ROW.size :])
            self._hash.update(row)
            start, left = end, left - _ROW.size - size
        del self._buffer[:start]

    def finish(self, history: int | None = None) -> State:
        """The state. Raises WireError if the stream is not whole or its digest is not the one it told."""
        if not self._done or self._buffer:
            raise WireError("snapshot: not whole")
        try:
            state = State(self._image) if history is None else State(self._image, history)
        except ValueError as error:
            raise WireError(f"snapshot: {error}") from error
        if state.digest() != self._digest:
            raise WireError("snapshot: the tree built from it has another digest")
        return state

    def _take(self, kind: int, body: bytes) -> None:
        image = self._image
        if (kind == _HEAD) == bool(self._digest):
            raise WireError("snapshot: must begin with its head, once")
        if kind == _HEAD:
            reader = Reader(body)
            image.index, image.revision, self._digest = reader.u64(), reader.u64(), reader.raw(DIGEST_BYTES)
            image.limits = Limits.decode(reader.rest())
            try:
                image.limits.check()
            except ClusterError as error:
                raise WireError(f"snapshot: {error}") from error
        elif kind == _ENTRY:
            entry = decode_entry(body)
            self._bytes += entry.size
            if entry.path in image.entries or bucket_of(entry.path) not in self._buckets:
                raise WireError("snapshot: an entry twice, or of a bucket not asked for")
            if self._bytes > CEILINGS.total_bytes or len(image.entries) >= CEILINGS.entries:
                raise WireError("snapshot: larger than any tree may be")
            image.entries[entry.path] = entry
        elif kind == _OUTCOME:
            Result.decode(body[ID_BYTES:])
            image.outcomes[body[:ID_BYTES]] = body[ID_BYTES:]
            if len(image.outcomes) > OUTCOMES:
                raise WireError(f"snapshot: more than {OUTCOMES} outcomes")
        elif kind == _STAGED:
            self._take_staged(body)
        elif kind == _END and body == self._hash.digest():
            self._done = True
        else:
            raise WireError(f"snapshot: row of kind {kind} not known, or wrong checksum")

    def _take_staged(self, body: bytes) -> None:
        reader = Reader(body)
        ident, touched, data = reader.raw(ID_BYTES), reader.u64(), reader.rest()
        self._staged += len(data)
        if self._staged > CEILINGS.staging_bytes or len(self._image.staging) >= CEILINGS.staging_count:
            raise WireError("snapshot: more staged than may be")
        self._image.staging[ident] = staged_from(data, touched)


def staged_from(data: bytes, touched: int) -> Staged:
    """An upload of these bytes, in chunks as they are kept."""
    chunks = tuple(data[start : start + INLINE_BYTES] for start in range(0, len(data), INLINE_BYTES))
    return Staged(chunks, len(data), touched)
