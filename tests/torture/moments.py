"""The one clock of the torture, and waiting by it."""

from __future__ import annotations

import contextlib
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
