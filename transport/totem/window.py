"""The multicasts of one ring by seq: what is here, up to where without a gap, what may be let go.

True between any two calls:  released <= aru <= high.  A frame at or below `released` is gone, one above is kept
until release() covers it; nothing else ever takes a frame out. At most SPAN seqs above aru are taken in, and no
frame that would make the kept ones larger than a limit, so a peer cannot make this grow without bound. Flow control
stays far below the limit; a frame refused is one not received: it is asked for again.
"""

from __future__ import annotations

SPAN = 65536
LIMIT_LEAST = 32 << 20  # bytes kept, whatever the settings
LIMIT_WINDOWS = 8  # times the flow control window: all that may be given out and not known to be everywhere is 5


class Window:
    """seq -> frame. Seqs start at 1."""

    __slots__ = ("_frames", "aru", "bytes", "high", "limit", "released")

    def __init__(self, limit: int = LIMIT_LEAST) -> None:
        self.limit = limit
        self._frames: dict[int, bytes] = {}
        self.aru = 0  # everything up to here was received
        self.high = 0  # highest seq received
        self.released = 0
        self.bytes = 0  # of the frames kept

    def add(self, seq: int, frame: bytes) -> bool:
        """Take a frame in; False if it was here before, is released, lies beyond SPAN or finds no room.

        The next one in order finds room twice as long: what waits behind a gap must not keep the gap open.
        """
        frames = self._frames
        aru = self.aru
        if seq <= aru or seq in frames or seq > aru + SPAN:
            return False
        if self.bytes > self.limit and (seq > aru + 1 or self.bytes > 2 * self.limit):
            return False
        frames[seq] = frame
        self.bytes += len(frame)
        if seq > self.high:
            self.high = seq
        if seq == aru + 1:
            aru = seq
            if aru < self.high:
                while aru + 1 in frames:
                    aru += 1
            self.aru = aru
        return True

    def get(self, seq: int) -> bytes | None:
        return self._frames.get(seq)

    def release(self, upto: int) -> None:
        """Let go of everything up to `upto`: the caller knows that every member has it. Never beyond aru."""
        upto = min(upto, self.aru)
        frames = self._frames
        for seq in range(self.released + 1, upto + 1):
            self.bytes -= len(frames.pop(seq))
        if upto > self.released:
            self.released = upto

    def gaps(self, upto: int, limit: int) -> list[tuple[int, int]]:
        """What is missing in (aru, upto] as (first seq, count), lowest first, at most `limit` ranges."""
        found: list[tuple[int, int]] = []
        seq = self.aru + 1
        frames = self._frames
        upto = min(upto, self.aru + SPAN)
        while seq <= upto and len(found) < limit:
            if seq in frames:
                seq += 1
                continue
            first = seq
            if seq > self.high:
                seq = upto + 1
            else:
                while seq <= upto and seq not in frames:
                    seq += 1
            found.extend((start, min(0xFFFF, seq - start)) for start in range(first, seq, 0xFFFF))
        return found[:limit]

    def __len__(self) -> int:
        return len(self._frames)
