"""The promises of the store, held against everything that replicas on the scripted ring say, show and have on disk."""

from __future__ import annotations

from collections.abc import Callable

from cfs import wire
from cfs.messages import Code, Operation, Result
from cfs.records import DataSet, LogRecord, RecordKind
from cfs.replica import Replica
from cfs.state import State
from cfs.status import Outcome, StoreSettings
from tests.cfs.hosts import Attempt, Node, Ring
from tests.cfs.treemodel import TreeModel
from transport.ids import RingId


class Broken(AssertionError):  # noqa: N818
    """A promise was broken."""


class Checks:
    """strict: there are no narrow epochs, committed is committed.  count: told what happened, for the run's figures."""

    def __init__(
        self, nodes: dict[int, Node], settings: StoreSettings, strict: bool, count: Callable[[str], None]
    ) -> None:
        self.strict = strict
        self.proven: dict[int, tuple[RingId, int]] = {}  # claims, each found on the disk when it was made
        self.applied: dict[int, bytes] = {}  # log index -> chain, as made visible anywhere
        self.digests: dict[int, bytes] = {}
        self.follower = State(window=settings.outcomes)  # applies, once for all, what became visible anywhere
        self.model: TreeModel | None = None  # the same, independently, for runs that only do what it knows
        self.decided: dict[bytes, Result] = {}  # by operation id: what the one history says of it
        self.data_sets: dict[int, dict[int, int]] = {}  # version -> votes, as the one history has them
        self.highest_ack = 0
        self._nodes = nodes
        self._settings = settings
        self._count = count

    # --- what a node says ----------------------------------------------------------------------------------------

    def claim(self, node: Node, ring: Ring, index: int) -> None:
        """S1: a claim speaks of what is on the disk, and of this ring's epoch."""
        assert node.replica is not None
        position = node.replica.log.position(index)
        if position is None or (self._settings.durable and self.on_disk(node.id, index) != position.chain):
            raise Broken(f"node {node.id} claims index {index}, not on its disk")
        epoch = node.disk.position(index)
        if epoch is not None and epoch.epoch != ring.id:
            raise Broken(f"node {node.id} claims index {index} of {ring.id}, its disk has one of {epoch.epoch}")
        self.proven[node.id] = (ring.id, index)

    def barrier(self, node: Node, needed: int) -> None:
        """S2: a confirmed barrier shows all that was acknowledged when it was asked for."""
        assert node.replica is not None
        if node.replica.state.index < needed:
            raise Broken(f"node {node.id}: barrier at {node.replica.state.index}, acknowledged was {needed}")

    def outcome(self, node: Node, attempt: Attempt, event: Outcome) -> None:
        """S3: in time; S1: and an acknowledgement only of what is on the disks."""
        assert attempt.ended is not None
        if attempt.ended - attempt.began > self._settings.deadline + 0.5:
            raise Broken(f"node {node.id}: outcome after {attempt.ended - attempt.began:.1f} s")
        if event.result is not None and not event.repeated:
            self._ack(node, event.result.index)
        if event.result is not None:
            self.highest_ack = max(self.highest_ack, event.result.index)

    def ready(self, node: Node, payload: bytes) -> None:
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

    def _ack(self, node: Node, index: int) -> None:
        """S1: on disk at the proposer and on a required set before the ack."""
        if not self._settings.durable:
            return
        assert node.replica is not None
        here = node.replica.log.position(index)
        assert here is not None
        assert node.ring is not None
        holders = [n for n in self._nodes if self.on_disk(n, index) == here.chain]
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

    def on_disk(self, n: int, index: int) -> bytes | None:
        """The chain at `index` that a power loss would leave on node n's disk; None: not there, or only in the tree."""
        position = self._nodes[n].disk.position(index)
        return position.chain if position is not None else None

    # --- what it shows -------------------------------------------------------------------------------------------

    def visible(self, node: Node) -> None:
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
            self._tree(node, replica)
        node.shown = index

    def _tree(self, node: Node, replica: Replica) -> None:
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
                self._data_set(replica, record)
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
                self._count("expired")
            elif self.decided.setdefault(operation.id, applied.result) is not applied.result and operation.since:
                raise Broken(f"{operation.id.hex()} applied at {self.decided[operation.id]} and at {record.index}")

    def _data_set(self, replica: Replica, record: LogRecord) -> None:
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
            end = self._nodes[n].disk.end()
            if end is None or base is None or end.epoch < base.epoch:
                raise Broken(f"node {n} comes into data set {made.version} without the state on its disk")

    # --- the whole history ---------------------------------------------------------------------------------------

    def history(self, attempts: list[Attempt]) -> None:
        """In the end, with all nodes up: nothing acknowledged is lost, nothing refused was done, all trees are one."""
        states = [node.replica.state for node in self._nodes.values() if node.replica is not None]
        if len({state.digest() for state in states}) != 1:
            raise Broken("trees differ at the end")
        end = states[0]
        aside = self.discarded() if not self.strict else set()
        acked: list[tuple[int, Attempt]] = []
        tried = {attempt.operation.id for attempt in attempts if not attempt.refused}
        for attempt in attempts:
            outcome = self.decided.get(attempt.operation.id) or end.outcome(attempt.operation.id)
            if attempt.refused and outcome is not None and attempt.operation.id not in tried:
                raise Broken(f"refused, yet done: {attempt}")
            if attempt.result is not None:
                if outcome is None and attempt.operation.id in aside:
                    self._count("set aside")
                    continue
                kept = end.index - attempt.result.index < self._settings.outcomes
                if outcome is None or (kept and end.outcome(attempt.operation.id) is None):
                    raise Broken(f"acknowledged write lost: {attempt}")
                if self.strict and outcome != attempt.result:
                    raise Broken(f"acknowledged as {attempt.result}, is {outcome}")
                acked.append((attempt.result.index, attempt))
        if self.strict:
            self._order(attempts, acked)

    def _order(self, attempts: list[Attempt], acked: list[tuple[int, Attempt]]) -> None:
        """Linearizable: an operation that began after another was acknowledged stands behind it in the log."""
        began: dict[bytes, float] = {}
        for attempt in attempts:  # a retry under the same id is the same operation
            began.setdefault(attempt.operation.id, attempt.began)
        acked.sort(key=lambda one: one[0])
        latest = 0.0
        for _, attempt in acked:
            assert attempt.ended is not None
            if attempt.ended < latest:
                raise Broken(f"out of order: {attempt}")
            latest = max(latest, began[attempt.operation.id])

    def discarded(self) -> set[bytes]:
        """Ids of all operations that were set aside somewhere."""
        found = set()
        for node in self._nodes.values():
            for one in node.disk.discarded:
                found |= {Operation.decode(r.body).id for r in one.records if r.kind is RecordKind.OPERATION}
                found |= set(one.image.outcomes) if one.image else set()
        return found
