"""The daemon's local socket: who may connect, how many, and what they may ask.

Everybody may connect (the file has mode 0666); what they may do depends on who the kernel says they are
(credentials.py). Places are limited, and some are kept for those who may change things, so that no user of the host
can lock the administrator out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from clusterd.control import sockets
from clusterd.control.backend import Backend
from clusterd.control.connection import Connection
from clusterd.control.credentials import Authority, Peer
from clusterd.control.operations import Permission
from clusterd.control.shapes import SocketCounts
from transport.core import Log


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the local socket.

    clients: connections at once; `reserved` of them only for those who may change things; per_uid: of one user.
    in_flight: requests of one client being worked on; per_turn: handled before other clients get the loop.
    queue: events that wait for a slow subscriber.  high_water: bytes; beyond, a client is waited for.
    hello_timeout, stall_timeout: seconds until one who says nothing, or reads nothing, is closed.
    """

    clients: int = 256
    reserved: int = 32
    per_uid: int = 128
    in_flight: int = 64
    per_turn: int = 16
    subscriptions: int = 64
    queue: int = 256
    high_water: int = 256 * 1024
    hello_timeout: float = 5.0
    stall_timeout: float = 30.0


@dataclass(slots=True)
class Stats:
    """Counters since start."""

    accepted: int = 0
    turned_away: int = 0  # too many clients
    garbage: int = 0  # closed for bytes that are not our protocol
    slow: int = 0  # subscriptions and connections ended because their client did not read
    requests: int = 0
    bugs: int = 0  # operations that failed with an error of ours

    def counts(self) -> SocketCounts:
        """For the status."""
        return {
            "accepted": self.accepted,
            "turned_away": self.turned_away,
            "garbage": self.garbage,
            "slow": self.slow,
            "bugs": self.bugs,
        }


class ControlServer:
    """Serves `backend` on a unix socket until closed.

    lab: accept `lab_cuts`.  authority: who may change things, and which paths they may touch and read.
    """

    def __init__(
        self,
        backend: Backend,
        path: str,
        log: Log,
        *,
        lab: bool = False,
        authority: Authority | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.backend = backend
        self.path = path
        self.log = log
        self.lab = lab
        self.authority = authority or Authority()
        self.limits = limits or Limits()
        self.stats = Stats()
        self.loop: asyncio.AbstractEventLoop
        self._connections: set[Connection] = set()
        self._by_uid: Counter[int] = Counter()
        self._server: asyncio.AbstractServer | None = None
        self._file: tuple[int, int] | None = None

    async def start(self) -> None:
        """Listen. Raises Refused when another process answers there, OSError from the kernel."""
        self.loop = asyncio.get_running_loop()
        sock = sockets.listen(self.path)
        self._file = self._identity()
        self._server = await self.loop.create_unix_server(lambda: Connection(self), sock=sock, backlog=512)

    async def close(self) -> None:
        """Take no more clients, end those there are, remove the file if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.close()
        if self._file is not None and self._file == self._identity():
            with contextlib.suppress(FileNotFoundError):
                Path(self.path).unlink()
        self._server = None

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.lstat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    # asked by connections

    def admit(self, connection: Connection) -> str | None:
        """Count a new client, or say why not."""
        peer, limits = connection.peer, self.limits
        places = limits.clients if self.authority.may_change(peer) else limits.clients - limits.reserved
        if len(self._connections) >= places:
            reason = f"{len(self._connections)} clients are connected to this daemon already"
        elif not self.authority.owner(peer) and self._by_uid[peer.uid] >= limits.per_uid:
            reason = f"user {peer.uid} has {limits.per_uid} connections to this daemon already"
        else:
            self._connections.add(connection)
            self._by_uid[peer.uid] += 1
            self.stats.accepted += 1
            return None
        self.stats.turned_away += 1
        return reason

    def forget(self, connection: Connection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            self._by_uid[connection.peer.uid] -= 1
            if not self._by_uid[connection.peer.uid]:
                del self._by_uid[connection.peer.uid]

    def permissions(self, peer: Peer) -> list[Permission]:
        """What the peer may do, for the hello."""
        allowed: list[Permission] = ["read"]
        if self.authority.may_change(peer):
            allowed.append("write")
            if self.lab:
                allowed.append("lab")
        return allowed

    def denial(self, peer: Peer, permission: Permission) -> tuple[str, str] | None:
        """Why not: message and hint; None when it may."""
        if permission == "read":
            return None
        if permission == "lab" and not self.lab:
            return "this daemon was not started with --lab", "only `clusterctl lab` starts daemons that drop datagrams"
        if self.authority.may_change(peer):
            return None
        return f"user {peer.uid} may not change this cluster", "root, the daemon's user and its group may"
