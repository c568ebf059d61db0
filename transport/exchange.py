"""What is said inside the sessions: sender keys handed over, cluster keys passed on, removals told.

Source: DESIGN 6. Nothing here sends: `outstanding` says what a peer must still be told (the caller repeats it until
nothing is left), `receive` takes one message and says what to answer.

    a peer has a sender key of ours      once it acknowledged it in a session of its present process
    a peer holds a cluster key           once it acknowledged it, told us of it, or made a session under it
    a restricted session carries         cluster keys and their acks, nothing else
    a removed node is told               that it was, once for each session it makes; nothing it says is heard
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from transport import control
from transport.core import Log
from transport.errors import WireError
from transport.ids import NodeId
from transport.keyring import Keyring
from transport.sender_keys import OwnKeys, PeerKeys
from transport.session import Pair, Session

LOADED: Final = 1
IN_USE: Final = 2
MAX_EVENTS: Final = 256


@dataclass(slots=True)
class Dropped:
    """Datagrams that went no further, by kind.

    not_authentic: wrong key, another cluster, changed on the way, or meant for another link.
    replayed:      ring datagrams below the window, session datagrams and handshakes seen before.
    malformed:     no datagram of ours, or an authentic one whose content is none.
    unknown_sender: no such node, session or sender key here.
    duplicates:    ring datagrams seen before: the copies from other links, by design, and anyone else's copies; answers
                   to a call that were overtaken by those on another link.
    overloaded:    handshakes not worked on for now: a cookie was asked for, or the address had its share.
    refused:       authentic, but from a removed node or under an old cluster key, which may not say it.
    """

    not_authentic: int = 0
    replayed: int = 0
    malformed: int = 0
    unknown_sender: int = 0
    duplicates: int = 0
    overloaded: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class SessionUp:
    """A session with `peer` came into use where there was none, or its process is a new one (restarted)."""

    peer: NodeId
    restarted: bool


@dataclass(frozen=True, slots=True)
class ClusterKeyLearned:
    """A member handed over a cluster key: to be written to disk (the ring of keys has it already)."""

    sender: NodeId
    generation: int
    in_use: bool
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RemovedNotice:
    """A member says this node was removed: at `date` (seconds since 1970), `by` whom. It informs, nothing more."""

    sender: NodeId
    date: int
    by: str


SecurityEvent = SessionUp | ClusterKeyLearned | RemovedNotice


class KeyExchange:
    """The talk about keys with all peers."""

    __slots__ = ("_log", "dropped", "events", "keyring", "own", "peer_keys")

    def __init__(self, keyring: Keyring, own: OwnKeys, log: Log) -> None:
        self.keyring = keyring
        self.own = own
        self.peer_keys = PeerKeys()
        self.dropped = Dropped()
        self.events: deque[SecurityEvent] = deque(maxlen=MAX_EVENTS)
        self._log = log

    def outstanding(self, pair: Pair) -> list[bytes]:
        """Everything the peer must still be told in its current session, sender keys first."""
        session = pair.current
        if session is None:
            return []
        if pair.removed is not None:
            return [control.encode_removed(pair.removed.date, pair.removed.by)] if pair.retry_at is None else []
        told: list[bytes] = []
        if not session.restricted:
            told += [
                control.encode_sender_key(key.key_id, key.counter, key.key)
                for key in self.own.held_out()
                if key.key_id not in pair.acked and session.made_at >= key.fresh_after
            ]
        current = self.keyring.current.generation
        for cluster_key in self.keyring.live():
            generation = cluster_key.generation
            if generation < current or generation == session.generation:
                continue
            in_use = generation == current
            if pair.holds.get(generation, 0) < (IN_USE if in_use else LOADED):
                told += control.encode_cluster_key(generation, in_use, cluster_key.secret)
        return told

    def receive(self, pair: Pair, session: Session, message: bytes) -> list[bytes]:
        """One message of the peer; returns what to answer. Malformed and forbidden ones are counted."""
        kind = message[0]
        if pair.removed is not None or (
            session.restricted and kind not in (control.CLUSTER_KEY, control.CLUSTER_KEY_ACK, control.REMOVED)
        ):
            self.dropped.refused += 1
            return []
        try:
            if kind == control.SENDER_KEY:
                return self._sender_key(pair, session, *control.decode_sender_key(message))
            if kind == control.SENDER_KEY_ACK:
                self._sender_key_ack(pair, session, control.decode_sender_key_ack(message))
            elif kind == control.CLUSTER_KEY:
                return self._cluster_key(pair, *control.decode_cluster_key(message))
            elif kind == control.CLUSTER_KEY_ACK:
                generation, in_use = control.decode_cluster_key_ack(message)
                self._holds(pair, generation, in_use)
            elif kind == control.REMOVED:
                self.events.append(RemovedNotice(pair.peer, *control.decode_removed(message)))
            else:
                raise WireError(f"kind {kind:#x}")
        except WireError:
            self.dropped.malformed += 1
        return []

    def confirmed(self, pair: Pair) -> bool:
        """Whether the peer has our next sender key."""
        return self.own.next is None or self.own.next.key_id in pair.acked

    def _sender_key(self, pair: Pair, session: Session, key_id: int, floor: int, key: bytes) -> list[bytes]:
        if session.incarnation != pair.incarnation:
            self.dropped.refused += 1
            return []
        if self.peer_keys.outdated(pair.peer, key_id, session.incarnation):
            self.dropped.replayed += 1
            return []
        if not self.peer_keys.install(pair.peer, key_id, key, floor, session.incarnation):
            raise WireError(f"sender key {key_id:#x} of node {pair.peer}")
        return [control.encode_sender_key_ack(key_id)]

    def _sender_key_ack(self, pair: Pair, session: Session, key_id: int) -> None:
        if session.incarnation == pair.incarnation and any(key.key_id == key_id for key in self.own.held_out()):
            pair.acked.add(key_id)

    def _cluster_key(
        self, pair: Pair, generation: int, in_use: bool, total: int, offset: int, piece: bytes
    ) -> list[bytes]:
        """A piece of a key; the whole of it is taken, and acknowledged with what we now do with it."""
        if pair.parts is None or pair.parts[:2] != (generation, total):
            pair.parts = (generation, total, {})
        pieces = pair.parts[2]
        pieces[offset] = piece
        if sum(len(part) for part in pieces.values()) < total:
            return []
        pair.parts = None
        secret = b"".join(pieces[at] for at in sorted(pieces))
        if self.keyring.learn(generation, secret, in_use):
            self._log.debug(
                f"security: cluster key generation {generation} {'in use' if in_use else 'loaded'}, "
                f"handed over by node {pair.peer}"
            )
            self.events.append(ClusterKeyLearned(pair.peer, generation, in_use, secret))
        known = self.keyring.find(generation)
        if known is None or known.secret != secret:
            return []
        self._holds(pair, generation, in_use)
        return [control.encode_cluster_key_ack(generation, self.keyring.current.generation >= generation)]

    def _holds(self, pair: Pair, generation: int, in_use: bool) -> None:
        """Remember it, for the generations we hold ourselves: a peer cannot make us remember more."""
        if self.keyring.find(generation) is not None:
            pair.holds[generation] = max(pair.holds.get(generation, 0), IN_USE if in_use else LOADED)
