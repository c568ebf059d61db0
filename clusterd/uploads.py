"""Large files take turns: how many of this node's uploads may be staged at once, and in which order the others follow.

The store stages a bounded number of uploads, and makes room by dropping the one untouched for longest
(cfs/staging.py). Each node keeps to its share of that, so that live uploads do not push each other out. One that waits
is held in memory, therefore what waits is bounded too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from cfs.limits import MIB
from transport.errors import QueueFull, Refused

WAITING_BYTES = 64 * MIB


class Share(NamedTuple):
    """What one node may have staged. A single upload always may, however large."""

    size: int
    uploads: int


class _Waiting(NamedTuple):
    size: int
    turn: asyncio.Future[None]


class Uploads:
    """share: this node's, asked at every turn.  waiting_bytes: of all that wait; beyond, QueueFull."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, share: Callable[[], Share], waiting_bytes: int = WAITING_BYTES
    ) -> None:
        self._loop = loop
        self._share = share
        self._limit = waiting_bytes
        self._queue: deque[_Waiting] = deque()
        self._held = 0  # bytes of those that wait
        self._size = 0  # bytes of those whose turn it is
        self._count = 0

    async def enter(self, size: int) -> None:
        """Wait for the turn of an upload of `size` bytes; `leave` ends it. First come, first served.

        Raises QueueFull at once, and what `refuse` was given; then there is no turn to end.
        """
        if not self._queue and self._fits(size):
            self._take(size)
            return
        if self._held + size > self._limit:
            raise QueueFull(f"{len(self._queue)} uploads of {self._held} bytes wait for their turn already: try later")
        waiting = _Waiting(size, self._loop.create_future())
        self._queue.append(waiting)
        self._held += size
        try:
            await waiting.turn
        except BaseException:
            if waiting in self._queue:
                self._queue.remove(waiting)
                self._held -= size
                self._admit()
            elif not waiting.turn.cancelled() and waiting.turn.exception() is None:
                self.leave(size)  # given up at the moment its turn came
            raise

    def leave(self, size: int) -> None:
        """An upload of `size` bytes ended, well or not."""
        self._size -= size
        self._count -= 1
        self._admit()

    def refuse(self, error: Refused) -> None:
        """Nobody's turn will come any more."""
        while self._queue:
            waiting = self._queue.popleft()
            self._held -= waiting.size
            if not waiting.turn.done():
                waiting.turn.set_exception(error)

    def _fits(self, size: int) -> bool:
        share = self._share()
        return not self._count or (self._count < share.uploads and self._size + size <= share.size)

    def _take(self, size: int) -> None:
        self._size += size
        self._count += 1

    def _admit(self) -> None:
        while self._queue and self._fits(self._queue[0].size):
            waiting = self._queue.popleft()
            self._held -= waiting.size
            if not waiting.turn.done():
                self._take(waiting.size)
                waiting.turn.set_result(None)
