"""What a story is played on: the simulator's cluster, without drawn faults and load, moved by hand.

The plan says what a seed's would: votes, quorum options, links. Nothing happens in it but what the story does. The end
is that of every simulated run: the world heals, all must converge, and the same checkers judge what was recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

from clusterd.node import Node
from quorum.options import QuorumOptions, check
from tests.sim.actions import Action
from tests.sim.checkers import liveness
from tests.sim.cluster import LEASE_CHECK, REST_WITHIN, SAMPLE, Cluster
from tests.sim.history import Call, Violation
from tests.sim.network import Conditions
from tests.sim.plan import Plan
from tests.sim.settings import Settings
from tests.sim.stories.wire import Wire
from tests.sim.trace import Print, Trace
from transport.ids import NodeId

NEVER = 1e9  # seconds: when what the administrator of a seed does would happen; in a story the story does it


def plan_of(
    name: str, votes: dict[NodeId, int], quorum: QuorumOptions, links: int, administered: tuple[str, ...]
) -> Plan:
    """administered: kinds of tests/sim/actions.py that the story will do itself; the checkers must know of them."""
    mistakes = check(quorum)
    assert not mistakes, mistakes
    seed = crc32(name.encode())
    skew = {node: (17.0 * node, 1.0 + 0.001 * (node % 3 - 1)) for node in range(1, len(votes) + 3)}
    return Plan(
        seed=seed,
        nodes=tuple(votes),
        votes=votes,
        links=tuple(range(links)),
        lengths=(1.0,) * links,
        settings=Settings(quorum, 0.6, "passive", "disk", {}, {}, {}),
        rate=20.0,
        keys=8,
        value_bytes=16,
        conditions=Conditions(delay=0.0005),
        wake_delay=100e-6,
        skew=skew,
        faults=(),
        faults_end=NEVER,
        actions=tuple(Action(kind, NEVER) for kind in administered),
        retire_after=1.0 if "rotate" in administered or "remove" in administered else 30.0,
    )


class Stage(Cluster):
    """A cluster that nothing moves but the story. wire: what passes between the nodes, to be looked at and dropped."""

    def __init__(self, plan: Plan, watched: frozenset[NodeId] = frozenset(), echo: Print = print) -> None:
        super().__init__(plan, plan.random("run"), Trace(watched, echo))
        self.wire = Wire(self.clock, self._say)
        self.started: list[Callable[[NodeId, Node], None]] = [self.wire.tap]
        for node, host in self.hosts.items():
            host.on_start = self._tell_started(node)
        for watcher in self._watchers:
            watcher.start()
        self.clock.at(LEASE_CHECK, self._look_at_leases_again)
        self.clock.at(SAMPLE, self._sample_again)

    def _tell_started(self, node: NodeId) -> Callable[[Node], None]:
        def started(running: Node) -> None:
            for hear in self.started:
                hear(node, running)

        return started

    def say(self, text: str) -> None:
        """One line for the trace."""
        self._say(text)

    def converge(self, put: Callable[[NodeId], Call]) -> None:
        """Everything heals; L1 holds, and every node acknowledges a write. Raises Violation."""
        self._heal()
        self.wire.calm()
        began, clock = self.clock.now, self.clock
        clock.run(began + 1.0)
        self.workload.stop()
        clock.run(began + liveness.RING_WITHIN)
        liveness.check_ring(clock.now, self.administrator.listed(), self._conditions_of_nodes())
        clock.run(began + liveness.STORE_WITHIN)
        liveness.check_store(clock.now, self._conditions_of_nodes())
        last = [put(node) for node in self.administrator.listed()]
        clock.run(began + liveness.STORE_WITHIN + 0.5)
        liveness.check_last_writes(clock.now, last)

    def judge(self) -> None:
        """The run is over: every checker of the simulator. Raises Violation."""
        end = self.clock.now
        while not self._at_rest() and self.clock.now < end + REST_WITHIN:
            self.clock.run(self.clock.now + LEASE_CHECK)
        self._finish()
        self._check()

    def _check_calm(self) -> None:
        """Not judged: nothing here tells when a story changed the network, and it says itself what it expects."""

    def fail(self, text: str) -> Violation:
        """What a story expected and did not find."""
        return Violation(self.clock.now, "story", text)
