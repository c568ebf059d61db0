"""A scripted ring below N replicas, and its time: total order, extended virtual synchrony, claims, partitions.

Deterministic: one random.Random and a heap of events. The ring keeps exactly the promises of totem.md section 1 and
no more: a message is received by each member in its own time; when a ring breaks, the members that go on together
deliver, at one place, a transitional event somewhere behind what any of them delivered, then what any of them had
received (behind a hole only what one of themselves sent), then the next regular configuration. Members install a ring
at different times, and may never; and a part of a broken ring may go on in it for a while, hearing only itself, while
the others are in the next one already: longer than any timeout would let it, for no promise may rest on a clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

from cfs.replica import Replica
from tests.cfs.hosts import Node, Ring, Sent
from transport.events import ConfigurationChange
from transport.ids import RingId


class ScriptedRing:
    """delay: bounds in seconds of a message's way to one member.  quorate: is a component of exactly these?"""

    def __init__(
        self,
        random: Random,
        nodes: dict[int, Node],
        delay: tuple[float, float],
        quorate: Callable[[frozenset[int]], bool],
    ) -> None:
        self.random = random
        self.now = 0.0
        self.nodes = nodes
        self.delay = delay
        self.quorate = quorate
        self.parts: list[frozenset[int]] = [frozenset(nodes)]
        self.linger: tuple[int, float] | None = None  # when a ring breaks: who goes on in it by itself, how long
        self.seq = 0
        self.counts: dict[str, int] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def _call(self, node: Node, call: Callable[[Replica], None]) -> None:
        """Hand something to the node's replica, if its process lives, and do what comes of it."""
        raise NotImplementedError

    # --- time ----------------------------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (max(when, self.now), self._number, action))

    def after(self, low: float, high: float, action: Callable[[], None]) -> None:
        self.at(self.now + self.random.uniform(low, high), action)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit: float = 20.0) -> bool:
        end = self.now + limit
        while not condition():
            if self.now >= end:
                return False
            self.run(0.01)
        return True

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # --- the ring ------------------------------------------------------------------------------------------------

    def partition(self, *parts: set[int]) -> None:
        """These components; nodes not named are each alone."""
        named = set().union(*parts) if parts else set()
        self.parts = [frozenset(part) for part in parts] + [frozenset({n}) for n in self.nodes if n not in named]
        self._reform()

    def heal(self) -> None:
        self.parts = [frozenset(self.nodes)]
        self._reform()

    def _break(self, ring: Ring) -> None:
        """From now on only those in one component, whose processes live, hear each other on it."""
        part = {n: number for number, part in enumerate(self.parts) for n in part}
        before = ring.cut or dict.fromkeys(ring.members)
        here = [n for n in ring.members if self.nodes[n].ring is ring]
        ring.cut = {n: (before[n], part[n]) for n in here if n in before}
        if self.linger is not None and self.linger[0] in here:
            ring.token = (self.linger[0], self.now + self.linger[1])
        elif ring.token[0] is None and ring.cut:
            window = self.random.choice([0.0, 0.002, 0.01, 0.3])
            ring.token = (self.random.choice(here), self.now + self.random.uniform(0, window))

    def _reform(self) -> None:
        """Break every ring whose members are not exactly a component's processes, and form the ones that are due."""
        for part in self.parts:
            members = tuple(sorted(n for n in part if self.nodes[n].replica is not None))
            if not members:
                continue
            rings = {id(self.nodes[n].next_ring or self.nodes[n].ring): self.nodes[n] for n in members}
            only = next(iter(rings.values()))
            present = only.next_ring or only.ring
            if (
                len(rings) == 1
                and present is not None
                and present.members == members
                and (present.alive if only.next_ring else present.cut is None)
            ):
                continue
            self.seq += 4
            ring = Ring(RingId(self.seq, members[0], self.random.randrange(1 << 32)), members)
            self.count("rings")
            latest = self.now
            for n in members:
                node = self.nodes[n]
                for old in {id(r): r for r in (node.ring, node.next_ring) if r is not None}.values():
                    if old is node.next_ring:
                        old.alive = False
                    self._break(old)
                node.next_ring = ring
                if not node.gathering and node.ring is not None:
                    notice = self.now + self.random.uniform(0.0, self.random.choice([0.001, 0.02, 0.3]))
                    if self.linger is not None:
                        notice = self.now + (self.linger[1] if n == self.linger[0] else 0.001)
                    latest = max(latest, notice)
                    self.at(notice, lambda node=node, life=node.life, ring=ring: self._gather(node, life, ring))
            self.at(latest + self.random.uniform(0.002, 0.05), lambda ring=ring: self._install(ring))

    def _gather(self, node: Node, life: int, ring: Ring) -> None:
        if node.life == life and node.next_ring is not None:
            node.gathering = True

    def _install(self, ring: Ring) -> None:
        """Recovery is done: each member installs the ring, in its own time."""
        if not ring.alive:
            return
        groups: dict[int, list[Node]] = {}
        for n in ring.members:
            self.nodes[n].gathering = True
        for n in ring.members:
            node = self.nodes[n]
            groups.setdefault(id(node.ring) if node.ring else -n, []).append(node)
        for group in groups.values():
            old = group[0].ring
            together = tuple(sorted(node.id for node in group))
            plan = self._recover(old, group) if old is not None else (0, [])
            for node in group:
                life = node.life
                self.after(0.0, 0.004, lambda n=node, life=life, p=plan, t=together: self._enter(n, life, ring, p, t))

    def _recover(self, old: Ring, group: list[Node]) -> tuple[int, list[Sent]]:
        """Up to which message the regular configuration goes on, and what is delivered after the transitional event."""
        ids = {node.id for node in group}
        got = [bool(message.received & ids) for message in old.messages]
        hole = got.index(False) if False in got else len(got)
        least = max(node.delivered for node in group)
        assert least <= hole
        place = hole if self.random.random() < 0.7 else self.random.randint(least, hole)
        for at in range(least, place):  # a safe message not known stable stands behind the transitional event
            if old.messages[at].safe and not old.messages[at].received >= set(old.members):
                place = at
                break
        rest = [m for at, m in enumerate(old.messages) if at >= place and got[at] and (at < hole or m.sender in ids)]
        return place, rest

    def _enter(
        self, node: Node, life: int, ring: Ring, plan: tuple[int, list[Sent]], together: tuple[int, ...]
    ) -> None:
        if node.life != life or node.next_ring is not ring or node.replica is None:
            return
        old = node.ring
        if old is not None:
            while node.delivered < plan[0]:
                message = old.messages[node.delivered]
                node.delivered += 1
                self._deliver(node, message, False)
            change = ConfigurationChange(False, old.id, together)
            self._call(node, lambda r: r.configuration(change, self.now))
            for message in plan[1]:
                self._deliver(node, message, True)
        node.ring, node.next_ring, node.delivered, node.seen_claims = ring, None, 0, {}
        node.gathering = False
        change = ConfigurationChange(True, ring.id, ring.members, transitional_members=together)
        self._call(node, lambda r: r.configuration(change, self.now))
        verdict = self.quorate(frozenset(ring.members))
        life = node.life

        def tell() -> None:
            if node.life == life and node.ring is ring:
                self._call(node, lambda r: r.set_quorate(verdict, self.now))

        self.after(0.0, 0.01, tell)
        self._flush(node)
        self._tick(node, life, ring)

    def _flush(self, node: Node) -> None:
        """Put what was submitted on the ring."""
        ring = node.ring
        if ring is None or node.gathering:
            return
        if ring.cut is not None and (not ring.hears(node.id, ring.token[0]) or self.now > ring.token[1]):
            return
        queue, node.queue = node.queue, []
        for payload, safe in queue:
            message = Sent(node.id, payload, safe, {node.id})
            ring.messages.append(message)
            self.count("messages")
            for n in ring.members:
                if n != node.id:
                    self.after(*self.delay, lambda n=n, m=message: self._arrive(n, ring, m))
        self._advance(node)

    def _arrive(self, n: int, ring: Ring, message: Sent) -> None:
        node = self.nodes[n]
        listens = node.next_ring is ring or (node.ring is ring and not node.gathering)
        if listens and ring.hears(message.sender, n):
            message.received.add(n)
            for other in ring.members if message.safe else (n,):
                if self.nodes[other].ring is ring:
                    self._advance(self.nodes[other])

    def _advance(self, node: Node) -> None:
        ring = node.ring
        while ring is not None and node.ring is ring and not node.gathering:
            if node.delivered >= len(ring.messages):
                return
            message = ring.messages[node.delivered]
            if node.id not in message.received:
                return
            if message.safe and not message.received >= set(ring.members):
                return
            node.delivered += 1
            self._deliver(node, message, False)

    def _deliver(self, node: Node, message: Sent, transitional: bool) -> None:
        self._call(node, lambda r: r.deliver(message.sender, message.payload, transitional, self.now))

    def _tick(self, node: Node, life: int, ring: Ring) -> None:
        """The token comes by with the claims, now and then an older state of them."""
        if node.life != life or node.ring is not ring:
            return
        if not node.gathering:
            for n, value in ring.claims.items():
                if ring.hears(n, node.id) and self.random.random() < 0.8:
                    node.seen_claims[n] = value
            values = dict(node.seen_claims)
            self._call(node, lambda r: r.progress(values, self.now))
        self.after(0.0005, 0.003, lambda: self._tick(node, life, ring))
