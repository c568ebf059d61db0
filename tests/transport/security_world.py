"""A few nodes' security and a network between them, in virtual time: used by the security tests."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from transport.core import Entropy
from transport.handshake import Address
from transport.ids import LinkId, NodeId
from transport.keyring import Keyring
from transport.noise import public_key
from transport.security import Security, SecurityEvent

SECRET = b"a cluster key of at least 32 bytes"
TICK = 0.01


class ListLog:
    """Keeps every line, to show that none holds a secret and none is written per packet."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def debug(self, event: str, **fields: Any) -> None:
        self.lines.append(f"{event} {fields}")

    info = warning = error = debug


@dataclass
class Packet:
    """A datagram on its way. source: where the receiver sees it come from."""

    sender: NodeId
    receiver: NodeId
    link: LinkId
    source: Address
    data: bytes

    @property
    def kind(self) -> int:
        return self.data[1]


def identity(node: NodeId) -> bytes:
    """The private identity of a node in the tests."""
    return node.to_bytes(2, "big") * 16


def address(node: NodeId, link: LinkId) -> Address:
    return (f"10.{link}.0.{node}", 5405 + link)


def entropy(seed: object) -> Entropy:
    return random.Random(repr(seed)).randbytes


@dataclass
class World:
    """Nodes 1..count on some links. filter: may drop (None), change or hold back a packet on its way."""

    count: int = 2
    links: int = 1
    seed: int = 0
    now: float = 1000.0
    filter: Callable[[Packet], list[Packet]] = field(default=lambda packet: [packet])

    def __post_init__(self) -> None:
        self.nodes: dict[NodeId, Security] = {}
        self.logs: dict[NodeId, ListLog] = {}
        self.wire: list[Packet] = []
        self.seen: list[Packet] = []
        self.events: dict[NodeId, list[SecurityEvent]] = {}
        self.received: dict[NodeId, list[tuple[NodeId, bool, bytes]]] = {}
        self._starts = 0
        for node in range(1, self.count + 1):
            self.start(node)

    def start(
        self,
        node: NodeId,
        keyring: Keyring | None = None,
        peers: set[NodeId] | None = None,
        birth: int | None = None,
    ) -> Security:
        """Start (or restart) a node: a new incarnation, nothing remembered. birth: from its disk, else the next."""
        self._starts += 1
        others = peers if peers is not None else set(range(1, self.count + 1))
        self.logs[node] = ListLog()
        self.events.setdefault(node, [])
        self.received.setdefault(node, [])
        self.nodes[node] = Security(
            node,
            identity(node),
            {peer: public_key(identity(peer)) for peer in others},
            keyring or Keyring(1, SECRET),
            entropy((self.seed, node, self._starts)),
            self.now,
            self.logs[node],
            self._starts if birth is None else birth,
        )
        return self.nodes[node]

    def ping(self, only: NodeId | None = None) -> None:
        """What the links do every 100 ms: a ping on every path, or the handshake in its place."""
        for node in sorted(self.nodes) if only is None else [only]:
            security = self.nodes[node]
            for peer in sorted(self.nodes):
                for link in range(self.links):
                    if peer == node:
                        continue
                    data = security.wants_handshake(peer, link, self.now)
                    if data is None:
                        data = security.seal_session(peer, link, b"\x01ping", self.now)
                    if data is not None:
                        self.send(node, peer, link, data)

    def send(self, node: NodeId, peer: NodeId, link: LinkId, data: bytes) -> None:
        packet = Packet(node, peer, link, address(node, link), data)
        self.seen.append(packet)
        self.wire += self.filter(packet)

    def multicast(self, node: NodeId, payload: bytes) -> bytes:
        """One sealed ring datagram to all others on all links."""
        data = self.nodes[node].seal_ring(payload, self.now)
        for peer in sorted(self.nodes):
            for link in range(self.links):
                if peer != node:
                    self.send(node, peer, link, data)
        return data

    def deliver(self, packet: Packet) -> None:
        security = self.nodes.get(packet.receiver)
        if security is None:
            return
        opened = security.open(packet.data, packet.link, packet.source, self.now)
        if opened is not None:
            self.received[packet.receiver].append((opened.sender, opened.ring, opened.payload))

    def settle(self) -> None:
        """Everything on the wire arrives, and what it causes, in no time."""
        for _ in range(1000):
            self._collect()
            if not self.wire:
                return
            packets, self.wire = self.wire, []
            for packet in packets:
                self.deliver(packet)
        raise AssertionError("the nodes never fall silent")

    def _collect(self) -> None:
        for node in sorted(self.nodes):
            security = self.nodes[node]
            while (send := security.poll_transmit(self.now)) is not None:
                self.send(node, send.peer, send.link, send.data)
            while (told := security.poll_session()) is not None:
                for link in range(self.links):
                    data = security.seal_session(told[0], link, told[1], self.now)
                    if data is not None:
                        self.send(node, told[0], link, data)
            while (event := security.next_event()) is not None:
                self.events[node].append(event)

    def run(self, seconds: float, pings: bool = True) -> None:
        """Let the time pass: timers, and pings every 100 ms."""
        steps = round(seconds / TICK)
        for step in range(steps):
            if pings and step % 10 == 0:
                self.ping()
            self.settle()
            self.now = round(self.now + TICK, 6)
            for node in sorted(self.nodes):
                due = self.nodes[node].next_timeout()
                if due is not None and self.now >= due:
                    self.nodes[node].handle_timeout(self.now)
        self.settle()

    def connected(self, first: NodeId = 1, second: NodeId = 2) -> bool:
        """Whether pings sealed by each are opened by the other, now."""
        for node, peer in ((first, second), (second, first)):
            data = self.nodes[node].seal_session(peer, 0, b"\x01", self.now)
            if data is None or self.nodes[peer].open(data, 0, address(node, 0), self.now) is None:
                return False
        return True

    def ring_works(self, sender: NodeId, receiver: NodeId) -> bool:
        """Whether a ring datagram of `sender` is opened by `receiver`, now."""
        data = self.nodes[sender].seal_ring(b"\x00frame", self.now)
        opened = self.nodes[receiver].open(data, 0, address(sender, 0), self.now)
        return opened is not None and (opened.sender, opened.ring, opened.payload) == (sender, True, b"\x00frame")
