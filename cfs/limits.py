"""How much the store holds: sizes that are part of the replicated decision, so alike on every node.

Source: DESIGN 7, "Limits enforced". The values in force are a part of State (set at genesis or by an ordered
SET_LIMITS), never read from a node's own configuration while an operation is applied.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from transport.codec import Reader, Writer
from transport.errors import BadArgument

KIB = 1 << 10
MIB = 1 << 20

INLINE_BYTES = 256 * KIB  # data carried by one ordered message; a larger file is staged in chunks of at most this
NAME_BYTES = 255  # one part of a path, UTF-8
PATH_BYTES = 4096  # a whole path, UTF-8
OUTCOMES = 65_536  # results kept for exactly-once, counted in log indexes


@dataclass(frozen=True, slots=True)
class Limits:
    """What one tree may hold. Values outside FLOORS..CEILINGS are refused by `check`.

    file_bytes: one file.  total_bytes: data of all files.  entries: files and directories, without the root.
    depth: parts of a path.  staging_bytes, staging_count: chunks of large files not yet committed; beyond, the one
    untouched for longest is dropped.  delete_entries: the most one recursive delete may remove, so that no operation
    holds up the event loop of every node at once for longer than a token's life.
    """

    file_bytes: int = 1 * MIB
    total_bytes: int = 128 * MIB
    entries: int = 262_144
    depth: int = 32
    staging_bytes: int = 16 * MIB
    staging_count: int = 64
    delete_entries: int = 32_768

    def check(self) -> None:
        """Raises BadArgument naming the first value out of its range."""
        for field in fields(self):
            value, low, high = (getattr(limits, field.name) for limits in (self, FLOORS, CEILINGS))
            if not low <= value <= high:
                raise BadArgument(f"limit {field.name} is {value}, allowed are {low} to {high}")
        if self.staging_bytes < self.file_bytes:
            raise BadArgument(
                f"limit staging_bytes is {self.staging_bytes}, at least file_bytes ({self.file_bytes}) is needed"
            )

    def encode(self) -> bytes:
        """Seven u64, in the order of the fields."""
        writer = Writer()
        for field in fields(self):
            writer.u64(getattr(self, field.name))
        return writer.done()

    @classmethod
    def decode(cls, data: bytes) -> Limits:
        """Raises WireError on any other length; the values are not judged here (`check`)."""
        reader = Reader(data)
        limits = cls(*(reader.u64() for _ in fields(cls)))
        reader.end()
        return limits


FLOORS = Limits(0, 0, 0, 1, 0, 1, 1)
CEILINGS = Limits(16 * MIB, 1024 * MIB, 1_048_576, 64, 256 * MIB, 1024, 65_536)
