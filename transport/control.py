"""What security itself says inside a pairwise session: plaintexts whose first byte is 0x40 to 0x5f.

    SENDER_KEY       u8 0x40, u32 key_id, u64 floor, 32 bytes key
    SENDER_KEY_ACK   u8 0x41, u32 key_id
    CLUSTER_KEY      u8 0x42, u64 generation, u8 in_use, u16 total, u16 offset, 1..1024 bytes of the secret
    CLUSTER_KEY_ACK  u8 0x43, u64 generation, u8 in_use
    REMOVED          u8 0x44, u64 date (seconds since 1970), u8 length, that many bytes of UTF-8: by whom

Big-endian. Every decoder takes the whole plaintext and raises WireError, nothing else.
"""

from __future__ import annotations

import struct

from transport.codec import Reader
from transport.errors import WireError
from transport.keyring import MAX_SECRET, MIN_SECRET

SENDER_KEY = 0x40
SENDER_KEY_ACK = 0x41
CLUSTER_KEY = 0x42
CLUSTER_KEY_ACK = 0x43
REMOVED = 0x44
FIRST = 0x40
LAST = 0x5F

CHUNK = 1024
"""Bytes of a cluster key in one message: a datagram with it fits the smallest path (1200 bytes)."""
MAX_NAME = 64

_SENDER_KEY = struct.Struct("!BIQ32s")
_ACK = struct.Struct("!BI")
_CLUSTER_KEY = struct.Struct("!BQBHH")
_CLUSTER_ACK = struct.Struct("!BQB")


def encode_sender_key(key_id: int, floor: int, key: bytes) -> bytes:
    return _SENDER_KEY.pack(SENDER_KEY, key_id, floor, key)


def decode_sender_key(data: bytes) -> tuple[int, int, bytes]:
    """(key_id, floor, key)."""
    if len(data) != _SENDER_KEY.size:
        raise WireError(f"sender key message of {len(data)} bytes")
    _, key_id, floor, key = _SENDER_KEY.unpack(data)
    return key_id, floor, key


def encode_sender_key_ack(key_id: int) -> bytes:
    return _ACK.pack(SENDER_KEY_ACK, key_id)


def decode_sender_key_ack(data: bytes) -> int:
    """key_id."""
    if len(data) != _ACK.size:
        raise WireError(f"sender key ack of {len(data)} bytes")
    key_id: int = _ACK.unpack(data)[1]
    return key_id


def encode_cluster_key(generation: int, in_use: bool, secret: bytes) -> list[bytes]:
    """One message for each 1024 bytes of the secret."""
    return [
        _CLUSTER_KEY.pack(CLUSTER_KEY, generation, in_use, len(secret), offset) + secret[offset : offset + CHUNK]
        for offset in range(0, len(secret), CHUNK)
    ]


def decode_cluster_key(data: bytes) -> tuple[int, bool, int, int, bytes]:
    """(generation, in_use, total, offset, piece), with the piece where a piece of that total must be."""
    if len(data) <= _CLUSTER_KEY.size:
        raise WireError(f"cluster key message of {len(data)} bytes")
    _, generation, in_use, total, offset = _CLUSTER_KEY.unpack_from(data)
    piece = data[_CLUSTER_KEY.size :]
    if (
        in_use > 1
        or not MIN_SECRET <= total <= MAX_SECRET
        or offset % CHUNK
        or len(piece) != min(CHUNK, total - offset)
    ):
        raise WireError(f"cluster key message with {len(piece)} bytes at {offset} of {total}")
    return generation, bool(in_use), total, offset, piece


def encode_cluster_key_ack(generation: int, in_use: bool) -> bytes:
    return _CLUSTER_ACK.pack(CLUSTER_KEY_ACK, generation, in_use)


def decode_cluster_key_ack(data: bytes) -> tuple[int, bool]:
    """(generation, whether the peer sends under it or a later one)."""
    if len(data) != _CLUSTER_ACK.size or data[-1] > 1:
        raise WireError(f"cluster key ack of {len(data)} bytes")
    _, generation, in_use = _CLUSTER_ACK.unpack(data)
    return generation, bool(in_use)


def encode_removed(date: int, by: str) -> bytes:
    """date: seconds since 1970. by: cut to 64 bytes of UTF-8."""
    name = by.encode("utf-8")[:MAX_NAME].decode("utf-8", "ignore").encode("utf-8")
    return struct.pack("!BQB", REMOVED, date, len(name)) + name


def decode_removed(data: bytes) -> tuple[int, str]:
    """(date, by); `by` is printable text of at most 64 bytes."""
    reader = Reader(data, 1)
    date = reader.u64()
    size = reader.u8()
    if size > MAX_NAME:
        raise WireError(f"name of {size} bytes")
    raw = reader.raw(size)
    reader.end()
    try:
        by = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError("name is not UTF-8") from error
    if not by.isprintable():
        raise WireError("name is not printable")
    return date, by
