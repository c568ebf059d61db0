"""Who is at the other end of the local socket, and what they may do (DESIGN X3).

The kernel says who connected (SO_PEERCRED); nothing a client claims is believed. Root, the uid the daemon runs as and
the members of one configured group may change things; everybody may read status and quorum; files go by the path rules
of cfs/access.py.
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass, field

from cfs import access
from cfs.access import Caller

SO_PEERGROUPS = 59  # linux/socket.h; the socket module has no name for it
_UCRED = struct.Struct("iII")
_MAX_GROUPS = 65536  # NGROUPS_MAX


@dataclass(frozen=True, slots=True)
class Peer:
    """A connected process, as the kernel knew it when it connected."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = field(default=frozenset())


def peer_of(sock: socket.socket) -> Peer:
    """Ask the kernel. Raises OSError when the peer has gone already."""
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return Peer(pid, uid, gid, _groups(sock))


def _groups(sock: socket.socket) -> frozenset[int]:
    """Supplementary groups; none where the kernel does not tell (before 4.13)."""
    size = 64
    while True:
        try:
            data = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, size * 4)
        except OSError:  # ERANGE: more than we left room for
            size *= 16
            if size > _MAX_GROUPS:
                return frozenset()
            continue
        return frozenset(struct.unpack(f"{len(data) // 4}I", data))


@dataclass(frozen=True, slots=True)
class Authority:
    """The rule of X3. group: gid whose members may change things, or None."""

    uid: int = field(default_factory=os.geteuid)
    group: int | None = None

    def owner(self, peer: Peer) -> bool:
        """Root or the daemon's own uid."""
        return peer.uid in (0, self.uid)

    def may_change(self, peer: Peer) -> bool:
        """May send operations that change the cluster or its files."""
        return self.owner(peer) or (self.group is not None and (peer.gid == self.group or self.group in peer.groups))

    def may_touch(self, peer: Peer, path: str) -> bool:
        """May know of this path, and change it if they may change anything. path: from the tree's root, normalised."""
        return access.may_list(self._caller(peer), path)

    def may_read(self, peer: Peer, path: str) -> bool:
        """May have the content of this file."""
        return access.may_read(self._caller(peer), path)

    def _caller(self, peer: Peer) -> Caller:
        if self.owner(peer):
            return Caller.ADMIN
        return Caller.GROUP if self.may_change(peer) else Caller.OTHER
