"""The local socket of one simulated machine: what clients ask of the process behind it, and what they are answered.

A question that the process does not live to answer is answered with "unknown". What clients would be shown is kept for
the checkers too (`sample`), whether somebody asked or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cfs.messages import Operation
from cfs.state import State
from cfs.status import Outcome
from clusterd.node import Node
from quorum.events import Verdict
from tests.sim.checkers.leases import Answer
from tests.sim.history import Call, StoreSample, Violation
from tests.sim.world import World
from transport.errors import ClusterError
from transport.ids import NO_RING, NodeId, RingId


class Machine(Protocol):
    """Where the process runs. do: an input for it, held back while it is paused."""

    me: NodeId
    node: Node | None
    paused: bool
    process_number: int
    now: Callable[[], float]

    def can_connect(self) -> bool: ...
    def do(self, action: Callable[[Node], None]) -> None: ...


class LocalSocket:
    """rotten: the tree in the process's memory is damaged, and was not resynced since: it is no sample of anything.
    accepted: writes that were taken."""

    def __init__(self, machine: Machine, world: World) -> None:
        self._machine = machine
        self._world = world
        self._calls: dict[bytes, Call] = {}
        self._reads: dict[int, Call] = {}
        self._tokens = 0
        self._verdict: Verdict | None = None  # the last one told
        self._counted: dict[NodeId, int] = {}  # the votes by which it was
        self.rotten = False
        self.accepted = 0

    # -- asked by clients ------------------------------------------------------------------------------------

    @property
    def process_number(self) -> int:
        return self._machine.process_number

    def can_connect(self) -> bool:
        return self._machine.can_connect()

    def log_index(self) -> int:
        """As its hello tells it."""
        node = self._machine.node
        return max(1, node.replica.state.index) if node is not None else 0

    def tree(self) -> tuple[State, RingId] | None:
        """What a watcher here is shown, and the epoch of the last record in it; None: not readable."""
        node = self._machine.node
        if node is None or self._machine.paused or not node.replica.readable():
            return None
        state = node.replica.state
        return state, node.replica.log.epoch_at(state.index)

    def answer(self) -> Answer | None:
        """What a client that asks for quorum now is told; None: nobody answers."""
        node = self._machine.node
        if node is None or self._machine.paused or self._verdict is None:
            return None
        quorate, verdict = node.quorate(self._machine.now()), self._verdict
        return Answer(quorate, verdict.ring_id, verdict.members, verdict.total, verdict.quorum, self._counted)

    def write(self, call: Call, operation: Operation) -> None:
        self._calls[call.id] = call

        def propose(node: Node) -> None:
            known, now = node.replica.state.outcome(call.id) is not None, self._machine.now()
            try:
                node.propose(operation, now)
            except ClusterError:
                self._calls.pop(call.id, None)
                self._world.workload.refused(call)
                return
            self.accepted += 1
            if not known and not node.quorate(now):
                text = f"node {self._machine.me} took a write and is not quorate: {call}"
                raise Violation(self._world.clock.now, "Q5", text)

        self._machine.do(propose)

    def read(self, call: Call) -> None:
        """Linearizable: answered after a barrier."""
        self._tokens += 1
        token = self._tokens
        self._reads[token] = call

        def barrier(node: Node) -> None:
            try:
                node.barrier(token, self._machine.now())
            except ClusterError:
                self._reads.pop(token, None)
                self._world.workload.refused(call)

        self._machine.do(barrier)

    def read_local(self, call: Call) -> None:
        def look(node: Node) -> None:
            if node.replica.status().readable:
                self.sample()
                self._found(node, call)
            else:
                self._world.workload.refused(call)

        self._machine.do(look)

    # -- told by the process ---------------------------------------------------------------------------------

    def judged(self, verdict: Verdict) -> None:
        """What those who ask for quorum are told from now on."""
        node = self._machine.node
        self._verdict = verdict
        self._counted = node.votequorum.view().votes if node is not None else {}

    def done(self, outcome: Outcome) -> None:
        """An operation has its outcome."""
        call = self._calls.pop(outcome.operation.id, None)
        if call is None:
            return
        result = outcome.result
        if result is None:
            self._world.workload.unknown(call)
            return
        call.epoch = self._epoch()
        self._world.acked(self._machine.me, call)
        self._world.workload.answered(call, result.code, result.revision, result.detail)

    def passed(self, token: int) -> None:
        """The barrier of a linearizable read is passed."""
        call = self._reads.pop(token, None)
        if call is not None and self._machine.node is not None:
            self._found(self._machine.node, call)

    def failed(self, token: int) -> None:
        """It will not be."""
        call = self._reads.pop(token, None)
        if call is not None:
            self._world.workload.refused(call)

    def end(self) -> None:
        """The process is gone."""
        self._verdict = None
        calls = [*self._calls.values(), *self._reads.values()]
        self._calls.clear()
        self._reads.clear()
        for call in calls:
            self._world.workload.unknown(call)

    def sample(self) -> None:
        """For the checkers: what is shown now."""
        node = self._machine.node
        if node is not None and node.replica.readable() and not self.rotten:
            state, now = node.replica.state, self._world.clock.now
            epoch = node.replica.log.epoch_at(state.index)
            shown = StoreSample(
                now, self._machine.me, self._machine.process_number, state.revision, state.digest(), epoch
            )
            self._world.history.samples.append(shown)

    def forget_samples(self) -> None:
        """Another disk from now on: what was shown of the last one is gone with it."""
        self._world.history.samples.append(StoreSample(self._world.clock.now, self._machine.me, -1, 0, b""))

    def _found(self, node: Node, call: Call) -> None:
        call.epoch = self._epoch()
        entry = node.replica.state.find(call.key)
        if entry is None:
            self._world.workload.found(call, None, 0)
        else:
            self._world.workload.found(call, entry.data, entry.revision)

    def _epoch(self) -> RingId:
        """The epoch in which an answer given now is given: that of the log's end."""
        node = self._machine.node
        return node.replica.log.end.epoch if node is not None else NO_RING
