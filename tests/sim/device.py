"""A quorum device: an arbiter outside the cluster that votes for one partition at a time, and each node's client of it.

The arbiter gives its vote for a ring to whoever asks from that ring, for VALID seconds. It gives it for another ring
only once every node that holds it for the old one asks from the new one, or its vote has run out; so at any moment at
most one component has the vote (Q1 holds with it), whatever is lost or late. Whoever asks tells the configuration that
it runs, as clients of a real arbiter do. Who is not in the newest one is given no vote: a node that was removed would
otherwise keep it from the cluster for as long as it is switched on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

from clusterd.node import Node
from quorum.options import QuorumOptions
from tests.sim.clock import Clock
from transport.errors import Refused
from transport.ids import NodeId, RingId

VALID = 0.8  # seconds on the client's clock from its question on
POLL = 0.25
DRIFT = 1.05  # what two clocks may differ in rate, with much to spare


class Arbiter:
    """down: how many faults hold it down; cut: how many hold each node away from it; late: seconds that an answer
    takes more than usual."""

    def __init__(self) -> None:
        self.down = 0
        self.late = 0.0
        self.unheard: Counter[str] = Counter()  # questions that did not reach it, by the kind of fault
        self.cut: Counter[NodeId] = Counter()
        self._held: dict[NodeId, tuple[RingId, float]] = {}
        self._version = 0
        self._listed: frozenset[NodeId] | None = None  # by that version; None: not told yet

    def hear(self, version: int, nodes: Iterable[NodeId]) -> None:
        """A node runs this version of the configuration, and these are in it."""
        if version > self._version:
            self._version, self._listed = version, frozenset(nodes)

    def reachable(self, node: NodeId) -> bool:
        return not self.down and not self.cut[node]

    def ask(self, node: NodeId, ring: RingId, now: float) -> bool:
        """May `node`, which is in `ring`, count the vote for VALID seconds from before `now` on?"""
        if self._listed is not None and node not in self._listed:
            return False  # what it still holds runs out
        self._held = {n: (r, until) for n, (r, until) in self._held.items() if until > now and n != node}
        if any(held != ring for held, _ in self._held.values()):
            return False
        self._held[node] = (ring, now + VALID * DRIFT)
        return True


class Client:
    """Asks the arbiter for one process after another of a node, and tells the node's votequorum what it said.

    do(action): an input for the process, held back while it is paused.  asker(): the process that runs now, its number
    and itself; None while none can ask.
    """

    def __init__(
        self,
        me: NodeId,
        arbiter: Arbiter,
        options: QuorumOptions,
        clock: Clock,
        random: Random,
        now: Callable[[], float],
        do: Callable[[Callable[[Node], None]], None],
        asker: Callable[[], tuple[int, Node] | None],
    ) -> None:
        self._me = me
        self._arbiter = arbiter
        self._options = options
        self._clock = clock
        self._random = random
        self._now = now
        self._do = do
        self._asker = asker
        self._ring: RingId | None = None

    def start(self) -> None:
        """The machine is switched on: from now on there is a question every POLL seconds while a process runs."""
        self._clock.after(self._random.uniform(0.0, POLL), self._poll)

    def _poll(self) -> None:
        if self._ring is not None:
            self.ask(self._ring)
        self._clock.after(POLL, self._poll)

    def forget(self) -> None:
        """The process ended."""
        self._ring = None

    def ask(self, ring: RingId) -> None:
        """The node is in `ring`: may it count the vote?"""
        self._ring = ring
        asker = self._asker()
        if asker is None:
            return
        life, node = asker
        if not self._arbiter.reachable(self._me):
            self._arbiter.unheard["device-down"] += self._arbiter.down > 0
            self._arbiter.unheard["device-cut"] += self._arbiter.cut[self._me] > 0
        else:
            config = node.changes.config
            runs = config.config_version, frozenset(config.transport.nodes)
            self._clock.after(self._delay(), self._asked, life, ring, self._now() + VALID, runs)

    def _delay(self) -> float:
        return self._random.uniform(0.001, 0.005)

    def _asked(self, life: int, ring: RingId, until: float, runs: tuple[int, frozenset[NodeId]]) -> None:
        """The question arrives."""
        if self._arbiter.reachable(self._me):
            self._arbiter.hear(*runs)
            granted = self._arbiter.ask(self._me, ring, self._clock.now)
            self._clock.after(self._delay() + self._arbiter.late, self._told, life, ring, until, granted)

    def _told(self, life: int, ring: RingId, until: float, granted: bool) -> None:
        """The answer arrives: at the process that asked, if it still runs."""
        asker = self._asker()
        if asker is not None and life == asker[0] and self._arbiter.reachable(self._me):
            self._do(lambda node: self._tell(node, ring, until, granted))

    def _tell(self, node: Node, ring: RingId, until: float, granted: bool) -> None:
        now = self._now()
        try:
            node.votequorum.set_device(
                registered=True,
                alive=True,
                cast=granted,
                name="arbiter",
                ring_id=ring,
                now=now,
                master_wins=self._options.master_wins,
                valid_until=until,
            )
        except Refused:  # the ring changed meanwhile: it is asked about the next one
            return
        node.pump(now)
