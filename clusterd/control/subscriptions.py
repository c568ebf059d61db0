"""Streams to one client: verdicts and events pushed at us, changes of the tree pulled by a cursor.

A client that does not read never costs more than a bounded queue: pushed events wait in the queue, and once it is full
the client is told how many it missed, `{"slow": true, "dropped": n}`, and the subscription ends; it may subscribe
again. A watch of the tree needs no queue at all: it remembers the revision it sent last and asks the store for more
when the client reads again; it misses something only when the store no longer keeps it, or is another one by then.
While nothing of the store may be shown (a node that has just started may not know yet which of its last writes count)
a watch waits: so one that goes on after the daemon's restart does not fail because it came too early.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from cfs.errors import Compacted
from clusterd.control.backend import Backend, Cancel
from clusterd.control.shapes import Change
from transport.errors import ClusterError

_PAGE = 256  # changes asked for at once


class Outlet(Protocol):
    """The connection, as a subscription sees it."""

    @property
    def writable(self) -> bool:
        """Whether the client reads what it was sent."""
        ...

    def send(self, message: Mapping[str, Any]) -> None: ...
    def ended(self, ident: int, slow: bool) -> None:
        """The subscription is over, forget it."""
        ...

    def may_touch(self, path: str) -> bool: ...


class Subscription(Protocol):
    """What the connection does with either kind."""

    def flush(self) -> None:
        """The client reads again (or for the first time): send what waits."""
        ...

    def close(self) -> None:
        """The client cancelled, or is gone."""
        ...


class Pushed:
    """Events that are pushed at us, in order, each at most once."""

    def __init__(self, outlet: Outlet, ident: int, queue: int) -> None:
        self._outlet = outlet
        self._ident = ident
        self._limit = queue
        self._queue: deque[Mapping[str, Any]] = deque()
        self._dropped = 0
        self._open = True
        self.cancel: Cancel = lambda: None

    def push(self, event: Mapping[str, Any]) -> None:
        """Never raises, never waits."""
        if not self._open:
            return
        if self._dropped:
            self._dropped += 1
        elif not self._queue and self._outlet.writable:
            self._outlet.send({"sub": self._ident, "event": event})
        elif len(self._queue) < self._limit:
            self._queue.append(event)
        else:
            self._dropped = 1

    def flush(self) -> None:
        while self._queue and self._outlet.writable:
            self._outlet.send({"sub": self._ident, "event": self._queue.popleft()})
        if self._dropped and not self._queue and self._outlet.writable:
            self.close()
            _say_slow(self._outlet, self._ident, self._dropped)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._queue.clear()
            self.cancel()


class StoreWatch:
    """Changes below one path, from a revision on."""

    def __init__(self, outlet: Outlet, ident: int, backend: Backend, path: str, after: int) -> None:
        """Raises Compacted or BadArgument when the first changes cannot be had."""
        self._outlet = outlet
        self._ident = ident
        self._backend = backend
        self._below = path + "/" if path else ""
        self._path = path
        self._after = after
        self._open = True
        self._due = False
        self._tree = backend.tree_number
        if backend.store_readable:
            backend.fs_changes(after, 1)
        self._cancel = backend.watch_store(self._wake)

    def _wake(self) -> None:
        """Something changed. The answer waits for the loop, so that the store is not asked while it is at work."""
        if self._open and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        self._due = False
        if not self._backend.store_readable:
            return
        if self._open and self._outlet.writable and self._backend.tree_number != self._tree:
            # Revisions of two histories cannot be compared: the same number may stand for another tree.
            self.close()
            _say_slow(self._outlet, self._ident, 1)
            return
        while self._open and self._outlet.writable:
            try:
                changes = self._backend.fs_changes(self._after, _PAGE)
            except ClusterError as error:  # the store may also have gone back: a forced recovery
                self.close()
                missed = error.oldest - self._after if isinstance(error, Compacted) else 1
                _say_slow(self._outlet, self._ident, max(1, missed))
                return
            if not changes:
                return
            self._send(changes)

    def _send(self, changes: list[Change]) -> None:
        for change in changes:
            self._after = change["revision"]
            seen = visible(change, self._outlet.may_touch)
            if seen is not None and (self._covers(seen["path"]) or self._covers(seen["to"])):
                self._outlet.send({"sub": self._ident, "event": seen})

    def _covers(self, path: str | None) -> bool:
        """Inside what is watched, or a directory above it, whose removal or renaming takes it along."""
        if path is None:
            return False
        return path.startswith(self._below) or path == self._path or self._below.startswith(path + "/")

    def close(self) -> None:
        if self._open:
            self._open = False
            self._cancel()


def visible(change: Change, may_touch: Callable[[str], bool]) -> Change | None:
    """The change as this client may see it; a move over the border of its sight is a put or a rm to it."""
    sees_path = may_touch(change["path"])
    if change["to"] is None:
        return change if sees_path else None
    sees_to = may_touch(change["to"])
    if sees_path and sees_to:
        return change
    if sees_path:
        return {**change, "op": "rm", "to": None}
    return {**change, "op": "put", "path": change["to"], "to": None} if sees_to else None


def _say_slow(outlet: Outlet, ident: int, dropped: int) -> None:
    outlet.send({"sub": ident, "event": {"slow": True, "dropped": dropped}})
    outlet.send({"sub": ident, "end": None})
    outlet.ended(ident, slow=True)
