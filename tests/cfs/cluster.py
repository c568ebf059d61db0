"""N replicas on a scripted ring (ring.py) and simulated disks: crashes, clients, and all checks (checks.py)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from cfs.disk import Adopt, AppendLog, Checkpoint, MarkCommit, TruncateTail
from cfs.errors import Expired
from cfs.messages import Code, Kind, Operation
from cfs.replica import Replica
from cfs.status import BarrierDone, BarrierFailed, Changed, Claim, Multicast, Outcome, StoreSettings
from tests.cfs.checks import Broken, Checks
from tests.cfs.hosts import Attempt, Node
from tests.cfs.ring import ScriptedRing
from tests.sim.disk import SimDisk
from transport.core import SilentLog
from transport.errors import Refused


class Cluster(ScriptedRing):
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
        self.votes = dict.fromkeys(range(1, votes + 1), 1) if isinstance(votes, int) else dict(votes)
        self.settings = settings or StoreSettings()
        random = Random(seed)
        nodes = {n: Node(n, SimDisk(random, latency)) for n in self.votes}
        super().__init__(random, nodes, delay, quorate or self._majority)
        self.checks = Checks(nodes, self.settings, strict, self.count)
        self.log = log or (lambda node: SilentLog())
        self.history: list[Attempt] = []
        self._ops = 0
        if start:
            for n in self.nodes:
                self.start(n)

    def _majority(self, part: frozenset[int]) -> bool:
        return 2 * sum(self.votes.get(n, 0) for n in part) > sum(self.votes.values())

    # --- processes -----------------------------------------------------------------------------------------------

    def start(self, n: int) -> None:
        node = self.nodes[n]
        assert node.replica is None
        node.life += 1
        image = node.disk.open(self.now)
        node.replica = Replica(n, image, self.settings, self.random.randbytes, self.now, self.log(node))
        node.replica.set_nodes(dict(self.votes), self.now)
        self._show(node)
        self._reform()

    def crash(self, n: int) -> None:
        """The power fails: what was not fsynced may be lost."""
        node = self.nodes[n]
        if node.replica is None:
            return
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
                    self.checks.ready(node, event.payload)
                    node.queue.append((event.payload, event.safe))
                    sent = True
                case Claim():
                    self._claim(node, event.value)
                case Outcome():
                    self._outcome(node, event)
                case Changed():
                    self._show(node)
                case BarrierDone():
                    self.checks.barrier(node, node.barriers.pop(event.token))
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
        self.checks.claim(node, ring, value - 1)

    def _show(self, node: Node) -> None:
        """Something may have become visible there."""
        self.checks.visible(node)

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
            node.barriers[token] = self.checks.highest_ack if self.checks.strict else 0
            self._call(node, lambda r: r.barrier(token, self.now))

    def _outcome(self, node: Node, event: Outcome) -> None:
        attempt = node.attempts.pop(event.operation.id, None)
        if attempt is None:
            raise Broken(f"node {node.id}: an outcome nobody waits for")
        result = event.result if event.result is None or event.result.code is not Code.EXPIRED else None
        attempt.ended, attempt.result, attempt.unknown = self.now, result, result is None
        self.count("acknowledged" if event.result else "unknown")
        self.checks.outcome(node, attempt, event)

    # --- the end -------------------------------------------------------------------------------------------------

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
        self.checks.history(self.history)
