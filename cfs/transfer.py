"""How a member that lacks the leader's state gets it: a stream of items cut into chunks, each an ordered multicast.

Source: DESIGN 7; docs/protocol-store.md, "Transfer". Either only log records (the member's log is equal up to some
index that its tree has not passed), or the tree by difference: only entries in buckets whose sums differ, and of those
only the ones the member has not; then outcomes, uploads under way, and the records that follow. What is logged after
the START was delivered the member keeps by itself. At most OUTSTANDING bytes are on their way at once, so that a
transfer never fills the ring.

An item: u32 length, u8 kind, body. Kinds: HEAD position, u64 revision, limits, lineage; ENTRY; DROP digests; OUTCOME id
and result, many; STAGED id, u64 touched, u32 number of chunks; PIECE one chunk of it; RECORD; END position, u64
committed, 32 bytes tree digest (zero without HEAD).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from cfs.digest import DIGEST_BYTES, MAX_ENTRY, bucket_of, decode_entry, encode_entry
from cfs.entries import Entry, Staged, StateImage
from cfs.limits import Limits
from cfs.log import Log
from cfs.messages import ID_BYTES, Result
from cfs.records import MAX_LINEAGE, Lineage, LogPosition, LogRecord, RecordKind
from cfs.state import State
from cfs.wire import CHUNK_BYTES, HAVE_BYTES, MAX_HAVE, Chunk, Have, Need, Start
from transport.codec import Reader, Writer
from transport.errors import WireError

OUTSTANDING = 256 << 10
MAX_ITEM = max(MAX_ENTRY, MAX_LINEAGE) + 4096
MAX_KEPT_BYTES = 64 << 20  # of operations kept by the target while a transfer runs
MAX_KEPT = 100_000
_ITEM = struct.Struct("!IB")
_OUTCOME = ID_BYTES + 25
_BATCH = 1024  # outcomes, or dropped digests, in one item


class Item(IntEnum):
    HEAD = 1
    ENTRY = 2
    DROP = 3
    OUTCOME = 4
    STAGED = 5
    PIECE = 6
    RECORD = 7
    END = 8


def short(entry: Entry) -> bytes:
    """What HAVE and DROP tell of an entry."""
    return entry.digest.to_bytes(DIGEST_BYTES, "big")[:HAVE_BYTES]


def differing(state: State, need: Need) -> tuple[int, ...]:
    """The buckets in which the asking member's tree is not ours; all of them when it wants everything anew."""
    ours = state.buckets()
    if need.whole:
        return tuple(range(len(ours)))
    theirs = (need.sums[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES] for i in range(len(ours)))
    return tuple(place for place, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other)


def awaits_have(need: Need) -> bool:
    """Will the member answer START with what it has in the differing buckets?"""
    return not need.whole and any(need.sums)


class Sender:
    """One transfer, at the member that sends it. Everything to be sent is fixed when its START is delivered."""

    def __init__(self, start: Start, need: Need, state: State, log: Log, committed: int) -> None:
        self.start = start
        self._place = 0
        self._flying = 0
        self._buffer = bytearray()
        self._done = False
        self._have: frozenset[bytes] = frozenset()
        end = (log.end, committed, bytes(DIGEST_BYTES))
        if start.differing is None:
            self._ready = True
            self._items = self._tail(log.slice(start.after, log.end.index), end)
        else:
            self._ready = not awaits_have(need)
            position = log.position(state.index)
            assert position is not None  # the log is never trimmed beyond what is applied
            head = Writer().raw(position.encode()).u64(state.revision)
            head.blob(state.limits.encode()).raw(log.lineage(state.index).encode())
            image = state.image()
            end = (end[0], end[1], state.digest())
            entries = state.entries_in(start.differing)
            records = log.slice(state.index, log.end.index)
            self._items = self._whole(head.done(), entries, image, records, end)

    def have(self, message: Have) -> None:
        """What the target has in the differing buckets."""
        digests = message.digests
        if not message.everything:
            self._have = frozenset(digests[i : i + HAVE_BYTES] for i in range(0, len(digests), HAVE_BYTES))
        self._ready = True

    def delivered(self) -> None:
        """One of our chunks came back to us."""
        self._flying -= 1

    def next_chunk(self) -> Chunk | None:
        """The next part to send now, or None."""
        if not self._ready or self._done or self._flying * CHUNK_BYTES >= OUTSTANDING:
            return None
        while len(self._buffer) < CHUNK_BYTES:
            item = next(self._items, None)
            if item is None:
                self._done = True
                break
            self._buffer += _ITEM.pack(len(item[1]), item[0])
            self._buffer += item[1]
        data = bytes(self._buffer[:CHUNK_BYTES])
        del self._buffer[:CHUNK_BYTES]
        self._done = self._done and not self._buffer
        self._flying += 1
        self._place += 1
        return Chunk(self.start.number, self._place, self._done, data)

    def _tail(self, records: list[LogRecord], end: tuple[LogPosition, int, bytes]) -> Iterator[tuple[Item, bytes]]:
        for record in records:
            yield Item.RECORD, record.encode()
        yield Item.END, Writer().raw(end[0].encode()).u64(end[1]).raw(end[2]).done()

    def _whole(
        self,
        head: bytes,
        entries: list[Entry],
        image: StateImage,
        records: list[LogRecord],
        end: tuple[LogPosition, int, bytes],
    ) -> Iterator[tuple[Item, bytes]]:
        yield Item.HEAD, head
        drop = sorted(self._have - {short(entry) for entry in entries})
        for first in range(0, len(drop), _BATCH):
            yield Item.DROP, b"".join(drop[first : first + _BATCH])
        for entry in entries:
            if short(entry) not in self._have:
                yield Item.ENTRY, encode_entry(entry)
        outcomes = [ident + result for ident, result in image.outcomes.items()]
        for first in range(0, len(outcomes), _BATCH):
            yield Item.OUTCOME, b"".join(outcomes[first : first + _BATCH])
        for ident, staged in image.staging.items():
            yield Item.STAGED, Writer().raw(ident).u64(staged.touched).u32(len(staged.chunks)).done()
            for piece in staged.chunks:
                yield Item.PIECE, piece
        yield from self._tail(records, end)


@dataclass(slots=True)
class Received:
    """A whole transfer. image: None when only log records came.  digest: of the tree the sender has at image.index."""

    image: StateImage | None
    position: LogPosition
    lineage: Lineage
    records: list[LogRecord]
    end: LogPosition
    committed: int
    digest: bytes


@dataclass(slots=True)
class _Upload:
    ident: bytes
    touched: int
    missing: int
    chunks: list[bytes] = field(default_factory=list)


class Kept:
    """Records logged on the ring while a member is not whole yet, in order: appended when it is."""

    def __init__(self) -> None:
        self.records: list[tuple[RecordKind, bytes]] = []
        self._bytes = 0

    def keep(self, kind: RecordKind, body: bytes) -> bool:
        """False: too many, the transfer is of no use any more."""
        self.records.append((kind, body))
        self._bytes += len(body) + 64
        return len(self.records) <= MAX_KEPT and self._bytes <= MAX_KEPT_BYTES


class Receiver:
    """One transfer, at its target, from the delivery of START on.

    chunks: how many came.
    """

    def __init__(self, start: Start, need: Need, state: State) -> None:
        self.start = start
        self.chunks = 0
        self._buffer = bytearray()
        self._head: tuple[LogPosition, int, Limits, Lineage] | None = None
        self._records: list[LogRecord] = []
        self._outcomes: dict[bytes, bytes] = {}
        self._staging: dict[bytes, Staged] = {}
        self._upload: _Upload | None = None
        self._end: tuple[LogPosition, int, bytes] | None = None
        self._entries: dict[str, Entry] = {}
        self._by_digest: dict[bytes, str] = {}
        if start.differing is not None and awaits_have(need):
            buckets = frozenset(start.differing)
            self._entries = dict(state.image().entries)
            self._by_digest = {short(e): e.path for e in self._entries.values() if bucket_of(e.path) in buckets}

    def have(self) -> Have:
        """What to answer START with, when the sender waits for it."""
        if len(self._by_digest) > MAX_HAVE:
            for path in self._by_digest.values():
                del self._entries[path]
            self._by_digest = {}
            return Have(self.start.number, True, b"")
        return Have(self.start.number, False, b"".join(sorted(self._by_digest)))

    def feed(self, chunk: Chunk) -> Received | None:
        """The next chunk; the whole transfer with the last one. Raises WireError when it is no proper stream."""
        self.chunks += 1
        if chunk.place != self.chunks:
            raise WireError(f"transfer: chunk {chunk.place} where {self.chunks} is due")
        self._buffer += chunk.data
        start = 0
        while len(self._buffer) - start >= _ITEM.size:
            length, kind = _ITEM.unpack_from(self._buffer, start)
            if length > MAX_ITEM:
                raise WireError(f"transfer: item of {length} bytes, at most {MAX_ITEM}")
            begin = start + _ITEM.size
            if len(self._buffer) < begin + length:
                break
            self._item(kind, bytes(self._buffer[begin : begin + length]))
            start = begin + length
        del self._buffer[:start]
        return self._finish() if chunk.last else None

    def _item(self, kind: int, body: bytes) -> None:
        if self._end is not None:
            raise WireError("transfer: an item after its end")
        match kind:
            case Item.HEAD:
                reader = Reader(body)
                position, revision = LogPosition.read(reader), reader.u64()
                limits = Limits.decode(reader.blob(1024))
                self._head = (position, revision, limits, Lineage.decode(reader.rest()))
            case Item.ENTRY:
                entry = decode_entry(body)
                self._entries[entry.path] = entry
            case Item.DROP:
                for digest in _cut(body, HAVE_BYTES):
                    path = self._by_digest.pop(digest, None)
                    if path is None:
                        raise WireError("transfer: drops an entry that is not there")
                    self._entries.pop(path)
            case Item.OUTCOME:
                for one in _cut(body, _OUTCOME):
                    Result.decode(one[ID_BYTES:])
                    self._outcomes[one[:ID_BYTES]] = one[ID_BYTES:]
            case Item.STAGED:
                reader = Reader(body)
                self._upload = _Upload(reader.raw(ID_BYTES), reader.u64(), reader.u32())
                reader.end()
                self._piece(None)
            case Item.PIECE:
                self._piece(body)
            case Item.RECORD:
                self._records.append(LogRecord.decode(body))
            case Item.END:
                reader = Reader(body)
                self._end = (LogPosition.read(reader), reader.u64(), reader.raw(DIGEST_BYTES))
                reader.end()
            case _:
                raise WireError(f"transfer: item of kind {kind} not known")

    def _piece(self, data: bytes | None) -> None:
        upload = self._upload
        if upload is None:
            raise WireError("transfer: a piece of no upload")
        if data is not None:
            upload.chunks.append(data)
        if len(upload.chunks) == upload.missing:
            size = sum(len(chunk) for chunk in upload.chunks)
            self._staging[upload.ident] = Staged(tuple(upload.chunks), size, upload.touched)
            self._upload = None

    def _finish(self) -> Received:
        if self._end is None or self._buffer or self._upload is not None:
            raise WireError("transfer: ends in the middle")
        end, committed, digest = self._end
        if self._head is None:
            if self.start.differing is not None:
                raise WireError("transfer: no state in it")
            return Received(None, end, Lineage(), self._records, end, committed, digest)
        position, revision, limits, lineage = self._head
        image = StateImage(position.index, revision, limits, self._entries, self._outcomes, self._staging)
        return Received(image, position, lineage, self._records, end, committed, digest)


def _cut(data: bytes, size: int) -> list[bytes]:
    if len(data) % size:
        raise WireError(f"transfer: list of {len(data)} bytes, items of {size}")
    return [data[i : i + size] for i in range(0, len(data), size)]
