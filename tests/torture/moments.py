"""The one clock of the torture, waiting by it, and when the machine let nobody run."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from clusterd.client import ClientError


def clock() -> float:
    """Seconds of CLOCK_BOOTTIME: all daemons of a torture run on this machine and judge their leases by the same."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def until(deadline: float, done: Callable[[], object]) -> bool:
    """Wait until `done()` is true; False at the deadline (clock()). A ClientError is not yet."""
    while True:
        with contextlib.suppress(ClientError):
            if done():
                return True
        if clock() >= deadline:
            return False
        time.sleep(0.05)


class Pulse(threading.Thread):
    """Notices when this process did not run, and so perhaps none did: the machine was busy or stood still."""

    EVERY, GAP = 0.05, 0.3  # seconds

    def __init__(self) -> None:
        super().__init__(name="pulse", daemon=True)
        self.enough = threading.Event()
        self._gaps: list[tuple[float, float]] = []

    def take(self) -> list[tuple[float, float]]:
        """From and to, of each time since this was last called."""
        taken, self._gaps = self._gaps, []
        return taken

    def run(self) -> None:
        last = clock()
        while not self.enough.wait(self.EVERY):
            now = clock()
            if now - last > self.GAP:
                self._gaps.append((last, now))
            last = now
