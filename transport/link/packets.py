"""Link messages: ping, pong, MTU probe and its answer; the payloads that prove a path.

They travel inside the pairwise session (first byte below 0x40), so they are authentic and fresh when they get here.
Source: docs/protocol-links.md; why each field is there: DESIGN 6 and facts/knet.md section 16.
All fields are big-endian and unsigned.

    PING       type 0x01, flags, id u64
    PONG       type 0x02, flags, id u64, ring seq u64, ring rep u16, ring incarnation u32
    PROBE      type 0x03, flags, id u64, size u16, padding
    PROBE_ACK  type 0x04, flags, id u64, size u16

flags, in a ping: bit 0 "I hear you on this link", bit 1 "the id is one of memory.py". Other bits are sent as zero and
ignored.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from transport.errors import WireError
from transport.ids import RingId

PING, PONG, PROBE, PROBE_ACK = 0x01, 0x02, 0x03, 0x04
_HEARS = 0x01
_TELLS = 0x02

_PING = struct.Struct("!BBQ")
_PONG = struct.Struct("!BBQQHI")
_PROBE = struct.Struct("!BBQH")
PROBE_HEAD = _PROBE.size


@dataclass(slots=True)
class Ping:
    """Asks for a pong. id: the sender's, unique on its path; hears: the sender hears us on this link.

    tells: the id is one of memory.py; older versions send any.
    """

    id: int
    hears: bool
    tells: bool = False

    def encode(self) -> bytes:
        return _PING.pack(PING, (_HEARS if self.hears else 0) | (_TELLS if self.tells else 0), self.id)


@dataclass(slots=True)
class Pong:
    """Answers the ping with this id, and says which ring the answering node stands for (DESIGN 4, Q4)."""

    id: int
    ring_id: RingId

    def encode(self) -> bytes:
        ring = self.ring_id
        return _PONG.pack(PONG, 0, self.id, ring.seq, ring.rep, ring.incarnation)


@dataclass(slots=True)
class Probe:
    """A datagram padded to `size` bytes of UDP payload once it is sealed: does that size pass?"""

    id: int
    size: int

    def encode(self, length: int) -> bytes:
        """The payload, padded with zeros to `length` bytes (at least PROBE_HEAD)."""
        return _PROBE.pack(PROBE, 0, self.id, self.size).ljust(length, b"\0")


@dataclass(slots=True)
class ProbeAck:
    """The probe with this id arrived whole; size: the UDP payload bytes that arrived."""

    id: int
    size: int

    def encode(self) -> bytes:
        return _PROBE.pack(PROBE_ACK, 0, self.id, self.size)


def decode(payload: bytes) -> Ping | Pong | Probe | ProbeAck:
    """One link message. Raises WireError for anything else, never struct.error or IndexError."""
    size = len(payload)
    kind = payload[0] if size else -1
    if kind == PING and size == _PING.size:
        _, flags, number = _PING.unpack(payload)
        return Ping(number, bool(flags & _HEARS), bool(flags & _TELLS))
    if kind == PONG and size == _PONG.size:
        _, _, number, seq, rep, incarnation = _PONG.unpack(payload)
        return Pong(number, RingId(seq, rep, incarnation))
    if kind == PROBE and size >= _PROBE.size:
        _, _, number, declared = _PROBE.unpack_from(payload)
        return Probe(number, declared)
    if kind == PROBE_ACK and size == _PROBE.size:
        _, _, number, declared = _PROBE.unpack(payload)
        return ProbeAck(number, declared)
    raise WireError(f"link message: type {kind} with {size} bytes")
