"""Who looks at the nodes while they run: at what may be so at no moment, and at what is only to be seen now.

Q1 and Q4 (who says quorate), S1 (whose disks have what is acknowledged), S3 (how long a call takes), X1 (tables that
strangers could fill), and samples of every store.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.sim.checkers import attack, calm, ended, leases, verdicts
from tests.sim.clock import Clock
from tests.sim.device import VALID
from tests.sim.history import Call, Durable, History
from tests.sim.host import Host
from tests.sim.plan import Plan
from tests.sim.trace import Trace
from transport.ids import NodeId, RingId

LEASE_CHECK = 0.05  # seconds between looks at who says quorate, beside every change
SAMPLE = 0.2  # seconds between samples of every store


class Lookout:
    """Looks on its own from `start` on, and when it is told. Each look raises Violation."""

    def __init__(self, plan: Plan, clock: Clock, hosts: Mapping[NodeId, Host], history: History, trace: Trace) -> None:
        self._plan = plan
        self._clock = clock
        self._hosts = hosts
        self._history = history
        self._trace = trace
        self.tables = 0  # looks at those of one node (X1)
        self.leases = leases.Leases(
            dict.fromkeys(history.votes, 0) if plan.moving else history.votes,
            lambda node: self._hosts[node].socket.answer(),
            self._installed,
            plan.exclusive,
        )

    def start(self) -> None:
        self._clock.at(LEASE_CHECK, self._look_at_leases_again)
        self._clock.at(SAMPLE, self._sample_again)

    def _installed(self, node: NodeId) -> tuple[RingId, tuple[NodeId, ...]] | None:
        change = self._hosts[node].configured
        return (change.ring_id, change.members) if change is not None else None

    def _look_at_leases_again(self) -> None:
        self.look_at_leases()
        self._clock.after(LEASE_CHECK, self._look_at_leases_again)

    def _sample_again(self) -> None:
        for host in self._hosts.values():
            if host.can_connect():
                host.socket.sample()
            if host.node is not None:
                attack.check_tables(self._clock.now, host.me, attack.tables(host.node))
                self.tables += 1
        self._clock.after(SAMPLE, self._sample_again)

    # -- told ------------------------------------------------------------------------------------------------

    def look_at_leases(self) -> None:
        """Some verdict has changed."""
        self.leases.check(self._clock.now)

    def woke(self, node: NodeId, slept: float) -> None:
        """It stood still for so many seconds."""
        settings, q = self._plan.settings, self._plan.settings.quorum
        lease = verdicts.SHARE * settings.token * calm.CLOCKS
        self.leases.woke(self._clock.now, node, slept, max(lease, VALID * calm.CLOCKS) if q.device else lease)

    def acked(self, node: NodeId, call: Call) -> None:
        """Called at the moment of an acknowledgement: whose disks have the operation now?"""
        now, hosts = self._clock.now, self._hosts
        holders = tuple(n for n, host in hosts.items() if host.storage.holds(call.id))
        votes = hosts[node].storage.data_set_of(call.id) or self._plan.votes
        failing = tuple(n for n, host in hosts.items() if host.storage.known_bad)
        lately = {n for at, n in self._history.disk_losses if call.invoked <= at <= now}
        lost = tuple(n for n in sorted(lately - {*holders}) if call.id in hosts[n].storage.ever_logged)
        self._history.durable.append(Durable(now, call.id, node, holders, votes, call.epoch, failing, lost))

    def call_ended(self, call: Call) -> None:
        """Judged at once: S3's deadline."""
        self._trace.usual(
            self._clock.now,
            call.node,
            f"calls {call.outcome}",
            lambda: f"client {call.client}, asked at {call.asked:.3f}: {call}",
        )
        paused = ended.stopped(self._history, call.node, call.asked, call.ended or call.asked)
        ended.check_deadline(call, paused)
