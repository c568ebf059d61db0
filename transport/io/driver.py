"""Pump and timer over a core: the shell without opinions.

After every input: what the core has to send goes out first, then its events are told (a token must not wait for what
a subscriber does), then the one timer is armed anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from transport.endpoint import Transmit
from transport.ids import LinkId
from transport.io.alarm import Alarm
from transport.link.events import Address

_Event = TypeVar("_Event", covariant=True)


JUMP = 0.25
"""Seconds of a step of the wall clock that count as one: a machine restored from a snapshot is behind by more."""


class Core(Protocol[_Event]):
    """What the driver needs of a node."""

    def receive(self, datagrams: Sequence[tuple[LinkId, Address, bytes]], now: float) -> None: ...
    def poll_transmit(self, now: float) -> Transmit | None: ...
    def next_event(self) -> _Event | None: ...
    def next_timeout(self) -> float | None: ...
    def handle_timeout(self, now: float) -> None: ...


class Sender(Protocol):
    """What the driver needs of the sockets."""

    def send_batch(self, batch: list[tuple[LinkId, Address, bytes]]) -> None: ...
    def send_urgent(self, link: LinkId, address: Address, data: bytes) -> None: ...


def clock() -> float:
    """Seconds, counting while the machine is suspended: a verdict must not outlive a sleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Driver(Generic[_Event]):
    """Drives one core on one loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        core: Core[_Event],
        on_event: Callable[[_Event], None],
        on_jump: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """on_jump: told when the wall clock was stepped, by how many seconds, before the core gets its next input."""
        self._core = core
        self._on_event = on_event
        self._on_jump = on_jump
        self._gap = time.time() - clock()
        self._sender: Sender | None = None
        self._alarm = Alarm(loop, self._fire)
        self._armed_for: float | None = None
        self._pumping = False
        self._again = False
        self.closed = False

    def attach(self, sender: Sender) -> None:
        """The sockets; until then, what the core sends is lost, as on any network."""
        self._sender = sender

    def datagrams(self, batch: list[tuple[LinkId, Address, bytes]]) -> None:
        """Everything that was read in one wake-up."""
        if not self.closed:
            now = clock()
            self._watch_wall(now)
            self._core.receive(batch, now)
            self.pump()

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """An input to the core: `method(*arguments, now)`, then the pump. What it raises, the caller gets."""
        now = clock()
        self._watch_wall(now)
        try:
            return method(*arguments, now)
        finally:
            self.pump()

    def pump(self) -> None:
        """Send, tell, arm. An event handler may give the core more input, through call(); that is then pumped too."""
        if self._pumping:
            self._again = True
            return
        if self.closed:
            return
        self._pumping = True
        try:
            self._again = True
            while self._again:
                self._again = False
                self._transmit()
                while (event := self._core.next_event()) is not None:
                    self._on_event(event)
        finally:
            self._pumping = False
        if not self.closed:
            self._arm()

    def close(self) -> None:
        """Stop the timer; nothing is driven any more. A second time: nothing."""
        if not self.closed:
            self.closed = True
            self._alarm.close()

    def _watch_wall(self, now: float) -> None:
        """Tell of a step of the wall clock before anything is sealed. Slewing is too slow to be taken for one."""
        gap = time.time() - now
        jump, self._gap = gap - self._gap, gap
        if abs(jump) > JUMP:
            self._on_jump(jump)

    def _transmit(self) -> None:
        batch: list[tuple[LinkId, Address, bytes]] = []
        now = clock()
        while (out := self._core.poll_transmit(now)) is not None:
            if self._sender is None:
                continue
            if out.urgent:
                self._sender.send_urgent(out.link, out.address, out.data)
            else:
                batch.append((out.link, out.address, out.data))
        if batch and self._sender is not None:
            self._sender.send_batch(batch)

    def _arm(self) -> None:
        """One timer. A deadline that moved back leaves it where it is: it fires, finds nothing due and is set anew,
        which is cheaper than setting it for every packet."""
        due = self._core.next_timeout()
        if due is not None and (self._armed_for is None or due < self._armed_for):
            self._set(due)

    def _set(self, due: float) -> None:
        self._armed_for = due
        self._alarm.set(due)

    def _fire(self) -> None:
        self._armed_for = None
        due = self._core.next_timeout()
        now = clock()
        self._watch_wall(now)
        if due is not None and now >= due:
            self._core.handle_timeout(now)
            self.pump()
        elif due is not None:
            self._set(due)
