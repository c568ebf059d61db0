"""The sessions with all peers: who may have one, handshakes made and answered, tables of what is under way.

Source: DESIGN 6, "Identity and handshake"; docs/protocol-security.md. Used by transport/security.py only.
Bounds, whatever arrives: 8 answered and 8 unanswered inits a peer, two sessions a peer, 64 removed nodes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from transport import handshake
from transport.core import Entropy
from transport.errors import BadArgument, WireError
from transport.exchange import Dropped
from transport.handshake import Address, Gate, Init, Response, Verdict
from transport.ids import LinkId, NodeId
from transport.keyring import ClusterKey, Keyring
from transport.noise import KEY_SIZE, Handshake
from transport.session import (
    MAX_PENDING,
    PENDING_LIFE,
    REKEY_AFTER,
    REKEY_LATE,
    REKEY_PACKETS,
    Initiation,
    Pair,
    Session,
    Tombstone,
)

MAX_BIRTH: Final = (1 << 31) - 1
"""The highest birth that stamps tell apart; a stamp is 64 bits and must never end."""
MAX_TOMBSTONES: Final = 64
MAX_SENDS: Final = 1024
INIT_INTERVAL: Final = 0.4
"""Seconds between two inits to one peer on the same link; links do not wait for one another: any may be dead."""
UNCONFIRMED: Final = 1.0
"""Seconds without a packet under a session we made before another handshake is tried."""
SILENT: Final = 5.0
"""The same for a session that was in use: the peer may have lost it."""
NOTICE_INTERVAL: Final = 10.0


@dataclass(slots=True)
class SecuritySend:
    """A datagram ready for the socket of `link`. peer: for the statistics."""

    peer: NodeId
    link: LinkId
    address: Address
    data: bytes = field(repr=False)


class Peering:
    """All pairs of this node. True between any two calls: every session in the table belongs to a pair."""

    def __init__(
        self,
        me: NodeId,
        private_key: bytes,
        keyring: Keyring,
        dropped: Dropped,
        entropy: Entropy,
        now: float,
        birth: int,
    ) -> None:
        """birth: see Security. BadArgument if the private key is not 32 bytes."""
        if len(private_key) != KEY_SIZE:
            raise BadArgument(f"identity key of {len(private_key)} bytes, {KEY_SIZE} expected")
        self.me = me
        self._static = X25519PrivateKey.from_private_bytes(private_key)
        self.identity = self._static.public_key().public_bytes_raw()
        self._keyring = keyring
        self._dropped = dropped
        self._entropy = entropy
        self.pairs: dict[NodeId, Pair] = {}
        self.tombs: dict[NodeId, Pair] = {}
        self.sessions: dict[int, Session] = {}
        self.initiations: dict[int, Initiation] = {}
        self.sends: deque[SecuritySend] = deque()
        self._stamp = min(birth, MAX_BIRTH) << 32  # higher than any of an earlier process, as long as that is true
        self.begin_incarnation(now)

    def begin_incarnation(self, now: float) -> None:
        """At the start, and when nothing counted before can be trusted any more: all begins anew."""
        self._incarnation = int.from_bytes(self._entropy(8), "big")
        self._gate = Gate(self._entropy, now)
        for pair in (*self.pairs.values(), *self.tombs.values()):
            self.cut(pair)
            pair.tried.clear()  # the ring hears nobody until the next handshake: it does not wait for the last one
        self.sends.clear()

    # ---- our handshakes

    def due(self, pair: Pair, now: float) -> bool:
        """Whether we should call the peer now."""
        session = pair.current
        if session is None or now >= session.expires:
            return True
        current = self._keyring.current.generation
        if session.restricted:
            # The peer fetches the current key first and then calls. But if the call was ours, its key has retired
            # since, and the peer may have the current one already: then it waits for us.
            return session.initiator and pair.holds.get(current, 0) > 0
        age = now - session.made_at
        return (
            session.made_at < pair.refresh_after
            or (session.generation < current and pair.holds.get(current, 0) > 0)
            or age >= (REKEY_AFTER if session.initiator else REKEY_LATE)
            or session.sent >= REKEY_PACKETS
            or (not session.confirmed and age >= UNCONFIRMED)
            or now - session.last_received >= SILENT
        )

    def call(self, pair: Pair, link: LinkId, now: float) -> bytes | None:
        """A HANDSHAKE_INIT for this link; None if none is due or the last one is too recent."""
        if now - pair.tried.get(link, float("-inf")) < INIT_INTERVAL:
            return None
        if not self.due(pair, now):
            return None
        pair.tried[link] = now
        while len(pair.initiations) >= MAX_PENDING:
            self.forget(next(iter(pair.initiations.values())))
        key = self._keyring.current
        self._stamp += 1
        index = self._new_index()
        noise = self._noise(pair, key, initiator=True)
        message = noise.write_message(handshake.encode_stamp(self._incarnation, self._stamp))
        cookie, until = pair.cookies.get(link, (b"", now))
        data = handshake.encode_init(self.me, index, key, message, pair.identity, cookie if now < until else None)
        mac1 = data[-2 * handshake.MAC_SIZE : -handshake.MAC_SIZE]
        initiation = Initiation(
            pair, index, link, key.generation, self._stamp, mac1, started_at=now, expires=now + PENDING_LIFE,
            handshake=noise,
        )  # fmt: skip
        self.initiations[index] = pair.initiations[index] = initiation
        return data

    def receive_response(self, data: bytes, now: float) -> Session | None:
        """The session a response completes: proved by it, to be established now. WireError if malformed."""
        response = Response.decode(data)
        initiation = self.initiations.get(response.receiver_index)
        if initiation is None or initiation.pair.peer != response.sender or now >= initiation.expires:
            self._unasked(response)
            return None
        key = self._keyring.find(initiation.generation)
        if key is None or not response.meant_for(key, self.identity):
            self._dropped.not_authentic += 1
            return None
        self.forget(initiation)  # read or spoilt: it cannot be used twice
        try:
            incarnation = handshake.decode_incarnation(initiation.handshake.read_message(response.noise))
        except WireError:
            self._dropped.not_authentic += 1
            return None
        session = Session(
            initiation.pair,
            self.me,
            initiator=True,
            keys=initiation.handshake.split(),
            index=initiation.index,
            remote_index=response.sender_index,
            generation=key.generation,
            incarnation=incarnation,
            stamp=initiation.stamp,
            restricted=not self._keyring.is_live(key.generation),
            started_at=initiation.started_at,
            now=now,
        )
        self.sessions[session.index] = session
        return session

    def _unasked(self, response: Response) -> None:
        """A response nobody waits for. We call on all links, so all answers but the first come too late: once each."""
        pair = self.pairs.get(response.sender)
        if pair is not None and response.receiver_index in pair.overtaken:
            pair.overtaken -= {response.receiver_index}
            self._dropped.duplicates += 1
        else:
            self._dropped.unknown_sender += 1

    def receive_cookie(self, data: bytes, now: float) -> None:
        """The peer is under load and told us what to show it. WireError if malformed."""
        initiation = self.initiations.get(handshake.cookie_index(data))
        if initiation is None:
            self._dropped.unknown_sender += 1
            return
        pair = initiation.pair
        key = self._keyring.find(initiation.generation)
        try:
            if key is None:
                raise WireError("the cluster key is gone")
            cookie = handshake.open_cookie(data, pair.identity, key, initiation.mac1)
        except WireError:
            self._dropped.not_authentic += 1
            return
        pair.cookies[initiation.link] = (cookie, now + handshake.COOKIE_LIFE)
        pair.tried.pop(initiation.link, None)  # the next one need not wait
        self.forget(initiation)

    # ---- the peers' handshakes

    def receive_init(self, data: bytes, link: LinkId, source: Address, now: float) -> None:
        """Answer a peer's call, or ask for a cookie, or count why not. WireError if malformed.

        In the order of cost: known node and cluster key, mac1 (a hash), the gate, one curve operation, the stamp;
        only then the answer. The session is pending: nothing else changes by it.
        """
        init = Init.decode(data)
        pair = self.pairs.get(init.sender) or self.tombs.get(init.sender)
        if pair is None:
            self._dropped.unknown_sender += 1
            return
        key = self._keyring.find(init.generation)
        if key is None or not init.meant_for(key, self.identity):
            self._dropped.not_authentic += 1
            return
        verdict = self._gate.admit(init, source, now)
        if verdict is not Verdict.WORK:
            self._dropped.overloaded += 1
            if verdict is Verdict.ASK_COOKIE:
                cookie, nonce = self._gate.cookie(source, now), self._entropy(16)
                data = handshake.encode_cookie(self.me, self.identity, key, init, cookie, nonce)
                self.push(pair.peer, link, source, data)
            return
        noise = self._noise(pair, key, initiator=False)
        try:
            incarnation, stamp = handshake.decode_stamp(noise.read_message(init.noise))
        except WireError:
            self._dropped.not_authentic += 1
            return
        if pair.stale(incarnation, stamp):
            self._dropped.replayed += 1
            return
        if pair.removed is not None and now - pair.last_notice < NOTICE_INTERVAL:
            self._dropped.refused += 1
            return
        if incarnation == pair.incarnation:
            pair.stamp = stamp
        while len(pair.pending) >= MAX_PENDING:
            self.end(pair.oldest_pending())
        message = noise.write_message(handshake.encode_incarnation(self._incarnation))
        session = Session(
            pair,
            self.me,
            initiator=False,
            keys=noise.split(),
            index=self._new_index(),
            remote_index=init.sender_index,
            generation=key.generation,
            incarnation=incarnation,
            stamp=stamp,
            restricted=pair.removed is not None or not self._keyring.is_live(key.generation),
            started_at=now,
            now=now,
        )
        self.sessions[session.index] = pair.pending[session.index] = session
        answer = handshake.encode_response(self.me, session.index, init.sender_index, key, message, pair.identity)
        self.push(pair.peer, link, source, answer)

    def establish(self, session: Session, now: float) -> None:
        """The peer proved to hold this session's keys, now and not in some recording: the pair goes by it."""
        pair = session.pair
        for ended in pair.establish(session, self.me, now):
            self.sessions.pop(ended.index, None)
        if pair.initiations:
            pair.overtaken = frozenset(pair.initiations)
        for initiation in list(pair.initiations.values()):
            self.forget(initiation)
        if pair.removed is not None:
            pair.last_notice = now

    # ---- who is listed

    def reconfigure(self, peers: dict[NodeId, bytes]) -> list[Pair]:
        """The listed peers from now on; returns the pairs that are no more, cut. BadArgument, and no change, if an
        identity is no usable key. A node listed again is not a removed one any more."""
        wanted: dict[NodeId, Pair] = {}
        for peer in sorted(peers):
            known = self.pairs.get(peer)
            if peer == self.me:
                continue
            wanted[peer] = known if known and known.identity == peers[peer] else self._pair(peer, peers[peer])
        gone = [pair for peer, pair in sorted(self.pairs.items()) if wanted.get(peer) is not pair]
        self.pairs = wanted
        for pair in (*gone, *(self.tombs.pop(peer) for peer in wanted if peer in self.tombs)):
            self.cut(pair)
        return gone

    def remove(self, peer: NodeId, date: int, by: str) -> list[Pair]:
        """Out, and remembered as removed. The pair that is no more, cut; none for an unknown peer."""
        pair = self.pairs.pop(peer, None)
        if pair is None:
            return []
        self.cut(pair)
        self.bury(peer, pair.identity, date, by)
        return [pair]

    def bury(self, peer: NodeId, identity: bytes, date: int, by: str) -> None:
        """Remember a removed node. BadArgument if it is listed or its identity is no usable key."""
        if peer in self.pairs or peer == self.me:
            raise BadArgument(f"node {peer} is listed")
        tomb = self._pair(peer, identity, Tombstone(date, by))
        known = self.tombs.pop(peer, None)
        if known is None and len(self.tombs) >= MAX_TOMBSTONES:
            known = self.tombs.pop(next(iter(self.tombs)))
        if known is not None:
            self.cut(known)
        self.tombs[peer] = tomb

    def _pair(self, peer: NodeId, identity: bytes, removed: Tombstone | None = None) -> Pair:
        try:
            return Pair(peer, identity, self._static, removed)
        except WireError as error:
            raise BadArgument(f"node {peer}: its identity is not a usable X25519 public key") from error

    # ---- upkeep

    def push(self, peer: NodeId, link: LinkId, address: Address, data: bytes) -> None:
        """Queue a datagram; when the queue is full it is lost, as on any network."""
        if len(self.sends) < MAX_SENDS:
            self.sends.append(SecuritySend(peer, link, address, data))

    def expire(self, now: float) -> float:
        """Forget what is over; returns when the next thing is."""
        times = [float("inf")]
        for pair in (*self.pairs.values(), *self.tombs.values()):
            for session in pair.expire(now):
                self.sessions.pop(session.index, None)
            for initiation in [i for i in pair.initiations.values() if now >= i.expires]:
                self.forget(initiation)
            times += [session.expires for session in pair.sessions()]
            times += [initiation.expires for initiation in pair.initiations.values()]
        return min(times)

    def forget(self, initiation: Initiation) -> None:
        self.initiations.pop(initiation.index, None)
        initiation.pair.initiations.pop(initiation.index, None)

    def end(self, session: Session) -> None:
        """End a pending session."""
        self.sessions.pop(session.index, None)
        session.pair.pending.pop(session.index, None)

    def cut(self, pair: Pair) -> None:
        """End every session and handshake with a peer."""
        for session in pair.sessions():
            self.end(session)
        pair.current = pair.previous = None
        for initiation in list(pair.initiations.values()):
            self.forget(initiation)
        pair.acked.clear()
        pair.parts = None
        pair.retry_at = None

    def _noise(self, pair: Pair, key: ClusterKey, initiator: bool) -> Handshake:
        ends = (self.me, pair.peer) if initiator else (pair.peer, self.me)
        return Handshake(
            initiator,
            handshake.prologue(key.generation, *ends),
            key.psk,
            self._static,
            pair.identity,
            self._entropy(KEY_SIZE),
            pair.shared,
        )

    def _new_index(self) -> int:
        while True:
            index = int.from_bytes(self._entropy(4), "big")
            if index not in self.sessions and index not in self.initiations:
                return index
