"""One line per event: to the journal when systemd runs us, else to stderr.

The journal stamps time and priority itself, so there a line is `<priority>sentence key=value`; on stderr it starts
with the local time and the level. The sentence comes first and stands alone; keys are for searching.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog

_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
LEVELS = ("debug", "info", "warning", "error")


def _plain(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(c.isspace() or c == '"' for c in text) else text


class _Line:
    """structlog's last processor: event dict to one line."""

    def __init__(self, journal: bool) -> None:
        self._journal = journal

    def __call__(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        level = str(event.pop("level", method))
        time = str(event.pop("timestamp", ""))
        # A newline inside a field (an address, a file name) must not forge a second line.
        text = str(event.pop("event")).replace("\n", "\\n")
        fields = "".join(f" {key}={_plain(value)}" for key, value in event.items())
        if self._journal:
            return f"<{_PRIORITY.get(level, 6)}>{text}{fields}"
        return f"{time} {level:<7} {text}{fields}"


def on_journal(stream: TextIO) -> bool:
    """Is `stream` the journal's? systemd names its device and inode in JOURNAL_STREAM (systemd.exec(5))."""
    named = os.environ.get("JOURNAL_STREAM", "")
    try:
        stat = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{stat.st_dev}:{stat.st_ino}"


class Sink:
    """A stream whose troubles are not the daemon's: a full disk or a restarted journal costs lines, nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def setup(level: str = "info", stream: TextIO | None = None) -> structlog.stdlib.BoundLogger:
    """Configure logging for this process and return its logger. level: one of LEVELS."""
    stream = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S.%f", utc=False),
            _Line(on_journal(stream)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, Sink(stream))),
        cache_logger_on_first_use=True,
    )
    logger: structlog.stdlib.BoundLogger = structlog.get_logger()
    return logger
