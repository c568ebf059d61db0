"""All paths of this node: the core between the sealed datagram and the ring.

Source: DESIGN 6; facts/knet.md section 16 is its checklist. Times are seconds on the caller's clock, sizes bytes.
Nothing a peer can send makes a method raise; link messages that are none of ours are counted in `stats`.

    in    receive (link messages), heard and sent (every datagram, for the counters), refused and too_big (from sockets)
    out   poll_transmit (pings, pongs, probes), route (where data goes), next_event, next_timeout
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from transport.config import TransportConfig
from transport.core import Entropy, Log
from transport.errors import WireError
from transport.events import Beat, PathChange, Recalled
from transport.ids import NO_RING, LinkId, NodeId, RingId
from transport.link import packets
from transport.link.events import Address, MtuChange, PathSend, ReachabilityChange
from transport.link.fragments import OVERHEAD_RING, budget_of
from transport.link.mtu import SAFE_V4, headers
from transport.link.path import NEVER, Path
from transport.link.peer import Peer, Route
from transport.link.rows import PathRow, row_of

OVERHEAD_SESSION = OVERHEAD_RING  # both: 16 bytes of header and a 16-byte tag
_QUEUE_MAX = 1024  # answers and pings waiting for poll_transmit; above, the newest is dropped

Resolve = dict[tuple[NodeId, LinkId], Address]
LinkEvent = PathChange | ReachabilityChange | MtuChange | Beat | Recalled
_Mark = tuple[bool, Address, int]


@dataclass(slots=True)
class LinkStats:
    """malformed: session payloads that are no link message. strays: from a peer or link not configured.

    pongs_ignored: not asked for, answered already, or too late: they proved nothing.
    overflow: link messages dropped for want of room.
    """

    malformed: int = 0
    strays: int = 0
    overflow: int = 0
    pongs_ignored: int = 0


def _no_echo(peer: NodeId, now: float) -> RingId:
    return NO_RING


class Links:
    """Paths to all configured peers on all links where both sides have an address."""

    def __init__(self, config: TransportConfig, resolve: Resolve, entropy: Entropy, now: float, log: Log) -> None:
        """resolve: (node, link) -> address, our own included; host names are resolved by the shell."""
        self.stats = LinkStats()
        self.echo: Callable[[NodeId, float], RingId] = _no_echo
        self._entropy = entropy
        self._log = log
        self._phase = int.from_bytes(entropy(2), "big") / 65536
        self._peers: dict[NodeId, Peer] = {}
        self._paths: dict[tuple[NodeId, LinkId], Path] = {}
        self._local: dict[LinkId, Address] = {}
        self._disabled: dict[LinkId, str] = {}
        self.out: deque[_Wanted] = deque()
        """Of what poll_transmit() makes the next message."""
        self.events: deque[LinkEvent] = deque()
        """What next_event() has to tell."""
        self._reachable: frozenset[NodeId] = frozenset()
        self._budget = budget_of(SAFE_V4 - headers(""))
        self._cut_budget = self._budget
        self.deadline = now
        """What next_timeout() says, infinity for never."""
        self._stall = 0.0
        self._config = config
        self.reconfigure(config, resolve, now)

    def start(self, now: float) -> None:
        """The first pings are due, however long ago this was made."""
        self.deadline = now

    # ---- what comes in

    def receive(self, peer: NodeId, link: LinkId, source: Address, payload: bytes, size: int, now: float) -> None:
        """A link message: an authentic session payload whose first byte is below 0x40.

        size: of the whole datagram, UDP payload. Call `heard` for it too.
        """
        path = self._paths.get((peer, link))
        if path is None:
            self.stats.strays += 1
            return
        if path.disabled is not None:
            return  # what still comes in there must not make the peer believe that we can answer
        if now > self.deadline + self._stall:
            self._wake(now)
        try:
            message = packets.decode(payload)
        except WireError:
            self.stats.malformed += 1
            return
        if isinstance(message, packets.Ping):
            before = (path.up, path.address, path.mtu.size)
            path.pinged(message, source, now)
            if path.remembered:
                path.remembered = False
                self.events.append(Recalled(peer))
            self._want(_Wanted(peer, path, packets.PONG, source, message.id))
            self._changed(peer, path, before, now)
        elif isinstance(message, packets.Pong):
            self._pong(peer, path, message, now)
        elif isinstance(message, packets.Probe):
            if size >= message.size:
                self._want(_Wanted(peer, path, packets.PROBE_ACK, source, message.id, size))
        else:
            before = _mark(path)
            path.mtu.acked(message.id)
            self._changed(peer, path, before, now)

    def _pong(self, peer: NodeId, path: Path, pong: packets.Pong, now: float) -> None:
        before = (path.up, path.address, path.mtu.size)
        sent_at = path.ponged(pong.id, now)
        if sent_at is None:
            self.stats.pongs_ignored += 1
        elif pong.ring_id != NO_RING:
            self.events.append(Beat((peer,), pong.ring_id, sent_at))
        self._changed(peer, path, before, now)

    def heard(self, peer: NodeId, link: LinkId, source: Address, size: int, now: float) -> None:
        """Any authentic datagram of `peer` came in on `link` with `size` bytes of UDP payload: counted.

        Its source does not matter for accepting it; an address is followed once a ping from it was answered there.
        """
        path = self._paths.get((peer, link))
        if path is None:
            self.stats.strays += 1
            return
        path.rx_packets += 1
        path.rx_bytes += size

    def sent(self, peer: NodeId, link: LinkId, size: int, now: float) -> None:
        """A datagram with `size` bytes of UDP payload was handed to the socket for this path: counted, and evidence."""
        path = self._paths.get((peer, link))
        if path is None:
            return
        path.tx_packets += 1
        path.tx_bytes += size
        if size > path.mtu.plain and path.sent_large(size, now):
            self._pull(path)

    def refused(
        self, peer: NodeId, link: LinkId, now: float, reason: str = "refused by the peer's host", sure: bool = False
    ) -> None:
        """The socket reports that the peer's address refuses or is unreachable.

        sure: our own kernel decided it (no route, address gone); the path is down at once. Else it came as ICMP, which
        is not authentic: a ping goes out at once, and the path is down when that is refused too (one round trip).
        """
        path = self._paths.get((peer, link))
        if path is not None:
            self._wake(now)
            before = _mark(path)
            if path.refused(reason, sure, now):
                self.hurry(peer, now)  # if its process is gone, all its paths are
            self._changed(peer, path, before, now)

    def too_big(self, peer: NodeId, link: LinkId, size: int, now: float, sure: bool = True) -> None:
        """IP packets above `size` bytes do not pass (EMSGSIZE). sure: our own kernel says so, not ICMP."""
        path = self._paths.get((peer, link))
        if path is not None:
            before = _mark(path)
            path.too_big(size, sure, now)
            self._changed(peer, path, before, now)

    def set_local(self, link: LinkId, reason: str | None, now: float) -> None:
        """This node's socket of `link` cannot be used (reason, one sentence) or can again (None)."""
        if reason is None:
            self._disabled.pop(link, None)
        else:
            self._disabled[link] = reason
        for (peer, number), path in self._paths.items():
            if number == link:
                before = _mark(path)
                path.disable(reason, now)
                self._changed(peer, path, before, now)

    def hurry(self, peer: NodeId, now: float) -> None:
        """A session with `peer` came up: ping on all its paths at once."""
        for path in self._peers[peer].paths.values() if peer in self._peers else ():
            path.hurry(now)
            self._pull(path)

    # ---- where data goes

    def route(self, peer: NodeId, redundant: bool) -> list[Route]:
        """(link, address, largest UDP payload) of each path a datagram to `peer` takes now; [] while none is up.

        redundant: on every path that is up (resends). The list belongs to Links: do not change it.
        """
        chosen = self._peers.get(peer)
        return chosen.route(redundant) if chosen is not None else []

    def ways(self, peer: NodeId) -> list[tuple[LinkId, Address]]:
        """Every path to `peer`, up or not, at the address in use: for what must be tried while none is up."""
        chosen = self._peers.get(peer)
        return [(link, path.address) for link, path in sorted(chosen.paths.items())] if chosen is not None else []

    def call_at(self, peer: NodeId, link: LinkId) -> Address:
        """Where a handshake that goes out now on this path goes. Each call is one."""
        return self._paths[peer, link].call_at()

    def frame_budget(self) -> int:
        """The largest Totem frame that goes whole in one ring datagram to (nearly) all reachable peers.

        At most two size classes: if more than half of the reachable peers take at least twice as much as the
        least, their size counts, and the others get fragments of at most `cut_budget`; else the least counts.
        """
        return self._budget

    def cut_budget(self) -> int:
        """The budget for `Fragmenter.cut` that fits every path in use: what peers below `frame_budget` get."""
        return self._cut_budget

    def reachable(self) -> frozenset[NodeId]:
        """Peers with at least one path up both ways: our reachability row."""
        return self._reachable

    def peer_at(self, link: LinkId, address: Address) -> NodeId | None:
        """Whose path on `link` goes to this address (port 0: any port); for errors that sockets report."""
        for (peer, number), path in self._paths.items():
            if number == link and (path.address == address or (address[1] == 0 and path.address[0] == address[0])):
                return peer
        return None

    # ---- what goes out

    def poll_transmit(self, now: float) -> PathSend | None:
        """The next link message; a ping's stamp is the time of this call."""
        while self.out:
            wanted = self.out.popleft()
            path = wanted.path
            if self._paths.get((wanted.peer, path.link)) is not path:
                continue  # removed meanwhile
            send = PathSend(wanted.peer, path.link, wanted.address, b"")
            if wanted.kind == packets.PING:
                before = path.due
                send.payload = path.ping(wanted.address, now).encode()
                if path.due < before:
                    self._pull(path)
            elif wanted.kind == packets.PONG:
                send.payload = packets.Pong(wanted.id, self.echo(wanted.peer, now)).encode()
            elif wanted.kind == packets.PROBE:
                number = path.take_id()
                send.pad_to = wanted.size - path.mtu.header
                path.mtu.asked(number, wanted.size, now)
                send.payload = packets.Probe(number, send.pad_to).encode(send.pad_to - OVERHEAD_SESSION)
            else:
                send.payload = packets.ProbeAck(wanted.id, wanted.size).encode()
            return send
        return None

    def next_event(self) -> LinkEvent | None:
        return self.events.popleft() if self.events else None

    def next_timeout(self) -> float | None:
        return self.deadline if self.deadline < NEVER else None

    def handle_timeout(self, now: float) -> None:
        """Ping what is due, judge what is overdue."""
        self._wake(now)
        if now >= self.deadline:
            self._tick(now)

    # ---- inside

    def _tick(self, now: float) -> None:
        for (peer, _), path in self._paths.items():
            if path.due > now:
                continue
            before = (path.up, path.address, path.mtu.size)
            targets = path.tick(now)
            sizes = path.probes(now) if targets else ()
            for address in targets:
                self._want(_Wanted(peer, path, packets.PING, address))
            for size in sizes:
                self._want(_Wanted(peer, path, packets.PROBE, path.address, 0, size))
            self._changed(peer, path, before, now)
        for chosen in self._peers.values():
            if chosen.settles_at <= now:
                self._select(chosen, now)
        self.deadline = min(
            min([path.due for path in self._paths.values()], default=NEVER),
            min([chosen.settles_at for chosen in self._peers.values()], default=NEVER),
        )

    def _wake(self, now: float) -> None:
        """If this process did not run for a while, nothing sent before proves anything about the paths."""
        if now <= self.deadline + self._stall:
            return
        late = now - self.deadline
        say = self._log.info if late > 2 * self._stall else self._log.debug
        say(f"this process did not run for {late:.2f} s: asking all paths anew")
        for path in self._paths.values():
            path.stalled(now)
        self.deadline = now

    def _want(self, wanted: _Wanted) -> None:
        if len(self.out) < _QUEUE_MAX:
            self.out.append(wanted)
        else:
            self.stats.overflow += 1

    def _pull(self, path: Path) -> None:
        self.deadline = min(self.deadline, path.due)

    def _changed(self, peer: NodeId, path: Path, before: _Mark, now: float) -> None:
        """Draw the conclusions of what happened to a path."""
        due = path.due
        if due < self.deadline:
            self.deadline = due
        if (path.up, path.address, path.mtu.size) == before:
            return
        if path.up != before[0]:
            reason = path.reason or "answered"
            state = "up" if path.up else f"down: {reason}"
            self._log.info(f"link {path.link} to {path.name} is {state}", peer=peer, link=path.link)
            self.events.append(PathChange(peer, path.link, path.up, reason))
        self._select(self._peers[peer], now)
        self._reach(peer, path)

    def _select(self, chosen: Peer, now: float) -> None:
        chosen.select(now)
        self.deadline = min(self.deadline, chosen.settles_at)
        self._measure()

    def _reach(self, peer: NodeId, path: Path) -> None:
        chosen = self._peers[peer]
        if chosen.reachable == (peer in self._reachable):
            return
        row = self._reachable | {peer} if chosen.reachable else self._reachable - {peer}
        self._reachable = row
        reason = path.reason or "answered"
        refused = not chosen.reachable and path.refused_down
        self._log.info(
            f"{path.name} is reachable" if chosen.reachable else f"{path.name} is unreachable: {reason}", peer=peer
        )
        self.events.append(ReachabilityChange(peer, chosen.reachable, reason, refused, row))
        self._measure()

    def _measure(self) -> None:
        sizes = sorted(p.payload() for p in self._peers.values() if p.used)
        if not sizes:
            sizes = [SAFE_V4 - headers("")]
        least, middle = sizes[0], sizes[(len(sizes) - 1) // 2]
        self._cut_budget = budget_of(least)
        budget = budget_of(middle if middle >= 2 * least else least)
        if budget != self._budget:
            self._budget = budget
            self.events.append(MtuChange(budget))

    # ---- configuration and display

    def reconfigure(self, config: TransportConfig, resolve: Resolve, now: float) -> None:
        """New settings, live: paths that stay keep their state; removed ones are told as down and forgotten."""
        self._config = config
        self._stall = min((t.ping_timeout / 2 for t in config.links.values()), default=NEVER)
        self._local = {k: canonical(a) for (n, k), a in resolve.items() if n == config.me and k in config.links}
        wanted = {
            (node, link): canonical(address)
            for (node, link), address in sorted(resolve.items())
            if node != config.me and node in config.nodes and link in self._local
        }
        for key in [key for key in self._paths if key not in wanted]:
            self._remove(key, now)
        for (node, link), address in wanted.items():
            peer = self._peers.setdefault(node, Peer(node, config.link_mode))
            peer.mode = config.link_mode
            self._configure(peer, link, address, now)
            self._select(peer, now)
        self._tick_all_soon(now)

    def _configure(self, peer: Peer, link: LinkId, address: Address, now: float) -> None:
        config = self._config
        name, timing = config.nodes[peer.node].name, config.links[link]
        path = self._paths.get((peer.node, link))
        if path is not None:
            path.configure(name, timing, address, config.mtu_cap, now)
            return
        first = int.from_bytes(self._entropy(8), "big")
        path = Path(name, timing, address, config.mtu_cap, first, self._phase, now)
        if link in self._disabled:
            path.disable(self._disabled[link], now)
        self._paths[peer.node, link] = peer.paths[link] = path

    def _remove(self, key: tuple[NodeId, LinkId], now: float) -> None:
        node, link = key
        path = self._paths[key]
        before = _mark(path)
        path.disable("removed from the configuration", now)
        self._changed(node, path, before, now)
        del self._paths[key]
        peer = self._peers[node]
        del peer.paths[link]
        peer.select(now)
        if not peer.paths:
            del self._peers[node]

    def _tick_all_soon(self, now: float) -> None:
        self.deadline = min((path.due for path in self._paths.values()), default=NEVER)
        for peer in self._peers.values():
            self.deadline = min(self.deadline, peer.settles_at)

    def rows(self) -> list[PathRow]:
        """Every path, sorted by peer and link, as `clusterctl links` prints it."""
        return [
            row_of(node, path, self._local.get(link), active=path in self._peers[node].used)
            for (node, link), path in sorted(self._paths.items())
        ]


@dataclass(slots=True)
class _Wanted:
    """A link message to be made when it is polled, so that its stamp and its ring id are of that moment."""

    peer: NodeId
    path: Path
    kind: int
    address: Address
    id: int = 0
    size: int = 0


def _mark(path: Path) -> _Mark:
    return path.up, path.address, path.mtu.size


def canonical(address: Address) -> Address:
    """The address as the kernel writes it, so that sources compare equal; not an IP address: as it is."""
    ip, percent, scope = address[0].partition("%")
    try:
        return f"{ipaddress.ip_address(ip)}{percent}{scope}", address[1]
    except ValueError:
        return address
