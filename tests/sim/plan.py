"""What one seed draws: the cluster, its network, its load and its faults. Nothing else decides a run.

Each aspect is drawn by a Random of its own, named by the seed and the aspect: a choice added to one of them leaves the
others as they were, so that a seed goes on meaning much the same run while the simulator grows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.sim import actions, settings
from tests.sim.actions import RETIRE, SPARES, Action
from tests.sim.network import Conditions
from tests.sim.settings import Settings
from transport.ids import LinkId, NodeId

WARM = 2.5  # seconds before the first fault: the ring forms, the store opens
CALM = 5.0  # seconds after the last fault: everything must have converged by then; more where the token is slow
SIZES = {1: 1, 2: 6, 3: 36, 4: 16, 5: 30, 6: 6, 7: 5, 8: 3, 9: 2, 16: 0.6, 32: 0.15}  # nodes -> how often


@dataclass(frozen=True, slots=True)
class Fault:
    """One trouble from `at` to `until`; `where` is what it befalls (nodes, paths, groups), by kind."""

    kind: str
    at: float
    until: float
    where: tuple[int, ...] = ()
    other: tuple[int, ...] = ()
    amount: float = 0.0

    def __str__(self) -> str:
        parts = [self.kind, *(str(list(nodes)) for nodes in (self.where, self.other) if nodes)]
        return " ".join(parts) + (f" {self.amount:.3g}" if self.amount else "")


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. votes: node -> votes.  rate: operations per second of all clients.  skew: each clock's offset and rate.

    lengths: how many times the usual delay each link has.
    wake_delay: seconds from a datagram's arrival to the process that reads it, with all that came meanwhile.
    luck: another number lets everything that is not planned fall out otherwise: delays, losses, what clients do.
    """

    seed: int
    nodes: tuple[NodeId, ...]
    votes: dict[NodeId, int] = field(hash=False)
    links: tuple[LinkId, ...]
    lengths: tuple[float, ...]
    settings: Settings
    rate: float
    keys: int
    value_bytes: int
    conditions: Conditions
    wake_delay: float
    skew: dict[NodeId, tuple[float, float]] = field(hash=False)
    faults: tuple[Fault, ...]
    faults_end: float
    actions: tuple[Action, ...] = ()
    retire_after: float = RETIRE[-1]
    luck: int = 0

    def random(self, name: str) -> Random:
        """The Random that draws one aspect of what happens while this plan runs."""
        return aspect(self.seed, f"{name} {self.luck}" if self.luck else name)

    @property
    def spares(self) -> tuple[NodeId, ...]:
        """Machines that are no nodes at the start."""
        return tuple(range(len(self.nodes) + 1, len(self.nodes) + 1 + SPARES)) if self.actions else ()

    @property
    def seconds(self) -> float:
        return self.faults_end + CALM * self.settings.slowness

    def __str__(self) -> str:
        votes = "" if set(self.votes.values()) == {1} else f" with votes {list(self.votes.values())}"
        links = f"{len(self.links)} link{'s' * (len(self.links) > 1)}"
        kinds = ", ".join(fault.kind for fault in self.faults)
        done = ", ".join(action.kind for action in self.actions)
        administrator = f"; administrator: {done}" if done else ""
        return f"{len(self.nodes)} nodes{votes}, {links}, {self.settings}; faults: {kinds}{administrator}"


# kind -> how often it is drawn
KINDS = {
    "partition": 5,
    "kill": 5,
    "pause": 4,
    "noise": 4,
    "one-way": 3,
    "partial": 3,
    "link-down": 2,
    "flap": 2,
    "clog": 3,
    "mtu-hole": 2,
    "leave": 3,
    "power": 2,
    "slow-disk": 2,
    "disk-full": 2,
    "disk-broken": 1,
    "blank": 2,
    "rot": 1,
    "rollback": 1,
    "slow-node": 2,
}
# The same, where a quorum device is configured.
DEVICE = {"device-cut": 4, "device-down": 3}
# These befall what is between nodes.
PAIRS = ("partition", "one-way", "partial", "link-down", "flap", "clog", "mtu-hole", "noise")
# Of each group at most one in a run: S1 holds while a data majority keeps its disks.
ONCE = (("power",), ("blank", "rot", "rollback"))


def aspect(seed: int, name: str) -> Random:
    """The Random that draws one aspect of a run, equal in every process."""
    return Random(f"{seed:x} {name}")


def draw(seed: int, nodes: int | None = None) -> tuple[Plan, Random]:
    """The plan of a seed, and the Random that goes on to draw everything that happens in it."""
    count = nodes or aspect(seed, "size").choices(list(SIZES), list(SIZES.values()))[0]
    ids = tuple(range(1, count + 1))
    random = aspect(seed, "votes")
    weighted = random.random() < 0.15
    votes = {node: random.choice((1, 1, 2)) if weighted else 1 for node in ids}
    random = aspect(seed, "links")
    links = tuple(range(random.choice((1, 2, 2, 2, 3)) if count < 10 else random.choice((1, 2))))
    lengths = tuple(random.choice((1.0, 1.0, 1.0, 1.5, 3.0)) for _ in links)
    drawn = settings.draw(aspect(seed, "settings"), votes, links)
    random = aspect(seed, "network")
    base = Conditions(delay=random.choice((0.0002, 0.0005, 0.001, 0.002)), jitter=random.choice((0.0001, 0.0005)))
    base.mtu = random.choice((1500, 1500, 1500, 1400, 9000))
    if random.random() < 0.3:
        base.loss = random.choice((0.001, 0.01))
    wake_delay = random.choice((50e-6, 100e-6, 200e-6))
    random = aspect(seed, "load")
    rate, keys = random.choice((15.0, 20.0, 20.0, 40.0)), random.choice((4, 8, 16))
    value_bytes = random.choice((16, 100, 1000, 6000))
    random = aspect(seed, "clocks")
    skew = {node: (random.uniform(0.0, 1000.0), random.uniform(0.995, 1.005)) for node in range(1, count + 3)}
    random = aspect(seed, "faults")
    last = WARM + random.uniform(9.0, 12.0)
    kinds = {kind: often for kind, often in KINDS.items() if count > 1 or kind not in PAIRS}
    if drawn.quorum.device:
        kinds |= DEVICE
    if drawn.may_be_narrow and count > 1:
        kinds["partition"] *= 4
    faults = draw_faults(random, ids, votes, links, last, kinds, halves=drawn.may_be_narrow)
    faults += hangs(aspect(seed, "hangs"), ids, last)
    faults += machines(aspect(seed, "machines"), ids, links, last)
    random = aspect(seed, "administrator")
    retire_after = random.choice(RETIRE)
    kinds_drawn = frozenset(fault.kind for fault in faults)
    plan = Plan(
        seed=seed,
        nodes=ids,
        votes=votes,
        links=links,
        lengths=lengths,
        settings=drawn,
        rate=rate,
        keys=keys,
        value_bytes=value_bytes,
        conditions=base,
        wake_delay=wake_delay,
        skew=skew,
        faults=faults,
        faults_end=last,
        actions=actions.draw(random, drawn, kinds_drawn, WARM, last),
        retire_after=retire_after,
    )
    return plan, plan.random("run")


def hangs(random: Random, nodes: tuple[NodeId, ...], last: float) -> tuple[Fault, ...]:
    """Now and then a disk that does not answer for many seconds, from early on."""
    if random.random() >= 0.1:
        return ()
    at = WARM + random.uniform(0.0, 3.0)
    until = min(last - 1.0, at + random.uniform(3.0, 9.0))
    return (Fault("disk-hung", at, until, (random.choice(nodes),), (), 0.0),)


def machines(random: Random, nodes: tuple[NodeId, ...], links: tuple[LinkId, ...], last: float) -> tuple[Fault, ...]:
    """What a host tells its daemon now and then: its clock jumped, an address is gone, packets are too big."""
    found: list[Fault] = []
    for kind in ("clock-jump", "address-gone", "too-big"):
        at = random.uniform(WARM, last - 1.0)
        until = min(last - 0.2, at + random.uniform(0.2, 4.0))
        node, link, size = random.choice(nodes), random.choice(links), random.choice((600.0, 1000.0, 1300.0))
        if random.random() < 0.12:
            other = (link,) if kind == "address-gone" else ()
            found.append(Fault(kind, at, until, (node,), other, size if kind == "too-big" else 0.0))
    return tuple(found)


def draw_faults(
    random: Random,
    nodes: tuple[NodeId, ...],
    votes: dict[NodeId, int],
    links: tuple[LinkId, ...],
    last: float,
    kinds: dict[str, int],
    halves: bool = False,
) -> tuple[Fault, ...]:
    """Between 3 and 8 troubles between WARM and `last`; they may overlap.

    kinds: how often each is drawn.  halves: partitions into halves, and long ones, are wanted: an option decides them.
    """
    faults: list[Fault] = []
    for _ in range(random.randint(3, 8)):
        kind = random.choices(list(kinds), list(kinds.values()))[0]
        for group in ONCE:
            if kind in group:
                kinds = {name: often for name, often in kinds.items() if name not in group}
        at = random.uniform(WARM, last - 1.0)
        until = min(last, at + random.choice((0.05, 0.3, 0.7, 1.5, 3.0, 5.0)) * random.uniform(0.5, 1.5))
        where: tuple[int, ...] = ()
        other: tuple[int, ...] = ()
        amount = 0.0
        shuffled = random.sample(nodes, len(nodes))
        match kind:
            case "partition":
                size = random.randint(1, len(nodes) - 1)
                if halves and random.random() < 0.7:
                    size, until = len(nodes) // 2, min(last, at + random.uniform(1.5, 5.0))
                where, other = tuple(sorted(shuffled[:size])), tuple(sorted(shuffled[size:]))
            case "one-way" | "partial" | "flap":
                where, other = (shuffled[0],), (shuffled[1],)
            case "link-down":
                where = (random.choice(links),)
            case "mtu-hole":
                where, amount = (shuffled[0],), random.choice((600.0, 1000.0, 1300.0))
            case "noise":
                where = nodes if random.random() < 0.5 else (shuffled[0],)
                amount = random.choice((0.02, 0.05, 0.1, 0.2))
            case "slow-disk":
                where, amount = (shuffled[0],), random.choice((10.0, 50.0, 300.0))
            case "slow-node":
                where, amount = (shuffled[0],), random.choice((10.0, 50.0, 200.0))
            case "blank" | "rot" | "rollback":
                total = sum(votes.values())
                light = [node for node in nodes if 2 * (total - votes[node]) > total]
                if not light:
                    continue
                where, amount = (random.choice(light),), float(random.random() < 0.5)
            case "power":
                where = nodes
            case "disk-full" | "disk-broken":
                # A shell tries a failed disk again every second; that is not what L1 is about.
                where, until = (shuffled[0],), min(until, last - 1.2)
            case "device-cut":
                where = tuple(sorted(shuffled[: random.randint(1, len(nodes))]))
            case "device-down":
                pass
            case "kill" | "leave" | "pause":
                where = tuple(sorted(shuffled[: random.choice((1, 1, 1, 2))]))
            case _:
                where = (shuffled[0],)
        faults.append(Fault(kind, at, until, where, other, amount))
    return tuple(sorted(faults, key=lambda fault: (fault.at, fault.kind)))
