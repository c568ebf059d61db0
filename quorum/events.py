"""What the quorum core gives out, and what it keeps on disk."""

from __future__ import annotations

from dataclasses import dataclass

from transport.ids import NodeId, RingId


@dataclass(frozen=True, slots=True)
class SavedState:
    """What survives a restart; the default is that of a node that never ran.

    highest_expected: the highest expected votes ever (expected_votes_tracking), 0 without that option.
    newcomer: a node that was added to the nodelist and has not joined yet, so it is not counted; 0 for none.
    lost: something was saved and is not known any more; never saved.
    """

    highest_expected: int = 0
    newcomer: NodeId = 0
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Multicast:
    """A message for the ring, in agreed order."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class SaveState:
    """Keep `state` on disk (quorum/io/statefile.py). Nothing waits for it."""

    state: SavedState


@dataclass(frozen=True, slots=True)
class Verdict:
    """May this node act? It belongs to this node, not to its component (facts/votequorum.md section 4.9).

    expected: this node's; highest_expected: the members' highest. total: votes present, with the device's if this
    node casts it. quorum: votes needed. flags: votequorum's words in its order. reason: one plain sentence.
    """

    quorate: bool
    ring_id: RingId
    members: tuple[NodeId, ...]
    expected: int
    highest_expected: int
    total: int
    quorum: int
    flags: tuple[str, ...]
    reason: str
