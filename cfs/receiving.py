"""The side of a transfer that gets it (cfs/transfer.py has the items and the other side).

What comes is believed only as far as it is checked: each item when it comes (bounds, paths, the chain of records), the
whole by the tree's digest when it is taken over (cfs/store.py). Nothing a member can send takes more memory than the
largest store there may be, or more time at once than its chunk is long.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from cfs import turns
from cfs.digest import DIGEST_BYTES, bucket_of, decode_entry
from cfs.entries import Entry, Staged, StateImage
from cfs.limits import CEILINGS, INLINE_BYTES, OUTCOMES, Limits
from cfs.messages import ID_BYTES, Code, Result
from cfs.paths import problem
from cfs.records import Lineage, LogPosition, LogRecord, RecordKind, read_number
from cfs.state import State
from cfs.transfer import ITEM, MAX_ITEM, OUTCOME_BYTES, Item, awaits_have, short
from cfs.turns import Turns
from cfs.wire import HAVE_BYTES, MAX_HAVE, Chunk, Have, Need, Start
from transport.codec import Reader
from transport.errors import ClusterError, WireError

MAX_KEPT_BYTES = 64 << 20  # of operations kept by the target while a transfer runs
MAX_KEPT = 100_000
MAX_RECORDS = 200_000  # of a transfer: more than a node retains behind its tree and may have unwritten before it
MAX_RECORD_BYTES = 128 << 20


@dataclass(slots=True)
class Received:
    """A whole transfer. image: None when only log records came.  digest: of the tree the sender has at image.index.

    records: each follows on the one before; the first on `position`, or on the index the transfer began after.
    """

    image: StateImage | None
    position: LogPosition
    lineage: Lineage
    records: list[LogRecord]
    end: LogPosition
    committed: int
    digest: bytes


@dataclass(slots=True)
class _Head:
    position: LogPosition
    revision: int
    limits: Limits
    lineage: Lineage


@dataclass(slots=True)
class _Upload:
    ident: bytes
    touched: int
    missing: int
    chunks: list[bytes] = field(default_factory=list)


class Kept:
    """Records logged on the ring while a member is not whole yet, in order: appended when it is."""

    def __init__(self) -> None:
        self.records: deque[tuple[RecordKind, bytes]] = deque()
        self._bytes = 0

    def keep(self, kind: RecordKind, body: bytes) -> bool:
        """False: too many, the transfer is of no use any more."""
        self.records.append((kind, body))
        self._bytes += len(body) + 64
        return len(self.records) <= MAX_KEPT and self._bytes <= MAX_KEPT_BYTES

    def take(self, count: int) -> list[tuple[RecordKind, bytes]]:
        """The oldest, at most `count`."""
        taken = [self.records.popleft() for _ in range(min(count, len(self.records)))]
        self._bytes -= sum(len(body) + 64 for _, body in taken)
        return taken


class Receiver:
    """One transfer, at its target, from the delivery of START on.

    chunks: how many came.
    """

    def __init__(self, start: Start, need: Need, state: State, base: LogPosition | None) -> None:
        """base: our log's position at the index records alone are to follow; None: not there."""
        self.start = start
        self.chunks = 0
        self._buffer = bytearray()
        self._head: _Head | None = None
        self._last = base if start.differing is None else None
        self._records: list[LogRecord] = []
        self._record_bytes = 0
        self._outcomes: dict[bytes, bytes] = {}
        self._outcome_index = 0
        self._staging: dict[bytes, Staged] = {}
        self._staged = 0
        self._upload: _Upload | None = None
        self._end: tuple[LogPosition, int, bytes] | None = None
        self._entries: dict[str, Entry] = {}
        self._bytes = 0
        self._by_digest: dict[bytes, str] = {}
        self._looking = start.differing is not None and awaits_have(need)
        if self._looking:
            self._entries = state.image().entries
            self._bytes = state.bytes

    @property
    def awaited(self) -> bool:
        """Does the sender wait for our HAVE?"""
        return self._looking

    def have(self) -> Turns[Have]:
        """What to answer START with, when the sender waits for it."""
        buckets = frozenset(self.start.differing or ())
        rest: dict[str, Entry] = {}
        rest_bytes = 0
        for count, entry in enumerate(self._entries.values(), 1):
            if bucket_of(entry.path) in buckets:
                self._by_digest[short(entry)] = entry.path
            else:
                rest[entry.path] = entry
                rest_bytes += entry.size
            if not count % turns.LOOKS:
                yield
        self._looking = False
        if len(self._by_digest) <= MAX_HAVE:
            return Have(self.start.number, False, b"".join(self._by_digest))
        self._by_digest, self._entries, self._bytes = {}, rest, rest_bytes
        return Have(self.start.number, True, b"")

    def feed(self, chunk: Chunk) -> Received | None:
        """The next chunk; the whole transfer with the last one. Raises WireError when it is no proper stream."""
        self.chunks += 1
        if chunk.place != self.chunks or self._looking:
            raise WireError(f"transfer: chunk {chunk.place} where {self.chunks} is due")
        self._buffer += chunk.data
        start = 0
        while len(self._buffer) - start >= ITEM.size:
            length, kind = ITEM.unpack_from(self._buffer, start)
            if length > MAX_ITEM:
                raise WireError(f"transfer: item of {length} bytes, at most {MAX_ITEM}")
            begin = start + ITEM.size
            if len(self._buffer) < begin + length:
                break
            self._item(kind, bytes(self._buffer[begin : begin + length]))
            start = begin + length
        del self._buffer[:start]
        return self._finish() if chunk.last else None

    def _item(self, kind: int, body: bytes) -> None:
        if self._end is not None:
            raise WireError("transfer: an item after its end")
        if self.start.differing is None:
            expected = kind in (Item.RECORD, Item.END)
        else:
            expected = (kind == Item.HEAD) == (self._head is None)
        if not expected:
            raise WireError(f"transfer: item of kind {kind} not expected here")
        match kind:
            case Item.HEAD:
                self._take_head(body)
            case Item.ENTRY:
                self._put(decode_entry(body))
            case Item.DROP:
                self._drop(body)
            case Item.OUTCOME:
                for one in _cut(body, OUTCOME_BYTES):
                    self._outcome(one)
            case Item.STAGED:
                self._begin_upload(body)
            case Item.PIECE:
                self._piece(body)
            case Item.RECORD:
                self._record(LogRecord.decode(body))
            case Item.END:
                reader = Reader(body)
                self._end = (LogPosition.read(reader), reader.u64(), reader.raw(DIGEST_BYTES))
                reader.end()
            case _:
                raise WireError(f"transfer: item of kind {kind} not known")

    def _take_head(self, body: bytes) -> None:
        reader = Reader(body)
        position, revision = LogPosition.read(reader), read_number(reader)
        limits = Limits.decode(reader.blob(1024))
        try:
            limits.check()
        except ClusterError as error:
            raise WireError(f"transfer: {error}") from error
        self._head = _Head(position, revision, limits, Lineage.decode(reader.rest()))
        self._last = position

    def _put(self, entry: Entry) -> None:
        if problem(entry.path, CEILINGS.depth) is not Code.OK:
            raise WireError(f"transfer: {entry.path!r} is no path")
        old = self._entries.get(entry.path)
        self._entries[entry.path] = entry
        self._bytes += entry.size - (old.size if old else 0)
        if self._bytes > CEILINGS.total_bytes or len(self._entries) > CEILINGS.entries:
            raise WireError("transfer: larger than any tree may be")

    def _drop(self, body: bytes) -> None:
        for digest in _cut(body, HAVE_BYTES):
            path = self._by_digest.pop(digest, None)
            if path is None:
                raise WireError("transfer: drops an entry that is not there")
            entry = self._entries[path]
            if short(entry) == digest:  # else another entry of that name has come
                del self._entries[path]
                self._bytes -= entry.size

    def _outcome(self, one: bytes) -> None:
        index = Result.decode(one[ID_BYTES:]).index
        assert self._head is not None
        if not self._outcome_index <= index <= self._head.position.index or len(self._outcomes) >= OUTCOMES:
            raise WireError(f"transfer: outcome of index {index} out of place, or more than {OUTCOMES}")
        self._outcome_index = index
        self._outcomes[one[:ID_BYTES]] = one[ID_BYTES:]

    def _begin_upload(self, body: bytes) -> None:
        reader = Reader(body)
        upload = _Upload(reader.raw(ID_BYTES), reader.u64(), reader.u32())
        reader.end()
        if self._upload is not None or len(self._staging) >= CEILINGS.staging_count:
            raise WireError("transfer: an upload within another, or more than may be")
        if self._head is None or upload.touched > self._head.position.index:
            raise WireError(f"transfer: an upload of log index {upload.touched}")
        if upload.missing > CEILINGS.staging_bytes // INLINE_BYTES * 2:  # any two neighbours are more than one chunk
            raise WireError(f"transfer: an upload of {upload.missing} pieces")
        self._upload = upload
        self._end_upload()

    def _piece(self, data: bytes) -> None:
        if self._upload is None:
            raise WireError("transfer: a piece of no upload")
        self._staged += len(data)
        if self._staged > CEILINGS.staging_bytes or len(data) > INLINE_BYTES:
            raise WireError("transfer: more of uploads than may be")
        self._upload.chunks.append(data)
        self._end_upload()

    def _end_upload(self) -> None:
        upload = self._upload
        if upload is not None and len(upload.chunks) == upload.missing:
            size = sum(len(chunk) for chunk in upload.chunks)
            self._staging[upload.ident] = Staged(tuple(upload.chunks), size, upload.touched)
            self._upload = None

    def _record(self, record: LogRecord) -> None:
        if self._last is None or not record.follows(self._last):
            raise WireError(f"transfer: log record {record.index} does not follow")
        self._last = record.position
        self._records.append(record)
        self._record_bytes += len(record.body)
        if len(self._records) > MAX_RECORDS or self._record_bytes > MAX_RECORD_BYTES:
            raise WireError("transfer: more log records than a node keeps")

    def _finish(self) -> Received:
        if self._end is None or self._buffer or self._upload is not None:
            raise WireError("transfer: ends in the middle")
        end, committed, digest = self._end
        if self._last != end:
            raise WireError("transfer: the records end elsewhere than the sender's log")
        head = self._head
        if head is None:
            return Received(None, end, Lineage(), self._records, end, committed, digest)
        image = StateImage(
            head.position.index, head.revision, head.limits, self._entries, self._outcomes, self._staging
        )
        return Received(image, head.position, head.lineage, self._records, end, committed, digest)


def _cut(data: bytes, size: int) -> list[bytes]:
    if len(data) % size:
        raise WireError(f"transfer: list of {len(data)} bytes, items of {size}")
    return [data[i : i + size] for i in range(0, len(data), size)]
