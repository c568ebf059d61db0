"""A real store and the simulated disk behind one face, so that one script of requests runs on both."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from random import Random

from cfs.disk import DiskRequest, StoreImage
from cfs.io.store import Store
from tests.sim.disk import SimDisk

Answer = tuple[int, str | None]


class RealDisk:
    """A Store in a directory; `ask` waits for the answers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answers: list[Answer] = []
        self._arrived = threading.Condition()
        self.store = Store(root)

    def open(self) -> StoreImage:
        self.store = Store(self.root)
        image = self.store.open()
        self.store.start_with(self._told)
        return image

    def _told(self, answers: list[Answer]) -> None:
        with self._arrived:
            self.answers += answers
            self._arrived.notify_all()

    def submit(self, *requests: DiskRequest) -> None:
        for request in requests:
            self.store.submit(request)

    def ask(self, *requests: DiskRequest, timeout: float = 10.0) -> list[str | None]:
        """What became of each (of those that are answered), in the order asked."""
        receipts = [r.receipt for r in requests if hasattr(r, "receipt")]
        self.submit(*requests)
        self.wait(lambda: {r for r, _ in self.answers} >= set(receipts), timeout)
        return [dict(self.answers)[receipt] for receipt in receipts]

    def wait(self, met: object, timeout: float = 10.0) -> None:
        assert callable(met)
        with self._arrived:
            assert self._arrived.wait_for(met, timeout), self.answers

    def close(self) -> None:
        self.store.close()


class MemoryDisk:
    """A SimDisk run to the end of each request."""

    def __init__(self) -> None:
        self.sim = SimDisk(Random(1))
        self.now = 0.0
        self.answers: list[Answer] = []

    def open(self) -> StoreImage:
        return self.sim.open(self.now)

    def ask(self, *requests: DiskRequest) -> list[str | None]:
        receipts = [r.receipt for r in requests if hasattr(r, "receipt")]
        for request in requests:
            self.sim.request(request, self.now)
        while not {r for r, _ in self.answers} >= set(receipts):
            due = self.sim.next_timeout()
            assert due is not None
            self.now = max(self.now, due)
            self.answers += self.sim.poll(self.now)
        return [dict(self.answers)[receipt] for receipt in receipts]

    def close(self) -> None:
        self.sim.close()


def settle(seconds: float = 0.05) -> None:
    """Let the worker thread get on; only where nothing can be waited for."""
    time.sleep(seconds)
