"""The link layer of the net: pings both ways, three lost pongs bring a path down, two running bring it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transport.ids import NO_RING, NodeId, RingId

if TYPE_CHECKING:
    from tests.transport.totem.net import Net
    from tests.transport.totem.node import Node

PING = 0.100
PING_TIMEOUT = 0.300


class Pings:
    """Tells each node's core whom it reaches, and the leases what was echoed to it."""

    def __init__(self, net: Net) -> None:
        self._net = net

    def ping(self, node: Node) -> None:
        """Of all peers, now and every PING seconds from now on, while this process lives."""
        net = self._net
        if not node.alive or net.nodes.get(node.id) is not node:
            return
        if node.paused_until is None:
            for peer in node.paths:
                net.transmit(
                    node.id,
                    peer,
                    "ping",
                    lambda peer=peer, sent_at=net.now: net._deliver(peer, "ping", node.id, sent_at),
                )
                path = node.paths[peer]
                if net.now - path.heard > PING_TIMEOUT and path.pongs:
                    path.pongs = 0
                    if path.up:
                        path.up = False
            self._rows(node)
        net.at(net.now + PING, lambda: self.ping(node))

    def answer(self, node: Node, source: NodeId, sent_at: float) -> None:
        """A ping has come: a pong for the ring that the node stands for."""
        net = self._net
        said = (node.incarnation, sent_at, net.now, node.srp.echo(source, net.now))
        net.transmit(node.id, source, "pong", lambda: net._deliver(source, "pong", node.id, said))

    def pong(self, node: Node, peer: NodeId, incarnation: int, sent_at: float, echoed_at: float, ring: RingId) -> None:
        """The answer to what was sent at `sent_at`; ring: the one that the peer stood for when it answered."""
        path = node.paths[peer]
        path.heard = self._net.now
        path.pongs += 1
        if path.pongs >= 2 and not path.up:
            path.up = True
            self._rows(node)
        if ring != NO_RING and ring == node.srp.ring_id:
            self._net.leases.beat(node, peer, sent_at, echoed_at)

    def oracle(self, node: Node) -> None:
        """Rows as pings would have found them, without the pings: for many nodes."""
        net = self._net
        if not node.alive or net.nodes.get(node.id) is not node:
            return
        for peer, path in node.paths.items():
            other = net.nodes.get(peer)
            both = (peer, node.id) not in net.cuts and (node.id, peer) not in net.cuts
            if both and other is not None and other.alive and other.paused_until is None:
                path.heard, path.up = net.now, True
            elif net.now - path.heard > PING_TIMEOUT:
                path.up = False
        if node.paused_until is None:
            self._rows(node)
        net.at(net.now + PING / 2, lambda: self.oracle(node))

    def _rows(self, node: Node) -> None:
        row = frozenset(peer for peer, path in node.paths.items() if path.up)
        node.srp.set_reachable(row, self._net.now)
        self._net.pump(node)
