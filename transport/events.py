"""What the transport tells the layers above, in ring order."""

from __future__ import annotations

from dataclasses import dataclass, field

from transport.ids import LinkId, NodeId, RingId


@dataclass(slots=True)
class Delivery:
    """One message, at its place in the total order.

    transitional: delivered after the transitional event of its ring: only the transitional members are
        promised to have it too (totem.md, section 1).
    """

    sender: NodeId
    payload: bytes
    ring_id: RingId
    seq: int
    transitional: bool = False
    safe: bool = False


@dataclass(frozen=True, slots=True)
class ConfigurationChange:
    """A regular or transitional configuration, standing in order among the deliveries.

    members: sorted. For a transitional one, the members that go together from `ring_id` (the old ring) to
        the next; for a regular one, all members of the new ring `ring_id`.
    joined, left: against the previous regular configuration; a node that restarted in between is in both.
    incarnations: of the members, so that a restarted process is a new member with the same id.
    """

    regular: bool
    ring_id: RingId
    members: tuple[NodeId, ...]
    joined: tuple[NodeId, ...] = ()
    left: tuple[NodeId, ...] = ()
    transitional_members: tuple[NodeId, ...] = ()
    incarnations: dict[NodeId, int] = field(default_factory=dict, hash=False)


@dataclass(slots=True)
class PeerWord:
    """What a listed node said to this one alone, inside their session: no part of any order, and it may be lost."""

    sender: NodeId
    payload: bytes


@dataclass(slots=True)
class Progress:
    """Claims of the members of the current ring, as seen on the token or in a progress datagram.

    values: member -> the number last given to `set_progress` there (monotone within a ring), or absent while
        that member makes no claim. Only claims made on `ring_id` are in it.
    """

    ring_id: RingId
    values: dict[NodeId, int]


@dataclass(slots=True)
class Beat:
    """Each of `peers` handled something of ours sent at `sent_at` (our clock) while in the ring `ring_id`."""

    peers: tuple[NodeId, ...]
    ring_id: RingId
    sent_at: float


@dataclass(frozen=True, slots=True)
class PathChange:
    """A path came up or went down; reason is one short sentence for the log and `clusterctl links`."""

    peer: NodeId
    link: LinkId
    up: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """`peer` told, in our session, of something this process sent that it has not sent yet (transport/link/memory.py).

    So the machine was put back in time with its memory, or the peer does not tell the truth.
    """

    peer: NodeId


@dataclass(frozen=True, slots=True)
class Persist:
    """Write `value` to the file `name` durably (temp, fsync, rename, fsync dir), then call persisted(receipt)."""

    receipt: int
    name: str
    value: bytes
