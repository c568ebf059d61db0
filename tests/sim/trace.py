"""What happened, in order: a fingerprint of the whole run, and lines about chosen nodes for a reader.

The fingerprint takes in every datagram's bytes and every line, so that two runs with the same one did the same, byte
for byte. What is only for a reader stays out of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from transport.ids import NodeId

Print = Callable[[str], None]


class Trace:
    """watched: the nodes whose lines are printed; `echo` prints a line."""

    def __init__(self, watched: frozenset[NodeId] = frozenset(), echo: Print = print) -> None:
        self.watched = watched
        self._echo = echo
        self._sum = 0
        self.lines = 0

    @property
    def fingerprint(self) -> str:
        """Grows with everything that happened; equal for equal runs."""
        return f"{self.lines}-{self._sum:08x}"

    def datagram(self, data: bytes) -> None:
        self._sum = zlib.crc32(data, self._sum)

    def line(self, now: float, node: NodeId, text: str) -> None:
        """node 0: about all of them, printed whenever any is watched."""
        self.lines += 1
        line = f"{now:10.6f} {f'node {node}' if node else 'world':8}{text}"
        self._sum = zlib.crc32(line.encode(), self._sum)
        if self.watched and (node in self.watched or not node):
            self._echo(line)

    def show(self, now: float, node: NodeId, text: str) -> None:
        """For the reader only: no part of the fingerprint, which must not depend on who is watched."""
        if node in self.watched:
            self._echo(f"{now:10.6f} {f'node {node}':8}{text}")


class NodeLog:
    """The Log handed to a node: lines go to the trace at virtual time; warnings and errors are counted."""

    def __init__(self, trace: Trace, node: NodeId, now: Callable[[], float]) -> None:
        self._trace = trace
        self._node = node
        self._now = now
        self.lines = 0
        self.warnings = 0
        self.errors = 0

    def debug(self, event: str, **fields: Any) -> None:
        if self._node in self._trace.watched:
            self._trace.show(self._now(), self._node, f"debug: {_worded(event, fields)}")

    def info(self, event: str, **fields: Any) -> None:
        self._say("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self.warnings += 1
        self._say("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self.errors += 1
        self._say("error", event, fields)

    def _say(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.lines += 1
        self._trace.line(self._now(), self._node, f"{level}: {_worded(event, fields)}")


def _worded(event: str, fields: dict[str, Any]) -> str:
    return event + "".join(f" {name}={value}" for name, value in fields.items())
