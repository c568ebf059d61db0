"""The Totem messages of membership: the join with its view of the cluster, and the commit token.

A join is sent while gathering (GATHERING: an offer to form a ring of exactly `clique`), once more when leaving
(the sender's own row says `left`), and otherwise as an announcement: it tells others of a changed row, and, sent
to nodes outside the ring, it is the merge detection. It carries a row for every node the sender knows of.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from transport.codec import Reader, Writer
from transport.errors import WireError
from transport.ids import MAX_RING_MEMBERS, NO_RING, NodeId, RingId
from transport.totem.messages import COMMIT, JOIN, pack_ring, unpack_ring

GATHERING = 1
_HEAD = struct.Struct("!BBHQBB")
_ROW = struct.Struct("!BIIIHHBB")
_KNOWN = 1
_LEFT = 2
_AGE_UNIT = 0.010  # seconds
_AGE_MAX = 0xFFFF
VOTES_MAX = 0xFFFF
"""Votes above count as this when cliques are chosen: what a row can say. Quorum counts them all."""
_SEQ_MAX = 1 << 62


@lru_cache(maxsize=4096)
def _members(ids: tuple[NodeId, ...], bits: int) -> frozenset[NodeId]:
    """The ids a bitmap stands for. Remembered: the same rows come with every join."""
    return frozenset(node for i, node in enumerate(ids) if bits >> i & 1)


@dataclass(slots=True)
class View:
    """What a node said of itself.

    incarnation: of its process, random. birth: the ring seq reserved on disk when it started, saturating at 32 bits:
    a process that was in a ring reserved more, so of two incarnations the one with the higher birth is the later;
    equal, or lower because the disk was lost, says nothing. stamp: grows with every change of what it says.
    row: whom it reaches, both ways. ring: the last it installed. primary: the ring in which it was last told
    to be a member of the primary. heard_at: when it was last heard by whoever told us, on our clock.
    """

    incarnation: int
    birth: int
    stamp: int
    row: frozenset[NodeId]
    votes: int
    ring: RingId
    primary: RingId
    left: bool
    heard_at: float


@dataclass(slots=True)
class Join:
    """See the top of this file. max_seq: highest ring seq the sender knows of; clique: sorted."""

    sender: NodeId
    gathering: bool
    max_seq: int
    clique: tuple[NodeId, ...]
    views: dict[NodeId, View]

    def encode(self, now: float) -> bytes:
        """14 bytes and 2 per node, 14 per distinct ring, 19 per known node plus one bit per node."""
        named = {self.sender, *self.views, *self.clique}
        seen = named.union(*(view.row for view in self.views.values()))
        # Rows may name nodes we have no row of. More than a join can hold, and those are left out: nobody could
        # form a ring with them on our word anyway.
        ids = sorted(seen if len(seen) <= MAX_RING_MEMBERS else named)
        index = {node: i for i, node in enumerate(ids)}
        width = (len(ids) + 7) // 8

        def bits(nodes: tuple[NodeId, ...] | frozenset[NodeId]) -> bytes:
            return sum(1 << index[node] for node in nodes if node in index).to_bytes(width, "big")

        rings = sorted({v.ring for v in self.views.values()} | {v.primary for v in self.views.values()})
        where = {ring: i for i, ring in enumerate(rings)}
        out = Writer().u8(JOIN).u8(GATHERING if self.gathering else 0).u16(self.sender).u64(self.max_seq)
        out.u8(len(ids)).u8(len(rings))
        for node in ids:
            out.u16(node)
        out.raw(bits(self.clique))
        for ring in rings:
            out.raw(pack_ring(ring))
        for node in ids:
            view = self.views.get(node)
            if view is None:
                out.u8(0)
                continue
            out.u8(_KNOWN | (_LEFT if view.left else 0)).u32(view.incarnation).u32(view.birth).u32(view.stamp)
            out.u16(max(0, min(int((now - view.heard_at) / _AGE_UNIT), _AGE_MAX))).u16(min(view.votes, VOTES_MAX))
            out.u8(where[view.ring]).u8(where[view.primary]).raw(bits(view.row))
        return out.done()

    @classmethod
    def decode(cls, data: bytes, now: float) -> Join:
        """Raises WireError. Ages on the wire become times on our clock."""
        if len(data) < _HEAD.size:
            raise WireError(f"join: {len(data)} bytes, at least {_HEAD.size} expected")
        _, flags, sender, max_seq, count, ring_count = _HEAD.unpack_from(data)
        if not 0 < count <= MAX_RING_MEMBERS or max_seq > _SEQ_MAX:
            raise WireError(f"join: {count} nodes, ring seq {max_seq}")
        width = (count + 7) // 8
        position = _HEAD.size + 2 * count
        end = len(data)
        if end < position + width + 14 * ring_count:
            raise WireError(f"join: {count} nodes and {ring_count} rings in {end} bytes")
        ids: tuple[NodeId, ...] = struct.unpack_from(f"!{count}H", data, _HEAD.size)
        if any(a >= b for a, b in pairwise(ids)) or ids[0] == 0:
            raise WireError("join: node ids are not in order")
        clique_bits = int.from_bytes(data[position : position + width], "big")
        position += width
        rings = [unpack_ring(data[at : at + 14]) for at in range(position, position + 14 * ring_count, 14)]
        position += 14 * ring_count
        views: dict[NodeId, View] = {}
        widest = clique_bits
        for node in ids:
            if position >= end:
                raise WireError("join: ends within a row")
            if not data[position] & _KNOWN:
                position += 1
                continue
            if end < position + _ROW.size + width:
                raise WireError("join: ends within a row")
            known, incarnation, birth, stamp, age, votes, ring, primary = _ROW.unpack_from(data, position)
            position += _ROW.size + width
            if ring >= ring_count or primary >= ring_count:
                raise WireError("join: no such ring")
            bits = int.from_bytes(data[position - width : position], "big")
            widest |= bits
            heard_at = now - age * _AGE_UNIT
            left = bool(known & _LEFT)
            row = _members(ids, bits)
            views[node] = View(incarnation, birth, stamp, row, votes, rings[ring], rings[primary], left, heard_at)
        if position != end or widest >> count:
            raise WireError("join: bytes after its end, or a bit beyond the last node")
        if sender not in views:
            raise WireError("join: the sender's own row is missing")
        return cls(sender, bool(flags & GATHERING), max_seq, tuple(sorted(_members(ids, clique_bits))), views)


@dataclass(slots=True)
class Entry:
    """One member's state of its old ring, on the commit token; `filled` by the member itself, in round one.

    stamp: of its last join, so that a later join is known to be later. aru, high: of the messages it has.
    stable: up to where it knows all members of its old ring to have everything.
    obligations: bitmap over its old ring's members, in order of id: whose messages behind a gap it must deliver
        because it once declared to have them all (facts: totem.md section 8.5).
    """

    node: NodeId
    incarnation: int
    stamp: int = 0
    filled: bool = False
    old_ring: RingId = NO_RING
    aru: int = 0
    high: int = 0
    stable: int = 0
    obligations: int = 0


@dataclass(slots=True)
class CommitToken:
    """Goes round the ring to be twice: members write their entries, then read all of them. 21 bytes + 57 a member.

    hop: +1 at every hand-over; member i gets it at hop i, then at hop i + number of members.
    """

    ring_id: RingId
    hop: int
    entries: list[Entry]

    @property
    def members(self) -> tuple[NodeId, ...]:
        return tuple(entry.node for entry in self.entries)

    def encode(self) -> bytes:
        out = Writer().u8(COMMIT).u8(0).raw(pack_ring(self.ring_id)).u32(self.hop).u8(len(self.entries))
        for e in self.entries:
            out.u16(e.node).u32(e.incarnation).u32(e.stamp).u8(1 if e.filled else 0).raw(pack_ring(e.old_ring))
            out.u64(e.aru).u64(e.high).u64(e.stable).u64(e.obligations)
        return out.done()

    @classmethod
    def decode(cls, data: bytes) -> CommitToken:
        """Raises WireError."""
        read = Reader(data)
        read.u16()
        ring_id = unpack_ring(read.raw(14))
        hop, count = read.u32(), read.u8()
        if not 0 < count <= MAX_RING_MEMBERS or hop > 2 * count:
            raise WireError(f"commit token: {count} members, hop {hop}")
        entries = []
        for _ in range(count):
            node, incarnation, stamp, filled = read.u16(), read.u32(), read.u32(), read.u8()
            old_ring = unpack_ring(read.raw(14))
            aru, high, stable, obligations = read.u64(), read.u64(), read.u64(), read.u64()
            if not stable <= aru <= high <= _SEQ_MAX:
                raise WireError("commit token: stable, aru and high seq are not in order")
            entries.append(Entry(node, incarnation, stamp, filled != 0, old_ring, aru, high, stable, obligations))
        read.end()
        if any(a.node >= b.node for a, b in pairwise(entries)) or entries[0].node == 0:
            raise WireError("commit token: members are not in order")
        if ring_id.rep != entries[0].node:
            raise WireError("commit token: the representative is not the lowest member")
        return cls(ring_id, hop, entries)
