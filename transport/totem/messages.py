"""The Totem messages of an installed ring: token, multicast, want, progress. Those of membership: joins.py.

Every message opens with a u8 type; integers are big-endian. docs/protocol-totem.md has the tables.
Decoders raise WireError and nothing else. Counts are checked before anything is allocated.

The token carries, for each member in order of node id, two u32: how far the member's aru lies below `seq`, and
how far its progress claim lies below `head` (0xFFFFFFFF: no claim). Entry i states only what member i said of
itself, so a stale copy under-states (facts: totem.md section 14).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from transport.errors import WireError
from transport.ids import MAX_RING_MEMBERS, NodeId, RingId

TOKEN = 1
MCAST = 2
JOIN = 3
COMMIT = 4
WANT = 5

# Flags of a multicast.
SAFE = 1  # delivered only once every member is known to have it
ENCAPSULATED = 2  # the body is a multicast of an old ring, carried in recovery
CONTINUES = 4  # the first chunk goes on with a message begun in an earlier multicast of this sender
CUT = 8  # the last chunk goes on in this sender's next multicast

RING_ID = struct.Struct("!QHI")
_MCAST = struct.Struct("!BBH14sQ")
MCAST_HEAD = _MCAST.size  # 26 bytes
_TOKEN = struct.Struct("!BB14sQQQQIIBBBBH")
TOKEN_HEAD = _TOKEN.size
_RTR = struct.Struct("!IH")
RTR_MAX = 100
REST_UNIT = 0.0001  # seconds
REST_TURN = 256
NO_CLAIM = 0xFFFFFFFF
_U32_MAX = 0xFFFFFFFF
_SEQ_MAX = 1 << 62
_WANT = struct.Struct("!BB14sQ")
_PROGRESS = struct.Struct("!14sQQ")
_NO_VALUE = (1 << 64) - 1


def pack_ring(ring_id: RingId) -> bytes:
    """14 bytes: seq u64, representative u16, its incarnation u32."""
    return RING_ID.pack(*ring_id)


def unpack_ring(data: bytes) -> RingId:
    """The inverse of pack_ring; raises WireError on a seq no ring can have."""
    ring = RingId(*RING_ID.unpack(data))
    if ring.seq > _SEQ_MAX:
        raise WireError(f"ring seq {ring.seq} out of range")
    return ring


def pack_mcast(wire_ring: bytes, seq: int, sender: NodeId, flags: int, body: bytes) -> bytes:
    """A multicast frame: a 26-byte head, then the body."""
    return _MCAST.pack(MCAST, flags, sender, wire_ring, seq) + body


def mcast_head(frame: bytes) -> tuple[int, NodeId, bytes, int]:
    """(flags, sender, wire ring id, seq) of a multicast frame; raises WireError."""
    if len(frame) < MCAST_HEAD:
        raise WireError(f"multicast: {len(frame)} bytes, at least {MCAST_HEAD} expected")
    _, flags, sender, wire_ring, seq = _MCAST.unpack_from(frame)
    if not 0 < seq <= _SEQ_MAX:
        raise WireError(f"multicast: seq {seq} out of range")
    return flags, sender, wire_ring, seq


def mcast_sender(frame: bytes) -> NodeId:
    """Who numbered this multicast; the frame passed mcast_head before."""
    return frame[2] << 8 | frame[3]


@dataclass(slots=True)
class Token:
    """The rotating right to multicast. TOKEN_HEAD bytes, 8 per member, 6 per retransmission request.

    arus, claims: by member, in order of node id. rtr: (first seq, count) of what someone lacks.
    """

    ring_id: RingId
    token_seq: int  # +1 at every hop: tells a resent token from a new one
    seq: int  # highest message seq given out on this ring
    head: int  # what the claims are said below: the highest that is within reach of most
    install: int  # recovery: the last recovery message's seq, once `pending` is 0
    fcc: int  # bytes multicast by all in the last rotation
    backlog: int  # bytes waiting at all members
    pending: int  # recovery: members that may still have old messages to send
    ready: int  # recovery: members that declared to have everything up to `install`
    accelerated: int  # members that sent multicasts after the token at their last visit
    arus: list[int]
    claims: list[int | None]
    rtr: list[tuple[int, int]] = field(default_factory=list)
    rested: int = 0  # how long it has rested at all members since the ring began, in REST_UNIT, modulo REST_TURN

    def encode(self) -> bytes:
        seq, head = self.seq, self.head
        count = len(self.arus)
        fields: list[int] = []
        for aru, claim in zip(self.arus, self.claims, strict=True):
            below = seq - aru
            # A claim above the head, or too far below, cannot be said: saturating would over-state it.
            said = NO_CLAIM if claim is None or not 0 <= head - claim < NO_CLAIM else head - claim
            fields += (below if below < _U32_MAX else _U32_MAX, said)
        for first, length in self.rtr:
            fields += (seq - first, length)
        return _TOKEN.pack(
            TOKEN,
            self.rested,
            RING_ID.pack(*self.ring_id),
            self.token_seq,
            seq,
            head,
            self.install,
            min(self.fcc, _U32_MAX),
            min(self.backlog, _U32_MAX),
            self.pending,
            self.ready,
            self.accelerated,
            count,
            len(self.rtr),
        ) + struct.pack("!" + "II" * count + "IH" * len(self.rtr), *fields)

    @classmethod
    def decode(cls, data: bytes) -> Token:
        """Raises WireError."""
        if len(data) < TOKEN_HEAD:
            raise WireError(f"token: {len(data)} bytes, at least {TOKEN_HEAD} expected")
        fields = _TOKEN.unpack_from(data)
        _, rested, wire_ring, token_seq, seq, head, install, fcc, backlog, pending, ready, accelerated = fields[:12]
        count, requests = fields[12:]
        if not 0 < count <= MAX_RING_MEMBERS or requests > RTR_MAX:
            raise WireError(f"token: {count} members, {requests} requests")
        if len(data) != TOKEN_HEAD + 8 * count + _RTR.size * requests:
            raise WireError(f"token: {count} members and {requests} requests in {len(data)} bytes")
        if max(token_seq, seq, head, install) > _SEQ_MAX or max(pending, ready, accelerated) > count:
            raise WireError("token: a counter is out of range")
        entries = struct.unpack_from(f"!{2 * count}I", data, TOKEN_HEAD)
        arus = [seq - below for below in entries[::2]]
        claims = [None if below == NO_CLAIM else head - below for below in entries[1::2]]
        if min(arus) < 0 or min([claim for claim in claims if claim is not None], default=0) < 0:
            raise WireError("token: an entry lies below 0")
        rtr = []
        for below, length in _RTR.iter_unpack(data[TOKEN_HEAD + 8 * count :]):
            if below >= seq or not 0 < length <= below + 1:
                raise WireError("token: a retransmission request is out of range")
            rtr.append((seq - below, length))
        return cls(
            unpack_ring(wire_ring),
            token_seq,
            seq,
            head,
            install,
            fcc,
            backlog,
            pending,
            ready,
            accelerated,
            arus,
            claims,
            rtr,
            rested,
        )


@dataclass(slots=True)
class Want:
    """Someone has something to send while the token rests; repeatable, means nothing on another ring.

    token_seq: of the last token the asker saw, so that a holder knows whether it was visited since.
    """

    ring_id: RingId
    token_seq: int

    def encode(self) -> bytes:
        return _WANT.pack(WANT, 0, RING_ID.pack(*self.ring_id), self.token_seq)

    @classmethod
    def decode(cls, data: bytes) -> Want:
        """Raises WireError."""
        if len(data) != _WANT.size:
            raise WireError(f"want: {len(data)} bytes, {_WANT.size} expected")
        _, _, wire_ring, token_seq = _WANT.unpack(data)
        return cls(unpack_ring(wire_ring), token_seq)


@dataclass(slots=True)
class ProgressReport:
    """What a member says of itself while the token rests elsewhere: its aru and claim. Monotone; loss is harmless."""

    ring_id: RingId
    aru: int
    claim: int | None

    def encode(self) -> bytes:
        claim = _NO_VALUE if self.claim is None else self.claim
        return _PROGRESS.pack(RING_ID.pack(*self.ring_id), self.aru, claim)

    @classmethod
    def decode(cls, data: bytes) -> ProgressReport:
        """Raises WireError."""
        if len(data) != _PROGRESS.size:
            raise WireError(f"progress: {len(data)} bytes, {_PROGRESS.size} expected")
        wire_ring, aru, claim = _PROGRESS.unpack(data)
        if aru > _SEQ_MAX or (claim > _SEQ_MAX and claim != _NO_VALUE):
            raise WireError("progress: a counter is out of range")
        return cls(unpack_ring(wire_ring), aru, None if claim == _NO_VALUE else claim)
