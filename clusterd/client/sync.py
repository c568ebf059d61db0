"""The client for ordinary programs: a method per operation, each waits for its answer.

    with Client() as cluster:
        if cluster.quorum()["quorate"]:
            cluster.put("notes/today", b"hello")

One connection, opened at the first call and again after it broke; not for several threads at once. A stream (`watch`,
`watch_quorum`, `events`) has a connection of its own, so it may be read while other calls are made.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from clusterd.client import session
from clusterd.client.errors import ClientError, Missed, NoDaemon, OutcomeUnknown
from clusterd.client.session import CHANGE_TIMEOUT, DEFAULT_TIMEOUT, GRACE, WRITE_TIMEOUT, Hello, Session
from clusterd.control.codes import DEFAULT_SOCKET
from clusterd.control.sockets import connect

if TYPE_CHECKING:
    from clusterd.control import shapes

_CHUNK = 1 << 18
_RETRY = 0.1  # seconds between attempts to reach a daemon that went away


class _Link:
    """One greeted connection."""

    def __init__(self, path: str, name: str, timeout: float) -> None:
        self.path = path
        try:
            self.sock: socket.socket = connect(path, timeout)
        except OSError as error:
            raise session.no_daemon(path, error, timeout) from None
        self._session = Session()
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # turned away: the reason waits to be read
                self._send(self._session.hello(name))
            self.hello = Hello(self.receive(time.monotonic() + timeout), time.monotonic())
        except OSError as error:
            self.close()
            raise session.no_daemon(path, error, timeout) from None
        except BaseException:
            self.close()
            raise

    def request(self, operation: str, arguments: Mapping[str, Any], deadline: float | None) -> int:
        ident, data = self._session.request(operation, arguments)
        self._limit(deadline)
        self._send(data)
        return ident

    def receive(self, deadline: float | None) -> Mapping[str, Any]:
        """The next message. Raises OSError: TimeoutError at the deadline, ConnectionError when the daemon hung up."""
        while (message := self._session.next_message()) is None:
            self._limit(deadline)
            data = self.sock.recv(_CHUNK)
            if not data:
                raise ConnectionResetError("the daemon closed the connection")
            self._session.feed(data)
        return message

    def _send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def _limit(self, deadline: float | None) -> None:
        if deadline is None:
            self.sock.settimeout(None)
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)

    def close(self) -> None:
        self.sock.close()


class Client:
    """A node's daemon, through its socket.

    path: the socket file.  timeout: seconds to wait for the answer to a call that only looks.
    name: told to the daemon.
    Every method raises a ClientError: NoDaemon when nobody answers (nothing happened), else as its class says.
    """

    def __init__(self, path: str = DEFAULT_SOCKET, *, timeout: float = DEFAULT_TIMEOUT, name: str = "client") -> None:
        self.path = path
        self.timeout = timeout
        self.name = name
        self._link: _Link | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the next call connects again."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def connect(self) -> Hello:
        """Who answers: connect now, if not yet connected."""
        if self._link is None:
            self._link = _Link(self.path, self.name, self.timeout)
        return self._link.hello

    # looking

    def ping(self) -> shapes.Pong:
        return cast("shapes.Pong", self._look("ping"))

    def status(self) -> shapes.Status:
        return cast("shapes.Status", self._look("status"))

    def quorum(self) -> shapes.Quorum:
        """The verdict, judged when it was asked; it stays true for `lease_s` seconds."""
        return cast("shapes.Quorum", self._look("quorum"))

    def nodes(self) -> shapes.Nodes:
        return cast("shapes.Nodes", self._look("nodes"))

    def links(self) -> shapes.Links:
        return cast("shapes.Links", self._look("links"))

    def watch_quorum(self) -> Iterator[shapes.Quorum]:
        """The verdict now, then every change. Raises NoDaemon when the daemon goes: then nothing is known."""
        while True:
            try:
                yield from cast("Iterator[shapes.Quorum]", self._stream("quorum_watch", {}))
            except Missed:
                continue  # too slow for the history; the next subscription begins with the present

    def events(self) -> Iterator[shapes.Event]:
        """What happens from now on. Raises Missed when read too slowly, NoDaemon when the daemon goes."""
        return cast("Iterator[shapes.Event]", self._stream("events", {}))

    # changing the cluster

    def set_expected(self, votes: int, timeout: float = CHANGE_TIMEOUT) -> shapes.Quorum:
        return cast("shapes.Quorum", self._change("expected", {"votes": votes}, timeout))

    def reload(self, timeout: float = CHANGE_TIMEOUT) -> shapes.Reloaded:
        """Apply the configuration file on all nodes. Raises ConfigRefused with every reason."""
        return cast("shapes.Reloaded", self._change("reload", {}, timeout))

    def rotate_key(self, timeout: float = CHANGE_TIMEOUT) -> shapes.Reloaded:
        return cast("shapes.Reloaded", self._change("key_rotate", {}, timeout))

    def set_cuts(self, cuts: list[shapes.Cut]) -> None:
        """Only a daemon started with --lab: drop datagrams on exactly these ways from now on."""
        self._look("lab_cuts", {"cuts": cuts})

    # files; operation_id: give the one of an OutcomeUnknown to finish that very operation, done at most once

    def new_operation_id(self, timeout: float | None = None) -> str:
        """An id for one write, to be kept before it is tried: who comes back after a crash can repeat it, or ask."""
        self._drop_if_dead()
        if self.connect().stale(time.monotonic()):
            seconds = self.timeout if timeout is None else min(timeout, self.timeout)
            pong = self._look("ping", {}, seconds)
            self.connect().tell(pong, time.monotonic())
        return self.connect().new_operation_id()

    def put(
        self, path: str, data: bytes, *, timeout: float = WRITE_TIMEOUT, operation_id: str | None = None
    ) -> shapes.Written:
        """Write a whole file; its directory must exist. On return it is on disk on the nodes of `durable_on`."""
        return cast("shapes.Written", self._write("fs_put", {"path": path, "data": data}, timeout, operation_id))

    def cas(
        self,
        path: str,
        data: bytes,
        revision: int,
        *,
        timeout: float = WRITE_TIMEOUT,
        operation_id: str | None = None,
    ) -> shapes.Written:
        """As put, if the entry's revision is `revision` (0: does not exist). Raises Conflict(current_revision)."""
        arguments = {"path": path, "data": data, "revision": revision}
        return cast("shapes.Written", self._write("fs_cas", arguments, timeout, operation_id))

    def write(
        self,
        path: str,
        offset: int,
        data: bytes,
        *,
        truncate: bool = False,
        timeout: float = WRITE_TIMEOUT,
        operation_id: str | None = None,
    ) -> shapes.Written:
        """Write into an existing file; truncate: it ends after `data`."""
        arguments = {"path": path, "offset": offset, "data": data, "truncate": truncate}
        return cast("shapes.Written", self._write("fs_write", arguments, timeout, operation_id))

    def remove(
        self, path: str, *, recursive: bool = False, timeout: float = WRITE_TIMEOUT, operation_id: str | None = None
    ) -> shapes.Changed:
        arguments = {"path": path, "recursive": recursive}
        return cast("shapes.Changed", self._write("fs_rm", arguments, timeout, operation_id))

    def mkdir(
        self, path: str, *, parents: bool = False, timeout: float = WRITE_TIMEOUT, operation_id: str | None = None
    ) -> shapes.Changed:
        """parents: also make what is missing above, and be content when it exists."""
        return cast(
            "shapes.Changed", self._write("fs_mkdir", {"path": path, "parents": parents}, timeout, operation_id)
        )

    def move(
        self, path: str, to: str, *, timeout: float = WRITE_TIMEOUT, operation_id: str | None = None
    ) -> shapes.Changed:
        return cast("shapes.Changed", self._write("fs_mv", {"path": path, "to": to}, timeout, operation_id))

    def cat(self, path: str, *, linearizable: bool = False, timeout: float = WRITE_TIMEOUT) -> shapes.FileData:
        """A file. linearizable: with every write that was acknowledged anywhere before this call; needs quorum."""
        arguments = {"path": path, "linearizable": linearizable, "timeout": timeout}
        return cast("shapes.FileData", self._look("fs_cat", arguments, timeout + GRACE))

    def stat(self, path: str) -> shapes.Entry:
        return cast("shapes.Entry", self._look("fs_stat", {"path": path}))

    def ls(self, path: str = "", *, recursive: bool = False) -> shapes.Listing:
        """A directory. More than a page (1000) comes in several calls: `revision` is the first one's, entries may be
        newer, and a watch from that revision misses nothing."""
        arguments: dict[str, Any] = {"path": path, "recursive": recursive}
        listing = page = cast("shapes.Listing", self._look("fs_ls", arguments))
        while page["more"]:
            after = page["entries"][-1]["path"]
            page = cast("shapes.Listing", self._look("fs_ls", {**arguments, "after": after}))
            listing["entries"] += page["entries"]
        listing["more"] = False
        return listing

    def watch(self, path: str = "", revision: int | None = None, *, reconnect: bool = True) -> Iterator[shapes.Change]:
        """Changes below `path` after `revision` (None: from now), each once and in order.

        reconnect: wait for a daemon that went away and go on after the last change seen; else raise NoDaemon.
        Raises Missed, or Failed at the start, when the store keeps those changes no longer.
        """
        after: int = self._look("fs_ls", {"limit": 1})["revision"] if revision is None else revision
        delay = 0.0
        while True:
            try:
                for change in cast(
                    "Iterator[shapes.Change]", self._stream("fs_watch", {"path": path, "revision": after})
                ):
                    delay = 0.0
                    after = change["revision"]
                    yield change
            except NoDaemon:
                if not reconnect:
                    raise
                time.sleep(delay)
                delay = min(2.0, delay * 2 or _RETRY)

    def discarded(self) -> shapes.Discarded:
        """What merges set aside."""
        return cast("shapes.Discarded", self._look("fs_discarded"))

    def outcome(self, operation_id: str) -> shapes.Outcome:
        """What became of an operation whose outcome was unknown."""
        return cast("shapes.Outcome", self._look("fs_outcome", {"operation_id": operation_id}))

    # how

    def _look(self, operation: str, arguments: Mapping[str, Any] | None = None, timeout: float | None = None) -> Any:
        """A call that may be repeated: once more on a fresh connection when an old one turns out dead."""
        seconds = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        for attempt in ("kept", "fresh"):
            fresh = self._link is None
            self.connect()
            try:
                return self._exchange(operation, arguments or {}, deadline)
            except TimeoutError:
                self.close()
                raise session.silent(self.path, seconds) from None
            except OSError as error:
                self.close()
                if fresh or attempt == "fresh":
                    raise session.no_daemon(self.path, error) from None
        raise AssertionError("unreachable")

    def _write(self, operation: str, arguments: Mapping[str, Any], timeout: float, operation_id: str | None) -> Any:
        if operation_id is not None:
            return self._change(operation, {**arguments, "operation_id": operation_id}, timeout)
        deadline = time.monotonic() + timeout
        left = timeout
        while True:
            ident = self.new_operation_id(left)
            try:
                return self._change(operation, {**arguments, "operation_id": ident}, left)
            except ClientError as error:  # an id of our own that was sent once may be given up for another
                left = deadline - time.monotonic()
                if not error.spent or left <= 0:
                    raise
                self.connect().distrust()

    def _change(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        """A call that must not be repeated unasked. Greeted first: until then NoDaemon is provably true."""
        deadline = time.monotonic() + timeout + GRACE
        self._drop_if_dead()
        self.connect().check_change(arguments)
        unknown = {"operation_id": arguments.get("operation_id", "")}
        try:
            return self._exchange(operation, {**arguments, "timeout": timeout}, deadline)
        except TimeoutError:
            self.close()
            text = f"no answer within {timeout:g} s"
        except OSError:
            self.close()
            text = "the daemon went away before it answered"
        except session.NotOurs as error:
            self.close()
            text = error.message
        except KeyboardInterrupt as stop:
            ask = f"ask `clusterctl fs outcome {unknown['operation_id']}`" if unknown["operation_id"] else "look"
            stop.add_note(f"it may have happened: {ask} before retrying")
            raise
        raise OutcomeUnknown(text, "it may have happened: look before retrying", None, **unknown)

    def _exchange(self, operation: str, arguments: Mapping[str, Any], deadline: float) -> Any:
        assert self._link is not None
        ident = self._link.request(operation, arguments, deadline)
        while (message := self._link.receive(deadline)).get("id") != ident:
            pass
        return session.answer_of(message)

    def _drop_if_dead(self) -> None:
        """A kept connection whose daemon has gone must not make a write's outcome unknown."""
        if self._link is None:
            return
        sock = self._link.sock
        sock.settimeout(0)
        try:
            if sock.recv(1, socket.MSG_PEEK) == b"":
                self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _stream(self, operation: str, arguments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Events of one subscription. Raises Missed, NoDaemon, or the refusal."""
        link = _Link(self.path, self.name, self.timeout)
        try:
            ident = link.request(operation, arguments, time.monotonic() + self.timeout)
            while True:
                message = link.receive(None)
                if message.get("id") == ident:
                    session.answer_of(message)
                elif message.get("sub") == ident:
                    yield session.event_of(message, link.hello.node_id)
        except OSError as error:
            raise session.no_daemon(self.path, error) from None
        finally:
            link.close()
