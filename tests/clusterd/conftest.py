"""A served fake node: the real socket server over a FakeBackend, in its own thread, for blocking clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from clusterd.control.server import ControlServer
from tests.clusterd.fake import FakeBackend
from transport.core import SilentLog


class Served:
    """A fake node and its socket. `do` runs a function on the server's loop, where the backend lives."""

    def __init__(self, path: str, **options: Any) -> None:
        self.path = path
        self.backend = FakeBackend()
        self.server = ControlServer(self.backend, path, SilentLog(), **options)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(5)

    def do(self, work: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(5)

    def cut(self) -> None:
        """End all connections without a word, as a process that is killed does."""
        self.do(lambda: [connection._transport.abort() for connection in list(self.server._connections)])

    def stop(self) -> None:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self.server.close(), self._loop).result(5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            self._loop.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start served fake nodes: `serve(name="clusterd.sock", **server_options)`; all are stopped at the end."""
    running: list[Served] = []

    def start(name: str = "clusterd.sock", **options: Any) -> Served:
        served = Served(str(tmp_path / name), **options)
        served.start()
        running.append(served)
        return served

    yield start
    for served in running:
        served.stop()


@pytest.fixture
def node(serve: Callable[..., Served]) -> Served:
    """One served fake node, with the lab's permission."""
    return serve(lab=True)
