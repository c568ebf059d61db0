"""A simulated cluster: all machines of a plan, and the world around them. Nothing happens in it by itself."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.sim.admin import Administrator, links_of
from tests.sim.attacker import Attacker
from tests.sim.build import Recipe
from tests.sim.checkers import liveness, verdicts
from tests.sim.clock import Clock
from tests.sim.device import Arbiter
from tests.sim.faults import Faults
from tests.sim.groups import Processes
from tests.sim.history import History
from tests.sim.host import Host
from tests.sim.hypervisor import Hypervisor
from tests.sim.local_socket import LocalSocket
from tests.sim.lookout import LEASE_CHECK, Lookout
from tests.sim.network import Address, Conditions, Network, PathKey
from tests.sim.plan import Plan
from tests.sim.strangers import Strangers
from tests.sim.trace import Trace
from tests.sim.tree_load import TreeLoad
from tests.sim.troubles import ATTACKS, DISK_LOSSES, STRANGERS
from tests.sim.watchers import WATCHERS, Watcher
from tests.sim.workload import Workload
from tests.sim.world import World
from transport.events import Delivery
from transport.ids import NodeId


class Cluster:
    """Hosts, clients and whoever troubles them, put together; tests/sim/course.py or a story sets them going."""

    def __init__(self, plan: Plan, random: Random, trace: Trace) -> None:
        self.plan = plan
        self.random = random
        self.clock = clock = Clock()
        self._trace = trace
        self.history = history = self._history()
        self.arbiter = Arbiter()
        self.network = Network(clock, random, self._deliver, self._refused)
        self.hosts: dict[NodeId, Host] = {}
        sockets: dict[NodeId, LocalSocket] = {}
        self.lookout = Lookout(plan, clock, self.hosts, history, trace)
        self.workload = Workload(plan, clock, random, sockets, history, self.lookout.call_ended)
        self.tree_load = TreeLoad(plan, clock, plan.random("tree"), sockets, self.workload)
        self.processes = Processes(clock, plan.random("groups"), self.hosts, plan.pace)
        self.verdicts = verdicts.Verdicts(
            lambda: clock.now,
            plan.settings.count_alike and not plan.moving and not any(a.kind == "option" for a in plan.actions),
        )
        recipe = self.recipe = Recipe(plan, random)
        self.administrator = Administrator(clock, plan.random("administrator at work"), self.hosts, recipe, self.say)
        self.minutes = self.administrator.minutes
        world = World(
            clock,
            random,
            self.network,
            trace,
            history,
            recipe,
            self.arbiter,
            self.workload,
            self.lookout.acked,
            self.lookout.look_at_leases,
            self.lookout.woke,
            self.processes,
            self.administrator.equip,
            self.minutes,
            self.verdicts,
        )
        for node in (*plan.nodes, *plan.spares):
            self.hosts[node] = host = Host(node, world)
            sockets[node] = host.socket
        self.watchers = world.watchers = [Watcher(clock, random, sockets, history) for _ in range(WATCHERS)]
        links = links_of(recipe) if plan.actions else list(plan.links)
        self.network.add(list(self.hosts), links, self._conditions)
        mtus = {link: self._conditions((0, 0, link)).mtu for link in links}
        self.attacker = Attacker(clock, plan.random, self.network, self.hosts, links, mtus)
        self.strangers = self._other_clusters(recipe)
        if any(fault.kind in ATTACKS for fault in plan.faults):
            self.network.heard = self.attacker.hear
        self.network.elsewhere = self._to_strangers
        self.faults = Faults(
            clock,
            plan.random,
            self.network,
            self.hosts,
            Hypervisor(self.hosts, world),
            tuple(links),
            self.arbiter,
            self.attacker,
            self.strangers,
            self.say,
        )

    def _history(self) -> History:
        """What is known beforehand."""
        plan, settings = self.plan, self.plan.settings
        votes = dict(plan.votes) | dict.fromkeys(plan.spares, 1)
        needed = settings.votes_needed
        if any(action.kind == "option" for action in plan.actions):  # it takes `expected_votes` out, however high
            needed = min(needed, sum(plan.votes.values()) // 2 + 1)
        if plan.moving:  # once nodes are removed a device may have the votes for one that has none itself
            needed = 0 if settings.quorum.device else 1
        history = History(votes, votes_needed=needed)
        history.in_memory = settings.durability == "memory"
        history.power_losses = [fault.at for fault in plan.faults if fault.kind == "power"]
        history.disk_losses = [
            (fault.until if fault.kind in ("rollback", "snapshot") else fault.at, fault.where[0])
            for fault in plan.faults
            if fault.kind in DISK_LOSSES
        ]
        history.old_copies = [(f.until, f.where[0]) for f in plan.faults if f.kind in ("rollback", "snapshot")]
        return history

    def _other_clusters(self, recipe: Recipe) -> dict[str, Strangers]:
        """Those that this run will meet, by the kind of fault that they are."""
        plan = self.plan
        ours = {node: recipe.identity(node) for node in plan.nodes[:2]}
        return {
            kind: Strangers(name, part, self.clock, plan.random(kind), self.network, self.hosts, ours, self._trace)
            for part, (kind, name) in enumerate(STRANGERS.items(), 67)
            if any(fault.kind == kind for fault in plan.faults)
        }

    def _conditions(self, key: PathKey) -> Conditions:
        usual = self.plan.conditions
        link = key[2] % len(self.plan.links)
        mtu = self.plan.mtus[link] if self.plan.mtus else usual.mtu
        return replace(usual, delay=usual.delay * self.plan.lengths[link], mtu=mtu)

    # -- the network's ends ----------------------------------------------------------------------------------

    def _deliver(self, target: NodeId, source: NodeId, link: int, data: bytes) -> bool:
        return self.hosts[target].arrive(source, link, data)

    def _refused(self, source: NodeId, target: NodeId, link: int) -> None:
        self.hosts[source].refused(target, link)

    def _to_strangers(self, source: NodeId, address: Address, data: bytes) -> None:
        """A node sends something to an address that no machine of ours has."""
        mine = self.network.address(source, 0)
        if not any(strangers.hear(mine, address, data) for strangers in self.strangers.values()):
            self.attacker.answered(source, address, data)

    # -- for who sets them going -----------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """One line for the trace."""
        self._trace.line(self.clock.now, 0, text)

    def heal(self) -> None:
        """The end of all faults: nothing is cut, paused, slow or down any more."""
        self.say("all faults have ended")
        self.network.calm()
        self.arbiter.down = 0
        self.arbiter.cut.clear()
        for host in self.hosts.values():
            host.storage.slow, host.inbox.cost_factor = 1.0, 1.0
            host.storage.store.full = host.storage.store.broken = False
            host.storage.hang(False)
            host.resume()
        for node, host in self.hosts.items():
            self.administrator.equip(node)
            if self.administrator.may_start(node):
                host.start()
        self.administrator.healed()

    def rest(self, until: float) -> None:
        """Go on until every process has heard what it sent, or that time has come. The stores compare their trees at
        any moment, also the last one."""
        while not self._at_rest() and self.clock.now < until:
            self.clock.run(self.clock.now + LEASE_CHECK)

    def _at_rest(self) -> bool:
        return all(
            sum(1 for e in process.ring.events if isinstance(e, Delivery) and e.sender == process.node)
            == len(process.ring.sent)
            for process in self.history.processes
            if process.ended is None
        )

    def conditions_of_nodes(self) -> list[liveness.Condition]:
        """How all listed nodes, which run, stand now."""
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
