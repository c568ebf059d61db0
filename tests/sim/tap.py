"""Writes down what passes between a node's ring and the node, both ways, for the checkers of O1 to O6."""

from __future__ import annotations

from collections.abc import Callable

from clusterd.channels import CONFIG, GROUPS, QUORUM, STORE, SYNC
from clusterd.node import Node
from tests.sim.checkers.claims import check_claim
from tests.sim.clock import Clock
from tests.sim.history import History, Past, Process, Stranger
from tests.sim.trace import Trace
from tests.transport.totem import evs
from transport.events import ConfigurationChange, Delivery
from transport.ids import NodeId

CHANNELS = {SYNC: "barrier", QUORUM: "quorum", STORE: "store", GROUPS: "group", CONFIG: "configuration"}
MARK = 8  # bytes at the end of each message that tell it from every other
OF_THE_PAST = 0x8000  # in a mark in place of the number of the process, with that of the going back


def tap(node: Node, me: NodeId, process: Process, clock: Clock, trace: Trace) -> None:
    """From now on. Each message carries a unique mark at its end on the way, so that two equal ones are told apart."""
    endpoint, ring, changes = node.endpoint, process.ring, node.changes
    next_event, submit = endpoint.next_event, endpoint.submit
    head = me.to_bytes(2, "big") + process.number.to_bytes(2, "big")

    def tapped_event() -> object:
        event = next_event()
        if isinstance(event, Delivery):
            mark = event.payload[-MARK:]
            event.payload = event.payload[:-MARK]
            ring.events.append(Delivery(event.sender, mark, event.ring_id, event.seq, event.transitional, event.safe))
            if event.sender not in changes.config.transport.nodes:
                process.strangers.append(Stranger(clock.now, event.sender, mark, event.ring_id))
            if me in trace.watched:
                channel = CHANNELS.get(event.payload[0] if event.payload else 0, "unknown")
                text = f"delivered {event.ring_id}:{event.seq} of node {event.sender}: {channel} {mark.hex()}"
                trace.usual(clock.now, me, f"{channel} messages", lambda: text)
        elif isinstance(event, ConfigurationChange):
            if not ring.incarnation:
                ring.incarnation = event.incarnations[me]
            ring.events.append(event)
            kind = "regular" if event.regular else "transitional"
            trace.line(clock.now, me, f"{kind} configuration {event.ring_id} {list(event.members)}")
        return event

    def tapped_submit(payload: bytes, safe: bool = False) -> None:
        mark = head + len(ring.sent).to_bytes(4, "big")
        submit(payload + mark, safe)
        ring.sent.append((len(ring.events), mark, safe))
        process.sent_at.append(clock.now)

    # Only the simulator stands between the two; the product has no need of a hook here.
    setattr(endpoint, "next_event", tapped_event)  # noqa: B010
    setattr(endpoint, "submit", tapped_submit)  # noqa: B010


def waiting(process: Process) -> frozenset[bytes]:
    """The marks of what it gave to the ring and has not had back."""
    had = {event.payload for event in process.ring.events if isinstance(event, Delivery)}
    return frozenset(mark for _, mark, _ in process.ring.sent if mark not in had)


def tap_past(node: Node, process: Process, waits: frozenset[bytes], history: History) -> None:
    """The same for a process of the past, of which only what it gives to the ring is written down: it takes the marks
    off what others said, and marks what it says. process, waits: see Past."""
    endpoint, ring, pasts = (
        node.endpoint,
        evs.Trace(process.node, process.ring.incarnation, [evs.Crash()]),
        history.pasts,
    )
    next_event, submit = endpoint.next_event, endpoint.submit
    head = process.node.to_bytes(2, "big") + (OF_THE_PAST | len(pasts)).to_bytes(2, "big")
    pasts.append(Past(process, waits, tuple(len(other.ring.events) for other in history.processes), ring))

    def tapped_event() -> object:
        event = next_event()
        if isinstance(event, Delivery):
            event.payload = event.payload[:-MARK]
        return event

    def tapped_submit(payload: bytes, safe: bool = False) -> None:
        mark = head + len(ring.sent).to_bytes(4, "big")
        submit(payload + mark, safe)
        ring.sent.append((0, mark, safe))

    setattr(endpoint, "next_event", tapped_event)  # noqa: B010
    setattr(endpoint, "submit", tapped_submit)  # noqa: B010


def tap_claims(node: Node, process: Process, clock: Clock, on_disk: Callable[[], int]) -> None:
    """From now on a claim that is not so is a violation: "on disk up to here", said on the token as log index + 1."""
    srp = node.endpoint.srp
    set_progress = srp.set_progress

    def tapped_progress(value: int | None) -> None:
        if value is not None:
            process.claims += 1
            check_claim(clock.now, process.node, value - 1, on_disk())
        set_progress(value)

    setattr(srp, "set_progress", tapped_progress)  # noqa: B010
