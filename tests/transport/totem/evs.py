"""The promises of extended virtual synchrony, E1 to E15 of facts/totem.md section 1, checked on traces.

Input: one Trace per process (a restart is a new process): the messages it submitted and, in local order, the
Delivery and ConfigurationChange events its core gave out, with a Crash at the end if it was killed or left.
Payloads must differ from each other. Depends on nothing but the event types.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from transport.events import ConfigurationChange, Delivery
from transport.ids import NodeId, RingId


@dataclass(frozen=True)
class Crash:
    """The process ended here."""


@dataclass
class Trace:
    """One process. sent: (number of events before it, payload, safe)."""

    node: NodeId
    incarnation: int
    events: list[Delivery | ConfigurationChange | Crash] = field(default_factory=list)
    sent: list[tuple[int, bytes, bool]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"n{self.node}/{self.incarnation:08x}"


@dataclass
class Stay:
    """One process in one regular configuration and the transitional one that follows it (com(c))."""

    trace: Trace
    config: ConfigurationChange
    regular: list[Delivery] = field(default_factory=list)
    transitional: ConfigurationChange | None = None
    rest: list[Delivery] = field(default_factory=list)
    next: ConfigurationChange | None = None
    crashed: bool = False

    @property
    def all(self) -> list[Delivery]:
        return self.regular + self.rest

    @cached_property
    def payloads(self) -> frozenset[bytes]:
        """Of everything delivered; asked for when the trace is complete."""
        return frozenset(delivery.payload for delivery in self.all)


class Violation(AssertionError):  # noqa: N818  the field's word
    """A promise was broken; the text names it."""


def _fail(promise: str, text: str) -> None:
    raise Violation(f"{promise}: {text}")


def stays(trace: Trace) -> list[Stay]:
    """Cut a trace at its regular configurations; E3 and the shape of the event order are checked here."""
    found: list[Stay] = []
    for event in trace.events:
        if isinstance(event, ConfigurationChange):
            if trace.node not in event.members:
                _fail("E3", f"{trace.name} installed {event.ring_id} without itself")
            if event.regular:
                if found:
                    if found[-1].transitional is None:
                        _fail("E6", f"{trace.name} went from {found[-1].config.ring_id} with no transitional event")
                    found[-1].next = event
                found.append(Stay(trace, event))
            else:
                if not found or found[-1].transitional is not None or event.ring_id != found[-1].config.ring_id:
                    _fail("E6", f"{trace.name}: transitional {event.ring_id} out of place")
                found[-1].transitional = event
        elif isinstance(event, Delivery):
            if not found:
                _fail("E2", f"{trace.name} delivered before any configuration")
            stay = found[-1]
            if event.ring_id != stay.config.ring_id:
                _fail(
                    "E2", f"{trace.name} delivered {event.payload[:24]!r} of {event.ring_id} in {stay.config.ring_id}"
                )
            if event.transitional != (stay.transitional is not None):
                _fail("E15", f"{trace.name}: {event.payload[:24]!r} is marked transitional={event.transitional}")
            (stay.rest if event.transitional else stay.regular).append(event)
        elif found:
            found[-1].crashed = True
    return found


def check(traces: Sequence[Trace], ended: bool = True) -> int:
    """Raise Violation if a promise is broken; returns the number of deliveries looked at.

    ended: the run has come to rest, so that what must happen in the end has happened.
    """
    by_ring: dict[RingId, list[Stay]] = defaultdict(list)
    total = 0
    sent: dict[bytes, Trace] = {}
    for trace in traces:
        for _, payload, _ in trace.sent:
            assert payload not in sent, "the test must not submit a payload twice"
            sent[payload] = trace
    for trace in traces:
        last: RingId | None = None
        seen: set[bytes] = set()
        positions = {payload: i for i, (_, payload, _) in enumerate(trace.sent)}
        own_next = 0
        for stay in stays(trace):
            ring = stay.config.ring_id
            if last is not None and not last < ring:
                _fail("E4", f"{trace.name} installed {ring} after {last}")
            last = ring
            by_ring[ring].append(stay)
            for delivery in stay.all:
                total += 1
                payload = delivery.payload
                if payload in seen:
                    _fail("E1", f"{trace.name} delivered {payload[:24]!r} twice")
                seen.add(payload)
                origin = sent.get(payload)
                if origin is None or origin.node != delivery.sender:
                    _fail("E1", f"{trace.name} delivered {payload[:24]!r} that n{delivery.sender} never sent")
                if origin is trace:
                    if positions[payload] != own_next:
                        _fail("E12", f"{trace.name} delivered its own {payload[:24]!r} out of sending order")
                    own_next += 1
        if ended and own_next != len(trace.sent) and not any(isinstance(e, Crash) for e in trace.events):
            _fail("E7", f"{trace.name} never delivered its own {trace.sent[own_next][1][:24]!r}")
    _check_senders(traces, sent)
    for ring, there in sorted(by_ring.items()):
        _check_ring(ring, there, sent, ended)
    _check_one_ring_per_message(by_ring)
    return total


def _check_senders(traces: Sequence[Trace], sent: dict[bytes, Trace]) -> None:
    """E12: messages of one sender are delivered in sending order, everywhere."""
    number = {payload: i for trace in traces for i, (_, payload, _) in enumerate(trace.sent)}
    for trace in traces:
        newest: dict[int, int] = {}  # by the trace of its sender
        for event in trace.events:
            if isinstance(event, Delivery):
                origin = id(sent[event.payload])
                if number[event.payload] <= newest.get(origin, -1):
                    _fail("E12", f"{trace.name} delivered {event.payload[:24]!r} after a later one of its sender")
                newest[origin] = number[event.payload]


def _check_one_ring_per_message(by_ring: dict[RingId, list[Stay]]) -> None:
    """E1, E2: a message belongs to one configuration, and to one place in it."""
    place: dict[bytes, tuple[RingId, int]] = {}
    for ring, there in by_ring.items():
        for stay in there:
            for delivery in stay.all:
                if place.setdefault(delivery.payload, (ring, delivery.seq)) != (ring, delivery.seq):
                    _fail(
                        "E1",
                        f"{delivery.payload[:24]!r} delivered as {place[delivery.payload]} and {(ring, delivery.seq)}",
                    )


def _check_ring(ring: RingId, there: list[Stay], sent: dict[bytes, Trace], ended: bool) -> None:
    members = there[0].config.members
    incarnations = there[0].config.incarnations
    nodes = {stay.trace.node: stay for stay in there}
    for stay in there:
        if stay.config.members != members or stay.config.incarnations != incarnations:
            _fail("E4", f"{ring} has members {members} at n{there[0].trace.node}, {stay.config.members} elsewhere")
        if stay.config.incarnations[stay.trace.node] != stay.trace.incarnation:
            _fail("E4", f"{stay.trace.name} is in {ring} under another incarnation")
        position = -1
        for delivery in stay.all:
            if delivery.seq < position:
                _fail("E9", f"{stay.trace.name} delivered seq {delivery.seq} after {position} in {ring}")
            position = delivery.seq
            if delivery.sender not in members:
                _fail("E2", f"{stay.trace.name} delivered a message of n{delivery.sender} in {ring} of {members}")
            origin = sent[delivery.payload]
            if incarnations[delivery.sender] != origin.incarnation:
                _fail("E1", f"{stay.trace.name} delivered a message of an old n{delivery.sender} in {ring}")
    # One logical order: seq, then the place among the messages packed under one seq.
    order: dict[int, list[bytes]] = {}
    for stay in there:
        packed: dict[int, list[bytes]] = defaultdict(list)
        for delivery in stay.all:
            packed[delivery.seq].append(delivery.payload)
        for seq, payloads in packed.items():
            if order.setdefault(seq, payloads) != payloads:
                _fail("E9", f"seq {seq} of {ring} is {payloads} at {stay.trace.name}, {order[seq]} elsewhere")
    known: dict[int, NodeId] = {}
    for stay in there:
        for delivery in stay.all:
            known[delivery.seq] = delivery.sender
    for stay in there:
        _check_holes(ring, stay, known)
        _check_safe(ring, stay, nodes, ended)
    if ended:
        for node in members:
            if node not in nodes:
                for stay in there:
                    if stay.next is None and not stay.crashed:
                        _fail("E5", f"{stay.trace.name} stays in {ring}, n{node} never installed it")
    _check_together(ring, there)


def _check_holes(ring: RingId, stay: Stay, known: dict[int, NodeId]) -> None:
    """E10: no holes before a delivery; in the transitional configuration only for senders outside it."""
    mine = {delivery.seq for delivery in stay.all}
    through = max((d.seq for d in stay.regular), default=0)
    along = set(stay.transitional.members) if stay.transitional is not None else set()
    end = max(mine, default=0)
    for seq, sender in known.items():
        if seq in mine:
            continue
        if seq < through or (seq < end and sender in along):
            _fail("E10", f"{stay.trace.name} jumped over seq {seq} of n{sender} in {ring}")


def _check_safe(ring: RingId, stay: Stay, nodes: dict[NodeId, Stay], ended: bool) -> None:
    """E13, E14: a safe message delivered in a configuration is delivered by all of it that do not crash."""
    there = {node: other.payloads for node, other in nodes.items()}
    for delivery in stay.all:
        if not delivery.safe:
            continue
        if delivery.transitional:
            assert stay.transitional is not None
            promised = stay.transitional.members
        else:
            promised = stay.config.members
        for node in promised:
            other = nodes.get(node)
            if other is None:
                if not delivery.transitional:
                    _fail("E14", f"{stay.trace.name} delivered safe seq {delivery.seq}, n{node} never installed {ring}")
                continue
            done = other.next is not None or (ended and not other.crashed)
            if done and delivery.payload not in there[node]:
                _fail(
                    "E13",
                    f"{stay.trace.name} delivered safe seq {delivery.seq} of {ring}, {other.trace.name} never did",
                )


def _check_together(ring: RingId, there: list[Stay]) -> None:
    """E6, E8: those that go on together say so alike and delivered the same."""
    following: dict[RingId, list[Stay]] = defaultdict(list)
    for stay in there:
        if stay.next is not None:
            following[stay.next.ring_id].append(stay)
    for after, group in following.items():
        first = group[0]
        assert first.transitional is not None
        for stay in group:
            assert stay.transitional is not None
            if stay.transitional.members != first.transitional.members:
                _fail("E6", f"{ring} to {after}: transitional sets differ at {first.trace.name}, {stay.trace.name}")
            if stay.trace.node not in first.transitional.members:
                _fail("E6", f"{ring} to {after}: {stay.trace.name} is missing from the transitional set")
            if [d.payload for d in stay.all] != [d.payload for d in first.all]:
                mine, theirs = {d.seq for d in stay.all}, {d.seq for d in first.all}
                _fail(
                    "E8",
                    f"{ring} to {after}: {stay.trace.name} and {first.trace.name} delivered different messages; "
                    f"seqs {sorted(mine ^ theirs)[:8]}",
                )
            if len(stay.regular) != len(first.regular):
                _fail("E9", f"{ring} to {after}: the transitional event stands elsewhere at {stay.trace.name}")
