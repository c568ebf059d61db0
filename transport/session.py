"""Pairwise sessions: one pair of keys from one handshake, and which of several a pair of nodes goes by.

Source: DESIGN 6; the current / previous / next keypairs of WireGuard (Donenfeld 2017, section 6.3).

    pending    we answered an init; nothing came under it yet. It replaces nothing: a replayed init gets this far
               and no further, for its sender cannot make the first packet.
    current    what we send under. The initiator's becomes current with the response, the responder's with the first
               valid packet.
    previous   what it replaced, kept for packets on their way and for a peer that has not switched yet.

Both ends choose alike when they called each other at once, without another message (`prefers`). A peer's restart is a
new incarnation: its session wins over anything of the old one, whose sessions end, also those still pending.
True between any two calls: pending <= MAX_PENDING, in the order in which they were answered; every session of a pair is
found by its index in the table it was given; no call of an incarnation that was replaced is answered while it is among
the last 16, and nothing that a process which ended had asked for proves itself after a later process did.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transport.handshake import SESSION, VERSION
from transport.ids import MAX_LINKS, LinkId, NodeId
from transport.noise import Handshake, shared_secret
from transport.replay import Window

REKEY_AFTER: Final = 120.0
"""Seconds after which the initiator of a session makes the next one; the responder after REKEY_LATE."""
REKEY_LATE: Final = 130.0
REKEY_PACKETS: Final = 1 << 22
LIFETIME: Final = 180.0
"""Seconds after which a session is over, whatever became of its successor."""
PENDING_LIFE: Final = 5.0
"""Seconds a handshake of either side may take."""
MAX_PENDING: Final = 8
"""Answered inits of one peer, and unanswered ones of ours to it: one for each link."""
NEWEST: Final = MAX_PENDING // 2
"""Of the answered ones, so many with the highest stamps do not make room for others."""
WINDOW: Final = 4096
MAX_PAST: Final = 16

_ZERO4 = bytes(4)


class Session:
    """Keys of one direction each, a send counter and a replay window.

    restricted: made under a retired cluster key or with a removed node: carries only what DESIGN 6 allows it.
    """

    __slots__ = (
        "_aad_in",
        "_aad_out",
        "_counter",
        "_decrypt",
        "_encrypt",
        "_prefix",
        "confirmed",
        "expires",
        "generation",
        "incarnation",
        "index",
        "initiator",
        "last_received",
        "made_at",
        "pair",
        "restricted",
        "stamp",
        "started_at",
        "window",
    )

    def __init__(
        self,
        pair: Pair,
        me: NodeId,
        initiator: bool,
        keys: tuple[bytes, bytes],
        index: int,
        remote_index: int,
        generation: int,
        incarnation: int,
        stamp: int,
        restricted: bool,
        started_at: float,
        now: float,
    ) -> None:
        self.pair = pair
        self.initiator = initiator
        self.index = index
        self.generation = generation
        self.incarnation = incarnation
        self.stamp = stamp
        self.restricted = restricted
        self.started_at = started_at  # our init went out, or the peer's came in
        self.made_at = now
        self.expires = now + (LIFETIME if initiator else PENDING_LIFE)
        self.last_received = now
        self.confirmed = False
        self.window = Window(width=WINDOW)
        self._counter = 0
        self._encrypt = AESGCM(keys[0]).encrypt
        self._decrypt = AESGCM(keys[1]).decrypt
        # u8 version, u8 type, u8 link, u8 0, u32 receiver_index: ready for each link
        tail = remote_index.to_bytes(4, "big")
        self._prefix = [bytes((VERSION, SESSION, link, 0)) + tail for link in range(MAX_LINKS)]
        out, back = me.to_bytes(2, "big"), pair.peer.to_bytes(2, "big")
        self._aad_out = out + back + (b"\x00" if initiator else b"\x01")
        self._aad_in = back + out + (b"\x01" if initiator else b"\x00")

    def __repr__(self) -> str:
        return f"Session(peer={self.pair.peer}, index={self.index:#x}, generation={self.generation})"

    @property
    def sent(self) -> int:
        """Packets sealed so far."""
        return self._counter

    def seal(self, link: LinkId, plaintext: bytes) -> bytes:
        """A SESSION datagram for this link (0..7) and no other."""
        counter = self._counter.to_bytes(8, "big")
        self._counter += 1
        header = self._prefix[link] + counter
        return header + self._encrypt(_ZERO4 + counter, plaintext, header + self._aad_out)

    def open(self, data: bytes) -> bytes:
        """The plaintext of a datagram whose header was looked at. Raises cryptography's InvalidTag."""
        header = data[:16]
        return self._decrypt(_ZERO4 + header[8:], data[16:], header + self._aad_in)

    def prefers(self, other: Session, me: NodeId) -> bool:
        """Whether this new session replaces `other`, the current one; alike on both sides.

        A new incarnation always does; the higher cluster-key generation wins; of two calls that crossed, the one
        of the lower node id; else the newer.
        """
        if self.incarnation != other.incarnation:
            return True
        if self.restricted != other.restricted:
            return other.restricted
        if self.generation != other.generation:
            return self.generation > other.generation
        if self.initiator != other.initiator and self.started_at <= other.made_at:
            return self.initiator == (me < self.pair.peer)
        return True


@dataclass(slots=True)
class Initiation:
    """An init of ours that is not answered yet."""

    pair: Pair
    index: int
    link: LinkId
    generation: int
    stamp: int
    mac1: bytes
    started_at: float
    expires: float
    handshake: Handshake = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A node that was removed: when (seconds since 1970) and by whom, in words."""

    date: int
    by: str


class Pair:
    """All there is between this node and one peer."""

    __slots__ = (
        "_past",
        "acked",
        "announced",
        "attempts",
        "cookies",
        "current",
        "holds",
        "identity",
        "incarnation",
        "initiations",
        "last_notice",
        "overtaken",
        "parts",
        "peer",
        "pending",
        "previous",
        "refresh_after",
        "removed",
        "retry_at",
        "shared",
        "stamp",
        "tried",
    )

    def __init__(
        self, peer: NodeId, identity: bytes, static: X25519PrivateKey, removed: Tombstone | None = None
    ) -> None:
        """WireError if `identity` is no usable X25519 public key."""
        self.peer = peer
        self.identity = identity
        self.shared = shared_secret(static, identity)
        self.removed = removed
        self.current: Session | None = None
        self.previous: Session | None = None
        self.pending: dict[int, Session] = {}
        self.initiations: dict[int, Initiation] = {}
        self.overtaken: frozenset[int] = frozenset()  # indexes of initiations that another link's answer overtook
        self.incarnation: int | None = None  # of the peer's process we last proved
        self.announced: int | None = None  # the incarnation the layer above was last told of
        self.stamp = 0  # the highest stamp met in an authentic init of that incarnation
        self._past: deque[int] = deque(maxlen=MAX_PAST)
        self.cookies: dict[LinkId, tuple[bytes, float]] = {}  # cookie, and until when it is worth showing
        self.tried: dict[LinkId, float] = {}  # when an init last went out on a link
        self.last_notice = float("-inf")
        self.refresh_after = float("-inf")  # a session made before is to be replaced now
        self.acked: set[int] = set()  # our sender keys the peer has
        self.holds: dict[int, int] = {}  # cluster keys the peer has: 1 loaded, 2 in use
        self.parts: tuple[int, int, dict[int, bytes]] | None = None  # generation, total, pieces of a key on its way
        self.retry_at: float | None = None
        self.attempts = 0

    def __repr__(self) -> str:
        return f"Pair(peer={self.peer}, current={self.current!r})"

    def sessions(self) -> list[Session]:
        return [s for s in (self.current, self.previous, *self.pending.values()) if s is not None]

    def stale(self, incarnation: int, stamp: int) -> bool:
        """Whether an authentic init is a replay: of the running process but not newer, or of one long replaced."""
        if incarnation == self.incarnation:
            return stamp <= self.stamp
        if incarnation in self._past:
            return True
        return any(s.incarnation == incarnation and stamp <= s.stamp for s in self.pending.values())

    def oldest_pending(self) -> Session:
        """Which of the answered inits makes room for another.

        Calls of processes that ended can be sent again in any number, and one we have not met before is not known for
        what it is; but its stamp is lower than that of the process that runs. So the highest stay. A process that lost
        its ring seq has low ones, too: there is room besides, by turns.
        """
        newest = sorted(self.pending.values(), key=lambda session: session.stamp)[-NEWEST:]
        return next(session for session in self.pending.values() if session not in newest)

    def establish(self, session: Session, me: NodeId, now: float) -> list[Session]:
        """`session` proved itself: it becomes current, or previous if the current one is preferred.

        Returns the sessions that ended by this; the caller takes them out of its table.
        """
        ended = self._overtaken(session)
        for over in (session, *ended):
            self.pending.pop(over.index, None)
        session.expires = session.made_at + LIFETIME
        if session.incarnation != self.incarnation:
            if self.incarnation is not None:
                self._past.append(self.incarnation)
            self.incarnation = session.incarnation
            answered = [s.stamp for s in self.pending.values() if s.incarnation == session.incarnation]
            self.stamp = max(answered, default=0)  # on other links: replays from now on
            ended += [s for s in (self.current, self.previous) if s is not None]
            self.current = self.previous = None
            self.acked.clear()
            self.holds.clear()
            self.parts = None
        if not session.initiator:
            self.stamp = max(self.stamp, session.stamp)
        self.holds[session.generation] = max(1, self.holds.get(session.generation, 0))
        current = self.current
        if current is None or now >= current.expires or session.prefers(current, me):
            replaced, self.current = current, session
        else:
            replaced = session
        if replaced is not None:
            if self.previous is not None:
                ended.append(self.previous)
            self.previous = replaced
        return ended

    def _overtaken(self, session: Session) -> list[Session]:
        """The answered inits under which nobody is to be heard any more, now that `session` proved itself.

        Who proves itself by an answer of ours has run since we gave it. What we answered before was asked for by the
        same process, which has gone on, or by one that ended before it; what we answered later stays, for whoever
        proves itself by that is a later process. An answer to our own call has no place in this order: if it shows a
        new process, all others are over, and one that runs all the same calls again.
        """
        if not session.initiator:
            return list(takewhile(lambda other: other is not session, self.pending.values()))
        if session.incarnation == self.incarnation:
            return []
        return [other for other in self.pending.values() if other.incarnation != session.incarnation]

    def expire(self, now: float) -> list[Session]:
        """Sessions whose time is over, forgotten by the pair; the caller takes them out of its table."""
        ended = [s for s in self.sessions() if now >= s.expires]
        for session in ended:
            self.pending.pop(session.index, None)
            if session is self.current:
                self.current = None
            elif session is self.previous:
                self.previous = None
        return ended
