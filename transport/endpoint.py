"""The whole transport of one node without I/O: security, links, fragments and the ring, wired.

datagram -> security (open, replay window) -> links (is this path up?) or fragments -> Totem -> events.
Going down: submit -> Totem (packed at our token visit) -> sealed once -> every peer's path of the moment.

Each arrow is one call in this file; see DESIGN section 3. Peers whose path cannot carry a frame in one datagram get
it cut and sealed apart (two size classes at most).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from transport.config import TransportConfig
from transport.events import Beat, ConfigurationChange, Delivery, PathChange, PeerWord, Persist, Progress, Recalled
from transport.exchange import ClusterKeyLearned, RemovedNotice, SessionUp
from transport.ids import LinkId, NodeId
from transport.link.events import Address, MtuChange, ReachabilityChange
from transport.link.fragments import WHOLE_OVERHEAD, Fragmenter, Reassembler
from transport.link.links import LinkEvent, Links, Resolve
from transport.link.packets import PING
from transport.link.path import NEVER
from transport.security import Security
from transport.totem.srp import Srp
from transport.totem.stats import Send

Told = (
    Delivery
    | ConfigurationChange
    | Progress
    | PathChange
    | PeerWord
    | Recalled
    | Persist
    | ClusterKeyLearned
    | RemovedNotice
)
Event = Told | Beat


@dataclass(slots=True)
class Transmit:
    """A datagram for the socket of `link`. urgent: a ping, pong, probe or key message; goes before data that waits."""

    link: LinkId
    address: Address
    data: bytes
    urgent: bool = False


_PROGRESS = 0x60  # first byte of a session payload that belongs to the ring
_WORD = 0x61  # of one that belongs to the layer above


class Endpoint:
    """Datagrams and the time in; datagrams, events and one deadline out. Nothing a peer sends makes it raise."""

    def __init__(self, security: Security, links: Links, srp: Srp, first_fragment: int) -> None:
        """first_fragment: random, see Fragmenter."""
        self.security = security
        self.links = links
        self.srp = srp
        self._fragmenter = Fragmenter(first_fragment)
        self._reassembler = Reassembler()
        self.out: deque[Transmit] = deque()
        """What poll_transmit() gives; it may make more."""
        self.events: deque[Event] = deque()
        """What next_event() has to tell; poll_transmit() may bring about more."""
        self.running = False
        """Others may hear of us, and we hear them."""
        self._ended = False  # by end()
        self._wanted = False  # start() was called
        self._silent = False  # all parts said all they had to say, and nothing was put in since
        links.echo = srp.echo
        srp.set_frame_budget(links.frame_budget())

    def start(self, now: float) -> None:
        """Begin, as soon as a ring number that we may use is on disk (Persist, persisted).

        Until then nobody hears of us: no ring can form with us, and the others would give up theirs, again and again,
        for a node whose disk hangs or is full.
        """
        self._wanted = True
        self._begin(now)
        self._pump(now)

    def _begin(self, now: float) -> None:
        if self._wanted and not self.running and self.srp.reserved:
            self.running = True
            self.links.start(now)
            self.srp.start(now)

    # -- in --------------------------------------------------------------------------------------------------

    def receive(self, datagrams: Sequence[tuple[LinkId, Address, bytes]], now: float) -> None:
        """All datagrams of one wake-up. The ring acts on a token when it is polled, so after all of them: a token
        tells what should have arrived before it, and across sockets it may overtake that."""
        if not self.running:
            return
        links = self.links
        for link, source, data in datagrams:
            opened = self.security.open(data, link, source, now)
            if opened is None:
                continue
            sender, payload = opened.sender, opened.payload
            links.heard(sender, link, source, len(data), now)
            if opened.ring:
                frame = self._reassembler.receive(sender, payload, now)
                if frame:
                    self.srp.receive(sender, frame, now)
            elif payload[0] == _PROGRESS:
                self.srp.receive_progress(sender, payload[1:], now)
            elif payload[0] == _WORD:
                self.events.append(PeerWord(sender, payload[1:]))
            else:
                links.receive(sender, link, source, payload, len(data), now)
        self._pump(now)

    def refused(self, link: LinkId, address: Address, reason: str, sure: bool, now: float) -> None:
        """The socket says that nobody listens at `address`, or that there is no way there."""
        peer = self.links.peer_at(link, address)
        if peer is not None:
            self.links.refused(peer, link, now, reason, sure)
            self._pump(now)

    def too_big(self, link: LinkId, address: Address, size: int, sure: bool, now: float) -> None:
        """IP packets above `size` bytes do not pass to `address` (EMSGSIZE)."""
        peer = self.links.peer_at(link, address)
        if peer is not None:
            self.links.too_big(peer, link, size, now, sure)
            self._pump(now)

    def set_local(self, link: LinkId, reason: str | None, now: float) -> None:
        """Our own address of `link` cannot be used (why), or can again (None)."""
        self.links.set_local(link, reason, now)
        self._pump(now)

    def submit(self, payload: bytes, safe: bool = False) -> None:
        """Multicast to the ring, ourselves included. Raises QueueFull, TooLarge."""
        self.srp.submit(payload, safe)
        self._silent = False

    def tell(self, peer: NodeId, payload: bytes, now: float) -> None:
        """Say something to one node alone, in our session with it; it may be lost. A PeerWord there."""
        self._send_session(peer, bytes((_WORD,)) + payload, redundant=False, now=now)

    def used(self) -> None:
        """A part of this endpoint was given something directly: ask all of them again what there is to send."""
        self._silent = self.srp.quiet = False

    def persisted(self, receipt: int, now: float) -> None:
        self.srp.persisted(receipt, now)
        self._begin(now)
        self._pump(now)

    def leave(self, now: float) -> None:
        self._wanted = False
        self.srp.leave(now)
        self._pump(now)

    def end(self) -> None:
        """At once and for good: nothing more goes out, and nothing is heard. Nobody is told."""
        self._ended = True
        self._wanted = self.running = False
        self.out.clear()

    def reconfigure(self, config: TransportConfig, resolve: Resolve, now: float) -> None:
        """Nodes, addresses, links, priorities, timing: live. Raises BadArgument and changes nothing, if an identity
        is no usable key."""
        self.security.reconfigure({n.id: n.identity for n in config.nodes.values() if n.id != config.me}, now)
        self.links.reconfigure(config, resolve, now)
        self.srp.reconfigure(config.totem, {n.id: n.votes for n in config.nodes.values()}, now)
        self._pump(now)

    def renew_keys(self, now: float) -> None:
        """A clock jump or a copied machine: no counter of ours can be trusted any more."""
        self.security.renew(now)
        self._pump(now)

    # -- out -------------------------------------------------------------------------------------------------

    def poll_transmit(self, now: float) -> Transmit | None:
        if not self.out and not self._silent:
            self._pump(now)
        if self._ended:
            self.out.clear()
        return self.out.popleft() if self.out else None

    def next_event(self) -> Event | None:
        return self.events.popleft() if self.events else None

    def next_timeout(self) -> float | None:
        if not self.running:
            return None
        # Asked after every datagram, hence not by the cores' own words.
        due, ring, whole = self.links.deadline, self.srp.next_timeout(), self._reassembler.next_timeout()
        if self.security.wake_at < due:
            due = self.security.wake_at
        if ring is not None and ring < due:
            due = ring
        if whole is not None and whole < due:
            due = whole
        return due if due < NEVER else None

    def handle_timeout(self, now: float) -> None:
        if not self.running:
            return
        # The ring first: it must learn of a pause before anything else is believed.
        for core in (self.srp, self.security, self.links, self._reassembler):
            due = core.next_timeout()
            if due is not None and now >= due:
                core.handle_timeout(now)
        self._pump(now)

    # -- between ---------------------------------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Carry what each layer has to say to its neighbours, until all are silent.

        Most wake-ups are a ping or a pong. What these bring about comes further down in the same turn, so a turn is
        repeated only for what may have given something to those asked before; and who has nothing is not asked.
        """
        security, links, srp = self.security, self.links, self.srp
        moved = True
        while moved:
            moved = False
            if security.events:
                moved = self._hear_security(now)
            while links.events and (change := links.next_event()) is not None:
                self._on_link_event(change, now)
            if not srp.quiet:
                moved |= self._pump_ring(now)
            while links.out and (path := links.poll_transmit(now)) is not None:
                # A handshake that is due goes before the ping; without a session, instead of it.
                if path.payload[0] == PING:
                    init = security.wants_handshake(path.peer, path.link, now)
                    if init is not None:
                        self._urgent(path.peer, path.link, links.call_at(path.peer, path.link), init, now)
                sealed = security.seal_session(path.peer, path.link, path.payload, now)
                if sealed is not None:
                    self._urgent(path.peer, path.link, path.address, sealed, now)
            while security.replies and (reply := security.poll_transmit(now)) is not None:
                self._urgent(reply.peer, reply.link, reply.address, reply.data, now)
            while security.told and (keys := security.poll_session()) is not None:
                self._send_session(keys[0], keys[1], redundant=False, now=now)
            if links.events or links.out or security.events or not srp.quiet:
                moved = True  # of these the ring's: to make a pong may have shown that the token is overdue
        self._silent = True

    def _hear_security(self, now: float) -> bool:
        moved = False
        while (told := self.security.next_event()) is not None:
            if isinstance(told, SessionUp):
                self.links.hurry(told.peer, now)
            else:
                self.events.append(told)
            moved = True
        return moved

    def _pump_ring(self, now: float) -> bool:
        moved = self._hear_ring()
        while (send := self.srp.poll_transmit(now)) is not None:
            self._send(send, now)
            moved = True
        return self._hear_ring() or moved  # a token that came to rest: nothing to send, much to tell

    def _hear_ring(self) -> bool:
        event = self.srp.next_event()
        if event is None:
            return False
        while event is not None:
            self.events.append(event)
            event = self.srp.next_event()
        return True

    def _on_link_event(self, event: LinkEvent, now: float) -> None:
        if isinstance(event, Beat):
            if event.ring_id == self.srp.ring_id:
                self.events.append(event)
        elif isinstance(event, MtuChange):
            self.srp.set_frame_budget(event.budget)
        elif isinstance(event, ReachabilityChange):
            self.security.members(event.row, now)
            self.srp.set_reachable(event.row, now)
            if event.reachable:
                self.security.reached(event.peer, now)
            else:
                self.srp.suspect(event.peer, now)
        else:
            self.events.append(event)

    def _send(self, send: Send, now: float) -> None:
        if send.session:
            for peer in send.to:
                self._send_session(peer, bytes((_PROGRESS,)) + send.frame, send.redundant, now)
            return
        size = len(send.frame)
        whole: list[tuple[NodeId, LinkId, Address]] = []
        cut: list[tuple[NodeId, LinkId, Address]] = []
        smallest = size
        for peer in send.to:
            for link, address, room in self.links.route(peer, send.redundant):
                budget = room - WHOLE_OVERHEAD
                if size <= budget:
                    whole.append((peer, link, address))
                else:
                    cut.append((peer, link, address))
                    smallest = min(smallest, budget)
        if whole:
            self._data(whole, self.security.seal_ring(b"\x00" + send.frame, now), now)
        if cut:
            for piece in self._fragmenter.cut(send.frame, smallest):
                self._data(cut, self.security.seal_ring(piece, now), now)

    def _data(self, ways: list[tuple[NodeId, LinkId, Address]], data: bytes, now: float) -> None:
        size, links, out = len(data), self.links, self.out
        for peer, link, address in ways:
            links.sent(peer, link, size, now)
            out.append(Transmit(link, address, data))

    def _send_session(self, peer: NodeId, payload: bytes, redundant: bool, now: float) -> None:
        """On the path data takes now (redundant: on every one that is up), or while none is up, on all there are."""
        up = [(link, address) for link, address, _ in self.links.route(peer, redundant)]
        for link, address in up or self.links.ways(peer):
            sealed = self.security.seal_session(peer, link, payload, now)
            if sealed is not None:
                self._urgent(peer, link, address, sealed, now)

    def _urgent(self, peer: NodeId, link: LinkId, address: Address, data: bytes, now: float) -> None:
        self.links.sent(peer, link, len(data), now)
        self.out.append(Transmit(link, address, data, urgent=True))

    @property
    def malformed_fragments(self) -> int:
        """Ring datagrams that were authentic and no fragment or frame of ours."""
        return self._reassembler.stats.malformed + self.srp.stats.malformed
