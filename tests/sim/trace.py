"""What happened, in order: a fingerprint of the whole run, and lines about chosen nodes for a reader.

The fingerprint takes in every datagram's bytes and every line, so that two runs with the same one did the same, byte
for byte. What is only for a reader stays out of it. A reader can take some hundred lines: messages that came one after
the other, and calls that were answered, are one line until something else happens.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from transport.ids import NodeId

Print = Callable[[str], None]


class Trace:
    """watched: the nodes whose lines are printed; `echo` prints a line.  every: what is usual gets a line each, too."""

    def __init__(self, watched: frozenset[NodeId] = frozenset(), echo: Print = print, every: bool = False) -> None:
        self.watched = watched
        self._every = every
        self._echo = echo
        self._sum = 0
        self._usual: dict[NodeId, Counter[str]] = {}
        self._usual_since = self._usual_until = 0.0
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
            self._flush()
            self._echo(line)

    def show(self, now: float, node: NodeId, text: str) -> None:
        """For the reader only: no part of the fingerprint, which must not depend on who is watched."""
        if node in self.watched:
            self._flush()
            self._echo(f"{now:10.6f} {f'node {node}':8}{text}")

    def usual(self, now: float, node: NodeId, kind: str, text: Callable[[], str]) -> None:
        """For the reader only: what happens all the time. kind: how it is counted where it gets no line."""
        if node not in self.watched:
            return
        if self._every:
            self.show(now, node, text())
            return
        if not self._usual:
            self._usual_since = now
        self._usual.setdefault(node, Counter())[kind] += 1
        self._usual_until = now

    def _flush(self) -> None:
        """Whatever was usual since the last line, a line for each node."""
        if not self._usual:
            return
        usual, self._usual = self._usual, {}
        for node, counts in sorted(usual.items()):
            told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
            since = f" since {self._usual_since:.6f}" if self._usual_since < self._usual_until else ""
            self._echo(f"{self._usual_until:10.6f} {f'node {node}':8}  {told}{since}")

    def end(self) -> None:
        """The run is over: tell what was not told yet."""
        self._flush()


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
