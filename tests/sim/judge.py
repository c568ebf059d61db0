"""What a run came to: every checker goes over what was recorded, and what happened is counted."""

from __future__ import annotations

from collections import Counter

from clusterd.node import Node
from tests.sim import actions, effects
from tests.sim.checkers import (
    administration,
    dataset,
    departures,
    ended,
    evs,
    groups,
    linearizability,
    once,
    one_component,
    pauses,
    replay,
    steady,
    store,
    verdict_order,
    watches,
)
from tests.sim.checkers.calm import Calm, Trouble
from tests.sim.checkers.changes import DONE
from tests.sim.checkers.changes import REFUSED as REFUSED_CHANGE
from tests.sim.cluster import Cluster
from tests.sim.effects import PACKETS
from tests.sim.history import ACKED, REFUSED, FinalStore
from tests.sim.host import Host
from tests.sim.report import JUDGED
from tests.sim.troubles import ATTACKS
from tests.sim.workload import ASKED_FROM, ASKED_ON
from transport.ids import NodeId


class Judge:
    """Of one run; also of one that broke a promise before its end, which has its figures too."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._judged: Counter[str] = Counter()  # how often each promise
        self._group_messages = 0
        self._undecided = self._watched = self._replayed = 0

    # -- the verdict -----------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The run is over: what nodes and disks came to goes into the history."""
        cluster, history = self._cluster, self._cluster.history
        logged: set[bytes] = set()
        listed = cluster.administrator.listed()
        cluster.minutes.finish({node: running for node in listed if (running := cluster.hosts[node].node)})
        for node, host in cluster.hosts.items():
            host.finish()
            logged |= host.storage.ever_logged
            for version, votes in host.storage.data_sets:
                history.data_sets.setdefault(version, set()).add(votes)
            for ring, record in sorted(host.storage.epochs.items()):
                history.epochs.setdefault(ring, record)
            for place, body in host.storage.records.items():
                history.records.setdefault(place, body)
            if node in listed:
                assert host.node is not None
                history.final.append(self._final(node, host, host.node))
        history.logged = frozenset(logged)

    def _final(self, node: NodeId, host: Host, running: Node) -> FinalStore:
        state = running.replica.state
        outcomes: dict[bytes, tuple[str, int]] = {}
        for call in self._cluster.history.calls:
            result = state.outcome(call.id) if not call.is_read else None
            if result is not None:
                outcomes[call.id] = (result.code.name, result.revision)
        values = {entry.path: (entry.data, entry.revision) for entry in state.ls(recursive=True)}
        discarded, epoch = host.storage.discarded(), running.replica.log.end.epoch
        return FinalStore(node, state.revision, state.digest(), outcomes, values, discarded, epoch, state.index)

    def check_rings(self) -> None:
        """What holds also of a cluster whose store waits for its operator. Raises Violation."""
        self._judged["E1-E15"] = evs.check(self._cluster.history)
        self._check_verdicts()

    def check(self, timely: bool = True) -> None:
        """All of it, after `finish`. Raises Violation. timely: L2 to L4 too."""
        cluster, history, judged = self._cluster, self._cluster.history, self._judged
        judged["E1-E15"], judged["E13-E14"] = evs.check(history), evs.safe_deliveries(history)
        self._group_messages = groups.check(cluster.processes.lives, cluster.administrator.listed())
        judged["G1-G6"] = self._group_messages
        judged.update(administration.check(cluster.minutes.log, history, cluster.plan.one_line, cluster.plan.by_votes))
        if timely:
            self._check_calm()
        self._check_verdicts()
        judged.update(store.check(history))
        judged["data set"] = dataset.check(history)
        judged["watch"] = self._watched = watches.check(history)
        judged["once"] = once.check(history)
        self._replayed = replay.check(history)
        judged["S4"] += self._replayed
        self._undecided = linearizability.check(history)
        judged["S2"] = sum(len(calls) for _, calls in linearizability.registers(history))
        judged["S2 of moves"] = sum(len(calls) for _, calls in linearizability.directories(history))
        judged["Q2"], judged["L1"] = cluster.verdicts.judged, 1
        judged["Q3"] += cluster.verdicts.barriers
        judged["Q4"] = cluster.lookout.leases.judged
        judged["Q4 on waking"] = cluster.lookout.leases.woken
        judged["X1 of tables"] = cluster.lookout.tables
        judged["S6"] = sum(process.claims for process in history.processes)
        judged["Q5"] += sum(host.socket.accepted for host in cluster.hosts.values())

    def note(self, promise: str, times: int) -> None:
        """So often it was judged elsewhere, while the run went on."""
        self._judged[promise] += times

    def _check_verdicts(self) -> None:
        history = self._cluster.history
        self._judged["Q1"] = one_component.check(history)
        self._judged["Q3"] = verdict_order.check(history)

    def _check_calm(self) -> None:
        plan, log = self._cluster.plan, self._cluster.minutes.log
        troubles = [Trouble(fault.kind, fault.at, fault.until) for fault in (*plan.faults, *plan.drills)]
        changes = (
            [action.at for action in plan.actions] + [one.at for one in log.in_force] + [key.at for key in log.keys]
        )
        changes += [change.ended for change in log.changes]
        quiet = Calm(self._cluster.history, troubles, changes, plan.tempo, self._cluster.clock.now)
        self._judged["L2"], self._judged["L3"] = departures.check(quiet), pauses.check(quiet)
        self._judged["L4"] = steady.check(quiet)

    # -- figures ---------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, float]:
        """What the run did, by name; those of TOTALS must not be zero over many runs."""
        cluster, calls = self._cluster, self._cluster.history.calls
        writes = [call for call in calls if not call.is_read]
        sums: dict[str, float] = {}
        log = cluster.minutes.log
        for host in cluster.hosts.values():
            for name, value in host.totals.items():
                sums[name] = sums.get(name, 0) + value
        sums.update(
            nodes=len(cluster.plan.nodes),
            seconds=cluster.clock.now,
            proposals=sum(c.attempts for c in calls if c.kind != "local") + cluster.processes.asked,
            asking=cluster.plan.faults_end + ASKED_ON - ASKED_FROM,
            faults=cluster.faults.begun,
            acked=sum(1 for call in writes if call.outcome == ACKED),
            reads=sum(1 for call in calls if call.is_read and call.outcome == ACKED),
            refused_writes=sum(1 for call in writes if call.outcome == REFUSED),
            unknown_writes=ended.unknown_writes(cluster.history),
            transfers=sum(host.storage.transfers for host in cluster.hosts.values()),
            datagrams=cluster.network.counts.sent,
            undecided=self._undecided,
            watched=self._watched,
            replayed=self._replayed,
            group_messages=self._group_messages,
            changes_applied=log.total(DONE) - log.total(DONE, "rotate"),
            changes_refused=log.total(REFUSED_CHANGE),
            rotations=log.total(DONE, "rotate"),
            removals=log.total(DONE, "remove"),
        )
        sums.update({JUDGED + name: count for name, count in self._judged.items()})
        sums.update({effects.KEY + name: count for name, count in self._effects().items()})
        return sums

    def _effects(self) -> Counter[str]:
        """What the faults did, by the names of tests/sim/effects.py."""
        cluster = self._cluster
        did, counts, log = Counter(cluster.faults.did), cluster.network.counts, cluster.minutes.log
        did.update({name: getattr(counts, name) for name in PACKETS})
        for host in cluster.hosts.values():
            did["woken with stale timers"] += host.did["stale"]
            did["put back with its memory"] += host.did["put back with its memory"]
            did["bit flipped in memory"] += host.did["bit flipped in memory"]
            did["writes lost before their fsync"] += host.storage.store.did["unsynced"]
            did["torn writes"] += host.storage.store.did["torn"]
            did["records torn inside"] += host.storage.store.did["torn inside"]
        for kind in actions.OVERRIDES:
            did["operator overrides"] += log.total(DONE, kind)
        did.update({name: count for name, count in cluster.attacker.did.items() if name not in ATTACKS})
        did["runs with strangers as the only trouble"] = int(cluster.plan.attacked_alone)
        for kind in actions.COME_TO_BE:
            did[f"{kind} done"] += log.total(DONE, kind)
        for kind in actions.MUST_NOT:
            did[f"{kind} refused"] += log.total(REFUSED_CHANGE, kind)
        did["machines joined"] = log.total(DONE, "add")
        return did
