"""N replicas on a scripted ring: total order, extended virtual synchrony, claims, partitions, crashes, simulated disks.

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
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cfs import wire
from cfs.disk import Adopt, AppendLog, Checkpoint, MarkCommit, TruncateTail
from cfs.errors import Expired
from cfs.messages import Code, Kind, Operation, Result
from cfs.records import DataSet, LogRecord, RecordKind
from cfs.replica import Replica
from cfs.state import State
from cfs.status import BarrierDone, BarrierFailed, Changed, Claim, Multicast, Outcome, StoreSettings
from tests.cfs.treemodel import TreeModel
from tests.sim.disk import SimDisk
from transport.core import SilentLog
from transport.errors import Refused
from transport.events import ConfigurationChange
from transport.ids import RingId


class Broken(AssertionError):  # noqa: N818
    """A promise was broken."""


@dataclass
class Sent:
    sender: int
    payload: bytes
    safe: bool
    received: set[int]


@dataclass
class Ring:
    id: RingId
    members: tuple[int, ...]
    messages: list[Sent] = field(default_factory=list)
    claims: dict[int, int] = field(default_factory=dict)
    alive: bool = True
    cut: dict[int, Any] | None = None  # once broken: node -> part; equal parts hear each other
    token: tuple[Any, float] = (None, 0.0)  # once broken: which part can still put messages on the ring, until when

    def hears(self, one: int, other: int) -> bool:
        return self.cut is None or (one in self.cut and other in self.cut and self.cut[one] == self.cut[other])


@dataclass
class Attempt:
    """One operation of a client: what was asked, when, and what came of it."""

    node: int
    operation: Operation
    began: float
    ended: float | None = None
    result: Result | None = None
    unknown: bool = False
    refused: str = ""


class Node:
    """One host: the disk stays, the process comes and goes."""

    def __init__(self, number: int, disk: SimDisk) -> None:
        self.id = number
        self.disk = disk
        self.replica: Replica | None = None
        self.ring: Ring | None = None  # the last one installed
        self.next_ring: Ring | None = None  # formed, not yet installed
        self.gathering = False  # knows that its ring is broken
        self.delivered = 0  # messages of `ring` delivered
        self.queue: list[tuple[bytes, bool]] = []  # submitted, not on a ring yet
        self.life = 0
        self.shown = 0  # the highest log index a local read could have seen
        self.seen_claims: dict[int, int] = {}
        self.timer: float | None = None
        self.attempts: dict[bytes, Attempt] = {}
        self.barriers: dict[int, int] = {}  # token -> index that must be visible


class Cluster:
    """votes: of the nodes 1..n.  quorate: who counts as quorate, given a component; default: a majority of votes."""

    def __init__(
        self,
        seed: int,
        votes: dict[int, int] | int = 3,
        *,
        quorate: Callable[[frozenset[int]], bool] | None = None,
        strict: bool = True,
        settings: StoreSettings | None = None,
        latency: tuple[float, float] = (0.0003, 0.004),
        delay: tuple[float, float] = (0.0001, 0.003),
        start: bool = True,
        log: Any = None,
    ) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.strict = strict  # no narrow epochs: committed is committed
        self.votes = dict.fromkeys(range(1, votes + 1), 1) if isinstance(votes, int) else dict(votes)
        self.quorate = quorate or (lambda part: 2 * sum(self.votes.get(n, 0) for n in part) > sum(self.votes.values()))
        self.settings = settings or StoreSettings()
        self.delay = delay
        self.nodes = {n: Node(n, SimDisk(self.random, latency)) for n in self.votes}
        self.parts: list[frozenset[int]] = [frozenset(self.votes)]
        self.linger: tuple[int, float] | None = None  # when a ring breaks: who goes on in it by itself, how long
        self.proven: dict[int, tuple[RingId, int]] = {}  # claims, each found on the disk when it was made
        self.seq = 0
        self.log = log or (lambda node: SilentLog())
        self.history: list[Attempt] = []
        self.applied: dict[int, bytes] = {}  # log index -> chain, as made visible anywhere
        self.digests: dict[int, bytes] = {}
        self.follower = State(window=self.settings.outcomes)  # applies, once for all, what became visible anywhere
        self.model: TreeModel | None = None  # the same, independently, for runs that only do what it knows
        self.decided: dict[bytes, Result] = {}  # by operation id: what the one history says of it
        self.data_sets: dict[int, dict[int, int]] = {}  # version -> votes, as the one history has them
        self.highest_ack = 0
        self.counts: dict[str, int] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._ops = 0
        if start:
            for n in self.nodes:
                self.start(n)

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

    # --- processes -----------------------------------------------------------------------------------------------

    def start(self, n: int) -> None:
        node = self.nodes[n]
        assert node.replica is None
        node.life += 1
        image = node.disk.open(self.now)
        node.replica = Replica(n, image, self.settings, self.random.randbytes, self.now, self.log(node))
        node.replica.set_nodes(dict(self.votes), self.now)
        self._check_visible(node)
        self._reform()

    def crash(self, n: int, power: bool = True) -> None:
        """power: what was not fsynced may be lost; else only the process dies, the kernel keeps what was written."""
        node = self.nodes[n]
        if node.replica is None:
            return
        if power:
            node.disk.crash()
        else:
            node.disk.crash()
        self._forget(node)

    def stop(self, n: int) -> None:
        """A clean end."""
        node = self.nodes[n]
        assert node.replica is not None
        node.replica.leave(self.now)
        self._pump(node)
        node.disk.close()
        self._forget(node)

    def _forget(self, node: Node) -> None:
        if node.next_ring is not None:
            node.next_ring.alive = False
        node.replica, node.next_ring, node.queue, node.barriers = None, None, [], {}
        node.life += 1
        for attempt in node.attempts.values():
            attempt.ended, attempt.unknown = self.now, True
        node.attempts = {}
        node.timer = None
        old, node.ring, node.gathering = node.ring, None, False
        if old is not None:
            self._break(old)
        self._reform()

    def add(self, n: int, votes: int = 1) -> None:
        """A new host, configured on every node."""
        self.nodes[n] = Node(n, SimDisk(self.random))
        self.votes[n] = votes
        if any(n in part for part in self.parts):
            raise ValueError(n)
        self.parts[0] |= {n}
        self.tell_nodes()
        self.start(n)

    def tell_nodes(self) -> None:
        """All processes read the configuration anew."""
        for node in self.nodes.values():
            self._call(node, lambda r: r.set_nodes(dict(self.votes), self.now))

    @property
    def up(self) -> list[int]:
        return [n for n, node in self.nodes.items() if node.replica is not None]

    def replica(self, n: int) -> Replica:
        found = self.nodes[n].replica
        assert found is not None
        return found

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

    # --- the replica's events ------------------------------------------------------------------------------------

    def _call(self, node: Node, call: Callable[[Replica], None]) -> None:
        if node.replica is not None:
            call(node.replica)
            self._pump(node)

    def _pump(self, node: Node) -> None:
        replica = node.replica
        assert replica is not None
        sent = False
        while (event := replica.next_event()) is not None:
            match event:
                case Multicast():
                    self._check_ready(node, event.payload)
                    node.queue.append((event.payload, event.safe))
                    sent = True
                case Claim():
                    self._claim(node, event.value)
                case Outcome():
                    self._outcome(node, event)
                case Changed():
                    self._check_visible(node)
                case BarrierDone():
                    needed = node.barriers.pop(event.token)
                    if replica.state.index < needed:
                        raise Broken(f"node {node.id}: barrier at {replica.state.index}, acknowledged was {needed}")
                    self.count("barriers")
                case BarrierFailed():
                    node.barriers.pop(event.token)
                case AppendLog() | Adopt() | TruncateTail() | Checkpoint() | MarkCommit():
                    self.count(type(event).__name__)
                    node.disk.request(event, self.now)
                case _:
                    pass
        self._arm(node)
        if sent:
            life = node.life
            self.after(0.0001, 0.002, lambda: self._flush(node) if node.life == life else None)

    def _arm(self, node: Node) -> None:
        assert node.replica is not None
        due = [t for t in (node.replica.next_timeout(), node.disk.next_timeout()) if t is not None]
        when = min(due, default=None)
        if when is None or (node.timer is not None and node.timer <= when and node.timer > self.now):
            return
        node.timer = when
        life = node.life
        self.at(when, lambda: self._timer(node, life, when))

    def _timer(self, node: Node, life: int, when: float) -> None:
        if node.life != life or node.replica is None:
            return
        if node.timer == when:
            node.timer = None
        if answers := node.disk.poll(self.now):
            self._call(node, lambda r: r.persisted(answers, self.now))
        timeout = node.replica.next_timeout()
        if timeout is not None and self.now >= timeout:
            node.replica.handle_timeout(self.now)
        self._pump(node)

    def _claim(self, node: Node, value: int | None) -> None:
        ring = node.ring
        if ring is None or node.gathering:
            return
        if value is None:
            ring.claims.pop(node.id, None)
            return
        ring.claims[node.id] = value
        assert node.replica is not None
        position = node.replica.log.position(value - 1)
        if position is None or (self.settings.durable and self.on_disk(node.id, value - 1) != position.chain):
            raise Broken(f"node {node.id} claims index {value - 1}, not on its disk")
        epoch = self.nodes[node.id].disk.position(value - 1)
        if epoch is not None and epoch.epoch != ring.id:
            raise Broken(f"node {node.id} claims index {value - 1} of {ring.id}, its disk has one of {epoch.epoch}")
        self.proven[node.id] = (ring.id, value - 1)

    # --- clients -------------------------------------------------------------------------------------------------

    def put(self, n: int, path: str, data: bytes = b"x", condition: int | None = None) -> Attempt:
        """A write at node n; the attempt is filled in when its outcome is known."""
        self._ops += 1
        operation = Operation(
            self.random.randbytes(16), Kind.PUT, path, data, condition=condition, writer=n, time=self._ops
        )
        replica = self.nodes[n].replica
        operation.since = max(1, replica.state.index) if replica is not None else 1
        return self.propose(n, operation)

    def propose(self, n: int, operation: Operation) -> Attempt:
        node = self.nodes[n]
        attempt = Attempt(n, operation, self.now)
        self.history.append(attempt)
        if node.replica is None:
            attempt.refused, attempt.ended = "no process", self.now
            return attempt
        earlier = node.attempts.get(operation.id)
        node.attempts[operation.id] = attempt
        try:
            node.replica.propose(operation, self.now)
        except Refused as error:
            del node.attempts[operation.id]
            if earlier is not None:
                node.attempts[operation.id] = earlier
            attempt.refused, attempt.ended = str(error), self.now
            self.count("refused")
        except Expired:
            del node.attempts[operation.id]
            if earlier is not None:  # it is under way all the same, and gets its own outcome
                node.attempts[operation.id] = earlier
            attempt.unknown, attempt.ended = True, self.now
            self.count("expired at once")
        self._pump(node)
        return attempt

    def barrier(self, n: int, token: int) -> None:
        node = self.nodes[n]
        if node.replica is not None:
            node.barriers[token] = self.highest_ack if self.strict else 0
            self._call(node, lambda r: r.barrier(token, self.now))

    def _outcome(self, node: Node, event: Outcome) -> None:
        attempt = node.attempts.pop(event.operation.id, None)
        if attempt is None:
            raise Broken(f"node {node.id}: an outcome nobody waits for")
        result = event.result if event.result is None or event.result.code is not Code.EXPIRED else None
        attempt.ended, attempt.result, attempt.unknown = self.now, result, result is None
        if self.now - attempt.began > self.settings.deadline + 0.5:
            raise Broken(f"node {node.id}: outcome after {self.now - attempt.began:.1f} s")
        self.count("acknowledged" if event.result else "unknown")
        if event.result is not None and not event.repeated:
            self._check_ack(node, event.result.index)
        if event.result is not None:
            self.highest_ack = max(self.highest_ack, event.result.index)

    # --- checkers ------------------------------------------------------------------------------------------------

    def on_disk(self, n: int, index: int) -> bytes | None:
        """The chain at `index` that a power loss would leave on node n's disk; None: not there, or only in the tree."""
        position = self.nodes[n].disk.position(index)
        return position.chain if position is not None else None

    def _check_ready(self, node: Node, payload: bytes) -> None:
        """READY says that the leader's log is on the disk of who says it (DESIGN 7, "Opening a primary")."""
        ring, message = wire.decode(payload)
        if not isinstance(message, wire.Ready) or node.ring is None or ring != node.ring.id:
            return
        assert node.replica is not None
        log = node.replica.log
        begun = [epoch.first_index - 1 for epoch in log.epochs if epoch.ring_id == ring]  # open: what it grew from
        base = log.position(min([message.index, *begun]))
        if base is not None and self.on_disk(node.id, base.index) != base.chain:
            raise Broken(f"node {node.id} says READY, its disk has not what the leader has at index {base.index}")

    def _check_data_set(self, replica: Replica, record: LogRecord) -> None:
        """DESIGN 7, "Data set": the next version, one node different; who comes in has the state on its disk."""
        made, first = DataSet.decode(record.body), replica.log.data_set_at(record.index - 1)
        if not self.data_sets:
            self.data_sets[first.version] = first.votes
        before = self.data_sets.get(made.version - 1)
        if before is None or self.data_sets.setdefault(made.version, made.votes) != made.votes:
            raise Broken(f"data set {made.version} at index {record.index} follows on none that is known")
        changed = {n for n in {*before, *made.votes} if before.get(n) != made.votes.get(n)}
        if len(changed) != 1:
            raise Broken(f"data set {made.version} differs in nodes {sorted(changed)} from the one before")
        base = replica.log.position(record.index - 1)
        for n in changed - set(before):
            end = self.nodes[n].disk.end()
            if end is None or base is None or end.epoch < base.epoch:
                raise Broken(f"node {n} comes into data set {made.version} without the state on its disk")

    def _check_ack(self, node: Node, index: int) -> None:
        """S1: on disk at the proposer and on a required set before the ack."""
        if not self.settings.durable:
            return
        assert node.replica is not None
        here = node.replica.log.position(index)
        assert here is not None
        assert node.ring is not None
        holders = [n for n in self.nodes if self.on_disk(n, index) == here.chain]
        for n, (ring, claimed) in self.proven.items():  # it was there, a disk lost a moment ago does not undo the ack
            if n not in holders and n != node.id and ring == node.ring.id and claimed >= index:
                holders.append(n)
        if node.id not in holders:
            raise Broken(f"node {node.id}: index {index} acknowledged, not on its own disk")
        status = node.replica.status()
        if self.strict and status.kind == "narrow":
            raise Broken(f"node {node.id}: index {index} acknowledged in a narrow epoch, which no part may open here")
        if status.kind == "narrow" or (not self.strict and status.kind is None):
            return
        have = sum(status.data_set.get(n, 0) for n in holders)
        if 2 * have <= sum(status.data_set.values()):
            raise Broken(f"node {node.id}: index {index} acknowledged, on disk only at {holders}")

    def _check_visible(self, node: Node) -> None:
        """One history, the same tree at the same place of it, and reads that never go back."""
        replica = node.replica
        assert replica is not None
        if not replica.readable():
            return
        index = replica.state.index
        if self.strict:
            if index < node.shown:
                raise Broken(f"node {node.id}: reads went back from {node.shown} to {index}")
            for at in (min(self.follower.index, index), index):  # a chain speaks for all that is before it
                position = replica.log.position(at)
                if position is not None and self.applied.setdefault(at, position.chain) != position.chain:
                    raise Broken(f"node {node.id}: another record at index {at}")
            digest = replica.state.digest()
            if self.digests.setdefault(index, digest) != digest:
                raise Broken(f"node {node.id}: another tree at index {index}")
            self._follow(replica, index)
            self._check_tree(node, replica)
        node.shown = index

    def _check_tree(self, node: Node, replica: Replica) -> None:
        """S4, by content: what this node shows is what the log makes."""
        if self.model is None or replica.state.index != self.follower.index:
            return
        shown = {entry.path: (entry.data, entry.revision) for entry in replica.state.ls(recursive=True)}
        made = {path: (data or b"", revision) for path, (data, revision) in self.model.entries.items()}
        if (shown, replica.state.revision) != (made, self.model.revision):
            paths = sorted(path for path in {*shown, *made} if shown.get(path) != made.get(path))
            text = f"another tree at index {self.follower.index} than the log makes"
            raise Broken(f"node {node.id}: {text}: {', '.join(paths)}")

    def _follow(self, replica: Replica, index: int) -> None:
        """Exactly once (S3): no operation that says since when it waits is judged a second time."""
        for record in replica.log.slice(self.follower.index, index):
            if record.index != self.follower.index + 1:
                return  # this node got the state, without the records: another one has them
            self.applied.setdefault(record.index, record.chain)
            if record.kind is RecordKind.DATA_SET:
                self._check_data_set(replica, record)
            if record.kind is not RecordKind.OPERATION:
                self.follower.advance(record.index)
                continue
            operation = Operation.decode(record.body)
            applied = self.follower.apply(operation, record.index)
            if self.model is not None and self.model.apply(operation, record.index) != bool(applied.changes):
                raise Broken(f"log index {record.index}: another tree: {operation} came to {applied}")
            if applied.repeated:
                continue
            if applied.result.code is Code.EXPIRED:
                self.count("expired")
            elif self.decided.setdefault(operation.id, applied.result) is not applied.result and operation.since:
                raise Broken(f"{operation.id.hex()} applied at {self.decided[operation.id]} and at {record.index}")

    def settled(self) -> bool:
        """All nodes up, one ring, synced at the same revision, writable, nothing under way."""
        states = [self.replica(n).status() for n in self.nodes] if len(self.up) == len(self.nodes) else []
        return bool(states) and all(
            s.state == "synced" and s.writable and s.readable and s.revision == states[0].revision for s in states
        )

    def finish(self, limit: float = 30.0) -> None:
        """End all faults, wait for calm, then check the whole history."""
        self.heal()
        for node in self.nodes.values():
            node.disk.full = node.disk.broken = node.disk.hung = False
            if node.replica is not None:
                self._arm(node)
        for n in self.nodes:
            if self.nodes[n].replica is None:
                self.start(n)
        if not self.run_until(self.settled, limit):
            lines = [f"{n}: {self.replica(n).status()}" for n in self.nodes]
            raise Broken("not settled after the faults ended:\n" + "\n".join(lines))
        last = [self.put(n, f"last{n}") for n in self.nodes]
        self.run(2.0)
        if not all(attempt.result and attempt.result.ok for attempt in last) or not self.settled():
            raise Broken("writes after the faults ended were not acknowledged everywhere")
        self.check_history()

    def discarded(self) -> set[bytes]:
        """Ids of all operations that were set aside somewhere."""
        found = set()
        for node in self.nodes.values():
            for one in node.disk.discarded:
                found |= {Operation.decode(r.body).id for r in one.records if r.kind is RecordKind.OPERATION}
                found |= set(one.image.outcomes) if one.image else set()
        return found

    def check_history(self) -> None:
        states = [self.replica(n).state for n in self.nodes]
        if len({state.digest() for state in states}) != 1:
            raise Broken("trees differ at the end")
        end = states[0]
        aside = self.discarded() if not self.strict else set()
        acked: list[tuple[int, Attempt]] = []
        tried = {attempt.operation.id for attempt in self.history if not attempt.refused}
        for attempt in self.history:
            outcome = self.decided.get(attempt.operation.id) or end.outcome(attempt.operation.id)
            if attempt.refused and outcome is not None and attempt.operation.id not in tried:
                raise Broken(f"refused, yet done: {attempt}")
            if attempt.result is not None:
                if outcome is None and attempt.operation.id in aside:
                    self.count("set aside")
                    continue
                kept = end.index - attempt.result.index < self.settings.outcomes
                if outcome is None or (kept and end.outcome(attempt.operation.id) is None):
                    raise Broken(f"acknowledged write lost: {attempt}")
                if self.strict and outcome != attempt.result:
                    raise Broken(f"acknowledged as {attempt.result}, is {outcome}")
                acked.append((attempt.result.index, attempt))
        if self.strict:
            self._check_order(acked)

    def _check_order(self, acked: list[tuple[int, Attempt]]) -> None:
        """Linearizable: an operation that began after another was acknowledged stands behind it in the log."""
        began: dict[bytes, float] = {}
        for attempt in self.history:  # a retry under the same id is the same operation
            began.setdefault(attempt.operation.id, attempt.began)
        acked.sort(key=lambda one: one[0])
        latest = 0.0
        for _, attempt in acked:
            assert attempt.ended is not None
            if attempt.ended < latest:
                raise Broken(f"out of order: {attempt}")
            latest = max(latest, began[attempt.operation.id])
