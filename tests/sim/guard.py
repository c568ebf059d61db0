"""A run that does not end is a failure too: a bound on the processor time it may take.

The bound is on this process's own time, so that a busy machine does not decide; whoever waits for another process sets
a bound of its own by the clock (tests/sim/sweep.py).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS = 600.0  # a run of 32 nodes takes more than a minute


class NoEnd(BaseException):
    """The time is over. No Exception: nothing on the way may take it for an error of its own."""


@contextmanager
def at_most(seconds: float = SECONDS) -> Iterator[None]:
    """Raises NoEnd from wherever the code inside is when it has used `seconds`. For the main thread only."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise NoEnd(f"no end after {seconds:g} s of processor time")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
