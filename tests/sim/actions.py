"""What the administrator of one run does and when, drawn by its seed; carried out by tests/sim/admin.py."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.sim.settings import Settings
from tests.sim.troubles import Fault
from transport.ids import NodeId

# kind -> how often it is drawn
KINDS = {
    "votes": 3,
    "expected": 2,
    "option": 2,
    "token": 3,
    "priority": 3,
    "address": 3,
    "link-add": 2,
    "link-remove": 2,
    "add": 4,
    "remove": 5,
    "rejoin": 3,
    "rotate": 6,
    "two-rotations": 3,
    "two-changes": 4,
    "wrong": 2,
    "stale": 2,
    "set-expected": 2,
    "set-votes": 2,
    "cancel-wait": 1,
}
# Wrong for one node only, which is not the one that is asked: it agrees itself, and another member has to say no.
ELSEWHERE = "wrong-elsewhere"
# Several nodes added and removed in one change, and the network comes apart while it is agreed on.
RESHAPE = "reshape"
# These leave every component its votes, its keys and its members, whatever options decide who is quorate.
HARMLESS = ("priority", "token", "two-changes", "wrong", "stale", "cancel-wait", ELSEWHERE)
# An operator's override: from then on the options promise nothing (Q1), and two components may both change the cluster.
OVERRIDES = ("set-expected", "set-votes")
# These change how many votes it takes, or who has them.
MOVING = ("votes", "expected", "add", "remove", "rejoin", RESHAPE, *OVERRIDES)
# These change who is a node.
MEMBERS = ("add", "remove", "rejoin", RESHAPE)
# These change who holds data, or with what weight: not where a disk is lost too, nor power with data in memory (S1).
DATA = ("votes", "remove", "rejoin", RESHAPE)
# A node that is away could not find the others any more if these were done together or again.
ONCE = (("address", "link-add", "link-remove"),)
# What must happen over many runs: the change is answered as done, or, where somebody has to refuse it, refused.
COME_TO_BE = (*(kind for kind in KINDS if kind not in ("rejoin", "two-rotations", "wrong", "stale")), RESHAPE)
MUST_NOT = ("wrong", "stale", ELSEWHERE)
NUMBER = 900  # of the cut that goes with RESHAPE, among the faults of its seed
SPARES = 2  # machines beside the cluster that can be added
RETIRE = (0.5, 0.5, 1.0, 30.0)  # seconds for which an old cluster key stays live, by run; the last one is the product's


@dataclass(frozen=True, slots=True)
class Action:
    """crash: seconds after it when some node's power goes, 0 for never."""

    kind: str
    at: float
    crash: float = 0.0


def is_careful(random: Random, settings: Settings) -> bool:
    """Where options may let two components be quorate at one time, an administrator of every second run changes
    anything only while all nodes are in one ring; so that there is one line of changes all the same."""
    return not promised(settings) and random.random() < 0.5


def draw(
    random: Random, settings: Settings, faults: frozenset[str], careful: bool, first: float, last: float
) -> tuple[Action, ...]:
    """Nothing, or 2 to 7 actions between `first` and `last`. faults: the kinds of fault of this run."""
    if random.random() < 0.3:
        return ()
    kinds = dict(KINDS)
    if careful:
        kinds = {kind: often for kind, often in kinds.items() if kind not in OVERRIDES}
    elif not promised(settings):
        kinds = {kind: often for kind, often in kinds.items() if kind in HARMLESS}
    elif random.random() < 0.12:
        kinds = {kind: often for kind, often in kinds.items() if kind in (*HARMLESS, *OVERRIDES)}
    else:
        kinds = {kind: often for kind, often in kinds.items() if kind not in OVERRIDES}
    forgetful = settings.durability == "memory" and "power" in faults
    if faults & {"blank", "rot", "rollback", "snapshot"} or forgetful:
        kinds = {kind: often for kind, often in kinds.items() if kind not in DATA}
    if forgetful:  # power goes at the nodes of the start: one that was added would be the only good store
        kinds = {kind: often for kind, often in kinds.items() if kind != "add"}
    actions = []
    for _ in range(random.randint(2, 7)):
        kind = random.choices(list(kinds), list(kinds.values()))[0]
        for group in ONCE:
            if kind in group:
                kinds = {name: often for name, often in kinds.items() if name not in group}
        crash = random.choice((0.0005, 0.002, 0.005, 0.02, 0.1)) if random.random() < 0.2 else 0.0
        actions.append(Action(kind, random.uniform(first, last - 1.5), crash))
    return tuple(sorted(actions, key=lambda action: action.at))


def mistakes(random: Random, done: tuple[Action, ...], nodes: int, first: float, last: float) -> tuple[Action, ...]:
    """In many runs in which an administrator does anything (`done`): what only another member can refuse. If that one
    is away, it moves to another address, as in "address"."""
    moved = any(action.kind in group for action in done for group in ONCE)
    if not done or moved or nodes < 2 or random.random() >= 0.5:
        return ()
    return (Action(ELSEWHERE, random.uniform(first, last - 1.5)),)


def reshaped(
    random: Random, done: tuple[Action, ...], nodes: tuple[NodeId, ...], delay: float, first: float, last: float
) -> tuple[Action, Fault] | None:
    """In some runs in which an administrator removes nodes (`done`): a change of several, and a cut within the few
    messages by which it is agreed on. delay: of a packet, seconds."""
    if len(nodes) < 3 or not any(action.kind in ("remove", "rejoin") for action in done) or random.random() >= 0.3:
        return None
    at = random.uniform(first, last - 1.5)
    cut = at + random.uniform(0.5, 12.0) * (delay + 0.0003)
    mixed = random.sample(nodes, len(nodes))
    part = random.randint(1, len(nodes) - 1)
    until = min(last, cut + random.uniform(1.0, 2.5))
    return Action(RESHAPE, at), Fault("partition", cut, until, tuple(mixed[:part]), tuple(mixed[part:]), number=NUMBER)


def promised(settings: Settings) -> bool:
    """At no moment may two components be quorate, by votes alone: so there is one line of changes."""
    q = settings.quorum
    special = q.two_node or q.device or q.last_man_standing or q.allow_downscale or q.expected_votes_tracking
    return settings.one_component and not special
