"""The course of a run: faults, then the calm in which all must be well again, and what is tried once it is.

What a calm cluster must come to, and by when, is in tests/sim/checkers/liveness.py.
"""

from __future__ import annotations

from random import Random

from clusterd.node import Node
from tests.sim import drills
from tests.sim.checkers import attack, liveness, memory
from tests.sim.cluster import Cluster
from tests.sim.judge import Judge
from tests.sim.strangers import THEIRS
from tests.sim.troubles import STRANGERS
from tests.sim.workload import ASKED_FROM, ASKED_ON, last_path
from transport.ids import NodeId

REST_WITHIN = 1.0  # seconds behind the end in which what is on its way arrives; what does not is E7's to tell


class Course:
    """Of one cluster, to be run once; `judge` has the last word."""

    def __init__(self, cluster: Cluster, judge: Judge) -> None:
        self._cluster = cluster
        self._judge = judge
        self._plan = cluster.plan
        self._clock = cluster.clock
        self._looks: dict[NodeId, attack.Look] = {}

    def run(self) -> None:
        """Raises Violation for the first promise found broken."""
        cluster, plan, clock = self._cluster, self._plan, self._clock
        self._begin()
        clock.run(plan.faults_end)
        cluster.heal()
        slowness = plan.settings.slowness
        if plan.overridden:
            clock.at(plan.faults_end + liveness.RING_WITHIN * slowness / 2, cluster.administrator.end_override)
        clock.run(plan.faults_end + ASKED_ON)
        self._check_attack()
        cluster.workload.stop()
        cluster.tree_load.stop()
        cluster.processes.stop()
        within = max(liveness.RING_WITHIN * slowness, plan.tempo.settled)
        clock.run(plan.faults_end + within)
        late = self._wait_for_added(within)
        listed = cluster.administrator.listed()
        if self._two_histories():  # of the configuration perhaps too, and who is listed in one is not in the other
            return
        liveness.check_ring(clock.now, listed, cluster.conditions_of_nodes())
        clock.run(plan.faults_end + late + max(liveness.STORE_WITHIN * slowness, within))
        if self._two_histories():
            return
        liveness.check_store(clock.now, cluster.conditions_of_nodes())
        last = [cluster.workload.write_at(node) for node in listed]
        if plan.one_line:
            cluster.administrator.calm()
        clock.run(plan.seconds + late)
        cluster.rest(plan.seconds + late + REST_WITHIN)
        liveness.check_last_writes(clock.now, last)
        cluster.administrator.check_calm(clock.now)
        if plan.memory_rot:
            self._rot_in_memory()
        for kind, strangers in cluster.strangers.items():
            attack.check_strangers(clock.now, STRANGERS[kind], strangers.members, THEIRS)
        self._drill()
        for watcher in cluster.watchers:
            watcher.check_up_to_date(clock.now, cluster.administrator.listed())
        self._judge.finish()
        self._judge.check()

    def _begin(self) -> None:
        """Everything that happens by itself from here on is asked for."""
        cluster, plan, clock = self._cluster, self._plan, self._clock
        cluster.say(str(plan))
        for node in plan.nodes:
            clock.at(cluster.random.uniform(0.0, 0.3), cluster.hosts[node].start)
        cluster.workload.start(ASKED_FROM)
        cluster.tree_load.start(0.6)
        cluster.processes.start(0.7)
        for watcher in cluster.watchers:
            watcher.start()
        cluster.faults.schedule(plan.faults)
        if plan.attacked_alone:
            clock.at(plan.faults[0].at - 0.01, self._look_at_nodes)
        cluster.administrator.schedule(plan.actions)
        cluster.lookout.start()

    def _wait_for_added(self, within: float) -> float:
        """A machine that is added, and switched on after the last fault, has its time from there. Returns how many
        seconds later than usual that is."""
        cluster, plan, clock = self._cluster, self._plan, self._clock
        if not plan.members_move:
            return 0.0
        latest = plan.faults_end + 2 * within
        while (started := min(cluster.history.processes[-1].started, latest)) + within > clock.now:
            clock.run(started + within)
        return clock.now - within - plan.faults_end

    def _two_histories(self) -> bool:
        """The alarm for which the product cannot do more; the run ends. `durability: memory` promises nothing over a
        loss of all power: one node's disk may have acknowledged writes that all others lost, who went on without it.
        And a disk that was put back, with its marker, tells nobody so where all who know better are away: with it
        others go on."""
        cluster, history = self._cluster, self._cluster.history
        if not any(
            "both committed by a data majority" in condition.reason for condition in cluster.conditions_of_nodes()
        ):
            return False
        put_back = any(fault.kind in ("rollback", "snapshot") for fault in self._plan.faults)
        if not put_back and not (history.in_memory and history.power_losses):
            return False
        cluster.say("two histories have met, as they may here: an operator must choose, the run ends")
        cluster.rest(self._plan.seconds)
        self._judge.check_rings()
        return True

    # -- tried in the calm -----------------------------------------------------------------------------------

    def _rot_in_memory(self) -> None:
        """S4: the trees of all members are compared while anything is written, and who has another one is resynced."""
        cluster, clock = self._cluster, self._clock
        listed, random = cluster.administrator.listed(), self._plan.random("memory rot")
        rotten = cluster.hosts[random.choice(listed)]
        if len(listed) < 3:
            return
        writer = next(node for node in listed if node != rotten.me)
        assert rotten.node is not None
        path = rot_in_memory(rotten.node, random, spared=last_path(writer))
        if path is None:
            return
        rotten.socket.rotten = True
        cluster.say(f"a bit of {path} flips in the memory of node {rotten.me}")
        before = {node: cluster.hosts[node].storage.transfers for node in listed}
        last = cluster.workload.write_at(writer)
        clock.run(clock.now + memory.COMPARED_WITHIN * self._plan.settings.slowness)
        resynced = [node for node in listed if cluster.hosts[node].storage.transfers > before[node]]
        memory.check(clock.now, rotten.me, resynced)
        liveness.check_store(clock.now, cluster.conditions_of_nodes())
        liveness.check_last_writes(clock.now, [last])
        rotten.did["bit flipped in memory"] += 1

    def _drill(self) -> None:
        """Single troubles in the calm; then all is as it was."""
        cluster, plan, clock = self._cluster, self._plan, self._clock
        if not plan.drills:
            return
        cluster.faults.schedule(plan.drills)
        clock.run(drills.end(plan.drills, plan.tempo))
        listed = cluster.administrator.listed()
        liveness.check_ring(clock.now, listed, cluster.conditions_of_nodes())
        cluster.rest(clock.now + liveness.STORE_WITHIN * plan.settings.slowness)
        liveness.check_store(clock.now, cluster.conditions_of_nodes())

    # -- X1, where strangers are the only trouble of the run ---------------------------------------------------

    def _look_at_nodes(self) -> None:
        self._looks = {look.node: look for look in self._looks_now()}

    def _looks_now(self) -> list[attack.Look]:
        now, hosts = self._clock.now, self._cluster.hosts.values()
        return [attack.look(now, h.me, h.process_number, h.node, h.log.lines) for h in hosts if h.node and h.log]

    def _check_attack(self) -> None:
        if not self._plan.attacked_alone:
            return
        cluster = self._cluster
        for after in self._looks_now():
            by_all = (cluster.attacker.arrived, *(strangers.arrived for strangers in cluster.strangers.values()))
            arrived = sum(arrived[after.node, after.process] for arrived in by_all)
            attack.check_alone(self._looks[after.node], after, arrived)
            self._judge.note("X1", 1)
        attack.check_answers(self._clock.now, cluster.attacker.amplified())


def rot_in_memory(node: Node, random: Random, spared: str) -> str | None:
    """A bit of some file but the spared one flips in the tree that this node has in memory; which file, None where it
    has no other."""
    tree = node.replica.state._tree
    files = sorted(path for path, entry in tree.entries.items() if entry.data and path != spared)
    if not files:
        return None
    entry = tree.entries[random.choice(files)]
    place = random.randrange(len(entry.data))
    flipped = bytes([entry.data[place] ^ 1 << random.randrange(8)])
    entry.data = entry.data[:place] + flipped + entry.data[place + 1 :]
    return entry.path
