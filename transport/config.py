"""Settings of the transport, typed and checked; made by clusterd.config from corosync.conf.

All durations are seconds. Defaults are ours (DESIGN 5; docs/timing.md has the table with corosync's beside).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from transport.ids import MAX_RING_MEMBERS, LinkId, NodeId

DEFAULT_PORT = 5405


@dataclass(frozen=True, slots=True)
class TotemConfig:
    """Ring timing and windows.

    token: a ring whose token was not seen for so long is broken; also T_excl, the time nobody may be left
        out before. consensus bounds the wait for joins of members that are heard of but do not agree.
    """

    token: float = 0.600
    token_retransmit: float = 0.100
    hold: float = 0.075  # longest rest of an idle token, at most token / 8
    join: float = 0.050  # joins are repeated at this interval while gathering
    consensus: float = 0.720
    merge: float = 0.200  # idle merge detection interval
    window_bytes: int = 1 << 20  # all members together, per rotation
    max_visit_bytes: int = 1 << 18  # one member, per visit
    queue_bytes: int = 8 << 20  # submitted and not yet sent; above: QueueFull
    max_message: int = 4 << 20  # one submitted message


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """One link of the cluster; the same number on every node.

    priority: 0..255, the higher number is used first, ties: the lower link number.
    ping_interval, ping_timeout: seconds; pong_count: pongs in a row that bring a path up.
    """

    link: LinkId
    port: int
    priority: int = 1
    ping_interval: float = 0.100
    ping_timeout: float = 0.300
    pong_count: int = 2


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One listed node. addresses: link -> IP address or host name; identity: X25519 public key, 32 bytes."""

    id: NodeId
    name: str
    addresses: dict[LinkId, str] = field(hash=False)
    votes: int = 1
    identity: bytes = b""


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """Everything the transport needs to know of one node's cluster.

    link_mode: passive | active | rr.  mtu_cap: upper limit of the path MTU searched for (IP packet size).
    """

    cluster_name: str
    me: NodeId
    nodes: dict[NodeId, NodeConfig] = field(hash=False)
    links: dict[LinkId, LinkConfig] = field(hash=False)
    totem: TotemConfig = TotemConfig()
    link_mode: str = "passive"
    mtu_cap: int = 9000

    def __post_init__(self) -> None:
        if self.me not in self.nodes or len(self.nodes) > MAX_RING_MEMBERS:
            raise ValueError(f"{len(self.nodes)} nodes, at most {MAX_RING_MEMBERS}, and node {self.me} among them")
