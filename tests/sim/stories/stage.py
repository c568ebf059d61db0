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
from tests.sim.cluster import Cluster
from tests.sim.course import REST_WITHIN
from tests.sim.history import Call, Violation
from tests.sim.judge import Judge
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
        self.wire = Wire(self.clock, self.say)
        self.started: list[Callable[[NodeId, Node], None]] = [self.wire.tap]
        for node, host in self.hosts.items():
            host.on_start = self._tell_started(node)
        for watcher in self.watchers:
            watcher.start()
        self.lookout.start()

    def _tell_started(self, node: NodeId) -> Callable[[Node], None]:
        def started(running: Node) -> None:
            for hear in self.started:
                hear(node, running)

        return started

    def converge(self, put: Callable[[NodeId], Call]) -> None:
        """Everything heals; L1 holds, and every node acknowledges a write. Raises Violation."""
        self.heal()
        self.wire.calm()
        began, clock = self.clock.now, self.clock
        clock.run(began + 1.0)
        self.workload.stop()
        clock.run(began + liveness.RING_WITHIN)
        liveness.check_ring(clock.now, self.administrator.listed(), self.conditions_of_nodes())
        clock.run(began + liveness.STORE_WITHIN)
        liveness.check_store(clock.now, self.conditions_of_nodes())
        last = [put(node) for node in self.administrator.listed()]
        clock.run(began + liveness.STORE_WITHIN + 0.5)
        liveness.check_last_writes(clock.now, last)

    def judge(self) -> None:
        """The run is over: every checker of the simulator. Raises Violation.

        But L2 to L4 are not judged: nothing tells when a story changed the network, and it says what it expects.
        """
        self.rest(self.clock.now + REST_WITHIN)
        judge = Judge(self)
        judge.finish()
        judge.check(timely=False)

    def fail(self, text: str) -> Violation:
        """What a story expected and did not find."""
        return Violation(self.clock.now, "story", text)
