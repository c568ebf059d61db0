"""Ring seqs reserved on disk in blocks ahead, so that no membership change waits for an fsync.

A ring is joined only with a seq at or below the one on disk: after a restart everything up to the value found
there counts as used. The next block is asked for when half of the present one is gone.
"""

from __future__ import annotations

from collections.abc import Callable

from transport.events import Persist

BLOCK = 1024
NAME = "ringseq"


class Reserve:
    """value on disk: u64, big-endian."""

    __slots__ = ("_asked", "_emit", "_receipts", "reserved", "seen")

    def __init__(self, on_disk: int, emit: Callable[[Persist], None]) -> None:
        self.seen = on_disk  # highest ring seq known of; all below may have been used
        self.reserved = on_disk
        self._asked = on_disk
        self._receipts: dict[int, int] = {}
        self._emit = emit
        self.note(on_disk)

    def note(self, seq: int) -> None:
        """A ring seq was seen somewhere: ours will be higher."""
        self.seen = max(self.seen, seq)
        if self.seen + BLOCK // 2 > self._asked:
            self._asked = self.seen + BLOCK
            receipt = len(self._receipts) + 1
            self._receipts[receipt] = self._asked
            self._emit(Persist(receipt, NAME, self._asked.to_bytes(8, "big")))

    def persisted(self, receipt: int) -> None:
        self.reserved = max(self.reserved, self._receipts.get(receipt, 0))

    def covers(self, seq: int) -> bool:
        return seq <= self.reserved
