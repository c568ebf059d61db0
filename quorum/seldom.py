"""A log that other members cannot fill: some lines at once, then one in a while, and how many were left out.

Nothing that members do of themselves comes near the limit. One that is broken or hostile may set votes as often as it
multicasts, or be a new member of ring after ring; each of that is worth a line until it is too many.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transport.core import Log

BURST = 30
"""Lines in a row."""
EVERY = 5.0
"""Seconds for each further one."""


class Seldom:
    """A Log in front of another one. now: of the event that is being handled, set by the owner."""

    __slots__ = ("_at", "_credit", "_left_out", "_log", "now")

    def __init__(self, log: Log) -> None:
        self._log = log
        self.now = 0.0
        self._at = 0.0
        self._credit = float(BURST)
        self._left_out = 0

    def debug(self, event: str, **fields: Any) -> None:
        self._say(self._log.debug, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._say(self._log.info, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._say(self._log.warning, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._say(self._log.error, event, fields)

    def _say(self, say: Callable[..., Any], event: str, fields: dict[str, Any]) -> None:
        self._credit = min(BURST, self._credit + max(0.0, self.now - self._at) / EVERY)
        self._at = self.now
        if self._credit < 1.0:
            self._left_out += 1
            return
        self._credit -= 1.0
        if self._left_out:
            event = f"{event} ({self._left_out} lines before this one were left out)"
            self._left_out = 0
        say(event, **fields)
