"""Sender keys: each node seals its ring datagrams once, under a key of its own that all listed peers have.

Source: DESIGN 6, "Sender keys". A key is 32 random bytes and a key_id: the node id in the upper 16 bits, a number that
rises by one per key in the lower (starting anywhere), so that no two nodes can have the same id and a receiver can tell
an older key from a newer one. Keys are random per incarnation, never stored.

    RING datagram   u8 1, u8 5, u16 0, u32 key_id, u64 counter | AES-256-GCM | tag 16
                    the 16 bytes of header are associated data, the nonce is four zero bytes and the counter

A key is due for renewal after 120 s or 2^22 packets. The next one is handed over to all and used as soon as every
member confirmed it, at the latest 30 s after it was due. Receivers keep the one before for 10 s after the first packet
under the new one; not at all if a node removed meanwhile holds it.
A datagram that was sealed is never changed and sealed again under the same counter: the counter is taken at each call.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transport.core import Entropy
from transport.handshake import RING, VERSION
from transport.ids import NodeId
from transport.replay import Window

RENEW_AFTER: Final = 120.0
RENEW_PACKETS: Final = 1 << 22
CONFIRM_LIMIT: Final = 30.0
"""Seconds after which a renewed key is used though a member has not confirmed it."""
REMOVAL_LIMIT: Final = 5.0
"""The same after a node was removed: it holds the key before."""
GRACE: Final = 10.0
MAX_KEYS: Final = 4
"""Keys kept of one sender: the one before, the one in use, the next, and one to spare."""

_ZERO4 = bytes(4)


class SenderKey:
    """One key of ours. fresh_after: handed over only in sessions made at or after that time (seconds)."""

    __slots__ = ("_encrypt", "_prefix", "counter", "fresh_after", "key", "key_id")

    def __init__(self, key_id: int, key: bytes, fresh_after: float) -> None:
        self.key_id = key_id
        self.key = key
        self.counter = 0
        self.fresh_after = fresh_after
        self._prefix = bytes((VERSION, RING, 0, 0)) + key_id.to_bytes(4, "big")
        self._encrypt = AESGCM(key).encrypt

    def __repr__(self) -> str:
        return f"SenderKey({self.key_id:#x}, counter={self.counter})"

    def seal(self, plaintext: bytes) -> bytes:
        """A RING datagram; the counter is used up."""
        counter = self.counter.to_bytes(8, "big")
        self.counter += 1
        header = self._prefix + counter
        return header + self._encrypt(_ZERO4 + counter, plaintext, header)


class OwnKeys:
    """Our key in use, and the next one while members confirm it."""

    __slots__ = ("_entropy", "_me", "_sequence", "current", "deadline", "next", "renew_at")

    def __init__(self, me: NodeId, entropy: Entropy, now: float) -> None:
        self._me = me
        self._entropy = entropy
        self._sequence = int.from_bytes(entropy(2), "big")
        self.current = self._make(fresh_after=float("-inf"))
        self.next: SenderKey | None = None
        self.renew_at = now + RENEW_AFTER
        self.deadline = float("inf")  # when `next` is used at the latest

    def _make(self, fresh_after: float) -> SenderKey:
        self._sequence = (self._sequence + 1) & 0xFFFF
        return SenderKey((self._me << 16) | self._sequence, self._entropy(32), fresh_after)

    def held_out(self) -> list[SenderKey]:
        """What peers must be given: the one in use first."""
        return [self.current] if self.next is None else [self.current, self.next]

    def due(self, now: float) -> bool:
        """Whether a renewal should begin."""
        return self.next is None and (now >= self.renew_at or self.current.counter >= RENEW_PACKETS)

    def begin(self, now: float) -> None:
        """Make the next key."""
        self.next = self._make(fresh_after=float("-inf"))
        self.deadline = now + CONFIRM_LIMIT

    def begin_removal(self, now: float) -> None:
        """Make a next key that whoever was removed has never seen, in place of one not used yet."""
        self.next = self._make(fresh_after=now)
        self.deadline = now + REMOVAL_LIMIT

    def switch(self, now: float) -> None:
        """Use the next key."""
        assert self.next is not None
        self.current, self.next = self.next, None
        self.renew_at = now + RENEW_AFTER
        self.deadline = float("inf")

    def replace(self, now: float) -> None:
        """A new key in use from the next packet on: the counter of the old one can no longer be trusted."""
        self.next = self._make(fresh_after=now)
        self.switch(now)


class PeerKey:
    """One key of a peer, with the window of what came under it. betrayed: a node removed since holds it too."""

    __slots__ = ("betrayed", "decrypt", "expires", "incarnation", "key", "key_id", "sender", "used", "window")

    def __init__(self, sender: NodeId, key_id: int, key: bytes, floor: int, incarnation: int) -> None:
        self.sender = sender
        self.key_id = key_id
        self.key = key
        self.incarnation = incarnation
        self.window = Window(floor)
        self.used = False
        self.betrayed = False
        self.expires = float("inf")
        self.decrypt = AESGCM(key).decrypt  # (nonce, sealed, header); raises cryptography's InvalidTag

    def __repr__(self) -> str:
        return f"PeerKey({self.key_id:#x}, sender={self.sender})"


class PeerKeys:
    """The keys of all peers by key_id. At most MAX_KEYS of a sender, all of one incarnation."""

    __slots__ = ("table",)

    def __init__(self) -> None:
        self.table: dict[int, PeerKey] = {}

    def of(self, sender: NodeId) -> list[PeerKey]:
        return [key for key in self.table.values() if key.sender == sender]

    def outdated(self, sender: NodeId, key_id: int, incarnation: int) -> bool:
        """Whether this process of the sender uses a later key already: what hands over this one was held back.

        Taken in once more after its time it would come with an empty window, and with it all that was recorded.
        """
        mine = [key for key in self.of(sender) if key.incarnation == incarnation]
        return key_id not in self.table and any(key.used and _newer(key.key_id, key_id) for key in mine)

    def install(self, sender: NodeId, key_id: int, key: bytes, floor: int, incarnation: int) -> bool:
        """Take a key `sender` handed over; True if it is ours now (or was already, then its window stays).

        False, and no change, for an id that is not the sender's or that names another key of the same incarnation.
        """
        if key_id >> 16 != sender:
            return False
        self.forget(sender, except_incarnation=incarnation)
        known = self.table.get(key_id)
        if known is not None:
            return hmac.compare_digest(known.key, key)
        self.table[key_id] = PeerKey(sender, key_id, key, floor, incarnation)
        mine = self.of(sender)
        while len(mine) > MAX_KEYS:
            # a member may hand us numbers that run in a circle: then the first taken goes
            oldest = next((k for k in mine if not any(_newer(k.key_id, other.key_id) for other in mine)), mine[0])
            mine.remove(oldest)
            del self.table[oldest.key_id]
        return True

    def first_use(self, key: PeerKey, now: float) -> float:
        """The sender has switched to `key`: older ones of it have GRACE seconds left. Returns when that ends.

        One that a removed node holds has none: what was sealed under it and comes late is repaired by the ring.
        """
        key.used = True
        for other in self.of(key.sender):
            if _newer(key.key_id, other.key_id):
                other.expires = min(other.expires, now + GRACE)
                if other.betrayed:
                    del self.table[other.key_id]
        return now + GRACE

    def betray(self) -> None:
        """A node was removed that has all keys handed over so far: those in use go with the first later one."""
        for key in list(self.table.values()):
            key.betrayed = True
            if key.expires < float("inf"):
                del self.table[key.key_id]

    def forget(self, sender: NodeId, except_incarnation: int | None = None) -> None:
        """Drop the keys of a sender: all, or those of other processes than the one given."""
        for key in self.of(sender):
            if key.incarnation != except_incarnation:
                del self.table[key.key_id]

    def expire(self, now: float) -> float:
        """Drop what is over; returns when the next one is."""
        for key in [key for key in self.table.values() if now >= key.expires]:
            del self.table[key.key_id]
        return min((key.expires for key in self.table.values()), default=float("inf"))


def _newer(first: int, second: int) -> bool:
    """Whether key id `first` was made after `second` by the same sender; the numbers wrap at 2^16."""
    return 0 < (first - second) & 0xFFFF < 0x8000
