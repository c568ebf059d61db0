"""A network of Srp objects in memory: virtual time, seeded faults, a link layer that pings; everything by seed.

`Net` drives N nodes. Each records what its core gave out (`Node.trace`), which evs.check() judges. Faults: loss,
duplication, reordering, one-way cuts, partitions, pauses of a process, crash and restart (the reserved ring seq
survives, as on disk).
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tests.transport.totem.attacker import Attacker
from tests.transport.totem.evs import Crash, Trace, Violation
from tests.transport.totem.leases import Leases
from tests.transport.totem.node import Node, Path
from tests.transport.totem.pings import PING, Pings
from transport.config import TotemConfig
from transport.errors import QueueFull
from transport.events import Beat, ConfigurationChange, Delivery, Persist, Progress
from transport.ids import NodeId
from transport.totem.srp import Srp


class NodeLog:
    """Keeps one node's log lines with their time."""

    def __init__(self, net: Net, node: NodeId) -> None:
        self._net, self._node = net, node

    def _line(self, event: str, **fields: Any) -> None:
        self._net.log.append((self._net.now, self._node, event))
        if self._net.trace is not None:
            self._net.trace(f"{self._net.now:10.4f} n{self._node} {event}")
        if self._net.on_log is not None:
            self._net.on_log(self._node, event)

    debug = info = warning = error = _line


class Net:
    """Nodes 1..n. delay: (least, most) seconds per datagram, `late` of them up to 0.5 s more; order is not kept.

    copies, held, keeps_reports: what somebody without keys does (attacker.py).
    """

    def __init__(
        self,
        n: int,
        seed: int = 0,
        config: TotemConfig | None = None,
        delay: tuple[float, float] = (0.0001, 0.0003),
        loss: float = 0.0,
        duplicate: float = 0.0,
        late: float = 0.0,
        votes: dict[NodeId, int] | None = None,
        fsync: float = 0.004,
        pings: bool = True,
        copies: float = 0.0,
        held: float = 0.0,
        keeps_reports: bool = False,
    ) -> None:
        self.rng = random.Random(seed)
        self.config = config or TotemConfig()
        self.ids = list(range(1, n + 1))
        self.votes = votes or dict.fromkeys(self.ids, 1)
        self.delay, self.loss, self.duplicate, self.late, self.fsync = delay, loss, duplicate, late, fsync
        self._attacker = Attacker(self, seed, copies, held, keeps_reports)
        self._pings = Pings(self)
        self.leases = Leases(self.config.token)
        self.pings = pings  # False: rows come from an oracle, PING_TIMEOUT late; for many nodes
        self.now = 100.0
        self.log: list[tuple[float, NodeId, str]] = []
        self.cuts: set[tuple[NodeId, NodeId]] = set()
        self.disk: dict[NodeId, int] = {}
        self.nodes: dict[NodeId, Node] = {}
        self.traces: list[Trace] = []
        self.sent: Counter[str] = Counter()
        self.drop: Callable[[NodeId, NodeId, str, bytes], bool] | None = None
        self.trace: Callable[[str], None] | None = None
        self.on_log: Callable[[NodeId, str], None] | None = None
        self.watch: Callable[[Node, Any], None] | None = None
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._number = 0

    # Life of nodes

    def start(self, ids: Iterable[NodeId] | None = None) -> None:
        for node in self.ids if ids is None else ids:
            self.boot(node)

    def boot(self, id_: NodeId) -> Node:
        incarnation = self.rng.getrandbits(32)
        rng = random.Random(self.rng.getrandbits(64))
        srp = Srp(
            id_,
            self.config,
            dict(self.votes),
            rng.randbytes,
            self.now,
            NodeLog(self, id_),
            self.disk.get(id_, 0),
            incarnation,
        )
        trace = Trace(id_, incarnation)
        self.traces.append(trace)
        node = self.nodes[id_] = Node(id_, srp, trace, incarnation)
        node.paths = {peer: Path() for peer in self.ids if peer != id_}
        srp.start(self.now)
        self.pump(node)
        self.at(
            self.now + self.rng.random() * PING,
            lambda: self._pings.ping(node) if self.pings else self._pings.oracle(node),
        )
        return node

    def crash(self, id_: NodeId) -> None:
        node = self.nodes[id_]
        if node.alive:
            node.alive = False
            node.trace.events.append(Crash())

    def pause(self, id_: NodeId, seconds: float) -> None:
        node = self.nodes[id_]
        until = self.now + seconds
        node.paused_until = until

        def resume() -> None:
            if node.alive and node.paused_until == until:
                node.paused_until = None
                inbox, node.inbox = node.inbox, []
                node.srp.handle_timeout(self.now)
                for arguments in inbox:
                    self._hand(node, *arguments, pump=False)
                self.pump(node)

        self.at(until, resume)

    def leave(self, id_: NodeId) -> None:
        node = self.nodes[id_]
        node.srp.leave(self.now)
        self.pump(node)
        assert node.srp.left
        self.crash(id_)

    # Faults

    def partition(self, *groups: Iterable[NodeId]) -> None:
        side = {node: i for i, group in enumerate(groups) for node in group}
        self.cuts = {(a, b) for a in self.ids for b in self.ids if a != b and side.get(a, -1) != side.get(b, -2)}

    def heal(self) -> None:
        self.cuts = set()

    def cut(self, a: NodeId, b: NodeId, both: bool = True) -> None:
        self.cuts.add((a, b))
        if both:
            self.cuts.add((b, a))

    # Time

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, what))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            when, _, what = heapq.heappop(self._heap)
            self.now = max(self.now, when)
            what()
        self.now = end

    def until(self, condition: Callable[[], bool], limit: float = 10.0) -> float:
        """Run until the condition holds; how long that took. AssertionError after `limit` seconds."""
        start = self.now
        while not condition():
            assert self._heap and self._heap[0][0] <= start + limit, f"not within {limit} s\n{self.tail()}"
            when, _, what = heapq.heappop(self._heap)
            self.now = max(self.now, when)
            what()
        return self.now - start

    def tail(self, lines: int = 40) -> str:
        return "\n".join(f"{at:10.4f} n{node} {text}" for at, node, text in self.log[-lines:])

    # The wire

    def transmit(self, source: NodeId, to: NodeId, kind: str, what: Callable[[], None], frame: bytes = b"") -> None:
        self.sent[kind] += 1
        self._attacker.hear(source, to, kind, frame)
        if (source, to) in self.cuts or self.rng.random() < self.loss:
            return
        if self.drop is not None and self.drop(source, to, kind, frame):
            return
        low, high = self.delay
        copies = 2 if self.duplicate and self.rng.random() < self.duplicate else 1
        if self.late and self.rng.random() < self.late:
            high += 0.5
        if self._attacker.keep(source, to, kind, frame):
            return
        for _ in range(copies):
            self.at(self.now + low + (high - low) * self.rng.random(), what)

    def _deliver(self, to: NodeId, *arguments: Any) -> None:
        node = self.nodes.get(to)
        if node is None or not node.alive:
            return
        if node.paused_until is not None:
            node.inbox.append(arguments)
            return
        self._hand(node, *arguments)

    def _hand(self, node: Node, kind: str, source: NodeId, data: Any, pump: bool = True) -> None:
        if kind == "frame":
            self._attacker.let_pass(node)
            node.srp.receive(source, data, self.now)
        elif kind == "progress":
            node.srp.receive_progress(source, data, self.now)
        elif kind == "ping":
            self._pings.answer(node, source, data)
        else:
            self._pings.pong(node, source, *data)
        if pump:
            self.pump(node)

    def pump(self, node: Node) -> None:
        srp = node.srp
        if not node.alive or node.paused_until is not None:
            return
        while True:
            busy = False
            while (send := srp.poll_transmit(self.now)) is not None:
                busy = True
                for to in send.to:
                    kind = "progress" if send.session else "frame"
                    self.transmit(
                        node.id,
                        to,
                        send.kind,
                        lambda to=to, kind=kind, frame=send.frame: self._deliver(to, kind, node.id, frame),
                        send.frame,
                    )
            while (event := srp.next_event()) is not None:
                busy = True
                self._event(node, event)
            if not busy:
                break
        when = srp.next_timeout()
        if when is not None and (node.wake is None or when < node.wake):
            node.wake = max(when, self.now)
            self.at(node.wake, lambda at=node.wake: self._wake(node, at))

    def _wake(self, node: Node, at: float) -> None:
        if node.wake != at:
            return
        node.wake = None
        if node.alive and node.paused_until is None:
            node.srp.handle_timeout(self.now)
            self.pump(node)

    def _event(self, node: Node, event: Any) -> None:
        if isinstance(event, Delivery | ConfigurationChange):
            node.trace.events.append(event)
            if isinstance(event, Delivery) and event.safe and not event.transitional:
                self._check_had(node, event)
            if isinstance(event, ConfigurationChange) and event.regular:
                self.leases.installed(node, event, self.alive(), self.now)
            if isinstance(event, Delivery) and node.on_delivery is not None:
                node.on_delivery(node, event)
        elif isinstance(event, Persist):
            value = int.from_bytes(event.value, "big")

            def done(receipt: int = event.receipt) -> None:
                if node.alive:
                    self.disk[node.id] = max(self.disk.get(node.id, 0), value)
                    node.srp.persisted(receipt, self.now)
                    if node.paused_until is None:
                        self.pump(node)

            self.at(self.now + self.fsync * (0.5 + self.rng.random()), done)
        elif isinstance(event, Beat):
            for peer in event.peers:
                self.leases.beat(node, peer, event.sent_at, event.sent_at)
        elif isinstance(event, Progress):
            node.claims = event.values
        if self.watch is not None:
            self.watch(node, event)

    def _check_had(self, node: Node, event: Delivery) -> None:
        """A safe message of a regular configuration is had by all its members when the first of them delivers it (O6):
        not only in the end. Who has gone on from that ring has what it was to have of it."""
        for other in self.nodes.values():
            ring = other.srp._membership.installed
            if other.alive and ring is not None and ring.ring_id == event.ring_id and ring.ring.window.aru < event.seq:
                raise Violation(f"E13: n{node.id} delivered safe {event.ring_id} {event.seq}, n{other.id} lacks it")

    # Sending

    def send(self, id_: NodeId, size: int = 20, safe: bool = False) -> bytes | None:
        """Submit one message, different from all others; None if the queue is full."""
        node = self.nodes[id_]
        self._number += 1
        payload = f"{id_}.{node.incarnation}.{self._number}|".encode()
        payload += b"x" * (size - len(payload))
        try:
            node.srp.submit(payload, safe)
        except QueueFull:
            return None
        node.trace.sent.append((len(node.trace.events), payload, safe))
        self.pump(node)
        return payload

    # Questions

    def alive(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.alive]

    def formed(self, *groups: Iterable[NodeId]) -> bool:
        """Is every group operational in one ring of exactly its nodes?"""
        for group in groups:
            members = tuple(sorted(group))
            cores = [self.nodes[node].srp for node in members]
            if any(c.phase != "operational" or c.members != members or c.ring_id != cores[0].ring_id for c in cores):
                return False
        return True

    def quiet(self) -> bool:
        """Has everybody delivered all that was submitted?"""
        return all(
            node.srp.phase == "operational"
            and not node.srp.backlog_bytes
            and not any(node.srp.lag(member) for member in node.srp.members)
            for node in self.alive()
        )
