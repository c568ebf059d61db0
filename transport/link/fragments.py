"""Ring frames larger than a path takes: cut into fragments, and rejoined with bounded memory.

Source: docs/protocol-links.md; facts/knet.md section 6 (any order, oldest thrown away). The plaintext of a ring packet:

    0x00, frame                                                        a whole frame
    0x01, frame id u32, index u16, count u16, total u32, piece         a fragment

All pieces of a frame are ceil(total / count) bytes but the last, which is the rest: so each fragment can be checked by
itself, and pieces of two different cuts can never be joined. Fragments are inside the seal, hence authentic.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from transport.errors import TooLarge, WireError
from transport.ids import NodeId

WHOLE, FRAGMENT = 0x00, 0x01
OVERHEAD_RING = 32  # outer header and AEAD tag of a ring datagram
MAX_FRAME = 256 << 10
MAX_PARTIAL_BYTES = 1 << 20  # per sender, pieces with their bookkeeping
MAX_PARTIAL_FRAMES = 64  # per sender
TIMEOUT = 2.0  # seconds an incomplete frame is kept; totem resends the whole frame long before
MIN_PIECE = 512  # half of what the smallest path takes, rounded down; it bounds the number of pieces
_PIECE_COST = 96  # what Python needs to keep one piece, about

_HEAD = struct.Struct("!BIHHI")
_KIND_WHOLE = bytes([WHOLE])


WHOLE_OVERHEAD = OVERHEAD_RING + 1
"""Bytes of a datagram that carries a whole frame, beside the frame."""


def budget_of(max_payload: int) -> int:
    """The largest frame that goes whole into a UDP payload of `max_payload` bytes."""
    return max_payload - WHOLE_OVERHEAD


def _piece_size(total: int, count: int) -> int:
    """Bytes of each piece but the last; WireError if `count` pieces of `total` bytes are no cut of ours."""
    if not 0 < total <= MAX_FRAME or not 2 <= count <= MAX_FRAME // MIN_PIECE:
        raise WireError(f"fragment of a frame of {total} bytes in {count} pieces")
    size = -(-total // count)
    if size < MIN_PIECE or (count - 1) * size >= total:
        raise WireError(f"fragment of a frame of {total} bytes in {count} pieces")
    return size


class Fragmenter:
    """Cuts the frames of one sender. first_id: random, so that a restarted sender does not continue old frames."""

    __slots__ = ("_next_id",)

    def __init__(self, first_id: int = 0) -> None:
        self._next_id = first_id & 0xFFFFFFFF

    def cut(self, frame: bytes, budget: int) -> list[bytes]:
        """Plaintexts of at most budget + 1 bytes: the frame whole if it has at most `budget` bytes, else fragments.

        budget: as `budget_of` or `Links.frame_budget` give it. Raises TooLarge above MAX_FRAME bytes.
        """
        if len(frame) <= budget:
            return [_KIND_WHOLE + frame]
        total = len(frame)
        if total > MAX_FRAME:
            raise TooLarge(f"frame of {total} bytes, at most {MAX_FRAME} allowed")
        room = budget + 1 - _HEAD.size
        assert room >= 2 * MIN_PIECE, f"a budget of {budget} bytes is below that of every path"
        count = -(-total // room)
        size = -(-total // count)
        frame_id = self._next_id
        self._next_id = (frame_id + 1) & 0xFFFFFFFF
        return [
            _HEAD.pack(FRAGMENT, frame_id, index, count, total) + frame[index * size : (index + 1) * size]
            for index in range(count)
        ]


@dataclass(slots=True)
class _Partial:
    """A frame of which not all pieces are here."""

    total: int
    count: int
    since: float
    pieces: dict[int, bytes] = field(default_factory=dict)
    cost: int = 0


class _Sender:
    """What one sender has open: partial frames in the order they began, and the ids lately completed."""

    __slots__ = ("cost", "done", "partial")

    def __init__(self) -> None:
        self.partial: dict[int, _Partial] = {}
        self.done: dict[int, None] = {}
        self.cost = 0

    def drop(self, frame_id: int) -> None:
        self.cost -= self.partial.pop(frame_id).cost

    def finish(self, frame_id: int) -> None:
        self.drop(frame_id)
        self.done[frame_id] = None
        if len(self.done) > MAX_PARTIAL_FRAMES:
            del self.done[next(iter(self.done))]


@dataclass(slots=True)
class FragmentStats:
    """malformed: no fragment of ours, or contradicting an earlier one; dropped: frames given up for room or by time."""

    malformed: int = 0
    duplicates: int = 0
    rejoined: int = 0
    dropped: int = 0


class Reassembler:
    """Rejoins the fragments of all senders; each sender has its own bounds, so none can starve another."""

    def __init__(self) -> None:
        self.stats = FragmentStats()
        self._senders: dict[NodeId, _Sender] = {}
        self._due: float | None = None
        self._due_known = True  # no fragment came, and none was dropped, since it was looked for

    def receive(self, sender: NodeId, plaintext: bytes, now: float) -> bytes | None:
        """The frame that this plaintext is or completes, or None.

        plaintext: authentic, from `sender`. Whatever it holds, nothing is raised: what is none of ours is counted.
        """
        if plaintext[:1] == _KIND_WHOLE:
            return plaintext[1:]
        self._due_known = False
        try:
            return self._fragment(sender, plaintext, now)
        except WireError:
            self.stats.malformed += 1
            return None

    def _fragment(self, sender: NodeId, plaintext: bytes, now: float) -> bytes | None:
        if len(plaintext) <= _HEAD.size or plaintext[0] != FRAGMENT:
            raise WireError(f"ring plaintext of {len(plaintext)} bytes, neither frame nor fragment")
        _, frame_id, index, count, total = _HEAD.unpack_from(plaintext)
        size = _piece_size(total, count)
        piece = plaintext[_HEAD.size :]
        if index >= count or len(piece) != (size if index < count - 1 else total - size * (count - 1)):
            raise WireError(f"piece {index} of {count} with {len(piece)} bytes")
        mine = self._senders.setdefault(sender, _Sender())
        self._expire(mine, now)
        if frame_id in mine.done:
            self.stats.duplicates += 1
            return None
        partial = mine.partial.get(frame_id)
        if partial is None:
            partial = mine.partial[frame_id] = _Partial(total, count, now)
        elif (partial.total, partial.count) != (total, count):
            raise WireError("two fragments of one frame contradict each other")
        if index in partial.pieces:
            self.stats.duplicates += 1
            return None
        partial.pieces[index] = piece
        cost = len(piece) + _PIECE_COST
        partial.cost += cost
        mine.cost += cost
        if len(partial.pieces) == count:
            mine.finish(frame_id)
            self.stats.rejoined += 1
            return b"".join([partial.pieces[i] for i in range(count)])
        while mine.cost > MAX_PARTIAL_BYTES or len(mine.partial) > MAX_PARTIAL_FRAMES:
            mine.drop(next(iter(mine.partial)))
            self.stats.dropped += 1
        return None

    def _expire(self, mine: _Sender, now: float) -> None:
        while mine.partial:
            oldest = next(iter(mine.partial))
            if now < mine.partial[oldest].since + TIMEOUT:  # as next_timeout() says it, to the last bit
                return
            mine.drop(oldest)
            self.stats.dropped += 1

    def forget(self, sender: NodeId) -> None:
        """The sender is gone, or began anew: whatever it had open is dropped."""
        self._senders.pop(sender, None)
        self._due_known = False

    def held(self, sender: NodeId) -> int:
        """Bytes kept for incomplete frames of `sender`, bookkeeping included: at most MAX_PARTIAL_BYTES."""
        mine = self._senders.get(sender)
        return mine.cost if mine else 0

    def next_timeout(self) -> float | None:
        if self._due_known:
            return self._due
        oldest: float | None = None
        for sender in self._senders.values():
            for partial in sender.partial.values():  # in order of their first fragment
                if oldest is None or partial.since < oldest:
                    oldest = partial.since
                break
        self._due = oldest + TIMEOUT if oldest is not None else None
        self._due_known = True
        return self._due

    def handle_timeout(self, now: float) -> None:
        self._due_known = False
        for mine in self._senders.values():
            self._expire(mine, now)
