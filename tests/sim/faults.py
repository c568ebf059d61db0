"""Carries out the faults of a plan, and ends every one of them.

Each kind has a beginning and an end on the cluster's network, hosts and disks; faults overlap freely, so a path counts
how many hold it closed, and starting a node that runs is nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Protocol

from cfs.disk import StoreHealth
from clusterd.node import Node
from tests.sim.attacker import Attacker
from tests.sim.clock import Clock
from tests.sim.device import Arbiter
from tests.sim.generation import Generation
from tests.sim.hypervisor import Hypervisor
from tests.sim.inbox import Inbox
from tests.sim.network import Change, Network, PathKey
from tests.sim.snapshot import Snapshot
from tests.sim.storage import Storage
from tests.sim.strangers import Strangers
from tests.sim.troubles import Fault
from transport.ids import LinkId, NodeId


class Machine(Protocol):
    """What faults do to a host."""

    inbox: Inbox
    storage: Storage
    paused_for: float
    did: Counter[str]
    node: Node | None

    @property
    def up(self) -> bool: ...
    @property
    def remembers(self) -> bool: ...
    def start(self) -> None: ...
    def kill(self, power: bool = False) -> None: ...
    def leave(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self, timers_first: bool = False) -> None: ...
    def wipe(self, keep_marker: bool) -> None: ...
    def restore(self, saved: Generation | None) -> None: ...
    def clock_jumped(self, seconds: float) -> None: ...
    def set_address(self, link: LinkId, gone: bool) -> None: ...
    def told_too_big(self, size: int) -> None: ...


class Faults:
    """chance: the Random of a name.  say: one line for the trace at each beginning and end."""

    def __init__(
        self,
        clock: Clock,
        chance: Callable[[str], Random],
        network: Network,
        hosts: Mapping[NodeId, Machine],
        hypervisor: Hypervisor,
        links: tuple[LinkId, ...],
        arbiter: Arbiter,
        attacker: Attacker,
        strangers: Mapping[str, Strangers],
        say: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._lots: dict[int, Random] = {}
        self._network = network
        self._hosts = hosts
        self._hypervisor = hypervisor
        self._links = links
        self._arbiter = arbiter
        self._attacker = attacker
        self._strangers = strangers
        self._say = say
        self._undo: dict[int, list[tuple[PathKey, Change]]] = {}
        self._clogged: dict[int, list[PathKey]] = {}
        self._flapping: set[int] = set()
        self._backups: dict[int, Generation | None] = {}
        self._snapshots: dict[int, Snapshot] = {}
        self._before: dict[int, float] = {}
        self.begun = 0
        self.did: Counter[str] = Counter()

    def schedule(self, faults: Iterable[Fault]) -> None:
        for number, fault in enumerate(faults):
            self._lots[number] = self._chance(f"fault {fault.number} {fault.kind} at work")
            self._clock.at(fault.at, self._begin, number, fault)
            self._clock.at(fault.until, self._end, number, fault)

    def _paths(self, sources: Iterable[NodeId], targets: Iterable[NodeId], both: bool = True) -> list[PathKey]:
        pairs = [(a, b) for a in sources for b in targets if a != b]
        if both:
            pairs += [(b, a) for a, b in pairs]
        return [(a, b, link) for a, b in dict.fromkeys(pairs) for link in self._links]

    def _begin(self, number: int, fault: Fault) -> None:
        self.begun += 1
        self._say(f"fault begins: {fault}")
        hosts = self._befallen(fault)
        if fault.kind == "clog":
            self._clogged[number] = self._some(number, fault)
        self._before[number] = self._done_to(number, fault, hosts)
        match fault.kind:
            case "partition" | "partial":
                self._each(self._network.cut, self._paths(fault.where, fault.other))
            case "one-way":
                self._each(self._network.cut, self._paths(fault.where, fault.other, both=False))
            case "link-down":
                self._each(self._network.cut, self._link_paths(fault.where[0]))
            case "asymmetric":
                self._each(self._network.cut, self._scattered(fault))
            case "delay":
                self._slow_down(number, fault)
            case "flap":
                self._flapping.add(number)
                self._flap(number, fault, closed=False)
            case "clog":
                self._clog(number, fault)
            case "mtu-hole":
                self._trouble(number, self._paths(fault.where, self._hosts), mtu=int(fault.amount))
            case "too-big":
                self._trouble(number, self._paths(fault.where, self._hosts), mtu=int(fault.amount))
                hosts[0].told_too_big(int(fault.amount))
            case "clock-jump":
                hosts[0].clock_jumped(fault.amount)
            case "address-gone":
                hosts[0].set_address(fault.other[0], gone=True)
            case "noise":
                share = fault.amount
                self._trouble(
                    number,
                    self._paths(fault.where, self._hosts),
                    loss=share,
                    duplicate=share,
                    corrupt=share / 5,
                    truncate=share / 5,
                    reorder=share * 2,
                    jitter=self._lots[number].choice((0.0005, 0.002, 0.01)),
                )
            case "kill":
                for host in hosts:
                    host.kill()
            case "leave":
                for host in hosts:
                    host.leave()
            case "pause":
                for host in hosts:
                    host.pause()
            case "power":
                for host in hosts:
                    host.kill(power=True)
            case "blank":
                hosts[0].kill()
                hosts[0].wipe(bool(fault.amount))
            case "rot":
                hosts[0].kill()
                hosts[0].storage.rot()
            case "rollback":
                self._backups[number] = hosts[0].storage.store.backup()
            case "snapshot":
                told = not fault.amount or self._chance(f"fault {fault.number} told").random() >= 0.6
                self._snapshots[number] = self._hypervisor.snapshot(fault.where[0], memory=not told)
            case "slow-disk":
                hosts[0].storage.slow = fault.amount
            case "slow-node":
                hosts[0].inbox.cost_factor = fault.amount
            case "disk-hung":
                hosts[0].storage.hang(True)
            case "disk-full":
                hosts[0].storage.store.full = True
            case "disk-broken":
                hosts[0].storage.store.broken = True
            case "device-cut":
                self._arbiter.cut.update(fault.where)
            case "device-down":
                self._arbiter.down += 1
            case "replay" | "reflect" | "copy" | "forge" | "flood":
                self._attacker.begin(fault.kind, fault.number, fault.until)
            case "other-cluster" | "same-name":
                self._strangers[fault.kind].begin()
            case _:
                raise AssertionError(fault.kind)

    def _end(self, number: int, fault: Fault) -> None:
        self._say(f"fault ends: {fault}")
        hosts = self._befallen(fault)
        match fault.kind:
            case "partition" | "partial":
                self._each(self._network.heal, self._paths(fault.where, fault.other))
            case "one-way":
                self._each(self._network.heal, self._paths(fault.where, fault.other, both=False))
            case "link-down":
                self._each(self._network.heal, self._link_paths(fault.where[0]))
            case "asymmetric":
                self._each(self._network.heal, self._scattered(fault))
            case "flap":
                self._flapping.discard(number)
            case "address-gone":
                hosts[0].set_address(fault.other[0], gone=False)
            case "mtu-hole" | "noise" | "too-big" | "delay":
                for key, change in self._undo[number]:
                    self._network.change_back(key, change)
            case "rollback":
                hosts[0].kill()
                hosts[0].restore(self._backups.pop(number))
                hosts[0].start()
            case "snapshot":
                self._hypervisor.put_back(fault.where[0], self._snapshots.pop(number))
                later = self._lots[number].choice((0.01, 0.2, 1.0))
                if not hosts[0].remembers:
                    self._clock.after(later, hosts[0].start)
            case "kill" | "leave" | "blank" | "rot":
                for host in hosts:
                    host.start()
            case "pause":
                for host in hosts:
                    host.resume(timers_first=self._lots[number].random() < 0.5)
            case "power":
                for host in hosts:
                    self._clock.after(self._lots[number].uniform(0.0, 0.5), host.start)
            case "slow-disk":
                hosts[0].storage.slow = 1.0
            case "slow-node":
                hosts[0].inbox.cost_factor = 1.0
            case "disk-hung":
                hosts[0].storage.hang(False)
            case "disk-full":
                hosts[0].storage.store.full = False
            case "disk-broken":
                hosts[0].storage.store.broken = False
            case "device-cut":
                self._arbiter.cut.subtract(fault.where)
            case "device-down":
                self._arbiter.down -= 1
            case "other-cluster" | "same-name":
                self._strangers[fault.kind].end()
        if self._done_to(number, fault, hosts) > self._before.pop(number):
            self.did[fault.kind] += 1
            if fault.kind == "link-down" and fault.where == (0,) and len(self._links) > 1:
                self.did["link 0 down with another up"] += 1

    def _befallen(self, fault: Fault) -> list[Machine]:
        return [self._hosts[node] for node in fault.where if node in self._hosts]

    def _done_to(self, number: int, fault: Fault, hosts: list[Machine]) -> float:
        """What this fault is about, counted where it works: more at its end than before means that it did something."""
        match fault.kind:
            case "partition" | "partial" | "flap":
                return self._swallowed(self._paths(fault.where, fault.other))
            case "one-way":
                return self._swallowed(self._paths(fault.where, fault.other, both=False))
            case "asymmetric":
                return self._swallowed(self._scattered(fault))
            case "link-down":
                return self._swallowed(self._link_paths(fault.where[0]))
            case "mtu-hole" | "too-big" | "noise" | "delay":
                return sum(change.did for _, change in self._undo.get(number, ()))
            case "clog":
                return sum(self._network.paths[key].clogged for key in self._clogged[number])
            case "kill" | "power":
                return sum(host.did["killed"] for host in hosts)
            case "snapshot":
                return sum(host.did["put back"] for host in hosts)
            case "leave":
                return sum(host.did["left"] for host in hosts)
            case "pause":
                return sum(host.paused_for for host in hosts)
            case "blank":
                return sum(host.storage.found[StoreHealth.MISSING] for host in hosts)
            case "rot":
                return sum(host.storage.found[StoreHealth.DAMAGED] for host in hosts)
            case "rollback":
                return sum(host.storage.found[StoreHealth.ROLLED_BACK] for host in hosts)
            case "disk-full" | "disk-broken":
                return sum(host.storage.store.did["refused"] for host in hosts)
            case "slow-disk":
                return sum(host.storage.store.did["slowed"] for host in hosts)
            case "disk-hung":
                return sum(host.storage.store.did["held up"] for host in hosts)
            case "slow-node":
                return sum(host.inbox.slowed for host in hosts)
            case "clock-jump":
                return sum(host.did["clock jumped"] for host in hosts)
            case "address-gone":
                return sum(host.did["without an address"] for host in hosts)
            case "device-cut" | "device-down":
                return self._arbiter.unheard[fault.kind]
            case "replay" | "reflect" | "copy" | "forge" | "flood":
                return self._attacker.did[fault.kind]
            case "other-cluster" | "same-name":
                return self._strangers[fault.kind].arrived.total()
            case _:
                raise AssertionError(fault.kind)

    def _swallowed(self, keys: Iterable[PathKey]) -> int:
        return sum(self._network.paths[key].swallowed for key in keys)

    def _scattered(self, fault: Fault) -> list[PathKey]:
        """About half of the ways, each in one direction on one link, between some nodes and all others."""
        random = self._chance(f"fault {fault.number} ways")
        return [key for key in self._paths(fault.where, self._hosts) if random.random() < 0.5]

    def _some(self, number: int, fault: Fault) -> list[PathKey]:
        """Of the ways between some nodes and all others, those that a clog befalls."""
        random = self._lots[number]
        return [key for key in self._paths(fault.where, self._hosts) if random.random() < 0.7]

    def _slow_down(self, number: int, fault: Fault) -> None:
        """Packets take longer to these nodes, or from them, or both."""
        sent = self._paths(fault.where, self._hosts, both=False)
        heard = self._paths(self._hosts, fault.where, both=False)
        keys = self._lots[number].choice((sent, heard, list(dict.fromkeys(sent + heard))))
        self._trouble(number, keys, delay=fault.amount)

    def _each(self, action: Callable[[PathKey], None], keys: Iterable[PathKey]) -> None:
        for key in keys:
            action(key)

    def _link_paths(self, link: LinkId) -> list[PathKey]:
        return [(a, b, link) for a in self._hosts for b in self._hosts if a != b]

    def _trouble(self, number: int, keys: list[PathKey], **values: float) -> None:
        self._undo[number] = [(key, self._network.change(key, **values)) for key in keys]

    def _flap(self, number: int, fault: Fault, closed: bool) -> None:
        """Close and open the paths of a pair in turn; when the fault ends they are left open."""
        keys = self._paths(fault.where, fault.other)
        if closed:
            self._each(self._network.heal, keys)
        if number not in self._flapping:
            return
        if not closed:
            self._each(self._network.cut, keys)
        self._clock.after(self._lots[number].uniform(0.05, 0.6), self._flap, number, fault, not closed)

    def _clog(self, number: int, fault: Fault) -> None:
        """Swizzle-clogging: a node's paths are clogged one by one, and opened one by one in another order."""
        random, span = self._lots[number], fault.until - fault.at
        for key in self._clogged[number]:
            self._clock.after(random.uniform(0.0, 0.4) * span, self._network.clog, key)
            self._clock.after(random.uniform(0.6, 1.0) * span, self._network.unclog, key)
