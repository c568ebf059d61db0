"""Long computations cut into turns, so that the ring is served in between.

A tree of 262,144 entries takes a second to build, longer than a token lives: who did that in one go would be expelled.
Such work is written as a generator that yields after each piece of at most a few milliseconds; whoever runs it does one
piece per turn of its loop, and reads the ring in between. What it has made counts only when it is done.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Turns = Generator[None, None, T]
"""Yields after each piece, returns what it made. Dropped half way it leaves nothing behind."""

ENTRIES = 1000  # entries put into a tree, or records into a log, in one turn: 3 to 5 ms at 2.3 GHz
LOOKS = 4000  # entries, or other things, that are only looked at or let go
APPLIED = 500  # small operations applied
PAUSE = 0.001  # seconds between two turns: the ring gets at least a part of each moment


def finish(turns: Turns[T]) -> T:
    """All of it now: before a loop runs, and in tests."""
    while True:
        try:
            next(turns)
        except StopIteration as end:
            made: T = end.value
            return made
