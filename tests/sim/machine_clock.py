"""The clocks of one simulated machine: one that counts seconds since some moment, and the wall clock on top of it."""

from __future__ import annotations

from tests.sim.clock import Clock

EPOCH = 1_700_000_000  # what the wall clocks say at the beginning, Unix seconds


class MachineClock:
    """Offset and rate differ by machine. It never goes back, unless the whole machine is put back in time."""

    def __init__(self, clock: Clock, offset: float, rate: float) -> None:
        self._clock = clock
        self._offset = offset
        self._rate = rate
        self._latest = 0.0
        self._stepped = 0.0  # seconds by which its wall clock was set

    def now(self) -> float:
        now = self._offset + self._clock.now * self._rate
        if now > self._latest:
            self._latest = now
        return self._latest

    def date(self) -> int:
        """The wall clock, Unix seconds."""
        return int(EPOCH + self._stepped + self.now())

    def true(self, reading: float) -> float:
        """The run's time at which this clock shows `reading`."""
        return (reading - self._offset) / self._rate

    def reach(self, reading: float) -> None:
        """It shows so much now: what the conversion of a deadline to the run's time and back has lost."""
        self._latest = reading

    def step(self, seconds: float) -> None:
        """The wall clock is set, forwards or back."""
        self._stepped += seconds

    def put_back(self, reading: float) -> None:
        """The machine goes on from a moment at which it showed `reading`."""
        self._latest = reading
        self._offset = reading - self._clock.now * self._rate
