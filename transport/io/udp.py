"""The UDP sockets of a node: one per link, drained together, sending in trains.

Source: DESIGN 8 (drain before a token is acted on, GSO and GRO), facts/knet.md section 12, LAYOUT trap 3.
All sockets hang on one epoll of our own, which the event loop watches as a single file descriptor. So one wake-up shows
which sockets are readable, writable or in error, all of them are read before the core sees anything, and loops that
stop watching a descriptor in error (libuv does) never see ours in error.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from transport.ids import LinkId
from transport.io.outqueue import OutQueue
from transport.io.sockopts import (
    BUFFER_BYTES,
    SOL_UDP,
    UDP_GRO,
    SocketFacts,
    SocketTrouble,
    has_gso,
    open_socket,
    plain_address,
    read_errors,
    trouble_of,
    use_gro,
)
from transport.link.events import Address
from transport.link.mtu import headers

Datagram = tuple[LinkId, Address, bytes]
Cut = Literal["both", "in", "out"]

_BATCH_BYTES = 1 << 20  # read in one wake-up before the core gets its turn
_BATCH_READS = 512
_ROUNDS = 4  # looks at all sockets in one wake-up, so that what arrived meanwhile on another link is in the batch
_TROUBLES_MAX = 1024  # untold at a time
_RETRY = 1.0  # seconds between attempts to bind an address that is not there
_SEGMENT = struct.Struct("=i")
_CONTROL_BYTES = socket.CMSG_SPACE(_SEGMENT.size)


@dataclass(slots=True)
class UdpStats:
    """reads: receive calls that gave data; datagrams, bytes: received; cut_in, cut_out: dropped by the lab's cuts.

    unsent: for a link without a socket.
    """

    reads: int = 0
    datagrams: int = 0
    bytes: int = 0
    cut_in: int = 0
    cut_out: int = 0
    unsent: int = 0


@dataclass(slots=True)
class _Link:
    link: LinkId
    address: Address
    sock: socket.socket | None = None
    out: OutQueue | None = None
    gro: bool = False
    watched_for_room: bool = False
    told: str = ""  # why it is not bound, as last reported


class UdpSockets:
    """Sockets bound to this node's address of each link.

    addresses: link -> (numeric IP, port); different links must differ in address or port.
    on_datagrams: called once per wake-up with everything that was read, in order per socket.
    on_error: told of refusals, sizes that do not pass, and links that cannot be bound (retried every second); called
        from the loop, never from inside a call to this object.
    gso, gro: False switches the offloads off even where the kernel has them.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        addresses: dict[LinkId, Address],
        on_datagrams: Callable[[list[Datagram]], None],
        on_error: Callable[[SocketTrouble], None],
        *,
        buffer_bytes: int = BUFFER_BYTES,
        gso: bool = True,
        gro: bool = True,
    ) -> None:
        self.stats = UdpStats()
        self._loop = loop
        self._on_datagrams = on_datagrams
        self._on_error = on_error
        self._buffer_bytes = buffer_bytes
        self._gso, self._gro = gso, gro
        self._links: dict[LinkId, _Link] = {}
        self._by_fd: dict[int, _Link] = {}
        self._cuts_in: set[tuple[str, LinkId]] = set()
        self._cuts_out: set[tuple[str, LinkId]] = set()
        self._buffer = bytearray(65536)
        self._view = memoryview(self._buffer)
        self._retry: asyncio.TimerHandle | None = None
        self._troubled: list[SocketTrouble] = []  # to be told at the next turn of the loop
        self._closed = False
        self._epoll = select.epoll()
        loop.add_reader(self._epoll.fileno(), self._ready)
        self.reconfigure(addresses)

    # ---- the set of sockets

    def reconfigure(self, addresses: dict[LinkId, Address]) -> None:
        """Open, move and close sockets; links whose address stays are not touched."""
        for link in [link for link in self._links if self._links[link].address != addresses.get(link)]:
            self._close(self._links.pop(link))
        for link, address in sorted(addresses.items()):
            if link not in self._links:
                self._links[link] = _Link(link, address)
        self._bind()

    def facts(self) -> list[SocketFacts]:
        """What each bound socket has got, sorted by link."""
        facts = []
        for _, entry in sorted(self._links.items()):
            if entry.sock is not None and entry.out is not None:
                receive = entry.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
                send = entry.sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
                bound = plain_address(entry.sock.getsockname())
                facts.append(SocketFacts(entry.link, bound, receive, send, entry.out.gso, entry.gro))
        return facts

    def out_stats(self) -> dict[LinkId, OutQueue]:
        """The sending side of each bound link, for its counters."""
        return {link: entry.out for link, entry in sorted(self._links.items()) if entry.out is not None}

    def close(self) -> None:
        """Close everything; what waits is lost."""
        if self._closed:
            return
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        for entry in self._links.values():
            self._close(entry)
        self._links.clear()
        self._epoll.close()

    def _bind(self) -> None:
        self._retry = None
        for entry in self._links.values():
            if entry.sock is None:
                self._open(entry)
        if self._retry is None and not self._closed and any(e.sock is None for e in self._links.values()):
            self._retry = self._loop.call_later(_RETRY, self._bind)

    def _open(self, entry: _Link) -> None:
        try:
            sock = open_socket(entry.address, self._buffer_bytes)
        except OSError as error:
            reason = f"cannot use {entry.address[0]} port {entry.address[1]}: {(error.strerror or str(error)).lower()}"
            if reason != entry.told:
                entry.told = reason
                self._tell_soon(SocketTrouble(entry.link, "unbound", reason))
            return

        def failed(code: int, address: Address, size: int) -> None:
            trouble = trouble_of(entry.link, code, address, size + headers(address[0]) - 1, True)
            if trouble is not None:
                self._tell_soon(trouble)

        entry.sock = sock
        entry.gro = self._gro and use_gro(sock)
        entry.out = OutQueue(sock, self._gso and has_gso(sock), failed)
        self._by_fd[sock.fileno()] = entry
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        if entry.told:
            entry.told = ""
            self._tell_soon(SocketTrouble(entry.link, "bound", f"{entry.address[0]} is back"))

    def _tell_soon(self, trouble: SocketTrouble) -> None:
        if not self._troubled:
            self._loop.call_soon(self._tell)
        if len(self._troubled) < _TROUBLES_MAX:
            self._troubled.append(trouble)

    def _tell(self) -> None:
        troubles, self._troubled = self._troubled, []
        for trouble in troubles if not self._closed else ():
            self._on_error(trouble)

    def _close(self, entry: _Link) -> None:
        if entry.sock is None:
            return
        self._epoll.unregister(entry.sock.fileno())
        del self._by_fd[entry.sock.fileno()]
        entry.sock.close()
        entry.sock = entry.out = None

    # ---- the lab's cuts

    def set_cuts(self, cuts: dict[tuple[str, LinkId], Cut]) -> None:
        """Drop datagrams from (in), to (out) or of both directions with these (IP, link); replaces all earlier cuts."""
        self._cuts_in = {key for key, way in cuts.items() if way in ("both", "in")}
        self._cuts_out = {key for key, way in cuts.items() if way in ("both", "out")}

    def _cut_out(self, link: LinkId, address: Address) -> bool:
        if (address[0], link) not in self._cuts_out:
            return False
        self.stats.cut_out += 1
        return True

    # ---- sending

    def send_batch(self, batch: list[Datagram]) -> None:
        """Send data; the order is kept per destination, and each destination's datagrams go in trains."""
        if len(batch) == 1:
            groups = {(batch[0][0], batch[0][1]): [batch[0][2]]}
        else:
            groups = {}
            for link, address, data in batch:
                groups.setdefault((link, address), []).append(data)
        for (link, address), run in groups.items():
            if self._cuts_out and self._cut_out(link, address):
                continue
            entry = self._links.get(link)
            if entry is None or entry.out is None:
                self.stats.unsent += len(run)
                continue
            entry.out.data(address, run)
            if entry.out.waiting:
                self._watch(entry)

    def send_urgent(self, link: LinkId, address: Address, data: bytes) -> None:
        """Send a ping, pong, probe or handshake: before data that waits, dropped last."""
        if self._cuts_out and self._cut_out(link, address):
            return
        entry = self._links.get(link)
        if entry is None or entry.out is None:
            self.stats.unsent += 1
            return
        entry.out.urgent(address, data)
        if entry.out.waiting:
            self._watch(entry)

    def _watch(self, entry: _Link) -> None:
        """Watch for room exactly while something waits."""
        if entry.sock is None or entry.out is None or entry.watched_for_room == entry.out.waiting:
            return
        entry.watched_for_room = entry.out.waiting
        self._epoll.modify(entry.sock.fileno(), select.EPOLLIN | (select.EPOLLOUT if entry.watched_for_room else 0))

    # ---- receiving

    def _ready(self) -> None:
        """Something is ready on some socket: read all of them, then hand over one batch."""
        batch: list[Datagram] = []
        budget = [_BATCH_BYTES, _BATCH_READS]
        for _ in range(_ROUNDS):
            ready = self._epoll.poll(0)
            if not ready:
                break
            for fd, what in ready:
                entry = self._by_fd.get(fd)
                if entry is None or entry.sock is None or entry.out is None:
                    continue  # closed by a callback of this very round
                if what & select.EPOLLERR and not self._troubles(entry, entry.sock):
                    continue
                if what & select.EPOLLOUT:
                    entry.out.writable()
                    self._watch(entry)
                if what & select.EPOLLIN:
                    self._drain(entry, entry.sock, batch, budget)
            if len(self._by_fd) == 1 or budget[0] <= 0 or budget[1] <= 0:
                break
        if batch:
            self.stats.datagrams += len(batch)
            self._on_datagrams(batch)

    def _troubles(self, entry: _Link, sock: socket.socket) -> bool:
        """Tell what the error queue holds. False: whoever was told closed this socket."""
        for trouble in read_errors(sock, entry.link):
            self._on_error(trouble)
        if entry.sock is not sock:
            return False
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # clears what is not on the queue: no endless wake-ups
        return True

    def _drain(self, entry: _Link, sock: socket.socket, batch: list[Datagram], budget: list[int]) -> None:
        link, view, cuts = entry.link, self._view, self._cuts_in
        control: list[tuple[int, int, bytes]] = []
        while budget[0] > 0 and budget[1] > 0:
            try:
                if entry.gro:
                    size, control, _, source = sock.recvmsg_into([self._buffer], _CONTROL_BYTES)
                else:
                    size, source = sock.recvfrom_into(self._buffer)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EBADF):
                    return
                budget[1] -= 1  # the error of something sent earlier; its story is on the error queue
                continue
            budget[0] -= size
            budget[1] -= 1
            self.stats.reads += 1
            self.stats.bytes += size
            address = plain_address(source)
            segment = _segment(control) if control else size
            if cuts and (address[0], link) in cuts:
                self.stats.cut_in += max(1, -(-size // max(1, segment)))
            elif segment >= size:
                batch.append((link, address, bytes(view[:size])))
            else:
                batch += [(link, address, bytes(view[at : min(at + segment, size)])) for at in range(0, size, segment)]


def _segment(control: list[tuple[int, int, bytes]]) -> int:
    """The size of each datagram of a received train, as the kernel tells; without, the train is one datagram."""
    for level, option, data in control:
        if level == SOL_UDP and option == UDP_GRO and len(data) >= _SEGMENT.size:
            size: int = _SEGMENT.unpack_from(data)[0]
            return size if size > 0 else 65536
    return 65536
