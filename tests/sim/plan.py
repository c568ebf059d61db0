"""What one seed draws: the cluster, its network, its load and its faults. Nothing else decides a run.

Each aspect is drawn by a Random of its own, named by the seed and the aspect: a choice added to one of them leaves the
others as they were, so that a seed goes on meaning much the same run while the simulator grows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from tests.sim import actions, drills, settings
from tests.sim.actions import RETIRE, SPARES, Action
from tests.sim.aspects import aspect
from tests.sim.checkers.calm import Tempo
from tests.sim.network import Conditions
from tests.sim.settings import Settings
from tests.sim.troubles import (
    ATTACKS,
    DEVICE,
    KINDS,
    PAIRS,
    STRANGERS,
    WARM,
    Fault,
    attacks,
    draw_faults,
    hangs,
    machines,
)
from transport.ids import LinkId, NodeId

REST = 1.2  # seconds until the drills begin
CALM = 5.0  # seconds after the last fault: everything must have converged by then; more where the token is slow
SIZES = {1: 1, 2: 6, 3: 36, 4: 16, 5: 30, 6: 6, 7: 5, 8: 3, 9: 2, 16: 0.6, 32: 0.25}  # nodes -> how often


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. votes: node -> votes.  rate: operations per second of all clients.  skew: each clock's offset and rate.

    lengths: how many times the usual delay each link has.
    mtus: of each link, where they are not what the configuration says (netmtu, the one of `conditions`).
    wake_delay: seconds from a datagram's arrival to the process that reads it, with all that came meanwhile.
    memory_rot: once all is well again, a bit flips in the tree that some node has in memory.
    drills: single troubles once all else is over.
    pace: of what is asked beside those operations (trees, process groups), as a share of what is usual.
    careful: the administrator changes something only while all nodes are in one ring.
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
    memory_rot: bool = False
    drills: tuple[Fault, ...] = ()
    pace: float = 1.0
    careful: bool = False
    mtus: tuple[int, ...] = ()

    def random(self, name: str) -> Random:
        """The Random that draws one aspect of what happens while this plan runs."""
        return aspect(self.seed, f"{name} {self.luck}" if self.luck else name)

    @property
    def spares(self) -> tuple[NodeId, ...]:
        """Machines that are no nodes at the start."""
        return tuple(range(len(self.nodes) + 1, len(self.nodes) + 1 + SPARES)) if self.actions else ()

    @property
    def attacked_alone(self) -> bool:
        """Somebody without keys is the only trouble of this run."""
        return bool(self.faults) and all(fault.kind in (*ATTACKS, *STRANGERS) for fault in self.faults)

    @property
    def overridden(self) -> bool:
        """An operator sets votes by hand: from then on the options promise nothing."""
        return any(action.kind in actions.OVERRIDES for action in self.actions)

    @property
    def one_line(self) -> bool:
        """No two components may ever change the cluster at one time: the options do not, and no operator does."""
        return (self.careful or actions.promised(self.settings)) and not self.overridden

    @property
    def by_votes(self) -> bool:
        """A quorate ring has more than half of the votes, by whatever configuration is in force in it."""
        return actions.promised(self.settings) and not self.overridden

    @property
    def exclusive(self) -> bool:
        """At no moment are two components quorate (Q1)."""
        moved = self.moving and not actions.promised(self.settings)
        return self.settings.one_component and not self.overridden and not moved

    @property
    def moving(self) -> bool:
        """How many votes it takes, or who has them, changes meanwhile."""
        return any(action.kind in actions.MOVING for action in self.actions)

    @property
    def members_move(self) -> bool:
        """Who is a node changes meanwhile. There are no drills then."""
        return any(action.kind in actions.MEMBERS for action in self.actions)

    @property
    def seconds(self) -> float:
        return self.faults_end + CALM * self.settings.slowness

    @property
    def tempo(self) -> Tempo:
        """What L2 to L4 are measured by."""
        token, net = self.settings.token, self.conditions
        lowered = any(action.kind in ("token", "two-changes") for action in self.actions)
        hop = net.delay * max(self.lengths) + net.jitter + self.wake_delay + 0.0005
        least = token * (0.75 if lowered else 1.0)
        return Tempo(token, least, self.settings.slowness, hop * len(self.nodes), net.loss == 0.0)

    def __str__(self) -> str:
        votes = "" if set(self.votes.values()) == {1} else f" with votes {list(self.votes.values())}"
        links = f"{len(self.links)} link{'s' * (len(self.links) > 1)}"
        kinds = ", ".join(fault.kind for fault in self.faults)
        done = ", ".join(action.kind for action in self.actions)
        administrator = f"; {'careful ' * self.careful}administrator: {done}" if done else ""
        drills = f"; then {', '.join(fault.kind for fault in self.drills)}" if self.drills else ""
        load = f"{self.rate:g} operations/s on {self.keys} keys of {self.value_bytes} bytes"
        net = self.conditions
        mtu = f"netmtu {net.mtu}, MTU {' '.join(map(str, self.mtus))}" if self.mtus else f"MTU {net.mtu}"
        network = f"{mtu}, {net.delay * 1000:g} ms" + (f", {net.loss * 100:g} % lost" if net.loss else "")
        what = (
            f"{len(self.nodes)} node{'s' * (len(self.nodes) > 1)}{votes}, {links}, {network}, {self.settings}; {load}"
        )
        rot = "; a bit flips in memory" if self.memory_rot else ""
        return f"{what}; faults: {kinds or 'none'}{administrator}{rot}{drills}"


def draw(seed: int, nodes: int | None = None) -> tuple[Plan, Random]:
    """The plan of a seed, and the Random that goes on to draw everything that happens in it."""
    count = nodes or aspect(seed, "size").choices(list(SIZES), list(SIZES.values()))[0]
    ids = tuple(range(1, count + 1))
    random = aspect(seed, "votes")
    weighted = random.random() < 0.15
    votes = {node: random.choice((1, 1, 2)) if weighted else 1 for node in ids}
    random = aspect(seed, "without a vote")
    if count >= 3 and random.random() < 0.06:
        votes[random.choice(ids)] = 0
    random = aspect(seed, "links")
    links = tuple(range(random.choice((1, 2, 2, 2, 3)) if count < 10 else random.choice((1, 2))))
    lengths = tuple(random.choice((1.0, 1.0, 1.0, 1.5, 3.0)) for _ in links)
    drawn = settings.draw(aspect(seed, "settings"), aspect(seed, "rare settings"), votes, links)
    random = aspect(seed, "network")
    base = Conditions(delay=random.choice((0.0002, 0.0005, 0.001, 0.002)), jitter=random.choice((0.0001, 0.0005)))
    base.mtu = random.choice((1500, 1500, 1500, 1400, 9000))
    if random.random() < 0.3:
        base.loss = random.choice((0.001, 0.01))
    wake_delay = random.choice((50e-6, 100e-6, 200e-6))
    random = aspect(seed, "MTUs")
    mtus = tuple(random.choice((1280, 1400, 1500, 9000)) for _ in links) if random.random() < 0.12 else ()
    random = aspect(seed, "load")
    rate, keys = random.choice((15.0, 20.0, 20.0, 40.0)), random.choice((4, 8, 16))
    value_bytes = random.choice((16, 100, 1000, 6000))
    random = aspect(seed, "clocks")
    skew = {node: (random.uniform(0.0, 1000.0), random.uniform(0.995, 1.005)) for node in range(1, count + 3)}
    last = WARM + aspect(seed, "length").uniform(9.0, 12.0)
    kinds = {kind: often for kind, often in KINDS.items() if count > 1 or kind not in PAIRS}
    if drawn.quorum.device:
        kinds |= DEVICE
    if drawn.may_be_narrow and "partition" in kinds:
        kinds["partition"] *= 4
    faults = draw_faults(seed, ids, votes, links, last, kinds, halves=drawn.may_be_narrow)
    faults += hangs(seed, ids, last) + machines(seed, ids, links, last)
    unfriendly, alone = attacks(seed, last)
    if alone:
        faults, base.loss = (), 0.0
    faults += unfriendly
    faults = tuple(sorted(faults, key=lambda fault: (fault.at, fault.kind)))
    random = aspect(seed, "administrator")
    retire_after = random.choice(RETIRE)
    kinds_drawn = frozenset(fault.kind for fault in faults)
    careful = actions.is_careful(aspect(seed, "careful"), drawn)
    done = actions.draw(random, drawn, kinds_drawn, careful, WARM, last) if not alone else ()
    done += actions.mistakes(aspect(seed, "mistakes"), done, count, WARM, last)
    if several := actions.reshaped(aspect(seed, "reshape"), done, ids, base.delay, WARM, last):
        done += several[:1]
        faults = tuple(sorted((*faults, several[1]), key=lambda fault: (fault.at, fault.kind)))
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
        mtus=mtus,
        actions=tuple(sorted(done, key=lambda action: action.at)),
        retire_after=retire_after,
        careful=careful and bool(done),
        memory_rot=count >= 3 and aspect(seed, "memory rot").random() < 0.06,
    )
    # votes set by hand may stay fewer than all that are waited for, anew each time that quorum was lost
    waits = plan.overridden and drawn.quorum.waits_for_all
    if not (plan.memory_rot or plan.members_move or waits):
        plan = replace(plan, drills=drills.draw(seed, ids, plan.tempo, plan.seconds + REST))
    return plan, plan.random("run")
