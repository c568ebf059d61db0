"""Listens whether two sides ever say "quorate" at one moment (Q1, Q4).

Every node is asked again and again. An answer "quorate" with so much lease left, asked at t0 and had at t1, is a
promise for all times from t1 to t0 + lease, unless the process is ended by us before. Two such promises that overlap
are two quorate sides if the node in the older ring is not in the newer one: it was left out, and trusts its verdict.
(A node that comes in makes a newer ring with those it joins: they are one side.)
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from clusterd.client import Client, ClientError

EVERY = 0.03  # seconds


@dataclass(frozen=True, slots=True)
class Promise:
    """`node` is quorate from `since` until `until` (time.monotonic) in a ring of these members."""

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


class Listener(threading.Thread):
    """Asks one node."""

    def __init__(self, node: int, path: str, board: Board) -> None:
        super().__init__(name=f"verdicts of {node}", daemon=True)
        self._node, self._path, self._board = node, path, board
        self.enough = threading.Event()
        self.asked = 0

    def run(self) -> None:
        client: Client | None = None
        while not self.enough.wait(EVERY):
            try:
                client = client or Client(self._path, timeout=2.0, name="verdicts")
                life = self._board.life(self._node)
                asked = time.monotonic()
                answer = client.quorum()
                had = time.monotonic()
                self.asked += 1
                until = asked + float(answer["lease_s"])
                if answer["quorate"] and until > had:
                    members = tuple(answer["members"])
                    self._board.add(life, Promise(self._node, members, str(answer["ring_id"]), had, until))
            except ClientError:
                if client is not None:
                    client.close()
                client = None
        if client is not None:
            client.close()


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
            kept = [p for p in self._last.get(promise.node, []) if p.until > promise.since - 2.0]
            self._last[promise.node] = [*kept, promise]
