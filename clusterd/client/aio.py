"""The client for asyncio programs: the same methods as `Client`, awaited; any number of calls at once.

async with AsyncClient() as cluster:
    async for verdict in cluster.watch_quorum():
        ...
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from clusterd.client import session
from clusterd.client.errors import ClientError, Missed, NoDaemon, OutcomeUnknown
from clusterd.client.session import CHANGE_TIMEOUT, DEFAULT_TIMEOUT, GRACE, WRITE_TIMEOUT, Hello, Session
from clusterd.control.codes import DEFAULT_SOCKET
from clusterd.control.sockets import connect

if TYPE_CHECKING:
    from clusterd.control import shapes

_CHUNK = 1 << 18
_RETRY = 0.1


class _Link:
    """One greeted connection; who reads it decides what comes of the messages."""

    hello: Hello

    def __init__(self, sock: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.session = Session()
        self.waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._sock = sock
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, path: str, name: str, timeout: float) -> _Link:
        """Raises NoDaemon, or what the daemon has against us."""
        try:
            sock = connect(path, 0)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # turned away: the reason waits to be read
                sock.sendall(Session().hello(name))
            link = cls(sock, *await asyncio.open_unix_connection(sock=sock))
        except OSError as error:
            raise session.no_daemon(path, error, timeout) from None
        try:
            async with asyncio.timeout(timeout):
                link.hello = Hello(await link.receive(), time.monotonic())
        except OSError as error:
            link.close()
            raise session.no_daemon(path, error, timeout) from None
        except BaseException:
            link.close()
            raise
        return link

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> Mapping[str, Any]:
        """The next message. Raises OSError when the daemon hung up."""
        while (message := self.session.next_message()) is None:
            data = await self._reader.read(_CHUNK)
            if not data:
                raise ConnectionResetError("the daemon closed the connection")
            self.session.feed(data)
        return message

    def dead(self) -> bool:
        """Whether the daemon has hung up, also when the loop has not yet heard of it."""
        try:
            return self._sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        self._writer.close()


class AsyncClient:
    """A node's daemon, through its socket; arguments, answers and errors as in `Client`.

    One connection carries all calls, opened at the first and again after it broke; each stream has its own. Belongs to
    one event loop.
    """

    def __init__(self, path: str = DEFAULT_SOCKET, *, timeout: float = DEFAULT_TIMEOUT, name: str = "client") -> None:
        self.path = path
        self.timeout = timeout
        self.name = name
        self._link: _Link | None = None
        self._reading: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._asking = asyncio.Lock()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up; calls that wait end as if the daemon had gone."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
            self._reading = None

    async def connect(self) -> Hello:
        """Who answers: connect now, if not yet connected."""
        async with self._opening:
            if self._link is None or self._link.dead():
                self._link = await _Link.open(self.path, self.name, self.timeout)
                self._reading = asyncio.get_running_loop().create_task(self._read(self._link))
            return self._link.hello

    # looking

    async def ping(self) -> shapes.Pong:
        return cast("shapes.Pong", await self._look("ping"))

    async def status(self) -> shapes.Status:
        return cast("shapes.Status", await self._look("status"))

    async def quorum(self) -> shapes.Quorum:
        return cast("shapes.Quorum", await self._look("quorum"))

    async def nodes(self) -> shapes.Nodes:
        return cast("shapes.Nodes", await self._look("nodes"))

    async def links(self) -> shapes.Links:
        return cast("shapes.Links", await self._look("links"))

    async def watch_quorum(self) -> AsyncIterator[shapes.Quorum]:
        while True:
            try:
                async with contextlib.aclosing(self._stream("quorum_watch", {})) as verdicts:
                    async for verdict in verdicts:
                        yield cast("shapes.Quorum", verdict)
            except Missed:
                continue

    async def events(self) -> AsyncIterator[shapes.Event]:
        async with contextlib.aclosing(self._stream("events", {})) as events:
            async for event in events:
                yield cast("shapes.Event", event)

    # changing the cluster

    async def set_expected(self, votes: int, timeout: float = CHANGE_TIMEOUT) -> shapes.Quorum:
        return cast("shapes.Quorum", await self._change("expected", {"votes": votes}, timeout))

    async def reload(self, timeout: float = CHANGE_TIMEOUT) -> shapes.Reloaded:
        return cast("shapes.Reloaded", await self._change("reload", {}, timeout))

    async def rotate_key(self, timeout: float = CHANGE_TIMEOUT) -> shapes.Reloaded:
        return cast("shapes.Reloaded", await self._change("key_rotate", {}, timeout))

    async def set_cuts(self, cuts: list[shapes.Cut]) -> None:
        await self._look("lab_cuts", {"cuts": cuts})

    # files

    async def new_operation_id(self, timeout: float | None = None) -> str:
        async with self._asking:
            if (await self.connect()).stale(time.monotonic()):
                seconds = self.timeout if timeout is None else min(timeout, self.timeout)
                pong = await self._look("ping", {}, seconds)
                (await self.connect()).tell(pong, time.monotonic())
        return (await self.connect()).new_operation_id()

    async def put(
        self, path: str, data: bytes, *, timeout: float = WRITE_TIMEOUT, operation_id: str | None = None
    ) -> shapes.Written:
        return cast("shapes.Written", await self._write("fs_put", {"path": path, "data": data}, timeout, operation_id))

    async def cas(
        self, path: str, data: bytes, revision: int, *, timeout: float = WRITE_TIMEOUT, operation_id: str | None = None
    ) -> shapes.Written:
        arguments = {"path": path, "data": data, "revision": revision}
        return cast("shapes.Written", await self._write("fs_cas", arguments, timeout, operation_id))

    async def write(
        self,
        path: str,
        offset: int,
        data: bytes,
        *,
        truncate: bool = False,
        timeout: float = WRITE_TIMEOUT,
        operation_id: str | None = None,
    ) -> shapes.Written:
        arguments = {"path": path, "offset": offset, "data": data, "truncate": truncate}
        return cast("shapes.Written", await self._write("fs_write", arguments, timeout, operation_id))

    async def remove(
        self, path: str, *, recursive: bool = False, timeout: float = WRITE_TIMEOUT, operation_id: str | None = None
    ) -> shapes.Changed:
        arguments = {"path": path, "recursive": recursive}
        return cast("shapes.Changed", await self._write("fs_rm", arguments, timeout, operation_id))

    async def mkdir(
        self, path: str, *, parents: bool = False, timeout: float = WRITE_TIMEOUT, operation_id: str | None = None
    ) -> shapes.Changed:
        arguments = {"path": path, "parents": parents}
        return cast("shapes.Changed", await self._write("fs_mkdir", arguments, timeout, operation_id))

    async def move(
        self, path: str, to: str, *, timeout: float = WRITE_TIMEOUT, operation_id: str | None = None
    ) -> shapes.Changed:
        return cast("shapes.Changed", await self._write("fs_mv", {"path": path, "to": to}, timeout, operation_id))

    async def cat(self, path: str, *, linearizable: bool = False, timeout: float = WRITE_TIMEOUT) -> shapes.FileData:
        arguments = {"path": path, "linearizable": linearizable, "timeout": timeout}
        return cast("shapes.FileData", await self._look("fs_cat", arguments, timeout + GRACE))

    async def stat(self, path: str) -> shapes.Entry:
        return cast("shapes.Entry", await self._look("fs_stat", {"path": path}))

    async def ls(self, path: str = "", *, recursive: bool = False) -> shapes.Listing:
        arguments: dict[str, Any] = {"path": path, "recursive": recursive}
        listing = page = cast("shapes.Listing", await self._look("fs_ls", arguments))
        while page["more"]:
            after = page["entries"][-1]["path"]
            page = cast("shapes.Listing", await self._look("fs_ls", {**arguments, "after": after}))
            listing["entries"] += page["entries"]
        listing["more"] = False
        return listing

    async def watch(
        self, path: str = "", revision: int | None = None, *, reconnect: bool = True
    ) -> AsyncIterator[shapes.Change]:
        after: int = (await self._look("fs_ls", {"limit": 1}))["revision"] if revision is None else revision
        delay = 0.0
        while True:
            try:
                async with contextlib.aclosing(self._stream("fs_watch", {"path": path, "revision": after})) as changes:
                    async for change in changes:
                        delay = 0.0
                        after = change["revision"]
                        yield cast("shapes.Change", change)
            except NoDaemon:
                if not reconnect:
                    raise
                await asyncio.sleep(delay)
                delay = min(2.0, delay * 2 or _RETRY)

    async def discarded(self) -> shapes.Discarded:
        return cast("shapes.Discarded", await self._look("fs_discarded"))

    async def outcome(self, operation_id: str) -> shapes.Outcome:
        return cast("shapes.Outcome", await self._look("fs_outcome", {"operation_id": operation_id}))

    # how

    async def _look(
        self, operation: str, arguments: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> Any:
        seconds = self.timeout if timeout is None else timeout
        while True:
            kept = self._link is not None
            await self.connect()
            try:
                return await self._exchange(operation, arguments or {}, seconds)
            except TimeoutError:
                raise session.silent(self.path, seconds) from None
            except OSError as error:
                if not kept:
                    raise session.no_daemon(self.path, error) from None
                self._link = None  # the kept connection was dead: once more on a new one

    async def _write(
        self, operation: str, arguments: Mapping[str, Any], timeout: float, operation_id: str | None
    ) -> Any:
        if operation_id is not None:
            return await self._change(operation, {**arguments, "operation_id": operation_id}, timeout)
        deadline = time.monotonic() + timeout
        left = timeout
        while True:
            ident = await self.new_operation_id(left)
            try:
                return await self._change(operation, {**arguments, "operation_id": ident}, left)
            except ClientError as error:  # an id of our own that was sent once may be given up for another
                left = deadline - time.monotonic()
                if not error.spent or left <= 0:
                    raise
                (await self.connect()).distrust()

    async def _change(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        (await self.connect()).check_change(arguments)
        try:
            return await self._exchange(operation, {**arguments, "timeout": timeout}, timeout + GRACE)
        except TimeoutError:
            text = f"no answer within {timeout:g} s"
        except OSError:
            text = "the daemon went away before it answered"
        except session.NotOurs as error:
            text = error.message
        ident = arguments.get("operation_id", "")
        raise OutcomeUnknown(text, "it may have happened: look before retrying", None, operation_id=ident)

    async def _exchange(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        link = self._link
        if link is None:
            raise ConnectionResetError("the daemon closed the connection")
        ident, data = link.session.request(operation, arguments)
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        link.waiting[ident] = answer
        try:
            async with asyncio.timeout(timeout):
                await link.send(data)
                return session.answer_of(await answer)
        finally:
            link.waiting.pop(ident, None)

    async def _read(self, link: _Link) -> None:
        """Hand each answer to the call that waits for it, until the connection ends."""
        problem: Exception = ConnectionResetError("the daemon closed the connection")
        try:
            while True:
                message = await link.receive()
                waiting = link.waiting.pop(message.get("id", 0), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
        except (OSError, ClientError) as error:
            problem = error
        finally:
            if self._link is link:
                self._link = None
            link.close()
            for waiting in link.waiting.values():
                if not waiting.done():
                    waiting.set_exception(problem)

    async def _stream(self, operation: str, arguments: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any], None]:
        link = await _Link.open(self.path, self.name, self.timeout)
        try:
            ident, data = link.session.request(operation, arguments)
            await link.send(data)
            while True:
                message = await link.receive()
                if message.get("id") == ident:
                    session.answer_of(message)
                elif message.get("sub") == ident:
                    yield session.event_of(message, link.hello.node_id)
        except OSError as error:
            raise session.no_daemon(self.path, error) from None
        finally:
            link.close()
