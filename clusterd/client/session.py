"""The client's side of one connection without I/O: bytes in, messages out. Shared by both clients."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from clusterd.client.errors import ClientError, Denied, Failed, LimitExceeded, Missed, NoDaemon, UsageError, from_wire
from clusterd.control import frames
from clusterd.control.codes import PROTOCOL

DEFAULT_TIMEOUT = 5.0
WRITE_TIMEOUT = 10.0
CHANGE_TIMEOUT = 30.0
FRESH = 1.0  # seconds for which a log index is good enough to make ids of: a log does not grow by a window in that
GRACE = 0.25  # the daemon keeps a change's timeout too; its answer is better than our own guess

_MAX_MESSAGE = 64 << 20
_MAX_ITEMS = 1 << 20


class NotOurs(Failed):
    """What came is not our protocol: if something was asked, nobody knows what became of it."""


class Hello:
    """What the daemon said of itself: version, node id and name, cluster, and what we may do there.

    log_index: where its log was at `as_of` (seconds, the caller's clock); None: a daemon that does not tell.
    """

    __slots__ = ("as_of", "cluster", "log_index", "max_file_bytes", "may", "node_id", "node_name", "version")

    def __init__(self, message: Mapping[str, Any], now: float) -> None:
        """Raises ClientError when the daemon does not want us, or does not speak our protocol."""
        if "error" in message:
            raise from_wire(message["error"])
        if message.get("hello") != PROTOCOL:
            raise Failed(f"the daemon speaks protocol {message.get('hello')!r}, this client {PROTOCOL}")
        self.version = str(message["version"])
        self.node_id = int(message["node"]["id"])
        self.node_name = str(message["node"]["name"])
        self.cluster = str(message["cluster"])
        self.may: tuple[str, ...] = tuple(message["may"])
        self.max_file_bytes = int(message["max_file_bytes"])
        self.log_index: int | None = message.get("log_index")
        self.as_of = now

    def stale(self, now: float) -> bool:
        """Ask (`ping`) where the log is before an id is made of it. An old index is safe, but expires earlier."""
        return self.log_index is not None and now - self.as_of > FRESH

    def tell(self, pong: Mapping[str, Any], now: float) -> None:
        """The answer to `ping`."""
        self.log_index, self.as_of = pong.get("log_index"), now

    def distrust(self) -> None:
        """The index last told did not do."""
        self.as_of = -math.inf

    def new_operation_id(self) -> str:
        """32 random hex digits, a dash and the log index in hex, with which an id has one meaning for ever."""
        place = "" if self.log_index is None else f"-{self.log_index:x}"
        return f"{os.urandom(16).hex()}{place}"

    def check_change(self, arguments: Mapping[str, Any]) -> None:
        """Refuse here what the daemon would refuse after all bytes went over. Raises Denied, LimitExceeded."""
        if "write" not in self.may:
            raise Denied(
                f"user {os.geteuid()} may not change this cluster",
                "root, the daemon's user and its group may",
                self.node_id,
            )
        size = len(arguments.get("data", b""))
        if size > self.max_file_bytes:
            raise LimitExceeded(
                f"{size} bytes, a file has at most {self.max_file_bytes}", "nothing was changed", self.node_id
            )


class Session:
    """Numbers requests, makes frames, reads frames."""

    __slots__ = ("_next", "_reader")

    def __init__(self) -> None:
        self._reader = frames.Reader(_MAX_MESSAGE, _MAX_ITEMS)
        self._next = 0

    def hello(self, client: str) -> bytes:
        return frames.pack({"hello": PROTOCOL, "client": client})

    def request(self, operation: str, arguments: Mapping[str, Any]) -> tuple[int, bytes]:
        """An id and the bytes to send. Raises UsageError for text that is not UTF-8."""
        self._next += 1
        try:
            return self._next, frames.pack({"id": self._next, "op": operation, "args": arguments})
        except (ValueError, TypeError, OverflowError) as error:
            raise UsageError(f"{operation}: {error}") from None

    def feed(self, data: bytes) -> None:
        self._reader.feed(data)

    def next_message(self) -> frames.Message | None:
        """Raises NotOurs for what is not our protocol."""
        try:
            return self._reader.next_message()
        except frames.FrameError as error:
            raise NotOurs(f"what answers on the socket is no clusterd: {error}") from None


def answer_of(message: Mapping[str, Any]) -> Any:
    """The result in a response. Raises the error in it, or NotOurs."""
    if "error" in message:
        raise from_wire(message["error"])
    if "ok" not in message:
        raise NotOurs("what answers on the socket is no clusterd: neither a result nor an error")
    return message["ok"]


def event_of(message: Mapping[str, Any], node: int) -> Mapping[str, Any]:
    """The event in a subscription's message. Raises Missed, or NoDaemon at its end."""
    event = message.get("event")
    if not isinstance(event, dict):
        raise NoDaemon("the daemon ended the subscription", "", node)
    if event.get("slow"):
        raise Missed(int(event["dropped"]), node)
    return event


def no_daemon(path: str, error: OSError, seconds: float | None = None) -> ClientError:
    """What a failed connect means. seconds: how long was waited."""
    if isinstance(error, FileNotFoundError):
        return NoDaemon(f"no daemon answers on {path}", "is clusterd running?")
    if isinstance(error, ConnectionRefusedError):
        return NoDaemon(f"no daemon answers on {path}", "clusterd has ended; start it again")
    if isinstance(error, PermissionError):
        return Denied(f"{path}: {error.strerror}", "the directory of the socket is closed to this user")
    if isinstance(error, (TimeoutError, BlockingIOError)):
        return silent(path, seconds)
    return NoDaemon(f"{path}: {error.strerror or error}")


def silent(path: str, seconds: float | None) -> NoDaemon:
    """Somebody holds the socket and says nothing."""
    span = f" within {seconds:g} s" if seconds is not None else ""
    return NoDaemon(f"no answer on {path}{span}", "the daemon is stopped or very busy")
