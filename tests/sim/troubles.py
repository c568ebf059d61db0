"""The faults that a seed draws: which, when, and whom they befall. Carried out by tests/sim/faults.py.

Each fault is drawn by lots of its own, named by seed and number: one more kind changes only the faults that it takes
the place of, and a fault taken out of a plan leaves the others as they were, also what they draw at work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from tests.sim.aspects import aspect, pick
from transport.ids import LinkId, NodeId

ATTACKS = ("replay", "reflect", "copy", "forge", "flood")  # by tests/sim/attacker.py
STRANGERS = {"other-cluster": "another", "same-name": "sim"}  # by tests/sim/strangers.py: their clusters' names
WARM = 2.5  # seconds before the first fault: the ring forms, the store opens


@dataclass(frozen=True, slots=True)
class Fault:
    """One trouble from `at` to `until`; `where` is what it befalls (nodes, paths, groups), by kind.

    number: which fault of its seed it is; what it draws while it is carried out is named by it.
    """

    kind: str
    at: float
    until: float
    where: tuple[int, ...] = ()
    other: tuple[int, ...] = ()
    amount: float = 0.0
    number: int = 0

    def __str__(self) -> str:
        parts = [self.kind, *(str(list(nodes)) for nodes in (self.where, self.other) if nodes)]
        return " ".join(parts) + (f" {self.amount:.3g}" if self.amount else "")


# kind -> how often it is drawn
KINDS = {
    "partition": 5,
    "kill": 5,
    "pause": 4,
    "noise": 4,
    "one-way": 3,
    "asymmetric": 2,
    "delay": 2,
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
    "snapshot": 2,
    "slow-node": 2,
}
# The same, where a quorum device is configured.
DEVICE = {"device-cut": 12, "device-down": 10}
# These befall what is between nodes.
PAIRS = ("partition", "one-way", "asymmetric", "delay", "partial", "link-down", "flap", "clog", "mtu-hole", "noise")
# Of each group at most one in a run: S1 holds while a data majority keeps its disks.
DISK_LOSSES = ("blank", "rot", "rollback", "snapshot")  # what was on a disk is gone, or some of it
ONCE = (("power",), DISK_LOSSES)
HANG, MACHINE, ATTACK = 100, 110, 120  # the numbers of faults that have an aspect of their own


def draw_faults(
    seed: int,
    nodes: tuple[NodeId, ...],
    votes: dict[NodeId, int],
    links: tuple[LinkId, ...],
    last: float,
    kinds: Mapping[str, int],
    halves: bool = False,
) -> tuple[Fault, ...]:
    """Between 3 and 8 troubles between WARM and `last`; they may overlap.

    kinds: how often each is drawn.  halves: partitions into halves, and long ones, are wanted: an option decides them.
    """
    faults: list[Fault] = []
    for number in range(aspect(seed, "faults").randint(3, 8) if kinds else 0):
        kind = pick(seed, f"fault {number}", kinds)
        random = aspect(seed, f"fault {number} {kind}")
        for group in ONCE:
            if kind in group:
                kinds = {name: often for name, often in kinds.items() if name not in group} or kinds
        fault = _drawn(random, number, kind, nodes, votes, links, last, halves)
        if fault is not None:
            faults.append(fault)
    return tuple(faults)


def _drawn(
    random: Random,
    number: int,
    kind: str,
    nodes: tuple[NodeId, ...],
    votes: dict[NodeId, int],
    links: tuple[LinkId, ...],
    last: float,
    halves: bool,
) -> Fault | None:
    """One fault of this kind; None where there is nobody that it may befall."""
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
        case "asymmetric":
            where = tuple(sorted(shuffled[: random.choice((1, 2, len(nodes)))]))
        case "delay":
            where, amount = (shuffled[0],), random.choice((0.005, 0.02, 0.06))
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
        case "blank" | "rot" | "rollback" | "snapshot":
            total = sum(votes.values())
            light = [node for node in nodes if 2 * (total - votes[node]) > total]
            if not light:
                return None
            where, amount = (random.choice(light),), float(random.random() < 0.5)
        case "power":
            where = nodes
        case "disk-full" | "disk-broken":
            # A shell tries a failed disk again every second; that is not what L1 is about.
            where, at, until = (shuffled[0],), min(at, last - 1.3), min(until, last - 1.2)
        case "device-cut":
            where = tuple(sorted(shuffled[: random.randint(1, len(nodes))]))
        case "device-down":
            pass
        case "kill" | "leave" | "pause":
            where = tuple(sorted(shuffled[: random.choice((1, 1, 1, 2))]))
        case _:
            where = (shuffled[0],)
    return Fault(kind, at, until, where, other, amount, number)


def hangs(seed: int, nodes: tuple[NodeId, ...], last: float) -> tuple[Fault, ...]:
    """Now and then a disk that does not answer for many seconds, from early on."""
    random = aspect(seed, "hangs")
    if random.random() >= 0.1:
        return ()
    at = WARM + random.uniform(0.0, 3.0)
    until = min(last - 1.0, at + random.uniform(3.0, 9.0))
    return (Fault("disk-hung", at, until, (random.choice(nodes),), number=HANG),)


def attacks(seed: int, last: float) -> tuple[tuple[Fault, ...], bool]:
    """Now and then somebody without keys on the network, and other clusters; and whether they are the only trouble."""
    found: list[Fault] = []
    chosen = aspect(seed, "attack")
    attacked = chosen.random() < 0.1
    often = dict.fromkeys(ATTACKS, 0.8 if attacked else 0.0) | dict.fromkeys(STRANGERS, 0.3 if attacked else 0.04)
    for number, (kind, share) in enumerate(often.items(), ATTACK):
        random = aspect(seed, kind)
        if random.random() < share:
            at = random.uniform(WARM, last - 2.0)
            longest = 1.5 if kind == "flood" else 8.0
            until = min(last, at + random.uniform(0.5, longest))
            found.append(Fault(kind, at, until, number=number))
    return tuple(found), len(found) >= 3 and chosen.random() < 0.5


def machines(seed: int, nodes: tuple[NodeId, ...], links: tuple[LinkId, ...], last: float) -> tuple[Fault, ...]:
    """What a host tells its daemon now and then: its clock jumped, an address is gone, packets are too big."""
    found: list[Fault] = []
    for number, kind in enumerate(("clock-jump", "address-gone", "too-big"), MACHINE):
        random = aspect(seed, kind)
        if random.random() < 0.12:
            at = random.uniform(WARM, last - 1.0)
            until = min(last - 0.2, at + random.uniform(0.2, 4.0))
            node, link, size = random.choice(nodes), random.choice(links), random.choice((600.0, 1000.0, 1300.0))
            other = (link,) if kind == "address-gone" else ()
            step = random.choice((-1, 1)) * random.choice((1.0, 3600.0, 4e7))  # seconds
            amount = {"too-big": size, "clock-jump": step}.get(kind, 0.0)
            found.append(Fault(kind, at, until, (node,), other, amount, number))
    return tuple(found)
