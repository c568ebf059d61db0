"""One client of the local socket: its hello, its requests in order of arrival, its subscriptions.

What a client can make us hold or do is bounded: one incomplete message, `in_flight` requests, `per_turn` requests
before others get the loop, one answer beyond the write buffer's high-water mark. A client that sends anything but our
protocol is closed and counted; one that reads nothing for `stall_timeout` is closed too. Nothing is logged for either.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pydantic import ValidationError

from clusterd.control import errors, frames
from clusterd.control.codes import PROTOCOL
from clusterd.control.credentials import Peer, peer_of
from clusterd.control.operations import OPERATIONS, Operation, Request, WatchFiles
from clusterd.control.subscriptions import Pushed, StoreWatch, Subscription
from transport.errors import ClusterError, OutcomeUnknown

if TYPE_CHECKING:
    from clusterd.control.server import ControlServer

_SMALL_MESSAGE = 64 * 1024  # all that somebody who may not write has to say
_AROUND_DATA = 64 * 1024  # a request is a file and a little more
_MAX_ITEMS = 16_384
_MAX_ID = 1 << 53
_MISTAKE = "{} failed inside the daemon; its log has the details"


class _Running(NamedTuple):
    task: asyncio.Task[None]
    operation: Operation
    request: Request


class Connection(asyncio.Protocol):
    """asyncio's protocol object of one accepted socket, and the Outlet of its subscriptions."""

    peer: Peer

    def __init__(self, server: ControlServer) -> None:
        self._server = server
        self._backend = server.backend
        self._limits = server.limits
        self._reader = frames.Reader(_SMALL_MESSAGE, _MAX_ITEMS)
        self._requests: dict[int, _Running] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._greeted = False
        self._open = False
        self._reading = True
        self._pumping = False
        self._drained = asyncio.Event()
        self._drained.set()
        self._deadline: asyncio.TimerHandle | None = None

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._limits.high_water)
        sock: socket.socket = transport.get_extra_info("socket")
        try:
            self.peer = peer_of(sock)
        except OSError:
            self._transport.abort()
            return
        self._open = True
        refusal = self._server.admit(self)
        if refusal:
            self._say_hello(errors.make("LIMIT", refusal, "try again later", self._backend.node_id))
            self._transport.close()
            self._open = False
            return
        if self._server.authority.may_change(self.peer):
            self._reader = frames.Reader(self._backend.max_file_bytes + _AROUND_DATA, _MAX_ITEMS)
        self._deadline = self._server.loop.call_later(self._limits.hello_timeout, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._open:
            self._reader.feed(data)
            if not self._pumping:
                self._pump()

    def pause_writing(self) -> None:
        self._drained.clear()
        self._deadline = self._server.loop.call_later(self._limits.stall_timeout, self._stalled)

    def resume_writing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._drained.set()
        for subscription in list(self._subscriptions.values()):
            subscription.flush()
        if not self._pumping:
            self._pump()

    def connection_lost(self, _error: Exception | None) -> None:
        self._open = False
        self._drained.set()
        if self._deadline is not None:
            self._deadline.cancel()
        for running in self._requests.values():
            running.task.cancel()
        for subscription in self._subscriptions.values():
            subscription.close()
        self._subscriptions.clear()
        self._server.forget(self)

    def close(self) -> None:
        """The daemon ends: what was answered still goes out, and so does an answer to what was not."""
        for ident, running in self._requests.items():
            self.send({"id": ident, "error": self._left_behind(running.operation, running.request)})
        self._open = False
        self._transport.close()

    # what subscriptions call

    @property
    def writable(self) -> bool:
        return self._open and self._drained.is_set()

    def send(self, message: Mapping[str, Any]) -> None:
        if self._open and not self._transport.is_closing():  # a write to a lost connection would be logged by asyncio
            self._transport.write(frames.pack(message))

    def ended(self, ident: int, slow: bool) -> None:
        self._subscriptions.pop(ident, None)
        self._server.stats.slow += slow

    def may_touch(self, path: str) -> bool:
        return self._server.authority.may_touch(self.peer, path)

    # messages in

    def _pump(self) -> None:
        """Handle what has arrived, a few messages a turn; the socket is read again only when all was handled."""
        self._pumping = False
        for _ in range(self._limits.per_turn):
            if not self._open:
                return
            if not self.writable or len(self._requests) >= self._limits.in_flight:
                self._read(False)
                return
            try:
                message = self._reader.next_message()
                if message is None:
                    self._read(True)
                    return
                self._handle(message)
            except frames.FrameError:
                self._garbage()
                return
        self._read(False)
        self._pumping = True
        self._server.loop.call_soon(self._pump)

    def _read(self, wanted: bool) -> None:
        if wanted != self._reading and not self._transport.is_closing():
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _garbage(self) -> None:
        self._server.stats.garbage += 1
        self._open = False
        self._transport.abort()

    def _stalled(self) -> None:
        self._server.stats.slow += 1
        self._transport.abort()

    def _handle(self, message: frames.Message) -> None:
        """One message. Raises FrameError for what no client of ours sends."""
        match message:
            case {"hello": int(version)} if not self._greeted:
                self._greet(version)
            case {"id": int(ident), "op": str(name), "args": dict(arguments)} if self._greeted and _fresh(
                ident, self._requests, self._subscriptions
            ):
                self._server.stats.requests += 1
                self._request(ident, name, arguments)
            case {"cancel": int(ident)} if self._greeted:
                self._cancel(ident)
            case _:
                raise frames.FrameError("no message of ours")

    def _greet(self, version: int) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._greeted = True
        if version == PROTOCOL:
            self._say_hello(None)
            return
        text = f"this daemon speaks protocol {PROTOCOL}, the client {version}"
        self._say_hello(errors.make("FAILED", text, "install the same version on both sides", self._backend.node_id))
        self.close()

    def _say_hello(self, error: dict[str, Any] | None) -> None:
        backend = self._backend
        hello: dict[str, Any] = {
            "hello": PROTOCOL,
            "version": backend.version,
            "node": {"id": backend.node_id, "name": backend.node_name},
            "cluster": backend.cluster_name,
            "may": self._server.permissions(self.peer),
            "max_file_bytes": backend.max_file_bytes,
            "log_index": backend.log_index,
        }
        self.send(hello if error is None else {**hello, "error": error})

    def _cancel(self, ident: int) -> None:
        running = self._requests.get(ident)
        if running is not None:
            running.task.cancel()
        subscription = self._subscriptions.pop(ident, None)
        if subscription is not None:
            subscription.close()
            self.send({"sub": ident, "end": None})

    # requests

    def _request(self, ident: int, name: str, arguments: dict[str, Any]) -> None:
        try:
            operation = OPERATIONS.get(name)
            if operation is None:
                self._refuse(ident, "USAGE", f"this daemon knows no operation {name[:40]!r}", "it may be an older one")
                return
            denial = self._server.denial(self.peer, operation.permission)
            if denial:
                self._refuse(ident, "DENIED", *denial)
                return
            request = operation.request.model_validate(arguments)
            closed = next((path for path in request.touched() if not self.may_touch(path)), None)
            unread = next(
                (path for path in request.read() if not self._server.authority.may_read(self.peer, path)), None
            )
            if closed is not None:
                self._refuse(ident, "DENIED", f"{closed}: only root and the daemon's user may touch this", "")
            elif unread is not None:
                whose = "root, the daemon's user and the members of its group"
                self._refuse(ident, "DENIED", f"{unread}: what is in files is for {whose} only", "")
            elif operation.run is None:
                self._subscribe(ident, operation, request)
            else:
                self._start(ident, operation, operation.run(self._backend, request), request)
        except ValidationError as error:
            self._refuse(ident, "USAGE", f"{name}: {_first_problem(error)}", "")
        except ClusterError as error:
            self.send({"id": ident, "error": errors.describe(error, self._backend.node_id)})
        except Exception:
            self._mistake(name)
            self._refuse(ident, "FAILED", _MISTAKE.format(name[:40]), "")

    def _start(self, ident: int, operation: Operation, result: object, request: Request) -> None:
        if asyncio.iscoroutine(result):
            task = self._server.loop.create_task(self._finish(ident, operation, result, request))
            self._requests[ident] = _Running(task, operation, request)
            task.add_done_callback(lambda _: self._finished(ident, result))
        else:
            self.send({"id": ident, "ok": self._seen(operation, result)})

    def _finished(self, ident: int, work: Coroutine[Any, Any, object]) -> None:
        work.close()  # it may have been cancelled before it began
        self._requests.pop(ident, None)
        if self._open and not self._reading and not self._pumping:
            self._pump()

    async def _finish(
        self, ident: int, operation: Operation, work: Coroutine[Any, Any, object], request: Request
    ) -> None:
        seconds = getattr(request, "timeout", None)
        try:
            async with asyncio.timeout(seconds) as timer:
                answer = {"id": ident, "ok": await work}
        except TimeoutError:
            if not timer.expired():
                self._bug(ident, operation, request)
                return
            answer = {"id": ident, "error": self._too_late(operation, request, seconds)}
        except ClusterError as error:
            answer = {"id": ident, "error": errors.describe(error, self._backend.node_id)}
        except Exception:
            self._bug(ident, operation, request)
            return
        while self._open and not self._drained.is_set():  # hold the answer as objects, not as packed bytes
            await self._drained.wait()
        try:
            self.send(answer)
        except (ValueError, TypeError):
            self._bug(ident, operation, request)

    def _too_late(self, operation: Operation, request: Request, seconds: float | None) -> dict[str, Any]:
        node = self._backend.node_id
        if operation.permission == "read":
            return errors.make("TIMEOUT", f"no answer within {seconds:g} s", "nothing was changed", node)
        return self._unknown(request, f"not known to be done after {seconds:g} s")

    def _left_behind(self, operation: Operation, request: Request) -> dict[str, Any]:
        if operation.permission == "read":
            return errors.make("NO_DAEMON", "this node is leaving the cluster", "ask another", self._backend.node_id)
        return self._unknown(request, "this node is leaving the cluster, and its outcome did not come in time")

    def _unknown(self, request: Request, text: str) -> dict[str, Any]:
        error = OutcomeUnknown(text, getattr(request, "operation_id", ""))
        return errors.describe(error, self._backend.node_id)

    def _subscribe(self, ident: int, operation: Operation, request: Request) -> None:
        if len(self._subscriptions) >= self._limits.subscriptions:
            self._refuse(ident, "LIMIT", f"{self._limits.subscriptions} subscriptions on one connection", "")
            return
        if isinstance(request, WatchFiles):
            revision = request.revision
            after = self._backend.fs_ls("", False, None, 1)["revision"] if revision is None else revision
            watch = StoreWatch(self, ident, self._backend, request.path, after)
            self._subscriptions[ident] = watch
            self.send({"id": ident, "ok": {"sub": ident, "revision": after}})
            watch.flush()
            return
        pushed = Pushed(self, ident, self._limits.queue)
        self._subscriptions[ident] = pushed
        self.send({"id": ident, "ok": {"sub": ident}})
        if operation.name == "quorum_watch":
            pushed.cancel = self._backend.watch_quorum(pushed.push)
            pushed.push(self._backend.quorum())
        else:
            pushed.cancel = self._backend.watch_events(pushed.push)

    def _seen(self, operation: Operation, result: Any) -> object:
        """A listing without what the path rules hide from this client; the status with what came over the socket."""
        if operation.name == "status":
            return {**result, "socket": self._server.stats.counts()}
        if operation.name != "fs_ls" or self._server.authority.owner(self.peer):
            return result
        return {**result, "entries": [entry for entry in result["entries"] if self.may_touch(entry["path"])]}

    def _refuse(self, ident: int, code: str, message: str, hint: str) -> None:
        self.send({"id": ident, "error": errors.make(code, message, hint, self._backend.node_id)})

    def _bug(self, ident: int, operation: Operation, request: Request) -> None:
        """An operation that was under way ended with a mistake of ours: a change may have been made by then."""
        self._mistake(operation.name)
        text = _MISTAKE.format(operation.name)
        if operation.permission == "write":
            self.send({"id": ident, "error": self._unknown(request, text)})
        else:
            self._refuse(ident, "FAILED", text, "")

    def _mistake(self, name: str) -> None:
        """Called while handling an exception that nobody raised on purpose."""
        self._server.stats.bugs += 1
        self._server.log.error(f"local socket: operation {name[:40]} failed", exc_info=True)


def _fresh(ident: int, *used: Mapping[int, object]) -> bool:
    return 0 <= ident < _MAX_ID and not any(ident in table for table in used)


def _first_problem(error: ValidationError) -> str:
    """One sentence without the value, which may be large."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {text}" if where else text
