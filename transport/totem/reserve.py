"""Ring seqs reserved on disk in blocks ahead, so that no membership change waits for an fsync.

A ring is joined only with a seq at or below the one on disk: after a restart everything up to the value found
there counts as used. The next block is asked for when half of the present one is gone.

What others say they saw is believed in steps: at most LEAP above what is on disk. A ring a millisecond makes LEAP in
seven weeks, so no honest node is ever a step behind; a node that lost its file climbs as far as it must, a step a
write; and a member that claims the end of all numbers brings it no nearer than a step a write, of 2^30 there are.
At most one write is under way.
"""

from __future__ import annotations

from collections.abc import Callable

from transport.events import Persist

BLOCK = 1024
LEAP = 1 << 32
NAME = "ringseq"


class Reserve:
    """value on disk: u64, big-endian. True between any two calls: seen <= reserved + LEAP."""

    __slots__ = ("_asked", "_emit", "_receipt", "reserved", "seen")

    def __init__(self, on_disk: int, emit: Callable[[Persist], None]) -> None:
        self.seen = on_disk  # highest ring seq known of; all below may have been used
        self.reserved = on_disk
        self._asked = on_disk
        self._receipt = 0
        self._emit = emit
        self.note(on_disk)

    def note(self, seq: int) -> None:
        """A ring seq was seen somewhere: ours will be higher."""
        self.seen = max(self.seen, min(seq, self.reserved + LEAP))
        if self._asked == self.reserved and self.seen + BLOCK // 2 > self.reserved:
            self._asked = self.seen + BLOCK
            self._receipt += 1
            self._emit(Persist(self._receipt, NAME, self._asked.to_bytes(8, "big")))

    def persisted(self, receipt: int) -> None:
        """The value of this Persist event is on disk."""
        if receipt == self._receipt:
            self.reserved = self._asked
            self.note(self.seen)

    def covers(self, seq: int) -> bool:
        return seq <= self.reserved
