"""How a member that lacks the leader's state gets it: a stream of items cut into chunks, each an ordered multicast.

Source: DESIGN 7; docs/protocol-store.md, "Transfer". Either only log records (the member's log is equal up to some
index that its tree has not passed), or the tree by difference: only entries in buckets whose sums differ, and of those
only the ones the member has not; then outcomes, uploads under way, and the records that follow. What is logged after
the START was delivered the member keeps by itself. At most OUTSTANDING bytes are on their way at once, so that a
transfer never fills the ring. Here: the items, and the side that sends; cfs/receiving.py is the other.

An item: u32 length, u8 kind, body. Kinds: HEAD position, u64 revision, limits, lineage; ENTRY; DROP digests; OUTCOME id
and result, many; STAGED id, u64 touched, u32 number of chunks; PIECE one chunk of it; RECORD; END position, u64
committed, 32 bytes tree digest (zero without HEAD).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from itertools import islice

from cfs import turns
from cfs.digest import DIGEST_BYTES, MAX_ENTRY, bucket_of, encode_entry
from cfs.entries import Entry, StateImage
from cfs.log import Log
from cfs.messages import ID_BYTES, RESULT_BYTES
from cfs.records import MAX_LINEAGE, LogPosition, LogRecord
from cfs.state import State
from cfs.wire import CHUNK_BYTES, HAVE_BYTES, Chunk, Have, Need, Start
from transport.codec import Writer

OUTSTANDING = 256 << 10
MAX_ITEM = max(MAX_ENTRY, MAX_LINEAGE) + 4096
ITEM = struct.Struct("!IB")
OUTCOME_BYTES = ID_BYTES + RESULT_BYTES
_BATCH = 1024  # outcomes, or dropped digests, in one item


class Item(IntEnum):
    HEAD = 1
    ENTRY = 2
    DROP = 3  # by digest: of what the member told in HAVE
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


_Items = Iterator[tuple[Item, bytes] | None]  # None: nothing found yet, and this turn is over
_LAST = (Item.END, b"")  # there are no more items; the END that is sent has something in it


class Sender:
    """One transfer, at the member that sends it. Everything to be sent is fixed when its START is delivered."""

    def __init__(self, start: Start, need: Need, state: State, log: Log, committed: int) -> None:
        self.start = start
        self._place = 0
        self._flying = 0
        self._buffer = bytearray()
        self._done = False
        self._have: set[bytes] = set()
        self.paused = False  # nothing to send yet, after as much looking as fits into a turn: call `resume`
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
            records = log.slice(state.index, log.end.index)
            self._items = self._whole(head.done(), frozenset(start.differing), image, records, end)

    def have(self, message: Have) -> None:
        """What the target has in the differing buckets."""
        digests = message.digests
        if not message.everything:
            self._have = {digests[i : i + HAVE_BYTES] for i in range(0, len(digests), HAVE_BYTES)}
        self._ready = True

    def delivered(self) -> None:
        """One of our chunks came back to us."""
        self._flying -= 1

    def resume(self) -> None:
        """A new turn: look on."""
        self.paused = False

    def next_chunk(self) -> Chunk | None:
        """The next part to send now, or None."""
        if not self._ready or self._done or self.paused or self._flying * CHUNK_BYTES >= OUTSTANDING:
            return None
        while len(self._buffer) < CHUNK_BYTES:
            item = next(self._items, _LAST)
            if item is None:
                self.paused = True
                return None
            if item == _LAST:
                self._done = True
                break
            self._buffer += ITEM.pack(len(item[1]), item[0])
            self._buffer += item[1]
        data = bytes(self._buffer[:CHUNK_BYTES])
        del self._buffer[:CHUNK_BYTES]
        self._done = self._done and not self._buffer
        self._flying += 1
        self._place += 1
        return Chunk(self.start.number, self._place, self._done, data)

    def _tail(self, records: list[LogRecord], end: tuple[LogPosition, int, bytes]) -> _Items:
        for record in records:
            yield Item.RECORD, record.encode()
        yield Item.END, Writer().raw(end[0].encode()).u64(end[1]).raw(end[2]).done()

    def _whole(
        self,
        head: bytes,
        differing: frozenset[int],
        image: StateImage,
        records: list[LogRecord],
        end: tuple[LogPosition, int, bytes],
    ) -> _Items:
        yield Item.HEAD, head
        have = self._have  # what is left of it at the end is not in our tree
        for count, entry in enumerate(image.entries.values(), 1):
            if not count % turns.LOOKS:
                yield None
            if bucket_of(entry.path) not in differing:
                continue
            digest = short(entry)
            if digest in have:
                have.discard(digest)
            else:
                yield Item.ENTRY, encode_entry(entry)
        drop = sorted(have)
        for first in range(0, len(drop), _BATCH):
            yield Item.DROP, b"".join(drop[first : first + _BATCH])
        outcomes = iter(image.outcomes.items())
        while batch := b"".join(ident + result for ident, result in islice(outcomes, _BATCH)):
            yield Item.OUTCOME, batch
        for ident, staged in image.staging.items():
            yield Item.STAGED, Writer().raw(ident).u64(staged.touched).u32(len(staged.chunks)).done()
            for piece in staged.chunks:
                yield Item.PIECE, piece
        yield from self._tail(records, end)
