"""Virtual time: a heap of things to do, done in order of time and, at one instant, in the order they were asked for.

Times are seconds since the start of the run. Nothing here reads a real clock.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Clock:
    """True between any two actions: `now` never goes back, and nothing in the heap is due before it."""

    __slots__ = ("_asked", "_heap", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._asked = 0

    def at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do `action(*arguments)` at `when`, or now if that is past."""
        self._asked += 1
        heappush(self._heap, (when if when > self.now else self.now, self._asked, action, arguments))

    def after(self, delay: float, action: Callable[..., None], *arguments: Any) -> None:
        self.at(self.now + delay, action, *arguments)

    def run(self, until: float) -> None:
        """Do everything due up to and including `until`, and stand at `until` afterwards."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, action, arguments = heappop(heap)
            action(*arguments)
        self.now = max(self.now, until)
