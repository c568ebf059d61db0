"""What closed process groups promise to the processes in them: extended virtual synchrony, group by group.

Source: cpg_overview(8), DESIGN 5, totem.md section 1. Every process in a group sees one sequence of messages and
changes of membership, told under the ring they belong to:

    G1 closed       a message comes from a process that is a member in the receiver's own view at that place
    G2 changes      a view is the one before it, less who left, and who joined; nobody is in it who never asked
    G3 no gaps      while a view has a sender, its messages come one after the other, each once, as they were sent
    G4 one order    processes that go together from one ring to the next saw the same; others nothing in another order
    G5 one's own    what a member sends is told to itself, unless its process dies
    G6 one end      once everything has healed all see the same members, which are those that are there

"Each once" but for O2's exception: what a machine had waiting to be sent when it was put back with its memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

from tests.sim.history import Violation
from transport.groups import GroupChange, Member
from transport.ids import NodeId, RingId


class Ring(NamedTuple):
    """A regular configuration began; together: who came with this node from its last one."""

    at: float
    ring: RingId
    together: tuple[NodeId, ...]


class Passed(NamedTuple):
    """The barrier of this ring is behind us: from here on all its members see the same."""

    at: float
    ring: RingId


class Sent(NamedTuple):
    """A local member's message was taken."""

    at: float
    group: bytes
    pid: int
    payload: bytes


class Changed(NamedTuple):
    at: float
    change: GroupChange


class Got(NamedTuple):
    at: float
    group: bytes
    sender: Member
    payload: bytes


Event = Ring | Passed | Sent | Changed | Got
Key = tuple[object, ...]


@dataclass(slots=True)
class Life:
    """What one life of a node's daemon took from and gave to its local members. members: who asked in, and not out.

    asked: every (group, pid) that ever asked in.  ended: the daemon died or left.
    pasts: of each snapshot with its memory that its machine was put back to, nobody telling: when it was made, and when
    the process of the past went on from it.
    """

    node: NodeId
    number: int
    events: list[Event] = field(default_factory=list)
    members: set[tuple[bytes, int]] = field(default_factory=set)
    asked: set[tuple[bytes, int]] = field(default_factory=set)
    ended: bool = False
    pasts: list[tuple[float, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"node {self.node}, process {self.number}"


def check(lives: list[Life], nodes: tuple[NodeId, ...]) -> int:
    """Raises Violation for the first promise found broken; returns how many messages were looked at.

    nodes: those that are in one ring in the end.
    """
    got = 0
    for life in lives:
        got += check_views(life, lives)
    for life in lives:
        if not life.ended:
            check_own(life)
    check_order(lives)
    check_end([life for life in lives if not life.ended and life.node in nodes])
    return got


# -- one process's own sequence ------------------------------------------------------------------------------


def check_views(life: Life, lives: list[Life]) -> int:
    """G1, G2, G3; returns the number of messages."""
    sent = _sent_by(lives)
    again = _again(lives)
    asked = {(other.node, *member) for other in lives for member in other.asked}
    views: dict[bytes, set[Member]] = {}
    last: dict[bytes, dict[Member, int]] = defaultdict(dict)  # of each sender in a view, the number of its last one
    got = 0
    for event in life.events:
        if isinstance(event, Changed):
            change = event.change
            _check_change(life, event, views.get(change.group), asked)
            for member, _ in (*change.left, *change.joined):
                last[change.group].pop(member, None)
            if any(member.node == life.node for member in change.members):
                views[change.group] = set(change.members)
            else:
                views.pop(change.group, None)
                last.pop(change.group, None)  # what is told to others meanwhile is no gap
        elif isinstance(event, Got):
            got += 1
            if event.sender not in views.get(event.group, ()):
                text = f"{life.name} was told a message of {_named(event.sender)}, no member of {event.group!r} there"
                raise Violation(event.at, "G1", text)
            key = (event.group, event.sender, event.payload)
            place = sent.get(key)
            if place is None:
                raise Violation(event.at, "G3", f"{life.name} was told a message nobody sent: {event.payload[:20]!r}")
            before = last[event.group].get(event.sender)
            if before is not None and place <= before and again[key] and again[key][0] <= event.at:
                del again[key][0]
                continue
            if before is not None and place != before + 1:
                text = f"{life.name} was told message {place} of {_named(event.sender)} in {event.group!r}"
                raise Violation(event.at, "G3", f"{text} after message {before}")
            last[event.group][event.sender] = place
    return got


def _sent_by(lives: list[Life]) -> dict[tuple[bytes, Member, bytes], int]:
    """Each message's number among those of its sender and group. The numbers of two lives of a node do not meet."""
    places: dict[tuple[bytes, Member, bytes], int] = {}
    for life in lives:
        counts: dict[tuple[bytes, int], int] = defaultdict(lambda: life.number * 1_000_000)  # noqa: B023  used at once
        for event in life.events:
            if isinstance(event, Sent):
                counts[event.group, event.pid] += 1
                places[event.group, Member(life.node, event.pid), event.payload] = counts[event.group, event.pid]
    return places


def _again(lives: list[Life]) -> dict[tuple[bytes, Member, bytes], list[float]]:
    """Since when each message may be told once more: it waited in a snapshot, and the process of then went on."""
    since: dict[tuple[bytes, Member, bytes], list[float]] = defaultdict(list)
    for life in lives:
        for made, went_on in life.pasts:
            had = {(e.group, e.payload) for e in life.events if isinstance(e, Got) and e.at <= made}
            for event in life.events:
                if isinstance(event, Sent) and event.at <= made and (event.group, event.payload) not in had:
                    since[event.group, Member(life.node, event.pid), event.payload].append(went_on)
    return since


def _check_change(
    life: Life, event: Changed, before: set[Member] | None, asked: set[tuple[NodeId, bytes, int]]
) -> None:
    change = event.change
    joined, left = {member for member, _ in change.joined}, {member for member, _ in change.left}
    after = set(change.members)
    named = f"{life.name} was told a change of {change.group!r}"
    if before is not None and (after != (before - left) | joined or not left <= before or joined & (before - left)):
        shown = f"from {_all(before)} to {_all(after)}, joined {_all(joined)}, left {_all(left)}"
        raise Violation(event.at, "G2", f"{named} that does not add up: {shown}")
    if before is None and not any(member.node == life.node for member in joined):
        raise Violation(event.at, "G2", f"{named} without a member of its own")
    for member in sorted(after):
        if (member.node, change.group, member.pid) not in asked:
            raise Violation(event.at, "G2", f"{named} with {_named(member)}, which never asked to be in it")


def check_own(life: Life) -> None:
    """G5, for a process that is alive when all is quiet."""
    told = {(event.group, event.payload) for event in life.events if isinstance(event, Got)}
    for event in life.events:
        if isinstance(event, Sent) and (event.group, event.payload) not in told:
            text = f"{life.name} never told member {event.pid} of {event.group!r} its own message"
            raise Violation(event.at, "G5", f"{text} {event.payload[:20]!r}")


# -- against each other --------------------------------------------------------------------------------------


class Stay(NamedTuple):
    """What a process told in one ring after its barrier, of one group, from where it had a member there to the end."""

    life: Life
    keys: list[Key]
    times: list[float]
    goes: Ring | None


def _stays(life: Life) -> Iterator[tuple[RingId, bytes, Stay]]:
    ring: RingId | None = None
    local: set[bytes] = set()
    told: dict[bytes, tuple[list[Key], list[float]]] = {}
    for event in [*life.events, None]:
        if event is None or isinstance(event, Ring):
            if ring is not None:
                for group in sorted(local):
                    keys, times = told.get(group, ([], []))
                    yield ring, group, Stay(life, keys, times, event)
            ring, told = None, {}
        elif isinstance(event, Passed):
            ring = ring or event.ring
        elif isinstance(event, Changed):
            change = event.change
            here = any(member.node == life.node for member in change.members)
            if not here:
                local.discard(change.group)
                told.pop(change.group, None)
                continue
            if change.group not in local:
                local.add(change.group)
                told[change.group] = ([], [])  # what was told before, a former member heard
            keys, times = told.setdefault(change.group, ([], []))
            keys.append(("change", change.members, change.joined, change.left))
            times.append(event.at)
        elif isinstance(event, Got):
            keys, times = told.setdefault(event.group, ([], []))
            keys.append(("message", event.sender, event.payload))
            times.append(event.at)
        if ring is None and told:
            told = {}  # before the barrier nothing is promised to be alike


def check_order(lives: list[Life]) -> None:
    """G4."""
    repeated: set[Key] = {("message", sender, payload) for _, sender, payload in _again(lives)}
    by_ring: dict[tuple[RingId, bytes], list[Stay]] = defaultdict(list)
    for life in lives:
        for ring, group, stay in _stays(life):
            by_ring[ring, group].append(stay)
    for (ring, group), stays in sorted(by_ring.items()):
        for one, other in combinations(stays, 2):
            where = f"in ring {ring}, group {group!r}, {one.life.name} and {other.life.name}"
            at = max([*one.times, *other.times], default=0.0)
            if not _same_order(one.keys, other.keys, repeated):
                raise Violation(at, "G4", f"{where} were told the same in another order")
            if _together(one, other):
                longer, shorter = sorted((one.keys, other.keys), key=len, reverse=True)
                if shorter and longer[-len(shorter) :] != shorter:
                    text = f"went on together and were told different things: {_difference(longer, shorter)}"
                    raise Violation(at, "G4", f"{where} {text}")


def _together(one: Stay, other: Stay) -> bool:
    if one.goes is None or other.goes is None:
        return one.goes is other.goes and not one.life.ended and not other.life.ended
    return one.goes.ring == other.goes.ring and other.life.node in one.goes.together


def _same_order(one: list[Key], other: list[Key], repeated: set[Key]) -> bool:
    """repeated: what has two places, of which either process may have one."""
    messages = {key for key in one if key[0] == "message"} & {key for key in other if key[0] == "message"} - repeated
    return [key for key in one if key in messages] == [key for key in other if key in messages]


def _difference(longer: list[Key], shorter: list[Key]) -> str:
    tail = longer[-len(shorter) :]
    return next(f"{_shown(a)} and {_shown(b)}" for a, b in zip(tail, shorter, strict=True) if a != b)


def check_end(alive: list[Life]) -> None:
    """G6: alive: the processes that run when all is quiet and all are in one ring."""
    there: dict[bytes, set[Member]] = defaultdict(set)
    for life in alive:
        for group, pid in life.members:
            there[group].add(Member(life.node, pid))
    for life in alive:
        views: dict[bytes, tuple[Member, ...]] = {}
        at = 0.0
        for event in life.events:
            if isinstance(event, Changed):
                views[event.change.group], at = event.change.members, event.at
        for group in sorted({group for group, _ in life.members}):
            if set(views.get(group, ())) != there[group]:
                text = f"{life.name} sees {_all(views.get(group, ()))} in {group!r}, there are {_all(there[group])}"
                raise Violation(at, "G6", text)


def _named(member: Member) -> str:
    return f"process {member.pid} of node {member.node}"


def _all(members: set[Member] | tuple[Member, ...]) -> str:
    return ", ".join(f"{member.node}/{member.pid}" for member in sorted(members)) or "nobody"


def _shown(key: Key) -> str:
    return f"a message of {key[1]}" if key[0] == "message" else f"members {key[1]}"
