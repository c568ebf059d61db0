"""What the parts of one node's Totem core share: who we are, settings, queues to the outside, counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from transport.config import TotemConfig
from transport.core import Entropy, Log
from transport.events import Beat, ConfigurationChange, Delivery, Persist, Progress
from transport.ids import NodeId, RingId
from transport.totem.packing import Backlog, Unpacker
from transport.totem.ring import Ring
from transport.totem.stats import Send, Stats

Event = Delivery | ConfigurationChange | Progress | Beat | Persist
DEFAULT_FRAME = 1300  # bytes of a Totem frame until the link layer says what goes unfragmented


@dataclass(slots=True)
class Context:
    """nodes: configured nodes and their votes, ourselves among them. name: what people call a node, for log lines."""

    me: NodeId
    incarnation: int
    config: TotemConfig
    nodes: dict[NodeId, int]
    entropy: Entropy
    log: Log
    backlog: Backlog
    out: deque[Send] = field(default_factory=deque)
    events: deque[Event] = field(default_factory=deque)
    stats: Stats = field(default_factory=Stats)
    frame_budget: int = DEFAULT_FRAME
    name: Callable[[NodeId], str] = "n{}".format

    def names(self, nodes: Iterable[NodeId]) -> str:
        """For log lines."""
        return ", ".join(self.name(node) for node in nodes)

    def fraction(self) -> float:
        """A number in [0, 1) from entropy, for jitter."""
        return int.from_bytes(self.entropy(2), "big") / 65536


@dataclass(slots=True)
class Installed:
    """The last ring this node installed; what recovery starts from, however often it is interrupted.

    incarnations, stamps: of the members, from its commit token. obligations: nodes whose messages behind a gap
    this node must deliver, because it declared in some recovery attempt to have them all; kept until the next
    ring is installed (facts: totem.md section 8.5).
    """

    ring: Ring
    incarnations: dict[NodeId, int]
    stamps: dict[NodeId, int]
    unpacker: Unpacker = field(default_factory=Unpacker)
    obligations: set[NodeId] = field(default_factory=set)

    @property
    def ring_id(self) -> RingId:
        return self.ring.ring_id

    @property
    def members(self) -> tuple[NodeId, ...]:
        return self.ring.members
