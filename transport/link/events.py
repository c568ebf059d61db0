"""What the links tell the layer above, and what they ask it to send.

Times are seconds on the caller's clock (CLOCK_BOOTTIME in the daemon); sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from transport.ids import LinkId, NodeId

Address = tuple[str, int]  # (IP in canonical text, port); a link-local IPv6 address carries its %scope


@dataclass(frozen=True, slots=True)
class ReachabilityChange:
    """A peer became reachable (its first path came up) or unreachable (its last one went down).

    reason: one short sentence, the evidence. refused: the peer's host said that nobody listens there.
    row: all peers reachable now, our row of the reachability matrix.
    """

    peer: NodeId
    reachable: bool
    reason: str
    refused: bool
    row: frozenset[NodeId]


@dataclass(frozen=True, slots=True)
class MtuChange:
    """`Links.frame_budget()` is `budget` from now on."""

    budget: int


@dataclass(slots=True)
class PathSend:
    """One link message to seal for the session with `peer` on `link` and to send to `address`.

    payload: complete, with padding. pad_to: the UDP payload size the sealed datagram then has (probes), else None.
    Without a session the caller sends a handshake there instead.
    """

    peer: NodeId
    link: LinkId
    address: Address
    payload: bytes
    pad_to: int | None = None
