"""What the simulated machines run on: it makes snapshots of one, with its memory or without, and puts it back.

tests/sim/snapshot.py has what belongs to a snapshot, tests/sim/shadow.py what goes on from one with the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from copy import deepcopy

from tests.sim.host import Host
from tests.sim.shadow import LEAST, LONGEST, Machine, Shadow, knows_more, untapped
from tests.sim.snapshot import Memory, Snapshot, go_back, put_back, take
from tests.sim.tap import tap_past, waiting
from tests.sim.world import World
from transport.ids import NodeId


class Hypervisor:
    """That of all machines of a run."""

    def __init__(self, hosts: Mapping[NodeId, Host], world: World) -> None:
        self._hosts = hosts
        self._world = world

    def snapshot(self, node: NodeId, memory: bool = False) -> Snapshot:
        """Of this virtual machine; it goes on meanwhile. memory: with that of its process."""
        host = self._hosts[node]
        kept = self._memory(host) if memory else None
        return take(host.storage, host.now(), self._world.clock.now, kept)

    def _memory(self, host: Host) -> Memory | None:
        """None: no process runs, or it cannot go on later."""
        if host.node is None or host.process is None or not host.can_connect():
            return None
        world = self._world
        around = (world, world.random, world.trace, world.clock, world.network, host, host.time, host.log)
        shared = (*around, host.node._log)
        copied = deepcopy(host.node, {id(one): one for one in shared})
        untapped(copied)
        return Memory(copied, host.process, waiting(host.process))

    def put_back(self, node: NodeId, snapshot: Snapshot) -> None:
        """It goes on from the snapshot. Its hypervisor tells, and the process ends, for a new one to start; or it was
        made with the memory, and nobody tells. But of the other nodes that run somebody must have heard of it since: or
        what goes on is like one that was stopped for a while, which `pause` does, and a new process starts here too."""
        host, now = self._hosts[node], self._world.clock.now
        others = [(other, other.node) for other in self._hosts.values() if other.node is not None]
        host.end_shadow()
        if host.node is not None:
            host.end("put back")
        host.time.put_back(snapshot.reading)
        memory = snapshot.memory if now - snapshot.at >= LEAST else None
        knowing = [(other, life) for other, life in others if memory is not None and knows_more(life, memory.node)]
        if memory is not None and knowing:
            go_back(host.storage, snapshot)
            self._world.processes.put_back(node, memory.process.number, snapshot.at)
            self._go_on(host, memory, lambda: {other.me for other, life in knowing if other.node is life})
        else:
            put_back(host.storage, snapshot)
        host.socket.forget_samples()

    def _go_on(self, host: Host, memory: Memory, knowing: Callable[[], Set[NodeId]]) -> None:
        """The process of the past, until it ends by itself or somebody starts its daemon anew."""
        world, clock = self._world, self._world.clock
        host.did["put back with its memory"] += 1
        world.trace.line(clock.now, host.me, "goes on from a snapshot of its memory")
        machine = Machine(host.me, clock, world.network, host.storage, host.now, host.time.true)
        tap_past(memory.node, memory.process, memory.waiting, world.history)
        shadow = Shadow(memory.node, machine, lambda: clock.after(0.2, self._start_after, host, shadow), knowing)
        host.shadow = shadow
        clock.after(LONGEST, self._start_after, host, shadow)

    def _start_after(self, host: Host, shadow: Shadow) -> None:
        if host.shadow is shadow:
            host.start()
