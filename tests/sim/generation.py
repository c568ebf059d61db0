"""What is on a simulated disk: one store, whole or with a record torn at its end, and what was set aside of others."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random

from cfs.entries import StateImage
from cfs.records import START, Lineage, LogPosition, LogRecord
from transport.errors import WireError

SECTOR = 512  # bytes that are written whole or not at all


@dataclass
class Discarded:
    """What was set aside: the records of a dropped tail, or a whole generation."""

    reason: str
    records: list[LogRecord]
    image: StateImage | None = None
    position: LogPosition = START


@dataclass
class Generation:
    """One store. log: encoded records from `first` on, of which those > position.index are the tail.

    synced: the log index up to which it is on the platter; beyond, it is written, and a power loss may take it.
    torn: what a crash left of a record behind the end.
    """

    number: int = 0
    image: StateImage = field(default_factory=StateImage)
    position: LogPosition = START
    lineage: Lineage = field(default_factory=Lineage)
    first: LogPosition = START  # the position before the first retained record
    log: list[bytes] = field(default_factory=list)
    commit_index: int = 0
    synced: int = 0
    torn: bytes = b""

    def end_index(self) -> int:
        return self.first.index + len(self.log)

    def end(self) -> LogPosition:
        return LogRecord.decode(self.log[-1]).position if self.log else self.first

    def position_of(self, index: int) -> LogPosition | None:
        """Of the record at `index`; None: it is not there, or only in the tree."""
        if not self.first.index <= index <= self.end_index():
            return None
        at = index - self.first.index
        return LogRecord.decode(self.log[at - 1]).position if at else self.first

    def append(self, records: Sequence[LogRecord]) -> str | None:
        """Write these behind the end, up to the first that does not follow; what is wrong with that one."""
        end = self.end()
        for record in records:
            if not record.follows(end):
                return f"record {record.index} does not follow the log's end at {end.index}"
            self.log.append(record.encode())
            end = record.position
        return None

    def readable(self) -> tuple[list[LogRecord], str]:
        """The records up to the first damaged one, and what is wrong with that."""
        records: list[LogRecord] = []
        end = self.first
        for data in self.log:
            record = LogRecord.decode(data)
            if not record.follows(end):
                return records, f"log record {end.index + 1}: checksum does not match"
            records.append(record)
            end = record.position
        try:
            record = LogRecord.decode(self.torn)
        except WireError:
            return records, ""
        return [*records, *([record] if record.follows(end) else [])], ""

    def lose_tail(self, keep: int) -> bytes:
        """All behind index `keep` is gone; the first record that is."""
        lost = self.log[keep - self.first.index]
        del self.log[keep - self.first.index :]
        self.commit_index = min(self.commit_index, keep)
        return lost

    def drop_first(self, count: int) -> None:
        """The oldest `count` records are kept no longer."""
        self.first = LogRecord.decode(self.log[count - 1]).position
        del self.log[:count]

    def rot(self, index: int, random: Random) -> bool:
        """Flip a bit in the log record at `index`; False if it is not in the log (any more)."""
        if not self.first.index < index <= self.end_index():
            return False
        at = index - self.first.index - 1
        data = bytearray(self.log[at])
        data[random.randrange(57, len(data)) if len(data) > 57 else 30] ^= 1 << random.randrange(8)
        self.log[at] = bytes(data)
        return True

    def copy(self) -> Generation:
        return replace(self, image=self.image.copy(), log=list(self.log))


def tear(data: bytes) -> bytes:
    """Some of the sectors on which a record lies, the others still empty; nothing where it lies on one. Drawn by what
    is in it, and not by the world's luck: whoever sees that it is no record goes on as if nothing of it were there."""
    random = Random(zlib.crc32(data))
    first = SECTOR - random.randrange(SECTOR)  # bytes up to the end of the sector on which it begins
    cuts = [0, *range(first, len(data), SECTOR), len(data)]
    parts = [data[one:other] for one, other in pairwise(cuts)]
    there = [random.random() < 0.5 for _ in parts]
    if len(parts) < 2 or not any(there):
        return b""
    if all(there):
        there[random.randrange(len(parts))] = False
    torn = b"".join(part if is_there else bytes(len(part)) for part, is_there in zip(parts, there, strict=True))
    return torn if random.random() < 0.5 or there[-1] else torn[: cuts[-2]]  # the file has grown already, or not
