"""The synchronisation barrier: after each configuration change, services agree on state before messages flow.

Every member of a new regular configuration multicasts one SYNC message that carries a blob of each of its services.
Delivery order is the same everywhere, so the moment at which the last member's message is in is the same place in
the order for all: there, and only there, the services activate. Messages of the other channels that are ordered
before that place wait (`held`) and follow it, so a verdict is told before any message of its configuration (Q3).

A service that must ask somebody first (a quorum device) holds our SYNC message back with `wait_for`/`ready`.
A new configuration in between abandons the barrier: `abandon` gives back what was held.

Source: corosync's sync engine as described in facts/totem.md section 9, reduced to its one necessary exchange.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from transport.codec import Reader, Writer
from transport.core import Log
from transport.errors import WireError
from transport.events import ConfigurationChange, Delivery
from transport.ids import NO_RING, NodeId, RingId

_VERSION = 1
HELD_BYTES = 16 << 20
"""Of one sender, kept while the barrier is not passed, each message with HELD_COST. What a member had in its backlog
when the ring changed is less; who says more before all are in is not waited for: the same is dropped everywhere."""
HELD_COST = 256
_MAX_BLOB = 1 << 20  # above what any service can have to say: refusing one costs the member its votes


class Service(Protocol):
    """What the barrier asks of a service."""

    def sync_state(self) -> bytes:
        """Our part of the exchange, taken at the moment the SYNC message is made."""


@dataclass(frozen=True, slots=True)
class Synchronised:
    """All members' blobs are in: service -> member -> blob. A member whose message was malformed has none."""

    ring_id: RingId
    members: tuple[NodeId, ...]
    blobs: dict[str, dict[NodeId, bytes]] = field(hash=False)


def encode(ring_id: RingId, blobs: dict[str, bytes]) -> bytes:
    writer = Writer().u8(_VERSION).u64(ring_id.seq).u16(ring_id.rep).u32(ring_id.incarnation).u8(len(blobs))
    for name, blob in blobs.items():
        writer.text(name).blob(blob)
    return writer.done()


def decode(payload: bytes) -> tuple[RingId, dict[str, bytes]]:
    """Raises WireError."""
    reader = Reader(payload)
    version = reader.u8()
    if version != _VERSION:
        raise WireError(f"sync message version {version}, {_VERSION} expected")
    ring_id = RingId(reader.u64(), reader.u16(), reader.u32())
    blobs = {}
    for _ in range(reader.u8()):
        name = reader.text(32)
        blobs[name] = reader.blob(_MAX_BLOB)
    reader.end()
    return ring_id, blobs


class Sync:
    """One barrier per regular configuration.

    True between any two calls: `done` means that the current configuration is synchronised and `held` is empty.
    """

    def __init__(self, me: NodeId, services: dict[str, Service], log: Log) -> None:
        self._me = me
        self._services = services
        self._log = log
        self._ring = NO_RING
        self._members: tuple[NodeId, ...] = ()
        self._received: dict[NodeId, dict[str, bytes]] = {}
        self._waiting: set[str] = set()
        self._sent = False
        self.out: deque[bytes] = deque()
        self.held: deque[Delivery] = deque()
        self._held_bytes: dict[NodeId, int] = {}
        self.too_much = 0  # messages that were not held
        self.done = False
        self.malformed = 0

    @property
    def missing(self) -> list[NodeId]:
        """Members whose SYNC message is not in yet."""
        return [] if self.done else [m for m in self._members if m not in self._received]

    def begin(self, change: ConfigurationChange, wait_for: set[str] | None = None) -> None:
        """A regular configuration was installed; `wait_for` names services that will call `ready` later."""
        assert change.regular and not self.held
        self._ring, self._members = change.ring_id, change.members
        self._received = {}
        self._held_bytes.clear()
        self.out.clear()
        self._waiting = set(wait_for or ())
        self._sent = False
        self.done = False
        self._send()

    def ready(self, service: str) -> None:
        """`service` has what it waited for."""
        self._waiting.discard(service)
        self._send()

    def hold(self, delivery: Delivery) -> None:
        """A message of another channel before the barrier: it waits, in order, if its sender does not say too much."""
        size = self._held_bytes.get(delivery.sender, 0) + len(delivery.payload) + HELD_COST
        if size > HELD_BYTES:
            self.too_much += 1
            return
        self._held_bytes[delivery.sender] = size
        self.held.append(delivery)

    def abandon(self) -> list[Delivery]:
        """The configuration ends: what was held, in order, for the caller to deal with."""
        held = list(self.held)
        self.held.clear()
        if not self.done and self._members:
            self._log.debug(f"sync: configuration {self._ring} ended before {self.missing} were heard")
        self._members = ()
        self.done = False
        return held

    def receive(self, sender: NodeId, payload: bytes) -> Synchronised | None:
        """A SYNC message at its place in the order; the Synchronised event if it was the last one missing."""
        blobs: dict[str, bytes] = {}
        try:
            ring_id, blobs = decode(payload)
        except WireError:
            # It still counts as heard: a broken member must not block the others (its services see no blob).
            self.malformed += 1
            ring_id = self._ring
        if ring_id != self._ring or self.done or sender not in self._members or sender in self._received:
            return None
        self._received[sender] = blobs
        if len(self._received) < len(self._members):
            return None
        self.done = True
        by_service = {
            name: {m: self._received[m][name] for m in self._members if name in self._received[m]}
            for name in self._services
        }
        return Synchronised(self._ring, self._members, by_service)

    def poll(self) -> bytes | None:
        """The next SYNC message to multicast."""
        return self.out.popleft() if self.out else None

    def _send(self) -> None:
        if not self._sent and not self._waiting and self._members:
            self._sent = True
            self.out.append(encode(self._ring, {name: s.sync_state() for name, s in self._services.items()}))
