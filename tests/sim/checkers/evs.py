"""O1 to O6: the promises of extended virtual synchrony, E1 to E15, on what passed between each ring and its node.

The rules are those of tests/transport/totem/evs.py, which checks the ring alone; here they judge whole nodes.

O2 leaves one thing out: a machine put back with its memory, which nobody told, sends again what waited to be sent when
the snapshot was made. What is delivered a second time for that reason is judged as a message of its own, sent by the
process of the past: once for each going back, at one place for all, in the order in which it was given to the ring.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from tests.sim.history import History, Past, Violation
from tests.transport.totem import evs
from transport.events import Delivery
from transport.ids import RingId

Place = tuple[RingId, int]


def check(history: History) -> int:
    """Raises Violation; returns the number of deliveries looked at. The run must have come to rest."""
    try:
        return evs.check(_told_apart(history))
    except evs.Violation as violation:
        promise, _, text = str(violation).partition(": ")
        at = max((event.at for process in history.processes for event in process.events), default=0.0)
        raise Violation(at, promise, text) from violation


def safe_deliveries(history: History) -> int:
    """How many there were for E13 and E14 to judge."""
    traces = (process.ring for process in history.processes)
    return sum(1 for trace in traces for event in trace.events if isinstance(event, Delivery) and event.safe)


def _told_apart(history: History) -> list[evs.Trace]:
    """All traces, and those of processes of the past; what these sent again has another name in them."""
    traces = [process.ring for process in history.processes]
    for number, past in enumerate(history.pasts):
        names = {mark: b"%s, again %d" % (mark, number) for mark in past.waiting}
        again = _said_again(traces, past)
        sent = [(0, names[mark], safe) for _, mark, safe in past.process.ring.sent if mark in again]
        traces = [_renamed(trace, again, names) for trace in traces]
        traces.append(replace(past.ring, sent=sent + past.ring.sent))
    return traces


def _said_again(traces: list[evs.Trace], past: Past) -> dict[bytes, Place]:
    """Which of the messages that waited were delivered at a second place, where nobody had any before the machine was
    put back."""
    before: dict[bytes, set[Place]] = defaultdict(set)
    since: dict[bytes, set[Place]] = defaultdict(set)
    for number, trace in enumerate(traces):
        then = past.events[number] if number < len(past.events) else 0
        for place, event in enumerate(trace.events):
            if isinstance(event, Delivery) and event.payload in past.waiting:
                (before if place < then else since)[event.payload].add((event.ring_id, event.seq))
    again: dict[bytes, Place] = {}
    for mark, places in since.items():
        first = before[mark] or {min(places)}
        if places - first:
            again[mark] = min(places - first)
    return again


def _renamed(trace: evs.Trace, again: dict[bytes, Place], names: dict[bytes, bytes]) -> evs.Trace:
    events = [
        replace(event, payload=names[event.payload])
        if isinstance(event, Delivery) and again.get(event.payload) == (event.ring_id, event.seq)
        else event
        for event in trace.events
    ]
    return replace(trace, events=events)
