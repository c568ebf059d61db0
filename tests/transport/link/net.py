"""Nodes' links joined by a network in memory: virtual time, delay, loss, cuts and path MTUs per direction."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from transport.config import LinkConfig, NodeConfig, TransportConfig
from transport.core import SilentLog
from transport.events import PathChange
from transport.ids import LinkId, NodeId, RingId
from transport.link.events import Address, PathSend
from transport.link.links import OVERHEAD_SESSION, LinkEvent, Links, canonical
from transport.link.mtu import headers

Lost = Callable[[NodeId, NodeId, LinkId], bool]
RING = RingId(7, 1, 99)


def address(node: NodeId, link: LinkId, v6: bool = False) -> Address:
    return (f"fd00:{link}::{node:x}" if v6 else f"10.{link}.0.{node}", 5405 + link)


def config(me: NodeId, nodes: int, links: int, **settings: object) -> TransportConfig:
    """Nodes 1..nodes, links 0..links-1; `priorities` and `timing` are per link, the rest is TransportConfig's."""
    priorities = settings.pop("priorities", {})
    timing = settings.pop("timing", {})
    return TransportConfig(
        "test",
        me,
        {n: NodeConfig(n, f"n{n}", {}) for n in range(1, nodes + 1)},
        {k: LinkConfig(k, 5405 + k, priorities.get(k, 1), **timing) for k in range(links)},  # type: ignore[attr-defined]
        **settings,  # type: ignore[arg-type]
    )


class Net:
    """Every node's Links; `run(until)` moves the time, `events[node]` collects what was told."""

    def __init__(self, nodes: int = 2, links: int = 1, v6: bool = False, seed: int = 1, **settings: object) -> None:
        self.now = 100.0
        self.random = random.Random(seed)
        self.delay = 0.0002
        self.lost: Lost = lambda sender, receiver, link: False
        self.mtu: Callable[[NodeId, NodeId, LinkId], int] = lambda sender, receiver, link: 65535
        self.paused: set[NodeId] = set()
        self.moved: dict[tuple[NodeId, LinkId], Address] = {}  # where a node's datagrams really come from and go to
        self.sent = 0
        self.log: list[tuple[float, NodeId, PathSend]] = []
        self.resolve = {(n, k): address(n, k, v6) for n in range(1, nodes + 1) for k in range(links)}
        self.events: dict[NodeId, list[tuple[float, LinkEvent]]] = {n: [] for n in range(1, nodes + 1)}
        self.links = {
            n: Links(
                config(n, nodes, links, **dict(settings)), self.resolve, self.random.randbytes, self.now, SilentLog()
            )
            for n in range(1, nodes + 1)
        }
        for links_of in self.links.values():
            links_of.echo = lambda peer, now: RING
        self._flying: list[tuple[float, int, NodeId, NodeId, PathSend, Address]] = []

    def at(self, node: NodeId, link: LinkId) -> Address:
        return canonical(self.moved.get((node, link), self.resolve[node, link]))

    def start(self, node: NodeId) -> None:
        """The first pings of one node, without letting time pass."""
        self.links[node].handle_timeout(self.now)
        self.pump(node)

    def pump(self, node: NodeId) -> None:
        links = self.links[node]
        while (send := links.poll_transmit(self.now)) is not None:
            self._carry(node, send)
        while (event := links.next_event()) is not None:
            self.events[node].append((self.now, event))

    def _carry(self, node: NodeId, send: PathSend) -> None:
        size = len(send.payload) + OVERHEAD_SESSION
        assert send.pad_to is None or send.pad_to == size
        self.sent += 1
        self.log.append((self.now, node, send))
        self.links[node].sent(send.peer, send.link, size, self.now)
        if send.address != self.at(send.peer, send.link) or self.lost(node, send.peer, send.link):
            return
        if size + headers(send.address[0]) > self.mtu(node, send.peer, send.link):
            return
        when = self.now + self.delay * (1 + self.random.random() / 10)
        heapq.heappush(self._flying, (when, self.sent, node, send.peer, send, self.at(node, send.link)))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            for node in self.links:
                if node not in self.paused:
                    self.pump(node)
            times = [t for n, links in self.links.items() if n not in self.paused and (t := links.next_timeout())]
            flying = [f[0] for f in self._flying if f[3] not in self.paused]
            when = min([*times, *flying], default=None)
            if when is None or when > end:
                break
            self.now = max(self.now, when)
            self._arrive()
            for node, links in self.links.items():
                due = links.next_timeout()
                if node not in self.paused and due is not None and self.now >= due:
                    links.handle_timeout(self.now)
        self.now = end

    def _arrive(self) -> None:
        later = []
        while self._flying and self._flying[0][0] <= self.now:
            item = heapq.heappop(self._flying)
            _, _, sender, receiver, send, source = item
            if receiver in self.paused:
                later.append(item)
                continue
            size = len(send.payload) + OVERHEAD_SESSION
            links = self.links[receiver]
            links.heard(sender, send.link, source, size, self.now)
            links.receive(sender, send.link, source, send.payload, size, self.now)
            self.pump(receiver)
        for item in later:
            heapq.heappush(self._flying, item)

    def told(self, node: NodeId, kind: type) -> list[tuple[float, LinkEvent]]:
        return [(when, event) for when, event in self.events[node] if isinstance(event, kind)]

    def row(self, node: NodeId, peer: NodeId, link: LinkId):  # type: ignore[no-untyped-def]
        return next(r for r in self.links[node].rows() if (r.peer, r.link) == (peer, link))

    def up(self, node: NodeId, peer: NodeId, link: LinkId) -> bool:
        return bool(self.row(node, peer, link).state == "up")


def up_net(nodes: int = 2, links: int = 1, **settings: object) -> Net:
    """All paths are up."""
    net = Net(nodes, links, **settings)  # type: ignore[arg-type]
    net.run(2.0)
    assert all(row.state == "up" for n in net.links for row in net.links[n].rows())
    return net


def changes(net: Net, node: int) -> list[tuple[int, int, bool]]:
    """Which paths of the node went up or down: peer, link, up."""
    return [(e.peer, e.link, e.up) for _, e in net.told(node, PathChange)]  # type: ignore[union-attr]
