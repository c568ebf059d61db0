"""What happens, told once: an event for subscribers, a status line for systemd, a log line where no core wrote one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cfs.status import Changed, Replaced, StoreStatus
from clusterd.changes import ConfigApplied, Removed
from clusterd.control.shapes import Event
from clusterd.node import Node
from clusterd.notify import Notifier
from quorum.votequorum import Verdict
from transport.core import Log
from transport.events import ConfigurationChange, PathChange
from transport.exchange import RemovedNotice

LASTING = 0.5  # seconds: every change of membership leaves the store read-only for some milliseconds, which is no news


Later = Callable[[float, Callable[[], None]], object]


class Teller:
    """push: where events go.  later: calls something in so many seconds.

    True between any two calls: `status` is the line systemd was told last.
    """

    def __init__(self, node: Node, log: Log, notifier: Notifier, push: Callable[[Event], None], later: Later) -> None:
        self._node = node
        self._log = log
        self._notify = notifier
        self._push = push
        self._later = later
        self.status = ""
        self._verdict: tuple[bool, str] | None = None
        self._store: tuple[str, bool, str] | None = None
        self._logged: tuple[str, bool] | None = None  # of the store: state and writable as the log said last
        self._revision = 0
        self._removed = ""

    def say(self, kind: Any, message: str, data: dict[str, object], warn: bool = False) -> None:
        """Log and push one thing that happened. kind: membership, quorum, link, store or config."""
        (self._log.warning if warn else self._log.info)(f"{kind}: {message}")
        self._tell(kind, message, data)

    def _tell(self, kind: Any, message: str, data: dict[str, object]) -> None:
        self._push({"time": time.time(), "node_id": self._node.me, "type": kind, "message": message, "data": data})

    def membership(self, change: ConfigurationChange) -> None:
        name = self._node.changes.config.name_of
        parts = [f"ring {change.ring_id} with {', '.join(name(n) for n in change.members)}"]
        if change.joined:
            parts.append("joined: " + ", ".join(name(n) for n in change.joined))
        if change.left:
            parts.append("left: " + ", ".join(name(n) for n in change.left))
        data: dict[str, object] = {
            "ring_id": str(change.ring_id),
            "members": list(change.members),
            "joined": list(change.joined),
            "left": list(change.left),
        }
        self._tell("membership", "; ".join(parts), data)

    def verdict(self, verdict: Verdict) -> None:
        before, self._verdict = self._verdict, (verdict.quorate, verdict.reason)
        changed = before is None or before[0] != verdict.quorate
        word = "quorate" if verdict.quorate else "not quorate"
        data: dict[str, object] = {"quorate": verdict.quorate, "ring_id": str(verdict.ring_id)}
        if changed:
            self._tell("quorum", f"{word}: {verdict.reason}", data)
        elif before != self._verdict:
            self._log.info(f"still {word}: {verdict.reason}")
        self._tell_manager(f"{word}, {len(verdict.members)} of {len(self._node.changes.config.votes)} nodes present")

    def path(self, change: PathChange) -> None:
        name = self._node.changes.config.name_of(change.peer)
        state = "up" if change.up else "down"
        message = f"link {change.link} to {name} is {state}" + (f": {change.reason}" if change.reason else "")
        data: dict[str, object] = {"peer": change.peer, "link": change.link, "up": change.up}
        self._tell("link", message, data)

    def store(self, event: Changed | Replaced) -> None:
        """Changes are for `fs watch`; only a tree that was replaced is news here, if there was anything in it."""
        if isinstance(event, Replaced) and self._revision:
            self.say("store", f"the tree was replaced: {event.reason}", {})

    def store_status(self) -> None:
        """Subscribers hear of every step; the log of what lasts, and at once of what is good or needs somebody."""
        status = self._node.replica.status()
        before, self._store = self._store, (status.state, status.writable, status.reason)
        if before == self._store:
            return
        data: dict[str, object] = {
            "state": status.state,
            "writable": status.writable,
            "revision": status.revision,
            "reason": status.reason,
        }
        self._revision = status.revision
        self._tell("store", self._store_words(status), data)
        if status.alarm or status.writable or status.state in ("damaged", "disk_error"):
            self._log_store()
        elif before is None or before[:2] != self._store[:2]:
            self._later(LASTING, self._log_store)

    def _log_store(self) -> None:
        status = self._node.replica.status()
        stands = (status.state, status.writable)
        if stands != self._logged or status.alarm:
            self._logged = stands
            self._log.info(f"store: {self._store_words(status)}")

    def _store_words(self, status: StoreStatus) -> str:
        what = "writable" if status.writable else f"read-only: {status.reason}"
        return f"{status.state} at revision {status.revision}, {what}"

    def config(self, event: ConfigApplied) -> None:
        version = event.config.config_version
        what = "; ".join(event.difference.changed) or "no key changed"
        data: dict[str, object] = {"config_version": version, "changed": list(event.difference.changed)}
        self.say("config", f"version {version} in force, by {event.initiator}: {what}", data)
        for sentence in event.difference.needs_restart:
            self._log.warning(f"config: needs a restart of clusterd to take effect: {sentence}")

    def removed(self, event: Removed | RemovedNotice) -> None:
        if isinstance(event, RemovedNotice):
            date = time.strftime("%Y-%m-%d %H:%M", time.localtime(event.date))
            message = f"this node was removed from the cluster on {date} by {event.by}; nothing here is deleted"
        else:
            message = f"this node was removed from the cluster by {event.by}; nothing here is deleted"
        if message != self._removed:  # every member says so
            self._removed = message
            self.say("membership", message, {}, warn=True)

    def _tell_manager(self, status: str) -> None:
        self.status = status
        self._notify.status(status)
