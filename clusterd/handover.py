"""The configuration in force for a node that cannot come into our ring because its own is too old.

Members learn a newer configuration at the barrier of the ring they come into (reconfigure.py). But a node that was off
while another one was added does not know that one: it has no keys for it and answers none of its messages, so no ring
with both ever forms. Therefore whoever reaches a listed node that stays outside of its ring offers it what it runs,
between the two, inside their session:

    OFFER(version) again and again -> WANT(version) -> PIECE(version, count, index, bytes) as many as it takes

Who is quorate offers first; who is not a little later, as "the newest after a full stop" (reconfigure.py): where all
votes are waited for, nobody is quorate until the node outside has come in.
Taken is a higher version only, by a node that is not quorate, or one that agreed to it and does not know how that ended
(promises.py). What is lost is asked for at the next offer.

A core, as in transport/core.py. Bounds: one configuration at most is being put together, of at most 256 KiB.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from clusterd.promises import MAX_TEXT
from transport.codec import Reader, Writer
from transport.errors import WireError
from transport.ids import NodeId

INTERVAL = 0.25
"""Seconds between two offers to a node that stays outside."""
QUORATE = 0.5
"""Seconds for which one must be outside until it is offered anything: a ring with it should have formed before."""
PATIENCE = 0.75
"""The same, by somebody who is not quorate. With the links to new nodes and the ring it stays within the 2 s of L1."""
PIECE = 1000
"""Bytes of the text in one message: with its head and seal it fits the smallest path."""
_VERSION = 1
_OFFER, _WANT, _PIECE = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Tell:
    """To be sent to `peer` alone, in our session with it; it may be lost."""

    peer: NodeId
    payload: bytes


@dataclass(frozen=True, slots=True)
class Taken:
    """The whole text of a version that `sender` runs."""

    sender: NodeId
    version: int
    text: bytes


@dataclass(slots=True)
class _Coming:
    """A text being put together. heard: the last offer of it."""

    sender: NodeId
    version: int
    heard: float
    pieces: dict[int, bytes] = field(default_factory=dict)


class Handover:
    """True between any two calls: there is a next offer as long as a reachable listed node is outside."""

    def __init__(self) -> None:
        self._outside: dict[NodeId, float] = {}  # reachable and not in our ring, since when
        self._coming: _Coming | None = None
        self._due: float | None = None
        self.events: deque[Tell | Taken] = deque()
        self.malformed = 0

    def outside(self, nodes: frozenset[NodeId], now: float) -> None:
        """The listed nodes that we reach and that are not in our ring."""
        self._outside = {node: self._outside.get(node, now) for node in sorted(nodes)}
        if not self._outside:
            self._due = None
        elif self._due is None:
            self._due = now + INTERVAL

    def next_timeout(self) -> float | None:
        return self._due

    def handle_timeout(self, now: float, version: int, quorate: bool) -> None:
        """Offer what we run."""
        if self._due is None or now < self._due:
            return
        self._due = now + INTERVAL
        for node, since in self._outside.items():
            if now - since >= (QUORATE if quorate else PATIENCE):
                self._tell(node, Writer().u8(_VERSION).u8(_OFFER).u64(version).done())

    def receive(self, sender: NodeId, payload: bytes, now: float, version: int, text: bytes, least: int | None) -> None:
        """A word of `sender` to us alone. version, text: ours. least: the lowest version that we take; None: none."""
        try:
            reader = Reader(payload)
            if reader.u8() != _VERSION:
                raise WireError("another version")
            what, said = reader.u8(), reader.u64()
            if what == _OFFER:
                reader.end()
                if least is not None and said >= least and self._free(sender, said, now):
                    self._tell(sender, Writer().u8(_VERSION).u8(_WANT).u64(said).done())
            elif what == _WANT:
                reader.end()
                if said == version:
                    self._send(sender, version, text)
            elif what == _PIECE:
                self._piece(sender, said, reader.u16(), reader.u16(), reader.rest())
            else:
                raise WireError(f"kind {what}")
        except WireError:
            self.malformed += 1

    def next_event(self) -> Tell | Taken | None:
        return self.events.popleft() if self.events else None

    # -- inside ----------------------------------------------------------------------------------------------

    def _free(self, sender: NodeId, version: int, now: float) -> bool:
        """Whether to ask this one: the others, only when it has been silent for two offers."""
        coming = self._coming
        if coming is None or now - coming.heard > 2 * INTERVAL:
            coming = self._coming = _Coming(sender, version, now)
        if (coming.sender, coming.version) != (sender, version):
            return False
        coming.heard = now
        return True

    def _send(self, peer: NodeId, version: int, text: bytes) -> None:
        pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
        for index, piece in enumerate(pieces):
            head = Writer().u8(_VERSION).u8(_PIECE).u64(version).u16(len(pieces)).u16(index)
            self._tell(peer, head.raw(piece).done())

    def _piece(self, sender: NodeId, version: int, count: int, index: int, piece: bytes) -> None:
        coming = self._coming
        if coming is None or (coming.sender, coming.version) != (sender, version):
            return
        if not 0 <= index < count <= -(-MAX_TEXT // PIECE) or not 0 < len(piece) <= PIECE:
            raise WireError(f"piece {index} of {count} with {len(piece)} bytes")
        coming.pieces[index] = piece
        if set(coming.pieces) == set(range(count)):
            self._coming = None
            self.events.append(Taken(sender, version, b"".join(coming.pieces[at] for at in range(count))))

    def _tell(self, peer: NodeId, payload: bytes) -> None:
        self.events.append(Tell(peer, payload))
