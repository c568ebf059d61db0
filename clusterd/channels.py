"""The channels of the ring, and what waits on this node to be sent on them."""

from __future__ import annotations

from collections import deque

from transport.endpoint import Endpoint
from transport.errors import QueueFull, Refused

SYNC, QUORUM, STORE, GROUPS, CONFIG = 1, 2, 3, 4, 5
"""Channels: the first byte of every message on the ring."""


class Outbox:
    """Messages of this node's services, in order. Services bound what they have under way, so this is bounded too."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.waiting: deque[tuple[bytes, bool]] = deque()
        """What the ring had no room for."""

    def send(self, channel: int, payload: bytes, safe: bool = False) -> None:
        self.waiting.append((bytes((channel,)) + payload, safe))
        self.retry()

    def retry(self) -> bool:
        """Hand over what the ring has room for; False: nothing of it."""
        moved = False
        while self.waiting:
            try:
                self._endpoint.submit(*self.waiting[0])
            except QueueFull:
                break
            except Refused:  # we are leaving: nobody waits for it any more
                self.waiting.clear()
                break
            self.waiting.popleft()
            moved = True
        return moved
