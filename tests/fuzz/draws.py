"""Choices made from a string of bytes, so that a fuzzer that changes bytes changes choices.

Every input means something: what is asked beyond its end is zero. The first bytes decide first, so a shorter input is
the beginning of the same story.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_EDGES = (0, 1, 0xFF, 0xFFFF, 0x10000, 0xFFFFFFFF, 1 << 32, (1 << 62) - 1, 1 << 62, (1 << 62) + 1, (1 << 64) - 1)


class Draws:
    """Reads an input from front to back."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

    def raw(self, size: int) -> bytes:
        """Exactly `size` bytes."""
        start, self._at = self._at, self._at + size
        return self._data[start : start + size].ljust(size, b"\0")

    def byte(self) -> int:
        return self.raw(1)[0]

    def below(self, limit: int) -> int:
        """0..limit-1, for limits up to 2^16."""
        size = 1 if limit <= 256 else 2
        return int.from_bytes(self.raw(size), "big") % limit

    def of(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def flag(self) -> bool:
        return bool(self.byte() & 1)

    def blob(self, most: int) -> bytes:
        """At most `most` bytes; the length comes first."""
        return self.raw(self.below(most + 1))

    def rest(self) -> bytes:
        start, self._at = self._at, max(self._at, len(self._data))
        return self._data[start:]

    def number(self, near: Sequence[int] = (0,)) -> int:
        """A number of interest below 2^64: close to one of `near`, at an edge of a field, or any."""
        kind = self.byte()
        if kind < 160:
            return max(0, near[kind % len(near)] + self.byte() % 7 - 3)
        if kind < 200:
            return _EDGES[kind % len(_EDGES)]
        if kind < 230:
            return near[kind % len(near)] + self.below(0x10000)
        return int.from_bytes(self.raw(8), "big")


def packed(layout: str, *values: int | bytes) -> bytes:
    """struct.pack that cuts every number to its field instead of raising."""
    plain = layout.lstrip("!")
    fields: list[int | bytes] = []
    sizes = {"B": 8, "H": 16, "I": 32, "Q": 64}
    letters = [letter for letter in plain if letter.isalpha()]
    for letter, value in zip(letters, values, strict=True):
        fields.append(value & ((1 << sizes[letter]) - 1) if isinstance(value, int) else value)
    return struct.pack(layout, *fields)
