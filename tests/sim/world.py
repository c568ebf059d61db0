"""What the hosts of a run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.sim.build import Recipe
from tests.sim.checkers.verdicts import Verdicts
from tests.sim.clock import Clock
from tests.sim.device import Arbiter
from tests.sim.groups import Processes
from tests.sim.history import Call, History
from tests.sim.minutes import Minutes
from tests.sim.network import Network
from tests.sim.trace import Trace
from tests.sim.watchers import Watcher
from tests.sim.workload import Workload
from transport.ids import NodeId


@dataclass(slots=True)
class World:
    """acked(node, call): a client of `node` is told that its write was done.  verdict_changed(): some node's.
    woke(node, slept): it stood still for so many seconds.  equip(node): a machine without a configuration gets one."""

    clock: Clock
    random: Random
    network: Network
    trace: Trace
    history: History
    recipe: Recipe
    arbiter: Arbiter
    workload: Workload
    acked: Callable[[NodeId, Call], None]
    verdict_changed: Callable[[], None]
    woke: Callable[[NodeId, float], None]
    processes: Processes
    equip: Callable[[NodeId], None]
    minutes: Minutes
    verdicts: Verdicts
    watchers: list[Watcher] = field(default_factory=list)
