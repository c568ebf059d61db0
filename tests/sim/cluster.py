"""One run: a whole cluster from one seed, its faults, its checkers, and what it counted."""

from __future__ import annotations

import gc
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

from tests.sim import actions, drills, effects
from tests.sim.admin import Administrator, links_of
from tests.sim.attacker import Attacker
from tests.sim.build import Recipe
from tests.sim.checkers import (
    administration,
    attack,
    calm,
    dataset,
    evs,
    groups,
    linearizability,
    liveness,
    memory,
    once,
    quorum,
    replay,
    store,
    verdicts,
    watches,
)
from tests.sim.clock import Clock
from tests.sim.device import VALID, Arbiter
from tests.sim.effects import PACKETS
from tests.sim.faults import Faults
from tests.sim.groups import Processes
from tests.sim.guard import NoEnd
from tests.sim.history import ACKED, REFUSED, Call, Durable, FinalStore, History, Violation
from tests.sim.host import Host, World
from tests.sim.network import Address, Conditions, Network, PathKey
from tests.sim.plan import Plan, draw
from tests.sim.strangers import THEIRS, Strangers
from tests.sim.trace import Print, Trace
from tests.sim.tree_load import TreeLoad
from tests.sim.troubles import ATTACKS, DISK_LOSSES, STRANGERS
from tests.sim.watchers import WATCHERS, Watcher
from tests.sim.workload import Workload, last_path
from transport.events import Delivery
from transport.ids import NodeId, RingId

LEASE_CHECK = 0.05  # seconds between looks at who says quorate, beside every change
SAMPLE = 0.2  # seconds between samples of every store
ASKED_FROM, ASKED_ON = 0.5, 1.0  # seconds: clients begin that long behind the start, and go on behind the last fault
REST_WITHIN = 1.0  # seconds behind the end in which what is on its way arrives; what does not is E7's to tell
ENOUGH = {"nodes": 3, "seconds": 15.0, "faults": 3, "acked": 50}  # what a run must have done to count
JUDGED = "judged "  # begins the name of each figure that tells how often a promise was judged
# Each must have been judged in some of many runs, or its checker looks at nothing.
PROMISES = (
    "E1-E15",
    "G1-G6",
    "A1",
    "A2",
    "A3",
    "A4",
    "Q1",
    "Q2",
    "Q3",
    "Q4",
    "Q4 on waking",
    "Q5",
    "S1",
    "S2",
    "S2 of moves",
    "S3",
    "S4",
    "S5",
    "S6",
    "data set",
    "once",
    "watch",
    "X2",
    "L1",
    "L2",
    "L3",
    "L4",
)
TOTALS = (
    "gathers",
    "recoveries_with_messages",
    "merges",
    "transfers",
    "tokens_lost",
    "refused_writes",
    "unknown_writes",
    "group_messages",
    "changes_applied",
    "changes_refused",
    "rotations",
    "removals",
    "replayed",
)


@dataclass(slots=True)
class Report:
    """What a run came to. failure: the promise that was broken, or what the node raised.  title: of a stored plan."""

    seed: int
    nodes: int
    failure: Violation | None = None
    details: str = ""
    counts: dict[str, float] = field(default_factory=dict)
    fingerprint: str = ""
    wall: float = 0.0
    title: str = ""

    @property
    def counted(self) -> bool:
        """Did it do enough work to say something?"""
        return all(self.counts.get(name, 0) >= least for name, least in ENOUGH.items())

    @property
    def name(self) -> str:
        return self.title or f"{self.seed:06x}"


def run_seed(
    seed: int, nodes: int | None = None, watched: frozenset[NodeId] = frozenset(), echo: Print = print
) -> Report:
    """Run one seed to its end or to the first broken promise."""
    return run_plan(draw(seed, nodes)[0], watched, echo)


def run_plan(
    plan: Plan,
    watched: frozenset[NodeId] = frozenset(),
    echo: Print = print,
    title: str = "",
    every: bool = False,
) -> Report:
    """The same of a plan that no seed draws; title: what to call it instead of its seed. every: see Trace."""
    report = Report(plan.seed, len(plan.nodes), title=title)
    trace = Trace(watched, echo, every)
    started = time.process_time()
    cluster: Cluster | None = None
    gc.disable()  # a run keeps nearly all it makes until its end: looking through it meanwhile finds nothing
    try:
        cluster = Cluster(plan, plan.random("run"), trace)
        cluster.run()
    except Violation as violation:
        report.failure = violation
    except (Exception, NoEnd) as error:  # whatever a node raises is a failure of its own: no input may make it
        at = cluster.clock.now if cluster is not None else 0.0
        promise = "an end" if isinstance(error, NoEnd) else "no exception"
        report.failure = Violation(at, promise, f"{type(error).__name__}: {error}")
        report.details = traceback.format_exc()
    finally:
        gc.enable()
        trace.end()
    report.wall = time.process_time() - started
    report.fingerprint = trace.fingerprint
    if cluster is not None:
        report.counts = cluster.counts()
    return report


class Cluster:
    """All hosts of a run and the world around them."""

    def __init__(self, plan: Plan, random: Random, trace: Trace) -> None:
        self.plan = plan
        self.clock = Clock()
        settings = plan.settings
        moving = any(action.kind in actions.MOVING for action in plan.actions)
        votes = dict(plan.votes) | dict.fromkeys(plan.spares, 1)
        self.history = History(votes, votes_needed=1 if moving else settings.votes_needed)
        self.history.in_memory = settings.durability == "memory"
        self.history.power_losses = [fault.at for fault in plan.faults if fault.kind == "power"]
        self.history.disk_losses = [
            (fault.until if fault.kind in ("rollback", "snapshot") else fault.at, fault.where[0])
            for fault in plan.faults
            if fault.kind in DISK_LOSSES
        ]
        self.judged: Counter[str] = Counter()
        self.arbiter = Arbiter()
        self.network = Network(self.clock, random, self._deliver, self._refused)
        self.hosts: dict[NodeId, Host] = {}
        workload = Workload(plan, self.clock, random, self.hosts, self.history, self._call_ended)
        self.workload = workload
        self._tree_load = TreeLoad(plan, self.clock, plan.random("tree"), self.hosts, workload)
        self.processes = Processes(self.clock, plan.random("groups"), self.hosts, plan.pace)
        self._group_messages = self._memory_rot = 0
        self._trace = trace
        self._undecided = self._watched = self._replayed = 0
        self._random = random
        self._leases = quorum.Leases(
            dict.fromkeys(votes, 0) if moving else votes,
            lambda node: self.hosts[node].answer(),
            self._installed,
            settings.one_component and not self._overridden,
        )
        self.verdicts = verdicts.Verdicts(
            lambda: self.clock.now,
            settings.count_alike and not moving and not any(a.kind == "option" for a in plan.actions),
        )
        recipe = self.recipe = Recipe(plan, random)
        self.administrator = Administrator(
            self.clock, plan.random("administrator at work"), self.hosts, recipe, self._say
        )
        world = World(
            self.clock,
            random,
            self.network,
            trace,
            self.history,
            recipe,
            self.arbiter,
            workload,
            self._acked,
            self._look_at_leases,
            self._woke,
            self.processes,
            self.administrator,
            self.verdicts,
        )
        for node in (*plan.nodes, *plan.spares):
            self.hosts[node] = Host(node, world)
        self._watchers = [Watcher(self.clock, random, self.hosts, self.history) for _ in range(WATCHERS)]
        world.watchers = self._watchers
        links = links_of(recipe) if plan.actions else list(plan.links)
        self.network.add(list(self.hosts), links, self._conditions)
        self._attacker = Attacker(self.clock, plan.random, self.network, self.hosts, links, plan.conditions.mtu)
        self._strangers = self._other_clusters(recipe)
        if any(fault.kind in ATTACKS for fault in plan.faults):
            self.network.heard = self._attacker.hear
        self.network.elsewhere = self._to_strangers
        self._looks: dict[NodeId, attack.Look] = {}
        self._faults = Faults(
            self.clock,
            plan.random,
            self.network,
            self.hosts,
            tuple(links),
            self.arbiter,
            self._attacker,
            self._strangers,
            self._say,
        )

    def _other_clusters(self, recipe: Recipe) -> dict[str, Strangers]:
        """Those that this run will meet, by the kind of fault that they are."""
        plan = self.plan
        ours = {node: recipe.identity(node) for node in plan.nodes[:2]}
        return {
            kind: Strangers(name, part, self.clock, plan.random(kind), self.network, self.hosts, ours, self._trace)
            for part, (kind, name) in enumerate(STRANGERS.items(), 67)
            if any(fault.kind == kind for fault in plan.faults)
        }

    def _to_strangers(self, source: NodeId, address: Address, data: bytes) -> None:
        """A node sends something to an address that no machine of ours has."""
        mine = self.network.address(source, 0)
        if not any(strangers.hear(mine, address, data) for strangers in self._strangers.values()):
            self._attacker.answered(source, address, data)

    @property
    def _one_line(self) -> bool:
        """No two components may ever change the cluster at one time: the options do not, and no operator does."""
        return actions.promised(self.plan.settings) and not self._overridden

    @property
    def _overridden(self) -> bool:
        return any(action.kind in actions.OVERRIDES for action in self.plan.actions)

    def _conditions(self, key: PathKey) -> Conditions:
        usual = self.plan.conditions
        return replace(usual, delay=usual.delay * self.plan.lengths[key[2] % len(self.plan.lengths)])

    def _installed(self, node: NodeId) -> tuple[RingId, tuple[NodeId, ...]] | None:
        change = self.hosts[node].configured
        return (change.ring_id, change.members) if change is not None else None

    def _say(self, text: str) -> None:
        self._trace.line(self.clock.now, 0, text)

    def _deliver(self, target: NodeId, source: NodeId, link: int, data: bytes) -> bool:
        return self.hosts[target].arrive(source, link, data)

    def _refused(self, source: NodeId, target: NodeId, link: int) -> None:
        self.hosts[source].refused(target, link)

    # -- the course of a run ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Raises Violation for the first promise found broken."""
        plan, clock = self.plan, self.clock
        self._say(str(plan))
        for node in plan.nodes:
            clock.at(self._random.uniform(0.0, 0.3), self.hosts[node].start)
        self.workload.start(ASKED_FROM)
        self._tree_load.start(0.6)
        self.processes.start(0.7)
        for watcher in self._watchers:
            watcher.start()
        self._faults.schedule(plan.faults)
        if plan.attacked_alone:
            clock.at(plan.faults[0].at - 0.01, self._look_at_nodes)
        self.administrator.schedule(plan.actions)
        clock.at(LEASE_CHECK, self._look_at_leases_again)
        clock.at(SAMPLE, self._sample_again)
        clock.run(plan.faults_end)
        self._heal()
        slowness = plan.settings.slowness
        if self._overridden:
            clock.at(plan.faults_end + liveness.RING_WITHIN * slowness / 2, self.administrator.end_waiting)
        clock.run(plan.faults_end + ASKED_ON)
        self._check_attack()
        self.workload.stop()
        self._tree_load.stop()
        self.processes.stop()
        clock.run(plan.faults_end + liveness.RING_WITHIN * slowness)
        listed = self.administrator.listed()
        if self._two_histories():  # of the configuration perhaps too, and who is listed in one is not in the other
            return
        liveness.check_ring(clock.now, listed, self._conditions_of_nodes())
        clock.run(plan.faults_end + liveness.STORE_WITHIN * slowness)
        if self._two_histories():
            return
        liveness.check_store(clock.now, self._conditions_of_nodes())
        last = [self.workload.write_at(node) for node in listed]
        if self._one_line:
            self.administrator.calm()
        clock.run(plan.seconds)
        while not self._at_rest() and clock.now < plan.seconds + REST_WITHIN:
            clock.run(clock.now + LEASE_CHECK)
        liveness.check_last_writes(clock.now, last)
        self.administrator.check_calm(clock.now)
        if plan.memory_rot:
            self._rot_in_memory()
        for kind, strangers in self._strangers.items():
            attack.check_strangers(clock.now, STRANGERS[kind], strangers.members, THEIRS)
        self._drill()
        for watcher in self._watchers:
            watcher.check_up_to_date(clock.now, self.administrator.listed())
        self._finish()
        self._check()

    def _two_histories(self) -> bool:
        """The alarm for which the product cannot do more; the run ends. `durability: memory` promises nothing over a
        loss of all power: one node's disk may have acknowledged writes that all others lost, who went on without it.
        And a disk that was put back, with its marker, tells nobody so where all who know better are away: with it
        others go on."""
        if not any(
            "both committed by a data majority" in condition.reason for condition in self._conditions_of_nodes()
        ):
            return False
        put_back = any(fault.kind in ("rollback", "snapshot") for fault in self.plan.faults)
        if not put_back and not (self.history.in_memory and self.history.power_losses):
            return False
        self._say("two histories have met, as they may here: an operator must choose, the run ends")
        self._check_while_it_runs()
        return True

    def _rot_in_memory(self) -> None:
        """S4: the trees of all members are compared while anything is written, and who has another one is resynced."""
        listed, random = self.administrator.listed(), self.plan.random("memory rot")
        rotten = self.hosts[random.choice(listed)]
        if len(listed) < 3:
            return
        writer = next(node for node in listed if node != rotten.me)
        path = rotten.rot_in_memory(random, spared=last_path(writer))
        if path is None:
            return
        self._say(f"a bit of {path} flips in the memory of node {rotten.me}")
        before = {node: self.hosts[node].storage.transfers for node in listed}
        last = self.workload.write_at(writer)
        self.clock.run(self.clock.now + memory.COMPARED_WITHIN * self.plan.settings.slowness)
        resynced = [node for node in listed if self.hosts[node].storage.transfers > before[node]]
        memory.check(self.clock.now, rotten.me, resynced)
        liveness.check_store(self.clock.now, self._conditions_of_nodes())
        liveness.check_last_writes(self.clock.now, [last])
        self._memory_rot += 1

    def _drill(self) -> None:
        """Single troubles in the calm; then all is as it was."""
        plan, clock = self.plan, self.clock
        if not plan.drills:
            return
        self._faults.schedule(plan.drills)
        clock.run(drills.end(plan.drills, plan.tempo))
        listed = self.administrator.listed()
        liveness.check_ring(clock.now, listed, self._conditions_of_nodes())
        over = clock.now + liveness.STORE_WITHIN * plan.settings.slowness
        while not self._at_rest() and clock.now < over:
            clock.run(clock.now + LEASE_CHECK)
        liveness.check_store(clock.now, self._conditions_of_nodes())

    def _check_calm(self) -> None:
        """L2 to L4."""
        plan, log = self.plan, self.administrator.log
        troubles = [calm.Trouble(fault.kind, fault.at, fault.until) for fault in (*plan.faults, *plan.drills)]
        changes = (
            [action.at for action in plan.actions] + [one.at for one in log.in_force] + [key.at for key in log.keys]
        )
        changes += [change.ended for change in log.changes]
        self.judged.update(calm.check(self.history, troubles, changes, plan.tempo, self.clock.now))

    def _at_rest(self) -> bool:
        """Has every process heard what it sent? The stores compare their trees at any moment, also the last one."""
        return all(
            sum(1 for e in process.ring.events if isinstance(e, Delivery) and e.sender == process.node)
            == len(process.ring.sent)
            for process in self.history.processes
            if process.ended is None
        )

    def _heal(self) -> None:
        """The end of all faults: nothing is cut, paused, slow or down any more."""
        self._say("all faults have ended")
        self.network.calm()
        self.arbiter.down = 0
        self.arbiter.cut.clear()
        for host in self.hosts.values():
            host.storage.slow, host.cost_factor = 1.0, 1.0
            host.storage.store.full = host.storage.store.broken = False
            host.storage.hang(False)
            host.resume()
        for node, host in self.hosts.items():
            self.administrator.equip(node)
            if self.administrator.may_start(node):
                host.start()

    def _finish(self) -> None:
        history = self.history
        logged: set[bytes] = set()
        listed = self.administrator.listed()
        self.administrator.finish({node: running for node in listed if (running := self.hosts[node].node)})
        for node, host in self.hosts.items():
            host.finish()
            logged |= host.storage.ever_logged
            for version, votes in host.storage.data_sets:
                history.data_sets.setdefault(version, set()).add(votes)
            for ring, record in sorted(host.storage.epochs.items()):
                history.epochs.setdefault(ring, record)
            for place, body in host.storage.records.items():
                history.records.setdefault(place, body)
            if node not in listed:
                continue
            assert host.node is not None
            state = host.node.replica.state
            outcomes: dict[bytes, tuple[str, int]] = {}
            for call in history.calls:
                result = state.outcome(call.id) if not call.is_read else None
                if result is not None:
                    outcomes[call.id] = (result.code.name, result.revision)
            values = {entry.path: (entry.data, entry.revision) for entry in state.ls(recursive=True)}
            discarded, epoch = host.storage.discarded(), host.node.replica.log.end.epoch
            revision, digest = state.revision, state.digest()
            stored = FinalStore(node, revision, digest, outcomes, values, discarded, epoch, state.index)
            history.final.append(stored)
        history.logged = frozenset(logged)

    def _check_while_it_runs(self) -> None:
        """What holds also of a cluster whose store waits for its operator."""
        while not self._at_rest() and self.clock.now < self.plan.seconds:
            self.clock.run(self.clock.now + LEASE_CHECK)
        self.judged["E1-E15"] = evs.check(self.history)
        self.judged.update(quorum.check(self.history))

    def _check(self) -> None:
        history, judged = self.history, self.judged
        judged["E1-E15"] = evs.check(history)
        self._group_messages = groups.check(self.processes.lives, self.administrator.listed())
        judged["G1-G6"] = self._group_messages
        judged.update(administration.check(self.administrator.log, history, self._one_line))
        self._check_calm()
        judged.update(quorum.check(history))
        judged.update(store.check(history))
        judged["data set"] = dataset.check(history)
        judged["watch"] = self._watched = watches.check(history)
        judged["once"] = once.check(history)
        self._replayed = replay.check(history)
        judged["S4"] += self._replayed
        self._undecided = linearizability.check(history)
        judged["S2"] = sum(len(calls) for _, calls in linearizability.registers(history))
        judged["S2 of moves"] = sum(len(calls) for _, calls in linearizability.directories(history))
        judged["Q2"], judged["L1"] = self.verdicts.judged, 1
        judged["Q3"] += self.verdicts.barriers
        judged["Q4"] = self._leases.judged
        judged["Q4 on waking"] = self._leases.woken
        judged["S6"] = sum(process.claims for process in history.processes)
        judged["Q5"] += sum(host.accepted for host in self.hosts.values())

    def _look_at_nodes(self) -> None:
        self._looks = {look.node: look for look in self._looks_now()}

    def _looks_now(self) -> list[attack.Look]:
        now, hosts = self.clock.now, self.hosts.values()
        return [attack.look(now, h.me, h.process_number, h.node, h.log.lines) for h in hosts if h.node and h.log]

    def _check_attack(self) -> None:
        """X1, where strangers were the only trouble of the run."""
        if not self.plan.attacked_alone:
            return
        for after in self._looks_now():
            by_all = (self._attacker.arrived, *(strangers.arrived for strangers in self._strangers.values()))
            arrived = sum(arrived[after.node, after.process] for arrived in by_all)
            attack.check_alone(self._looks[after.node], after, arrived)
        attack.check_answers(self.clock.now, self._attacker.amplified())

    # -- while it runs ---------------------------------------------------------------------------------------

    def _look_at_leases(self) -> None:
        self._leases.check(self.clock.now)

    def _woke(self, node: NodeId, slept: float) -> None:
        settings, q = self.plan.settings, self.plan.settings.quorum
        lease = verdicts.SHARE * settings.token * calm.CLOCKS
        self._leases.woke(self.clock.now, node, slept, max(lease, VALID * calm.CLOCKS) if q.device else lease)

    def _look_at_leases_again(self) -> None:
        self._look_at_leases()
        self.clock.after(LEASE_CHECK, self._look_at_leases_again)

    def _sample_again(self) -> None:
        for host in self.hosts.values():
            if host.can_connect():
                host.sample()
            if host.node is not None:
                attack.check_tables(self.clock.now, host.me, attack.tables(host.node))
        self.clock.after(SAMPLE, self._sample_again)

    def _acked(self, host: Host, call: Call) -> None:
        """Called at the moment of an acknowledgement: whose disks have the operation now?"""
        holders = tuple(node for node, other in self.hosts.items() if other.storage.holds(call.id))
        votes = host.storage.data_set_of(call.id) or self.plan.votes
        failing = tuple(node for node, other in self.hosts.items() if other.storage.known_bad)
        lately = {node for at, node in self.history.disk_losses if call.invoked <= at <= self.clock.now}
        lost = tuple(n for n in sorted(lately - {*holders}) if call.id in self.hosts[n].storage.ever_logged)
        self.history.durable.append(
            Durable(self.clock.now, call.id, host.me, holders, votes, call.epoch, failing, lost)
        )

    def _call_ended(self, call: Call) -> None:
        """Judged at once: S3's deadline."""
        self._trace.usual(
            self.clock.now,
            call.node,
            f"calls {call.outcome}",
            lambda: f"client {call.client}, asked at {call.asked:.3f}: {call}",
        )
        paused = store.stopped(self.history, call.node, call.asked, call.ended or call.asked)
        store.check_deadline(call, paused)

    def _conditions_of_nodes(self) -> list[liveness.Condition]:
        found = []
        for node in self.administrator.listed():
            host = self.hosts[node]
            assert host.node is not None
            srp, status = host.node.endpoint.srp, host.node.replica.status()
            quorate = host.node.quorate(host.now())
            found.append(
                liveness.Condition(
                    node, srp.phase, srp.ring_id, srp.members, quorate, status.state, status.writable, status.reason
                )
            )
        return found

    def effects(self) -> Counter[str]:
        """What the faults did, by the names of tests/sim/effects.py."""
        did, counts, log = Counter(self._faults.did), self.network.counts, self.administrator.log
        did.update({name: getattr(counts, name) for name in PACKETS})
        for host in self.hosts.values():
            did["woken with stale timers"] += host.did["stale"]
            did["put back with its memory"] += host.did["put back with its memory"]
            did["writes lost before their fsync"] += host.storage.store.did["unsynced"]
            did["torn writes"] += host.storage.store.did["torn"]
            did["records torn inside"] += host.storage.store.did["torn inside"]
        for kind in actions.OVERRIDES:
            did["operator overrides"] += log.total(administration.DONE, kind)
        did.update({name: count for name, count in self._attacker.did.items() if name not in ATTACKS})
        did["runs with strangers as the only trouble"] = int(self.plan.attacked_alone)
        did["bit flipped in memory"] = self._memory_rot
        did["machines joined"] = log.total(administration.DONE, "add")
        return did

    def counts(self) -> dict[str, float]:
        """What the run did, by name; those of TOTALS must not be zero over many runs."""
        writes = [call for call in self.history.calls if not call.is_read]
        sums: dict[str, float] = {}
        log = self.administrator.log
        for host in self.hosts.values():
            for name, value in host.totals.items():
                sums[name] = sums.get(name, 0) + value
        sums.update(
            nodes=len(self.plan.nodes),
            seconds=self.clock.now,
            proposals=sum(c.attempts for c in self.history.calls if c.kind != "local") + self.processes.asked,
            asking=self.plan.faults_end + ASKED_ON - ASKED_FROM,
            faults=self._faults.begun,
            acked=sum(1 for call in writes if call.outcome == ACKED),
            reads=sum(1 for call in self.history.calls if call.is_read and call.outcome == ACKED),
            refused_writes=sum(1 for call in writes if call.outcome == REFUSED),
            unknown_writes=store.unknown_writes(self.history),
            transfers=sum(host.storage.transfers for host in self.hosts.values()),
            datagrams=self.network.counts.sent,
            undecided=self._undecided,
            watched=self._watched,
            replayed=self._replayed,
            group_messages=self._group_messages,
            changes_applied=log.total(administration.DONE) - log.total(administration.DONE, "rotate"),
            changes_refused=log.total(administration.REFUSED),
            rotations=log.total(administration.DONE, "rotate"),
            removals=log.total(administration.DONE, "remove"),
        )
        sums.update({JUDGED + name: count for name, count in self.judged.items()})
        sums.update({effects.KEY + name: count for name, count in self.effects().items()})
        return sums
