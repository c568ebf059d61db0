"""The small control channel between the benchmark and the daemons it measures: msgpack, its length before it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import msgpack

HEAD = struct.Struct(">I")
MAX_MESSAGE = 1 << 28


class Lost(Exception):  # noqa: N818
    """A measured daemon ended, or does not answer."""


def pack(message: dict[str, Any]) -> bytes:
    body = msgpack.packb(message)
    return HEAD.pack(len(body)) + body


class Channel:
    """The benchmark's end: asks, waits for the answer."""

    def __init__(self, sock: socket.socket, node: int) -> None:
        self._sock = sock
        self.node = node

    def ask(self, operation: str, **arguments: Any) -> None:
        """Raises Lost."""
        try:
            self._sock.sendall(pack({"op": operation, **arguments}))
        except OSError as error:
            raise Lost(f"node {self.node} has ended") from error

    def answer(self, timeout: float) -> dict[str, Any]:
        """The answer to the oldest question. Raises Lost, also when the daemon says that it could not."""
        self._sock.settimeout(timeout)
        try:
            (size,) = HEAD.unpack(self._read(HEAD.size))
            message: dict[str, Any] = msgpack.unpackb(self._read(size), max_bin_len=MAX_MESSAGE)
        except TimeoutError as error:
            raise Lost(f"node {self.node} did not finish within {timeout:g} s") from error
        except OSError as error:
            raise Lost(f"node {self.node} has ended") from error
        if "error" in message:
            raise Lost(f"node {self.node}: {message['error']}")
        return message

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._sock.recv(size - len(data))
            if not piece:
                raise ConnectionResetError
            data += piece
        return bytes(data)

    def close(self) -> None:
        self._sock.close()


async def receive(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The daemon's end: the next question, None when the benchmark is gone."""
    try:
        (size,) = HEAD.unpack(await reader.readexactly(HEAD.size))
        message: dict[str, Any] = msgpack.unpackb(await reader.readexactly(size))
    except (asyncio.IncompleteReadError, OSError):
        return None
    return message
