"""The three handshake datagrams, and the gate that decides how much work strangers may cause.

    HANDSHAKE_INIT       112 bytes   Noise message one around (incarnation, stamp); mac1, mac2
    HANDSHAKE_RESPONSE    84 bytes   Noise message two around (incarnation); mac1
    COOKIE                56 bytes   a cookie for the address the init came from, sealed

The byte tables are in docs/protocol-security.md. Everything answered is smaller than what it answers.

mac1 is a keyed hash under a key made from the cluster key and the *receiver's* identity: whoever has never held the
cluster key cannot make one, so junk costs one hash and no curve operation. A recorded init can be sent again; it gets
as far as the stamp in its payload (one curve operation), is counted as replayed and is not answered. Under load (more
than `FREE_RATE` handshakes a second) an init must also carry mac2, made with the cookie that only the holder of the
source address was told: then each address has a rate of its own. As in Donenfeld, "WireGuard", 2017, section 5.4.7.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass, field
from enum import Enum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transport.core import Entropy
from transport.errors import WireError
from transport.ids import NodeId
from transport.keyring import ClusterKey

Address = tuple[str, int]
"""IP address as text (IPv6 without scope unless link-local), and port."""

VERSION = 1
HANDSHAKE_INIT = 1
HANDSHAKE_RESPONSE = 2
COOKIE = 3
SESSION = 4
RING = 5

MAC_SIZE = 16
NO_MAC = bytes(MAC_SIZE)

_INIT = struct.Struct("!BBHIQ")  # version, type, sender, sender_index, generation
_RESPONSE = struct.Struct("!BBHII")  # version, type, sender, sender_index, receiver_index
_COOKIE = struct.Struct("!BBHI")  # version, type, sender, receiver_index
_STAMP = struct.Struct("!QQ")  # incarnation, stamp
_INCARNATION = struct.Struct("!Q")

_INIT_NOISE = _INIT.size + 32 + _STAMP.size + 16  # 80: end of the Noise message, start of mac1
_RESPONSE_NOISE = _RESPONSE.size + 32 + _INCARNATION.size + 16  # 68
INIT_SIZE = _INIT_NOISE + 2 * MAC_SIZE
RESPONSE_SIZE = _RESPONSE_NOISE + MAC_SIZE
COOKIE_SIZE = _COOKIE.size + 16 + MAC_SIZE + 16
assert INIT_SIZE >= RESPONSE_SIZE and INIT_SIZE >= COOKIE_SIZE

FREE_RATE = 64.0
"""Handshakes a second worked on without asking for a cookie; about 0.3 ms of CPU each."""
FREE_BURST = 128.0
PROVEN_RATE = 10.0
"""Handshakes a second from one address that showed a cookie, under load."""
PROVEN_BURST = 20.0
TOTAL_RATE = 256.0
"""Handshakes a second from all such addresses together."""
MAX_SOURCES = 256
COOKIE_LIFE = 120.0
"""Seconds after which the secret behind the cookies is renewed."""


def prologue(generation: int, initiator: NodeId, responder: NodeId) -> bytes:
    """What both sides must agree on: protocol version, cluster-key generation, and who calls whom."""
    return b"clusterd handshake" + struct.pack("!BQHH", VERSION, generation, initiator, responder)


def encode_stamp(incarnation: int, stamp: int) -> bytes:
    """Payload of the init: this process, and a number that rises with each of its inits, and with each process."""
    return _STAMP.pack(incarnation, stamp)


def decode_stamp(payload: bytes) -> tuple[int, int]:
    """(incarnation, stamp). WireError for another size."""
    if len(payload) != _STAMP.size:
        raise WireError(f"handshake payload of {len(payload)} bytes")
    incarnation, stamp = _STAMP.unpack(payload)
    return incarnation, stamp


def encode_incarnation(incarnation: int) -> bytes:
    """Payload of the response."""
    return _INCARNATION.pack(incarnation)


def decode_incarnation(payload: bytes) -> int:
    """WireError for another size."""
    if len(payload) != _INCARNATION.size:
        raise WireError(f"handshake payload of {len(payload)} bytes")
    incarnation: int = _INCARNATION.unpack(payload)[0]
    return incarnation


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")[:MAC_SIZE]


@dataclass(slots=True)
class Init:
    """A decoded HANDSHAKE_INIT; nothing in it is authentic yet."""

    sender: NodeId
    sender_index: int
    generation: int
    noise: bytes
    mac1: bytes
    mac2: bytes
    covered1: bytes = field(repr=False)  # the bytes mac1 covers
    covered2: bytes = field(repr=False)  # the bytes mac2 covers

    @classmethod
    def decode(cls, data: bytes) -> Init:
        """WireError for another size; version and type were looked at before."""
        if len(data) != INIT_SIZE:
            raise WireError(f"handshake init of {len(data)} bytes")
        _, _, sender, index, generation = _INIT.unpack_from(data)
        end = _INIT_NOISE + MAC_SIZE
        return cls(
            sender,
            index,
            generation,
            noise=data[_INIT.size : _INIT_NOISE],
            mac1=data[_INIT_NOISE:end],
            mac2=data[end:],
            covered1=data[:_INIT_NOISE],
            covered2=data[:end],
        )

    def meant_for(self, key: ClusterKey, identity: bytes) -> bool:
        """Whether mac1 shows a sender that holds `key` and means the node with this public identity."""
        expected = _mac(_mac(key.mac_key, identity), self.covered1)
        return hmac.compare_digest(expected, self.mac1)


def encode_init(
    sender: NodeId, index: int, key: ClusterKey, noise: bytes, receiver_identity: bytes, cookie: bytes | None
) -> bytes:
    """A HANDSHAKE_INIT; cookie: the one last told us for this way, None without."""
    data = _INIT.pack(VERSION, HANDSHAKE_INIT, sender, index, key.generation) + noise
    data += _mac(_mac(key.mac_key, receiver_identity), data)
    return data + (_mac(cookie, data) if cookie is not None else NO_MAC)


@dataclass(slots=True)
class Response:
    """A decoded HANDSHAKE_RESPONSE; nothing in it is authentic yet."""

    sender: NodeId
    sender_index: int
    receiver_index: int
    noise: bytes
    mac1: bytes
    covered1: bytes = field(repr=False)

    @classmethod
    def decode(cls, data: bytes) -> Response:
        """WireError for another size."""
        if len(data) != RESPONSE_SIZE:
            raise WireError(f"handshake response of {len(data)} bytes")
        _, _, sender, sender_index, receiver_index = _RESPONSE.unpack_from(data)
        return cls(
            sender,
            sender_index,
            receiver_index,
            noise=data[_RESPONSE.size : _RESPONSE_NOISE],
            mac1=data[_RESPONSE_NOISE:],
            covered1=data[:_RESPONSE_NOISE],
        )

    def meant_for(self, key: ClusterKey, identity: bytes) -> bool:
        """As Init.meant_for: a forged response costs a hash and leaves the handshake it names unharmed."""
        return hmac.compare_digest(_mac(_mac(key.mac_key, identity), self.covered1), self.mac1)


def encode_response(
    sender: NodeId, index: int, receiver_index: int, key: ClusterKey, noise: bytes, receiver_identity: bytes
) -> bytes:
    """A HANDSHAKE_RESPONSE to the init that carried `receiver_index`."""
    data = _RESPONSE.pack(VERSION, HANDSHAKE_RESPONSE, sender, index, receiver_index) + noise
    return data + _mac(_mac(key.mac_key, receiver_identity), data)


def encode_cookie(sender: NodeId, identity: bytes, key: ClusterKey, init: Init, cookie: bytes, nonce: bytes) -> bytes:
    """A COOKIE answering this init. identity: ours; nonce: 16 random bytes, which make a key of their own."""
    head = _COOKIE.pack(VERSION, COOKIE, sender, init.sender_index)
    once = hmac.digest(_mac(key.cookie_key, identity), nonce, "sha256")
    return head + nonce + AESGCM(once).encrypt(bytes(12), cookie, head + init.mac1)


def cookie_index(data: bytes) -> int:
    """The index of the init a COOKIE answers. WireError for another size."""
    if len(data) != COOKIE_SIZE:
        raise WireError(f"cookie of {len(data)} bytes")
    index: int = _COOKIE.unpack_from(data)[3]
    return index


def open_cookie(data: bytes, sender_identity: bytes, key: ClusterKey, mac1: bytes) -> bytes:
    """The cookie (16 bytes) told for our init with this mac1. WireError if it is not authentic."""
    nonce, sealed = data[_COOKIE.size : _COOKIE.size + 16], data[_COOKIE.size + 16 :]
    once = hmac.digest(_mac(key.cookie_key, sender_identity), nonce, "sha256")
    try:
        return AESGCM(once).decrypt(bytes(12), sealed, data[: _COOKIE.size] + mac1)
    except InvalidTag as error:
        raise WireError("cookie is not authentic") from error


class _Bucket:
    """`rate` tokens a second, at most `burst` saved up."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._tokens, self._at = rate, burst, burst, now

    def _fill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now

    def take(self, now: float) -> bool:
        self._fill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def full(self, now: float) -> bool:
        self._fill(now)
        return self._tokens >= self._burst


class Verdict(Enum):
    """What to do with an init whose mac1 is good."""

    WORK = "work"
    ASK_COOKIE = "ask for a cookie"
    DROP = "drop"


class Gate:
    """How many handshakes are worked on, and for whom; bounded time and memory whatever arrives."""

    __slots__ = ("_entropy", "_free", "_secret", "_secret_until", "_sources", "_total")

    def __init__(self, entropy: Entropy, now: float) -> None:
        self._entropy = entropy
        self._free = _Bucket(FREE_RATE, FREE_BURST, now)
        self._total = _Bucket(TOTAL_RATE, TOTAL_RATE, now)
        self._sources: dict[str, _Bucket] = {}  # by IP address: ports cost an attacker nothing
        self._secret = entropy(32)
        self._secret_until = now + COOKIE_LIFE

    def admit(self, init: Init, source: Address, now: float) -> Verdict:
        """Called once for each init whose mac1 is good."""
        if self._free.take(now):
            return Verdict.WORK
        if not hmac.compare_digest(_mac(self.cookie(source, now), init.covered2), init.mac2):
            return Verdict.ASK_COOKIE
        bucket = self._sources.get(source[0])
        if bucket is None:
            if len(self._sources) >= MAX_SOURCES:
                self._sources = {ip: known for ip, known in self._sources.items() if not known.full(now)}
            if len(self._sources) >= MAX_SOURCES:
                return Verdict.DROP
            bucket = self._sources[source[0]] = _Bucket(PROVEN_RATE, PROVEN_BURST, now)
        return Verdict.WORK if bucket.take(now) and self._total.take(now) else Verdict.DROP

    def cookie(self, source: Address, now: float) -> bytes:
        """16 bytes only the holder of this address (IP and port) can have been told in the last 120 s."""
        if now >= self._secret_until:
            self._secret = self._entropy(32)
            self._secret_until = now + COOKIE_LIFE
        return _mac(self._secret, f"{source[0]} {source[1]}".encode())
