"""Do two sides ever say "quorate" at one moment (Q1, Q4)?

An answer "quorate" with so much lease left, asked at t0 and had at t1, is a promise for all times from t1 to t0 +
lease, unless the process is ended by us before: the daemon judged it somewhere between, on the clock that we read too.
Two such promises that overlap are two quorate sides if the node in the older ring is not in the newer one: it was left
out, and trusts its verdict. (A node that comes in makes a newer ring with those it joins: they are one side.)
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from tests.sim.history import Violation

KEPT = 2.0  # seconds beyond its end for which a promise is kept to be compared


@dataclass(frozen=True, slots=True)
class Promise:
    """`node` is quorate from `since` until `until` (moments.clock) in a ring of these members."""

    node: int
    members: tuple[int, ...]
    ring: str
    since: float
    until: float


def apart(one: Promise, other: Promise) -> bool:
    """Is the one in the older ring left out of the newer?"""
    first, second = sorted((one, other), key=lambda promise: int(promise.ring.rpartition(".")[2], 16))
    if one.ring.rpartition(".")[2] == other.ring.rpartition(".")[2] and one.ring != other.ring:
        return True  # two rings of one number have no member in common
    return first.node not in second.members


class Board:
    """All promises of the last seconds, compared as they come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lives: dict[int, int] = {}  # odd: runs, and nobody has told it to end
        self._last: dict[int, list[Promise]] = {}
        self.promises = 0
        self.broken: list[str] = []

    def life(self, node: int) -> int:
        with self._lock:
            return self._lives.get(node, 0)

    def began(self, node: int) -> None:
        """Called when a process was started."""
        with self._lock:
            self._lives[node] = self._lives.get(node, 0) + 1

    def ending(self, node: int) -> None:
        """Called before a process is ended or told to: nothing it promised counts any more."""
        with self._lock:
            self._lives[node] = self._lives.get(node, 0) + 1
            self._last.pop(node, None)

    def add(self, life: int, promise: Promise) -> None:
        with self._lock:
            if life % 2 == 0 or life != self._lives.get(promise.node, 0):
                return
            self.promises += 1
            for other in (p for node, kept in self._last.items() if node != promise.node for p in kept):
                if apart(promise, other) and promise.since < other.until and other.since < promise.until:
                    self.broken.append(f"two quorate sides at one moment: {promise} and {other}")
            kept = [p for p in self._last.get(promise.node, []) if p.until > promise.since - KEPT]
            self._last[promise.node] = [*kept, promise]

    def check(self) -> int:
        """Raises Violation; returns how many promises were compared so far."""
        with self._lock:
            if self.broken:
                raise Violation(0.0, "Q4", self.broken[0])
            return self.promises
