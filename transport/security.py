"""The security of one node: everything between a datagram and an authentic payload of a listed peer.

Source: DESIGN 6 and promises X1, X2; docs/protocol-security.md has the bytes. A core as in transport/core.py: nothing
a peer or a stranger sends makes it raise, log or grow without bound; what is refused is counted in `dropped`.

    open()            any datagram -> Opened(sender, ring, payload), or None: consumed here, or refused
    seal_ring()       once for all peers and links, under our sender key
    seal_session()    for one peer on one link
    wants_handshake() to be asked before every ping: an init to send in its place, when one is due
    poll_transmit()   what goes back the way something came: responses, cookies, acks, the first word in a session
    poll_session()    what is told again or unasked (keys): to be sealed for the peer's best link

True between any two calls: a node that is not listed has no keys and no session here but to be told it was removed.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag

from transport import control, handshake
from transport.core import Entropy, Log
from transport.errors import WireError
from transport.exchange import ClusterKeyLearned, Dropped, KeyExchange, RemovedNotice, SecurityEvent, SessionUp
from transport.handshake import RING, SESSION, VERSION, Address
from transport.ids import LinkId, NodeId
from transport.keyring import ClusterKey, Keyring
from transport.peering import Peering, SecuritySend
from transport.replay import DUPLICATE, FRESH
from transport.sender_keys import RENEW_PACKETS, OwnKeys
from transport.session import PENDING_LIFE, Pair, Session

__all__ = [
    "OVERHEAD_RING",
    "OVERHEAD_SESSION",
    "Address",
    "ClusterKeyLearned",
    "Dropped",
    "Opened",
    "RemovedNotice",
    "Security",
    "SecurityEvent",
    "SecuritySend",
    "SessionUp",
]

OVERHEAD_RING: Final = 32
OVERHEAD_SESSION: Final = 32

_HEAD = struct.Struct("!IQ")  # key_id or receiver_index, counter, at offset 4

MAX_TOLD: Final = 1024
RETRY_FIRST: Final = 0.25
RETRY_MOST: Final = 2.0


@dataclass(slots=True)
class Opened:
    """An authentic payload. ring: it came under the sender's ring key, not in its session with us."""

    sender: NodeId
    ring: bool
    payload: bytes


class Security:
    """See the module's text.

    me, private_key: this node and its X25519 identity (32 bytes).
    peers:           the other listed nodes and their public identities (ourselves among them is ignored).
    keyring:         changed through this object only from now on.
    birth:           a number from this node's disk that was lower when any of its earlier processes started, 0 or more.
    Raises BadArgument if a key is not usable.
    """

    def __init__(
        self,
        me: NodeId,
        private_key: bytes,
        peers: dict[NodeId, bytes],
        keyring: Keyring,
        entropy: Entropy,
        now: float,
        log: Log,
        birth: int,
    ) -> None:
        self.me = me
        self._log = log
        self._keyring = keyring
        self._own = OwnKeys(me, entropy, now)
        self._exchange = KeyExchange(keyring, self._own, log)
        self._peer_keys = self._exchange.peer_keys.table
        self.dropped: Dropped = self._exchange.dropped
        self._peering = Peering(me, private_key, keyring, self.dropped, entropy, now, birth)
        self._peering.reconfigure(peers)
        self._sessions = self._peering.sessions
        self.events = self._exchange.events
        """What next_event() has to tell."""
        self.replies = self._peering.sends
        """What poll_transmit() gives."""
        self.told: deque[tuple[NodeId, bytes]] = deque()
        """What poll_session() gives."""
        self._required: frozenset[NodeId] = frozenset()
        self.wake_at = self._own.renew_at
        """What next_timeout() says."""

    def __repr__(self) -> str:
        return f"Security(node {self.me}, {len(self._peering.pairs)} peers, {len(self._peering.sessions)} sessions)"

    @property
    def identity(self) -> bytes:
        """Our public identity, 32 bytes: what the nodelist must say of us."""
        return self._peering.identity

    def peers(self) -> frozenset[NodeId]:
        """The listed nodes other than ourselves."""
        return frozenset(self._peering.pairs)

    # ---- datagrams

    def open(self, data: bytes, link: LinkId, source: Address, now: float) -> Opened | None:
        """What one datagram says, if it is authentic and not for us here; None otherwise.

        link: of the socket it came in by. source: where answers to it go; never believed for anything else.
        A ring datagram seen before is dropped as a duplicate whether another link or an attacker brought it.
        """
        if len(data) < 32 or data[0] != VERSION:
            self.dropped.malformed += 1
            return None
        kind = data[1]
        if kind == RING:
            return self._open_ring(data, now)
        if kind == SESSION:
            return self._open_session(data, link, source, now)
        self._open_handshake(kind, data, link, source, now)
        return None

    def _open_ring(self, data: bytes, now: float) -> Opened | None:
        key_id, counter = _HEAD.unpack_from(data, 4)
        key = self._peer_keys.get(key_id)
        if key is None:
            self.dropped.unknown_sender += 1
            return None
        window = key.window
        verdict = window.check(counter)
        if verdict != FRESH:
            if verdict == DUPLICATE:
                self.dropped.duplicates += 1
            else:
                self.dropped.replayed += 1
            return None
        try:
            header = data[:16]  # inline: this is the way of every message of the cluster
            payload = key.decrypt(b"\0\0\0\0" + header[8:], data[16:], header)
        except InvalidTag:
            self.dropped.not_authentic += 1
            return None
        window.mark(counter)
        if not key.used:
            self._wake(self._exchange.peer_keys.first_use(key, now))
        return Opened(key.sender, True, payload)

    def _open_session(self, data: bytes, link: LinkId, source: Address, now: float) -> Opened | None:
        index, counter = _HEAD.unpack_from(data, 4)
        session = self._sessions.get(index)
        if session is None or now >= session.expires:
            self.dropped.unknown_sender += 1
            return None
        if data[2] != link:  # sealed for another link: moved here by somebody
            self.dropped.not_authentic += 1
            return None
        window = session.window
        if window.check(counter) != FRESH:
            self.dropped.replayed += 1
            return None
        try:
            payload = session.open(data)
        except InvalidTag:
            self.dropped.not_authentic += 1
            return None
        window.mark(counter)
        session.last_received = now
        if not session.confirmed:
            session.confirmed = True
            if session.index in session.pair.pending:
                self._establish(session, link, source, now)
        if not payload:
            self.dropped.malformed += 1
            return None
        if control.FIRST <= payload[0] <= control.LAST:
            self._receive_control(session, payload, link, source, now)
            return None
        if session.restricted:
            self.dropped.refused += 1
            return None
        return Opened(session.pair.peer, False, payload)

    def _open_handshake(self, kind: int, data: bytes, link: LinkId, source: Address, now: float) -> None:
        try:
            if kind == handshake.HANDSHAKE_INIT:
                self._peering.receive_init(data, link, source, now)
                self._wake(now + PENDING_LIFE)
            elif kind == handshake.HANDSHAKE_RESPONSE:
                session = self._peering.receive_response(data, now)
                if session is not None:
                    self._establish(session, link, source, now)
            elif kind == handshake.COOKIE:
                self._peering.receive_cookie(data, now)
            else:
                self.dropped.malformed += 1
        except WireError:
            self.dropped.malformed += 1

    def seal_ring(self, plaintext: bytes, now: float) -> bytes:
        """The RING datagram all peers can open, OVERHEAD_RING bytes longer. Each call takes a new counter."""
        key = self._own.current
        if key.counter == RENEW_PACKETS:
            self._wake(now)
        return key.seal(plaintext)

    def seal_session(self, peer: NodeId, link: LinkId, plaintext: bytes, now: float) -> bytes | None:
        """The SESSION datagram for this peer on this link (0..7) alone, OVERHEAD_SESSION bytes longer.

        None: no session yet, or one that may not carry this (only what poll_session gave).
        """
        pair = self._peering.pairs.get(peer)
        session = pair.current if pair is not None else None
        if session is None or now >= session.expires:
            return None
        if session.restricted and not control.FIRST <= plaintext[0] <= control.LAST:
            return None
        return session.seal(link, plaintext)

    def has_session(self, peer: NodeId) -> bool:
        """Whether pings can be sealed for this peer."""
        pair = self._peering.pairs.get(peer)
        return pair is not None and pair.current is not None and not pair.current.restricted

    def wants_handshake(self, peer: NodeId, link: LinkId, now: float) -> bytes | None:
        """A HANDSHAKE_INIT to send on this path in place of a ping, when one is due; rate limited here.

        To be asked before every ping, session or not: rekeying and lost sessions are noticed here. The session
        in use stays until the new one has proved itself.
        """
        pair = self._peering.pairs.get(peer)
        data = self._peering.call(pair, link, now) if pair is not None else None
        if data is not None:
            self._wake(now + PENDING_LIFE)
        return data

    # ---- keys told and heard

    def _establish(self, session: Session, link: LinkId, source: Address, now: float) -> None:
        """A session proved itself: go by it, and hand over our sender key first thing, back the way it came."""
        pair = session.pair
        had_session = pair.current is not None and not pair.current.restricted
        self._peering.establish(session, now)
        self._wake(session.expires)
        if pair.removed is None:
            self._exchange.peer_keys.forget(pair.peer, except_incarnation=session.incarnation)
            if not session.restricted:
                restarted = pair.announced not in (None, session.incarnation)
                if restarted or not had_session:
                    self._exchange.events.append(SessionUp(pair.peer, restarted))
                pair.announced = session.incarnation
        if pair.current is session:
            pair.acked.discard(self._own.current.key_id)  # handed over in every session, had before or not
            pair.attempts, pair.retry_at = 0, None
            self._tell(pair, now, (link, source))

    def _receive_control(self, session: Session, message: bytes, link: LinkId, source: Address, now: float) -> None:
        pair = session.pair
        generation = self._keyring.current.generation
        for answer in self._exchange.receive(pair, session, message):
            self._peering.push(pair.peer, link, source, session.seal(link, answer))
        if message[0] == control.SENDER_KEY_ACK:
            self._check_switch(now)
        elif generation != self._keyring.current.generation:
            self._tell_all(now)

    def _tell(self, pair: Pair, now: float, way: tuple[LinkId, Address] | None = None) -> None:
        """Say what the peer must still be told, and come back to it until there is nothing left.

        way: where the peer was heard just now; without, the links choose (poll_session).
        """
        session = pair.current
        messages = self._exchange.outstanding(pair)
        if session is None or now >= session.expires or not messages:
            pair.retry_at = None
            return
        for message in messages:
            if way is not None:
                self._peering.push(pair.peer, way[0], way[1], session.seal(way[0], message))
            elif len(self.told) < MAX_TOLD:
                self.told.append((pair.peer, message))
        pair.retry_at = now + min(RETRY_MOST, RETRY_FIRST * 2.0 ** min(pair.attempts, 8))
        pair.attempts += 1
        self._wake(pair.retry_at)

    def _tell_all(self, now: float) -> None:
        for peer in sorted(self._peering.pairs):
            pair = self._peering.pairs[peer]
            pair.attempts = 0
            self._tell(pair, now)

    def reached(self, peer: NodeId, now: float) -> None:
        """A path to it is up again: what was said in vain till then is said now, not when its turn would come."""
        pair = self._peering.pairs.get(peer)
        if pair is not None and pair.retry_at is not None:
            pair.attempts = 0
            self._tell(pair, now)

    def members(self, reachable: frozenset[NodeId], now: float) -> None:
        """Who must confirm a new sender key before it is used; ourselves and strangers in it count for nothing."""
        self._required = reachable
        self._check_switch(now)

    def _check_switch(self, now: float) -> None:
        own = self._own
        if own.next is None:
            return
        waited_for = [self._peering.pairs[peer] for peer in self._required if peer in self._peering.pairs]
        if now >= own.deadline or all(self._exchange.confirmed(pair) for pair in waited_for):
            own.switch(now)
            for pair in self._peering.pairs.values():
                pair.acked &= {own.current.key_id}
            self._wake(own.renew_at)

    def renew(self, now: float) -> None:
        """A clock jump or a copied machine: no counter can be trusted any more, so all keys begin anew, at once.

        To be called before anything else is sealed. Nobody can open ring datagrams until the next handshakes.
        """
        self._log.warning("security: the time jumped or the machine was copied: new keys and handshakes with all")
        self._peering.begin_incarnation(now)
        self._own.replace(now)
        self._exchange.peer_keys.table.clear()  # their windows may have gone back in time too
        self.told.clear()
        self._wake(now)

    # ---- configuration

    def reconfigure(self, peers: dict[NodeId, bytes], now: float) -> None:
        """The listed nodes and their public identities from now on.

        BadArgument, and no change, if one is no usable key. Who is gone is out at once, as with `remove` but
        without the notice; who has another identity begins anew.
        """
        self._exclude(self._peering.reconfigure(peers), now)

    def remove(self, peer: NodeId, date: int, by: str, now: float) -> None:
        """A listed node was removed (the new nodelist is committed): out at once, in the order of DESIGN 6.

        Its sessions and keys are dropped; all others get a sender key it never saw, in fresh handshakes; the layer
        above then rotates the cluster key. It is told when it calls. date: seconds since 1970; by: at most 64
        bytes. An unknown peer is no error.
        """
        self._exclude(self._peering.remove(peer, date, by), now)

    def bury(self, peer: NodeId, identity: bytes, date: int, by: str) -> None:
        """Remember a node removed before this start, so that it can be told. The last 64 are kept.

        BadArgument if it is listed or its identity is no usable key.
        """
        self._peering.bury(peer, identity, date, by)

    def _exclude(self, gone: list[Pair], now: float) -> None:
        if not gone:
            return
        for pair in gone:
            self._exchange.peer_keys.forget(pair.peer)
        self._exchange.peer_keys.betray()
        self._own.begin_removal(now)
        for pair in self._peering.pairs.values():
            pair.refresh_after = now
        self._wake(now)

    def add_cluster_key(self, generation: int, secret: bytes, now: float) -> None:
        """First step of a rotation: accept it and hand it to all, until `holders` has everybody. Raises Refused."""
        self._keyring.add(generation, secret)
        self._tell_all(now)

    def use_cluster_key(self, generation: int, now: float) -> None:
        """Second step: handshakes of ours go under it, sessions are made anew. Raises Refused."""
        self._keyring.use(generation)
        self._tell_all(now)

    def drop_cluster_key(self, generation: int) -> None:
        """Third step: the old one does nothing more but let a latecomer fetch the new one. Raises Refused."""
        self._keyring.drop(generation)

    @property
    def current_key(self) -> ClusterKey:
        """The cluster key in use."""
        return self._keyring.current

    def holders(self, generation: int) -> frozenset[NodeId]:
        """The peers known to hold this cluster key: acknowledged, or shown by a session under it."""
        pairs = self._peering.pairs.items()
        return frozenset(peer for peer, pair in pairs if pair.holds.get(generation, 0) > 0)

    # ---- the words of a core

    def poll_transmit(self, now: float) -> SecuritySend | None:
        """The next datagram that goes back where something came from."""
        return self.replies.popleft() if self.replies else None

    def poll_session(self) -> tuple[NodeId, bytes] | None:
        """(peer, payload) to be sealed by seal_session and sent by the peer's best link, or all of them."""
        return self.told.popleft() if self.told else None

    def next_event(self) -> SecurityEvent | None:
        return self.events.popleft() if self.events else None

    def next_timeout(self) -> float | None:
        return self.wake_at

    def handle_timeout(self, now: float) -> None:
        """Repeat what was not confirmed, renew our sender key, forget what is over."""
        if self._own.due(now):
            self._own.begin(now)
            self._tell_all(now)
        self._check_switch(now)
        times = [
            self._peering.expire(now),
            self._exchange.peer_keys.expire(now),
            self._own.renew_at if self._own.next is None else self._own.deadline,
        ]
        for pair in (*self._peering.pairs.values(), *self._peering.tombs.values()):
            retry_at = pair.retry_at
            if retry_at is not None and now >= retry_at:
                self._tell(pair, now)
                retry_at = pair.retry_at
            if retry_at is not None:
                times.append(retry_at)
        self.wake_at = min(times)

    def _wake(self, when: float) -> None:
        self.wake_at = min(self.wake_at, when)
