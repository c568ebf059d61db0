"""Sending on one UDP socket: trains where the kernel cuts them, never waiting.

Source: DESIGN 8 (trains); facts/knet.md section 16 point 8 (the sender never sleeps, heartbeat dropped last).
A full socket is not slept upon: datagrams wait in a bounded queue until it is writable; urgent ones (pings, pongs,
handshakes) have a queue of their own that goes first, so that a flood of data cannot make a path look down.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from transport.io.sockopts import SOL_UDP, UDP_SEGMENT
from transport.link.events import Address

MAX_SEGMENTS = 64  # UDP_MAX_SEGMENTS of the kernel since 4.18
MAX_TRAIN = 65_000  # bytes, below what one IP packet may hold with any header of ours
DATA_BYTES = 4 << 20  # waiting data, per socket
URGENT_MAX = 256  # waiting urgent datagrams, per socket
_TRIES = 8  # a send that reports errors of earlier datagrams: any number of them may have come meanwhile
_ANOTHERS = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPROTO, errno.ENOPROTOOPT})
_SEGMENT = struct.Struct("=H")


class Sends(Protocol):
    """The two calls of a socket that are used here."""

    def sendto(self, data: bytes, address: Address, /) -> int: ...

    def sendmsg(
        self, buffers: Iterable[bytes], ancdata: Iterable[tuple[int, int, bytes]], flags: int, address: Address, /
    ) -> int: ...


@dataclass(slots=True)
class OutStats:
    """datagrams, bytes: handed to the kernel; trains: calls that carried several; waited: queued once.

    dropped: no room in the queue; failed: the kernel refused them (reported besides), or had no room for them
    beyond the socket (ENOBUFS), where waiting for the socket would spin.
    """

    datagrams: int = 0
    bytes: int = 0
    trains: int = 0
    waited: int = 0
    dropped: int = 0
    failed: int = 0


def trains(batch: list[bytes]) -> Iterable[list[bytes]]:
    """Cut a batch for one destination into runs the kernel takes in one call: equal sizes, the last may be shorter."""
    run: list[bytes] = []
    size = total = 0
    for data in batch:
        length = len(data)
        if run and (length > size or len(run[-1]) < size or len(run) == MAX_SEGMENTS or total + length > MAX_TRAIN):
            yield run
            run, total = [], 0
        if not run:
            size = length
        run.append(data)
        total += length
    if run:
        yield run


class OutQueue:
    """Sends to many addresses over one socket.

    on_failed: called with (errno, address, size of the datagram) when the kernel refuses one for what it is.
    """

    __slots__ = ("_data", "_data_bytes", "_on_failed", "_sock", "_urgent", "gso", "stats")

    def __init__(self, sock: Sends, gso: bool, on_failed: Callable[[int, Address, int], None]) -> None:
        self.gso = gso
        self.stats = OutStats()
        self._sock = sock
        self._on_failed = on_failed
        self._urgent: deque[tuple[Address, bytes]] = deque()
        self._data: deque[tuple[Address, bytes]] = deque()
        self._data_bytes = 0

    @property
    def waiting(self) -> bool:
        """Something waits for the socket to be writable."""
        return bool(self._urgent or self._data)

    def urgent(self, address: Address, data: bytes) -> None:
        """Send now; if the socket is full, before all data."""
        if self._urgent or not self._send_one(address, data):
            self.stats.waited += 1
            if len(self._urgent) < URGENT_MAX:
                self._urgent.append((address, data))
            else:
                self.stats.dropped += 1

    def data(self, address: Address, batch: list[bytes]) -> None:
        """Send the batch in this order, in trains if possible; what the socket does not take waits."""
        left = batch if self.waiting else self._send(address, batch)
        self.stats.waited += len(left)
        for data in left:
            if self._data_bytes + len(data) > DATA_BYTES:
                self.stats.dropped += 1
                continue
            self._data_bytes += len(data)
            self._data.append((address, data))

    def writable(self) -> None:
        """The socket has room again: send what waits, urgent first."""
        while self._urgent:
            if not self._send_one(*self._urgent[0]):
                return
            self._urgent.popleft()
        while self._data:
            if not self._send_one(*self._data[0]):
                return
            self._data_bytes -= len(self._data.popleft()[1])

    def _send(self, address: Address, batch: list[bytes]) -> list[bytes]:
        """Send until the socket is full; what is left."""
        sent = 0
        for run in trains(batch) if self.gso and len(batch) > 1 else ([data] for data in batch):
            if len(run) > 1 and self._send_train(address, run):
                sent += len(run)
                continue
            for data in run:
                if not self._send_one(address, data):
                    return batch[sent:]
                sent += 1
        return []

    def _send_train(self, address: Address, run: list[bytes]) -> bool:
        """One call for the whole run. False: nothing was sent; datagram by datagram the reason will show."""
        control: list[tuple[int, int, Any]] = [(SOL_UDP, UDP_SEGMENT, _SEGMENT.pack(len(run[0])))]
        try:
            size = self._sock.sendmsg(run, control, socket.MSG_DONTWAIT, address)
        except OSError as error:
            if error.errno in (errno.EIO, errno.EOPNOTSUPP):  # a device on the way without checksum offload
                self.gso = False
            return False
        self.stats.trains += 1
        self.stats.datagrams += len(run)
        self.stats.bytes += size
        return True

    def _send_one(self, address: Address, data: bytes) -> bool:
        """False: the socket is full. Other errors are told, and the datagram counts as sent: totem repairs."""
        for attempt in range(1, _TRIES + 1):
            try:
                self.stats.bytes += self._sock.sendto(data, address)
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    return False
                if attempt < _TRIES and error.errno in _ANOTHERS:
                    continue  # the error of an earlier datagram, perhaps to another peer: told once, now it is cleared
                self.stats.failed += 1
                if error.errno != errno.ECONNREFUSED:  # that never is our own kernel's word: the error queue has it
                    self._on_failed(error.errno or 0, address, len(data))
                return True
            self.stats.datagrams += 1
            return True
        return True
