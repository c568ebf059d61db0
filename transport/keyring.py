"""The cluster keys: two live at once, one of them for sending, and old ones that only help a latecomer.

A cluster key is the content of the authkey file (32 to 4096 bytes) and its generation, a 64-bit number that only
rises. It is never used as it is: HKDF-SHA256 (RFC 5869), labelled and bound to the generation, gives the psk of the
handshakes and the keys of their cheap checks. A rotation is three steps of the layer above: `add` the new generation
on all, `use` it on all, `drop` the old one.

    live       accepted in handshakes, sessions under it do everything; at most two
    retired    dropped: a *listed* identity that was away may still make a session under it, and all that session
               carries is the current key (DESIGN 6); at most four, the oldest is forgotten

Source: DESIGN 6, "Cluster keys". No secret is in a repr.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from dataclasses import dataclass, field

from transport.errors import BadArgument, Refused

MIN_SECRET = 32
MAX_SECRET = 4096
MAX_LIVE = 2
MAX_RETIRED = 4
MAX_GIVEN_UP = 16
MAX_GENERATION = (1 << 64) - 1
MAX_AHEAD = 1 << 32
"""How far above the key in use a generation somebody tells of may be: one a second for a century. Beyond, nobody could
ever rotate again."""


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA256 (RFC 5869; one block of output)."""
    root = hmac.digest(salt, secret, "sha256")
    return hmac.digest(root, info + b"\x01", "sha256")


@dataclass(frozen=True, slots=True)
class ClusterKey:
    """One generation and what is derived from it; equal if generation and secret are."""

    generation: int
    secret: bytes = field(repr=False)
    psk: bytes = field(repr=False, compare=False)
    mac_key: bytes = field(repr=False, compare=False)
    cookie_key: bytes = field(repr=False, compare=False)

    @classmethod
    def derive(cls, generation: int, secret: bytes) -> ClusterKey:
        """BadArgument for a secret outside 32..4096 bytes or a generation outside 0..2^64-1."""
        if not MIN_SECRET <= len(secret) <= MAX_SECRET:
            raise BadArgument(f"cluster key of {len(secret)} bytes, {MIN_SECRET} to {MAX_SECRET} expected")
        if not 0 <= generation <= MAX_GENERATION:
            raise BadArgument(f"cluster key generation {generation} is not a 64-bit number")
        salt = b"clusterd cluster key 1" + generation.to_bytes(8, "big")
        return cls(
            generation,
            secret,
            psk=hkdf(secret, salt, b"psk"),
            mac_key=hkdf(secret, salt, b"mac1"),
            cookie_key=hkdf(secret, salt, b"cookie"),
        )

    @property
    def fingerprint(self) -> str:
        """8 hex digits that name the key and tell nothing of it: for status and logs."""
        return hashlib.sha256(b"clusterd fingerprint" + self.psk).hexdigest()[:8]


class Keyring:
    """The cluster keys of one node. True between any two calls: the current one is live; live <= 2, retired <= 4."""

    __slots__ = ("_current", "_given_up", "_live", "_retired")

    def __init__(self, generation: int, secret: bytes) -> None:
        """The key this node starts with, used for sending. BadArgument as in ClusterKey.derive."""
        self._current = ClusterKey.derive(generation, secret)
        self._live: dict[int, ClusterKey] = {generation: self._current}
        self._retired: dict[int, ClusterKey] = {}
        self._given_up: deque[tuple[int, str]] = deque(maxlen=MAX_GIVEN_UP)  # generation and fingerprint

    def __repr__(self) -> str:
        return (
            f"Keyring(current={self._current.generation}, live={sorted(self._live)}, retired={sorted(self._retired)})"
        )

    @property
    def current(self) -> ClusterKey:
        """The key new handshakes of ours are made under."""
        return self._current

    def live(self) -> list[ClusterKey]:
        """The keys in force, oldest generation first."""
        return [self._live[generation] for generation in sorted(self._live)]

    def retired(self) -> list[ClusterKey]:
        """Keys kept only so that a listed node that was away can fetch the current one; oldest first."""
        return [self._retired[generation] for generation in sorted(self._retired)]

    def is_live(self, generation: int) -> bool:
        return generation in self._live

    def gave_up(self, generation: int, fingerprint: str) -> bool:
        """This key was dropped here before it came into use (the last 16 such are known)."""
        return (generation, fingerprint) in self._given_up

    def find(self, generation: int) -> ClusterKey | None:
        """The key of a generation we accept in a handshake, live or retired."""
        return self._live.get(generation) or self._retired.get(generation)

    def add(self, generation: int, secret: bytes) -> None:
        """Accept another generation. The same key again is no change.

        Refused: two others are live already, the generation is known with another secret, or it is not above
        the current one (a generation only rises). BadArgument as in ClusterKey.derive.
        """
        key = ClusterKey.derive(generation, secret)
        known = self.find(generation)
        if known is not None:
            if not hmac.compare_digest(known.secret, secret):
                raise Refused(f"cluster key generation {generation} is known with another secret")
            return
        if generation < self._current.generation:
            raise Refused(f"cluster key generation {generation} is older than {self._current.generation}, in use")
        if len(self._live) >= MAX_LIVE:
            raise Refused(f"cluster keys {sorted(self._live)} are live already: finish or undo that rotation first")
        self._live[generation] = key

    def use(self, generation: int) -> None:
        """Make a live generation the current one. Refused if it is not live."""
        if generation not in self._live:
            raise Refused(f"cluster key generation {generation} is not live")
        self._current = self._live[generation]

    def drop(self, generation: int) -> None:
        """End a live generation; Refused for the current one.

        An older one than the current is kept as retired. A newer one is given up: a member that has not heard of that
        yet may hand it over once more, and it is not taken again.
        """
        if generation == self._current.generation:
            raise Refused(f"cluster key generation {generation} is in use")
        key = self._live.pop(generation, None)
        if key is None:
            raise Refused(f"cluster key generation {generation} is not live")
        if generation < self._current.generation:
            self.retire(generation, key.secret)
        else:
            self._given_up.append((generation, key.fingerprint))

    def retire(self, generation: int, secret: bytes) -> None:
        """Keep an old key for latecomers (at start: from what was saved). The oldest of more than 4 is forgotten."""
        if generation in self._live:
            raise Refused(f"cluster key generation {generation} is live")
        self._retired[generation] = ClusterKey.derive(generation, secret)
        while len(self._retired) > MAX_RETIRED:
            del self._retired[min(self._retired)]

    def learn(self, generation: int, secret: bytes, in_use: bool) -> bool:
        """Take a key a member handed over in its session; True if anything changed.

        Never raises: what contradicts what we know (an older generation, another secret, a bad size) changes
        nothing, nor does a generation no rotation can have come to, nor a key given up here, unless it is in use there
        (who went another way may have heard the agreement). A newer generation than two live ones pushes out
        the one not in use: the rotation it belonged to was given up. So was that of a key we have not come to use where
        another of its number is in use; a key above it stays, and the one we used retires.
        """
        if not 0 <= generation - self._current.generation <= MAX_AHEAD:
            return False
        try:
            key = ClusterKey.derive(generation, secret)
        except BadArgument:
            return False
        known = self.find(generation)
        newer = generation > self._current.generation
        news = known is None or (newer and not hmac.compare_digest(known.secret, secret))
        if in_use and newer:
            for other in [g for g in self._live if self._current.generation < g <= generation]:
                if other != generation or news:
                    self.drop(other)
            previous = self._current.generation
            self._live[generation] = key
            self.use(generation)
            if len(self._live) > MAX_LIVE:
                self.drop(previous)
            return True
        if not news or known is not None or self.gave_up(generation, key.fingerprint):
            return False
        for other in [g for g in self._live if g != self._current.generation]:  # one at most
            if other > generation:
                return False
            self.drop(other)
        self._live[generation] = key
        return True
