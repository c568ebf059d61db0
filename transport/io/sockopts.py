"""One UDP socket as the transport wants it, and what the kernel says back through it.

Source: facts/knet.md section 12; udp(7), ip(7), ipv6(7) for the options. Constants that the standard library does not
name are from linux/in.h, linux/in6.h, linux/udp.h and linux/errqueue.h. Everything but binding is best effort.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass
from functools import lru_cache

from transport.ids import LinkId
from transport.link.events import Address

SOL_UDP, UDP_SEGMENT, UDP_GRO = 17, 103, 104
BUFFER_BYTES = 8 << 20
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_IP_MTU_DISCOVER, _IP_RECVERR, _PMTUDISC_PROBE = 10, 11, 3
_IPV6_MTU_DISCOVER, _IPV6_RECVERR, _IPV6_DONTFRAG = 23, 25, 62
_CS6 = 48 << 2  # DSCP CS6, network control
_ORIGIN_LOCAL = 1
_ERROR = struct.Struct("=IBBBBII")  # struct sock_extended_err
_ERRORS_PER_CALL = 64
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ENONET})
_GONE = frozenset({errno.EINVAL, errno.EADDRNOTAVAIL})  # what sending from a vanished address gives


@dataclass(frozen=True, slots=True)
class SocketTrouble:
    """What a socket has to say besides datagrams.

    kind: refused | unreachable   nobody listens at `address`, or no way there; see `Links.refused`
          too_big                 IP packets above `size` bytes do not pass to `address`; see `Links.too_big`
          unbound | bound         this node's own address of the link cannot be used (address None), or can again
    sure: our own kernel decided it; else it came as ICMP, which anybody can forge.
    address: port 0 means any port of that IP. reason: one short sentence.
    """

    link: LinkId
    kind: str
    reason: str
    address: Address | None = None
    size: int = 0
    sure: bool = True


@dataclass(frozen=True, slots=True)
class SocketFacts:
    """What was got: buffer sizes in bytes as the kernel counts them, and the batch offloads in use."""

    link: LinkId
    address: Address
    receive_buffer: int
    send_buffer: int
    gso: bool
    gro: bool


def open_socket(address: Address, buffer_bytes: int = BUFFER_BYTES) -> socket.socket:
    """A non-blocking UDP socket bound to `address`. Raises OSError when it cannot be bound.

    A link-local IPv6 address carries its scope: fe80::1%eth0.
    """
    family, kind, protocol, _, where = socket.getaddrinfo(
        address[0], address[1], type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    try:
        _buffers(sock, buffer_bytes)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _try(sock, socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
            _try(sock, socket.IPPROTO_IPV6, _IPV6_DONTFRAG, 1)
            _try(sock, socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            _try(sock, socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _CS6)
        else:
            _try(sock, socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
            _try(sock, socket.IPPROTO_IP, _IP_RECVERR, 1)
            _try(sock, socket.IPPROTO_IP, socket.IP_TOS, _CS6)
        _try(sock, socket.SOL_SOCKET, socket.SO_PRIORITY, 6)
        sock.bind(where)
    except OSError:
        sock.close()
        raise
    return sock


def _try(sock: socket.socket, level: int, option: int, value: int) -> bool:
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False
    return True


def _buffers(sock: socket.socket, size: int) -> None:
    for forced, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        if not _try(sock, socket.SOL_SOCKET, forced, size):  # needs CAP_NET_ADMIN
            _try(sock, socket.SOL_SOCKET, plain, size)


def use_gro(sock: socket.socket) -> bool:
    """Ask for received trains in one piece; False where the kernel has no such thing."""
    return _try(sock, SOL_UDP, UDP_GRO, 1)


def has_gso(sock: socket.socket) -> bool:
    """Whether the kernel can cut a train of datagrams (0 = off by default, per send by control message)."""
    return _try(sock, SOL_UDP, UDP_SEGMENT, 0)


def plain_address(address: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """What the socket calls a source, as the links know it: a link-local IPv6 address carries its scope."""
    if len(address) == 4 and address[3]:
        return f"{address[0]}%{_interface(address[3])}", address[1]
    return address[0], address[1]


@lru_cache(maxsize=64)
def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)


def read_errors(sock: socket.socket, link: LinkId) -> list[SocketTrouble]:
    """What waits on the error queue, at most 64; the rest makes the socket ready again."""
    troubles = []
    for _ in range(_ERRORS_PER_CALL):
        try:
            _, control, _, name = sock.recvmsg(1, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            break
        for level, option, data in control:
            known = (level, option) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR))
            if known and len(data) >= _ERROR.size and name:
                code, origin, _, _, _, info, _ = _ERROR.unpack_from(data)
                trouble = trouble_of(link, code, plain_address(name), info, origin == _ORIGIN_LOCAL)
                if trouble is not None:
                    troubles.append(trouble)
    return troubles


def trouble_of(link: LinkId, code: int, address: Address, mtu: int, sure: bool) -> SocketTrouble | None:
    """What an errno about `address` means for the paths; None for one that means nothing to them."""
    if code == errno.ECONNREFUSED:
        return SocketTrouble(link, "refused", "refused: nobody listens there", address, sure=sure)
    if code == errno.EMSGSIZE:
        return SocketTrouble(link, "too_big", f"packets above {mtu} bytes do not pass", address, mtu, sure)
    if code in _UNREACHABLE:
        return SocketTrouble(link, "unreachable", f"unreachable: {os.strerror(code).lower()}", address, sure=sure)
    if code in _GONE:
        return SocketTrouble(link, "unreachable", "this node has lost its own address there", address, sure=sure)
    return None
