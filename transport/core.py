"""What every core answers to.

A core is synchronous Python: bytes and the time in; bytes, events and one deadline out. It imports no asyncio,
socket, os, random, threading or clock. Its words:

    receive...(..., now)          one input; nothing a peer can send makes it raise
    poll_transmit(now)            the next thing to send, or None
    next_event()                  the next thing to tell the layer above, or None
    next_timeout()                an absolute time (seconds on the caller's clock), or None
    handle_timeout(now)           called at or after that time

Time is CLOCK_BOOTTIME seconds in the daemon and virtual seconds in the simulator. Entropy is handed in as
`Callable[[int], bytes]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

Entropy = Callable[[int], bytes]


class Log(Protocol):
    """The logger handed to a core: structlog's bound logger fits, and so does the simulator's."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


class SilentLog:
    """A Log that says nothing; for tests and benchmarks."""

    def debug(self, event: str, **fields: Any) -> None: ...
    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...
    def error(self, event: str, **fields: Any) -> None: ...


def earliest(*times: float | None) -> float | None:
    """The smallest of the given deadlines, None if there is none."""
    found: float | None = None
    for time in times:  # a loop, not min(): asked of every core after every datagram
        if time is not None and (found is None or time < found):
            found = time
    return found


class Timers:
    """Named deadlines of one core; a core has a handful, so a dict beats a heap."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def set(self, name: str, when: float) -> None:
        self._due[name] = when

    def cancel(self, *names: str) -> None:
        for name in names:
            self._due.pop(name, None)

    def get(self, name: str) -> float | None:
        return self._due.get(name)

    def next(self) -> float | None:
        return min(self._due.values()) if self._due else None

    def expired(self, now: float) -> list[str]:
        """Names due at `now`, earliest first (ties by name, so that a seed repeats); they are removed."""
        due = sorted((when, name) for name, when in self._due.items() if now >= when)
        for _, name in due:
            del self._due[name]
        return [name for _, name in due]
