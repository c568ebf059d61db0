"""Smaller versions of a plan, the boldest first: each pass yields plans that are the given one with less in it.

What is left of a plan must be one that could have been drawn: `sound` says so. A fault keeps its number, and so what it
draws at work, whoever else is taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields, replace
from typing import TypeVar

from quorum.options import QuorumOptions, check
from tests.sim.actions import Action
from tests.sim.network import Conditions
from tests.sim.plan import Plan
from tests.sim.settings import TOKEN_MS, Settings, possible
from tests.sim.troubles import DISK_LOSSES, WARM, Fault
from transport.ids import LinkId, NodeId

REST = 1.5  # seconds that the last fault, or what the administrator does, may have needed behind it
BRIEF = 0.05  # seconds: no fault is made shorter
# What the numbers in a fault are, where they are no nodes.
LINKS_IN_WHERE = ("link-down",)
LINKS_IN_OTHER = ("address-gone",)

T = TypeVar("T")
Pass = Callable[[Plan], Iterator[Plan]]


def sound(plan: Plan) -> bool:
    """May a run of this plan be expected to keep every promise?"""
    quorum, total = plan.settings.quorum, sum(plan.votes.values())
    if check(quorum) or not possible(quorum):
        return False
    lost = [node for fault in plan.faults if fault.kind in DISK_LOSSES for node in fault.where]
    return all(2 * (total - plan.votes[node]) > total for node in lost)


def until(plan: Plan, at: float) -> Plan:
    """Nothing that begins after `at`, and no longer than the rest needs: the same run, if it ended there."""
    faults = tuple(fault for fault in plan.faults if fault.at <= at)
    actions = tuple(action for action in plan.actions if action.at <= at)
    spares = actions or plan.actions[:1]  # without any action there would be no spare machines either
    return _ended(replace(plan, faults=faults, actions=spares))


def _ended(plan: Plan) -> Plan:
    ends = [fault.until + min(REST, plan.faults_end - fault.until) for fault in plan.faults]
    ends += [action.at + min(2 * REST, plan.faults_end - action.at) for action in plan.actions]
    return replace(plan, faults_end=min(plan.faults_end, max([WARM + 0.1, *ends])))


def without(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """Less of `items`: none, then without each half, quarter, ... and without each one."""
    size = len(items)
    while size:
        for at in range(0, len(items), size):
            yield (*items[:at], *items[at + size :])
        size = (size + 1) // 2 if size > 1 else 0


def fewer_faults(plan: Plan) -> Iterator[Plan]:
    for faults in without(plan.faults):
        yield replace(plan, faults=faults)


def fewer_actions(plan: Plan) -> Iterator[Plan]:
    for actions in without(plan.actions):
        yield replace(plan, actions=actions)


def fewer_nodes(plan: Plan) -> Iterator[Plan]:
    """Those that no fault names go first."""
    named = {node for fault in plan.faults for node in _nodes_of(fault)}
    order = sorted(plan.nodes, key=lambda node: (node in named, -node))
    if len(order) > 4:
        yield from filter(None, [_without_nodes(plan, frozenset(order[: len(order) // 2]))])
    for node in order:
        yield from filter(None, [_without_nodes(plan, frozenset({node}))])


def _nodes_of(fault: Fault) -> tuple[NodeId, ...]:
    where = () if fault.kind in LINKS_IN_WHERE else fault.where
    return (*where, *(() if fault.kind in LINKS_IN_OTHER else fault.other))


def _without_nodes(plan: Plan, gone: frozenset[NodeId]) -> Plan | None:
    """The others closer together, as nodes count from 1 on; None when nobody would be left."""
    stay = [node for node in plan.nodes if node not in gone]
    if not stay:
        return None
    spare = sorted(set(plan.skew) - set(plan.nodes))
    number = {node: at for at, node in enumerate([*stay, *spare], 1)}
    votes = {number[node]: plan.votes[node] for node in stay}
    old = plan.settings.quorum
    breaker = old.auto_tie_breaker
    if not isinstance(breaker, str):
        breaker = tuple(number[node] for node in breaker if node in number) or "lowest"
    quorum = replace(old, votes=votes, auto_tie_breaker=breaker)
    if old.expected_votes > sum(votes.values()) + quorum.votes_of_device:
        quorum = replace(quorum, expected_votes=0)
    return replace(
        plan,
        nodes=tuple(range(1, len(stay) + 1)),
        votes=votes,
        settings=replace(plan.settings, quorum=quorum),
        skew={number[node]: plan.skew[node] for node in number},
        faults=tuple(left for fault in plan.faults if (left := _fault_among(fault, number)) is not None),
    )


def _fault_among(fault: Fault, number: dict[NodeId, NodeId]) -> Fault | None:
    """The same for those who are left; None when it needs somebody who is not."""
    where, other = fault.where, fault.other
    if fault.kind not in LINKS_IN_WHERE:
        where = tuple(number[node] for node in where if node in number)
    if fault.kind not in LINKS_IN_OTHER:
        other = tuple(number[node] for node in other if node in number)
    if bool(where) != bool(fault.where) or bool(other) != bool(fault.other):
        return None
    return replace(fault, where=where, other=other)


def fewer_links(plan: Plan) -> Iterator[Plan]:
    for count in range(1, len(plan.links)):
        links = plan.links[:count]
        yield replace(
            plan,
            links=links,
            lengths=plan.lengths[:count],
            mtus=plan.mtus[:count],
            settings=replace(
                plan.settings,
                priorities={link: each for link, each in plan.settings.priorities.items() if link in links},
                link_mode=plan.settings.link_mode if count > 1 else "passive",
            ),
            faults=tuple(fault for fault in plan.faults if _links_of(fault) <= {*links}),
        )


def _links_of(fault: Fault) -> set[LinkId]:
    where = fault.where if fault.kind in LINKS_IN_WHERE else ()
    return {*where, *(fault.other if fault.kind in LINKS_IN_OTHER else ())}


def less_load(plan: Plan) -> Iterator[Plan]:
    if plan.rate > 1.0:
        yield replace(plan, rate=1.0)
        yield replace(plan, rate=max(1.0, round(plan.rate / 3, 1)))
    if plan.keys > 1:
        yield replace(plan, keys=1)
    if plan.value_bytes > 16:
        yield replace(plan, value_bytes=16)


def plain_settings(plan: Plan) -> Iterator[Plan]:
    old = plan.settings
    plain = Settings(QuorumOptions(votes=old.quorum.votes), TOKEN_MS / 1000, "passive", "disk", {}, {}, {})
    yield replace(plan, settings=plain)
    ones = dict.fromkeys(plan.votes, 1)
    yield replace(plan, votes=ones, settings=replace(old, quorum=replace(old.quorum, votes=ones)))
    names = ("quorum", "totem", "pings", "priorities", "token", "link_mode", "durability")
    for name in names:
        yield replace(plan, settings=replace(old, **{name: getattr(plain, name)}))
    for option in (
        "wait_for_all",
        "last_man_standing",
        "auto_tie_breaker",
        "allow_downscale",
        "expected_votes_tracking",
    ):
        default = getattr(plain.quorum, option)
        yield replace(plan, settings=replace(old, quorum=replace(old.quorum, **{option: default})))
    for option in ("expected_votes", "device", "device_votes", "master_wins", "two_node"):
        default = getattr(plain.quorum, option)
        yield replace(plan, settings=replace(old, quorum=replace(old.quorum, **{option: default})))


def without_extras(plan: Plan) -> Iterator[Plan]:
    """Whatever a plan may have and need not: a field with a default has it."""
    for each in fields(plan):
        if each.default is not MISSING and each.name != "luck":
            yield replace(plan, **{each.name: each.default})


def plain_network(plan: Plan) -> Iterator[Plan]:
    """Links that lose nothing, equally long; clocks that agree; times of a local network."""
    even = dict.fromkeys(plan.skew, (0.0, 1.0))
    calm = replace(plan.conditions, loss=0.0, reorder=0.0, duplicate=0.0, corrupt=0.0, truncate=0.0)
    yield replace(plan, conditions=Conditions(), lengths=(1.0,) * len(plan.links), skew=even, wake_delay=100e-6)
    yield replace(plan, conditions=calm)
    yield replace(plan, conditions=replace(plan.conditions, mtu=1500))
    yield replace(plan, lengths=(1.0,) * len(plan.links))
    yield replace(plan, skew=even)


def smaller_faults(plan: Plan) -> Iterator[Plan]:
    """Fewer befallen at once, and for a shorter time; power that stays on while the administrator works."""
    for at, fault in enumerate(plan.faults):
        if fault.kind not in LINKS_IN_WHERE and not fault.other:
            for node in fault.where if len(fault.where) > 1 else ():
                yield _instead(plan, at, replace(fault, where=(node,)))
        for part in (8, 2):
            if (length := (fault.until - fault.at) / part) >= BRIEF:
                yield _instead(plan, at, replace(fault, until=fault.at + length))
    for at, action in enumerate(plan.actions):
        if action.crash:
            calm = replace(action, crash=0.0)
            yield replace(plan, actions=(*plan.actions[:at], calm, *plan.actions[at + 1 :]))


def _instead(plan: Plan, at: int, fault: Fault) -> Plan:
    return replace(plan, faults=(*plan.faults[:at], fault, *plan.faults[at + 1 :]))


def shorter(plan: Plan) -> Iterator[Plan]:
    """Earlier, closer together, and no longer than the rest needs."""
    begins = [*(fault.at for fault in plan.faults), *(action.at for action in plan.actions)]
    if begins and min(begins) > WARM + 0.1:
        yield _ended(_moved(plan, min(begins) - WARM))
    yield _ended(plan)
    for at in range(1, len(plan.faults)):
        gap = plan.faults[at].at - max(fault.until for fault in plan.faults[:at])
        if gap > 0.5 and not plan.actions:
            moved = [replace(f, at=f.at - gap + 0.2, until=f.until - gap + 0.2) for f in plan.faults[at:]]
            yield _ended(replace(plan, faults=(*plan.faults[:at], *moved)))


def _moved(plan: Plan, by: float) -> Plan:
    def fault(each: Fault) -> Fault:
        return replace(each, at=each.at - by, until=each.until - by)

    def action(each: Action) -> Action:
        return replace(each, at=each.at - by)

    faults, actions = tuple(map(fault, plan.faults)), tuple(map(action, plan.actions))
    return replace(plan, faults=faults, actions=actions, faults_end=plan.faults_end - by)


PASSES: tuple[Pass, ...] = (
    fewer_faults,
    fewer_actions,
    fewer_nodes,
    without_extras,
    plain_settings,
    fewer_links,
    plain_network,
    shorter,
    less_load,
    smaller_faults,
)
