"""The datagrams that wait on one simulated machine until its process reads them, and what its time goes to meanwhile.

A process is busy for a while with each wake-up and each datagram of it. What comes then waits, and is handed over
together as the next wake-up.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.clock import Clock
from tests.sim.network import Address
from transport.ids import LinkId

WAKE_COST = 100e-6  # seconds a process is busy with one wake-up, as measured, and with each datagram of it
DATAGRAM_COST = 20e-6
SOCKET_BUFFER = 2000  # datagrams the kernel keeps for a process that does not read

Datagram = tuple[LinkId, Address, bytes]


class Inbox:
    """wake(): something waits, and the process may be free; whoever reads takes (`take`)."""

    def __init__(self, clock: Clock, wake_delay: float, wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake_delay = wake_delay
        self._wake = wake
        self._datagrams: list[Datagram] = []
        self._busy_until = 0.0
        self._cost_factor = 1.0
        self.slowed = 0  # wake-ups that took longer than usual

    def put(self, datagram: Datagram, asleep: bool) -> None:
        """asleep: nobody is woken by it, the process is stopped."""
        datagrams = self._datagrams
        if not datagrams and not asleep:
            wake, busy = self._clock.now + self._wake_delay, self._busy_until
            self._clock.at(busy if busy > wake else wake, self._wake)
        if len(datagrams) < SOCKET_BUFFER:
            datagrams.append(datagram)

    def take(self) -> list[Datagram]:
        """All that waits, as one wake-up; nothing while the process is busy: it is woken when it is free."""
        clock = self._clock
        if not self._datagrams:
            return []
        if clock.now < self._busy_until:
            clock.at(self._busy_until, self._wake)
            return []
        batch, self._datagrams = self._datagrams, []
        self.slowed += self._cost_factor > 1.0
        self._busy_until = clock.now + (WAKE_COST + DATAGRAM_COST * len(batch)) * self._cost_factor
        return batch

    def clear(self) -> None:
        """The process that would have read them is gone."""
        self._datagrams.clear()

    @property
    def cost_factor(self) -> float:
        """How many times longer than usual this machine takes for what it does."""
        return self._cost_factor

    @cost_factor.setter
    def cost_factor(self, factor: float) -> None:
        """From now on; what it is at work on goes on at the new pace."""
        clock = self._clock
        left = max(0.0, self._busy_until - clock.now) * factor / self._cost_factor
        self._cost_factor = factor
        if left:
            self._busy_until = clock.now + left
            clock.at(self._busy_until, self._wake)
