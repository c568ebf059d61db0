"""Closed process groups: named groups of local processes over the ring, with membership in message order.

Source: the closed process group service of corosync (cpg_overview(8)): a process joins a group by name, messages
to a group are delivered in the total order to its members only, and every change of membership is an event in that
same order. Reasons are cpg's numbers, so that C clients can be served from here unchanged.

The table of members changes only at ordered points (join, leave, the barrier), so nodes that stay together hold
equal tables. A member is (node, pid); a pid may be in many groups, but once in each. A node that was elsewhere in
between, or started anew, comes back with new members, even if their numbers are the old ones: what they said there
was not told here, so they are told as gone first.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from transport.codec import Reader, Writer
from transport.core import Log
from transport.errors import BadArgument, QueueFull, TooLarge, WireError
from transport.ids import NodeId

MAX_NAME = 128  # bytes, CPG_MAX_NAME_LENGTH
MAX_MESSAGE = 1 << 20
MAX_LOCAL_MEMBERS = 4096
_VERSION = 1
_JOIN, _LEAVE, _MESSAGE = 1, 2, 3


class Reason(IntEnum):
    """Why a member is in a change list (cpg_confchg_reason_t)."""

    JOIN = 1
    LEAVE = 2
    NODEDOWN = 3
    NODEUP = 4
    PROCDOWN = 5


class Member(NamedTuple):
    """A process in a group."""

    node: NodeId
    pid: int


@dataclass(frozen=True, slots=True)
class GroupChange:
    """The membership of a group after a change; told for groups with a local member, or one that just left."""

    group: bytes
    members: tuple[Member, ...]
    joined: tuple[tuple[Member, Reason], ...] = ()
    left: tuple[tuple[Member, Reason], ...] = ()


@dataclass(slots=True)
class GroupMessage:
    """A message to a group that has a local member."""

    group: bytes
    sender: Member
    payload: bytes


@dataclass(frozen=True, slots=True)
class Multicast:
    """To be multicast on the groups' channel."""

    payload: bytes


class Groups:
    """The groups of one node.

    True once a configuration's barrier is passed: every member's node is in that configuration.
    """

    def __init__(self, me: NodeId, log: Log) -> None:
        self._me = me
        self._log = log
        self._groups: dict[bytes, set[Member]] = {}
        self._local: dict[bytes, set[int]] = {}  # asked for by local processes; becomes ours at delivery
        self._together: set[NodeId] | None = None  # nodes in all our configurations since a barrier; None: not in one
        self.events: deque[GroupChange | GroupMessage | Multicast] = deque()
        self._of_node: Counter[NodeId] = Counter()  # memberships of each node's processes
        self.malformed = 0

    # -- local processes -------------------------------------------------------------------------------------

    def join(self, group: bytes, pid: int) -> None:
        """Ask to be in `group`; a GroupChange with us in `joined` says when. Raises BadArgument, QueueFull."""
        _check_name(group)
        pids = self._local.setdefault(group, set())
        if pid in pids:
            raise BadArgument(f"process {pid} is in this group already")
        if sum(len(p) for p in self._local.values()) >= MAX_LOCAL_MEMBERS:
            raise QueueFull(f"{MAX_LOCAL_MEMBERS} local group members already")
        pids.add(pid)
        self._send(_JOIN, group, pid, bytes([Reason.JOIN]))

    def leave(self, group: bytes, pid: int, reason: Reason = Reason.LEAVE) -> None:
        """Leave `group`; PROCDOWN when the process ended without saying so. Raises BadArgument."""
        if pid not in self._local.get(group, ()):
            raise BadArgument(f"process {pid} is not in this group")
        self._local[group].discard(pid)
        if not self._local[group]:
            del self._local[group]
        self._send(_LEAVE, group, pid, bytes([reason]))

    def mcast(self, group: bytes, pid: int, payload: bytes) -> None:
        """Send to all members of `group`, ourselves included. Raises BadArgument, TooLarge."""
        if pid not in self._local.get(group, ()):
            raise BadArgument(f"process {pid} is not in this group")
        if len(payload) > MAX_MESSAGE:
            raise TooLarge(f"group message of {len(payload)} bytes, at most {MAX_MESSAGE}")
        self._send(_MESSAGE, group, pid, payload)

    def members(self, group: bytes) -> tuple[Member, ...]:
        return tuple(sorted(self._groups.get(group, ())))

    def names(self) -> list[bytes]:
        return sorted(self._groups)

    # -- the order -------------------------------------------------------------------------------------------

    def configuration(self, together: tuple[NodeId, ...]) -> None:
        """A regular configuration was installed; together: who came to it with us from the one before."""
        came = {self._me, *together}
        self._together = came if self._together is None else self._together & came

    def deliver(self, sender: NodeId, payload: bytes) -> None:
        """A message of the groups' channel at its place in the order."""
        if self._together is not None and sender not in self._together:
            return  # from a ring whose barrier was never passed: who sent it is no member here until one is
        try:
            kind, group, pid, body = _decode(payload)
        except WireError:
            self.malformed += 1
            return
        member = Member(sender, pid)
        present = self._groups.get(group, set())
        if kind == _JOIN:
            if member in present:
                return
            if self._of_node[sender] >= MAX_LOCAL_MEMBERS:
                self.malformed += 1  # no node of ours joins more; all count the same
                return
            self._of_node[sender] += 1
            self._change(group, joined={member: Reason.JOIN})
        elif kind == _LEAVE:
            if member in present:
                self._of_node[sender] -= 1
                reason = Reason.PROCDOWN if body == bytes([Reason.PROCDOWN]) else Reason.LEAVE
                self._change(group, left={member: reason})
        elif member in present and self._is_local(group):
            self.events.append(GroupMessage(group, member, body))

    def sync_state(self) -> bytes:
        """Our delivered local members; joins still under way come later by themselves."""
        mine = [(g, m.pid) for g in sorted(self._groups) for m in sorted(self._groups[g]) if m.node == self._me]
        writer = Writer().u8(_VERSION).u32(len(mine))
        for group, pid in mine:
            writer.blob(group).u32(pid)
        return writer.done()

    def sync_activate(self, members: tuple[NodeId, ...], blobs: dict[NodeId, bytes]) -> None:
        """The barrier is passed: the table becomes the union of what the members of the configuration said."""
        new: dict[bytes, set[Member]] = {}
        for node in sorted(members):
            try:
                for group, pid in _decode_state(blobs.get(node, b"")):
                    new.setdefault(group, set()).add(Member(node, pid))
            except WireError:
                self.malformed += 1
        stayed = set(members) if self._together is None else self._together & set(members)
        for group in sorted({*new, *self._groups}):
            before, after = self._groups.get(group, set()), new.get(group, set())
            same = {member for member in before & after if member.node in stayed}
            joined = dict.fromkeys(after - same, Reason.NODEUP)
            left = dict.fromkeys(before - same, Reason.NODEDOWN)
            if joined.keys() & left.keys():
                self._change(group, left=left)
                left = {}
            if joined or left:
                self._change(group, joined, left)
        self._together = set(members)
        self._of_node = Counter(member.node for group in self._groups.values() for member in group)

    def next_event(self) -> GroupChange | GroupMessage | Multicast | None:
        return self.events.popleft() if self.events else None

    # -- inside ----------------------------------------------------------------------------------------------

    def _is_local(self, group: bytes) -> bool:
        return any(m.node == self._me for m in self._groups.get(group, ()))

    def _change(
        self, group: bytes, joined: dict[Member, Reason] | None = None, left: dict[Member, Reason] | None = None
    ) -> None:
        joined, left = joined or {}, left or {}
        concerned = self._is_local(group)
        members = self._groups.setdefault(group, set())
        members.update(joined)
        members.difference_update(left)
        concerned = concerned or self._is_local(group)
        after = tuple(sorted(members))
        if not members:
            del self._groups[group]
        if concerned:
            self.events.append(GroupChange(group, after, tuple(sorted(joined.items())), tuple(sorted(left.items()))))

    def _send(self, kind: int, group: bytes, pid: int, body: bytes) -> None:
        self.events.append(Multicast(Writer().u8(_VERSION).u8(kind).u32(pid).blob(group).raw(body).done()))


def _check_name(group: bytes) -> None:
    if not 0 < len(group) <= MAX_NAME:
        raise BadArgument(f"group name of {len(group)} bytes, 1..{MAX_NAME} allowed")


def _decode(payload: bytes) -> tuple[int, bytes, int, bytes]:
    reader = Reader(payload)
    version, kind = reader.u8(), reader.u8()
    if version != _VERSION or not _JOIN <= kind <= _MESSAGE:
        raise WireError(f"group message version {version}, kind {kind}")
    pid = reader.u32()
    group = reader.blob(MAX_NAME)
    return kind, group, pid, reader.rest()


def _decode_state(blob: bytes) -> list[tuple[bytes, int]]:
    reader = Reader(blob)
    version, count = reader.u8(), reader.u32()
    if version != _VERSION or count > MAX_LOCAL_MEMBERS:
        raise WireError(f"group state version {version} with {count} members")
    entries = [(reader.blob(MAX_NAME), reader.u32()) for _ in range(count)]
    reader.end()
    return entries
