"""A path as people see it."""

from __future__ import annotations

from dataclasses import dataclass

from transport.ids import LinkId, NodeId
from transport.link.events import Address
from transport.link.path import Path


@dataclass(frozen=True, slots=True)
class PathRow:
    """One path as `clusterctl links` shows it.

    local, remote: "IP:PORT" ("[IP]:PORT" for IPv6); local is None when this node has no address on the link.
    state: up | down | disabled. active: data goes this way now. latency_s: round trip, smoothed; latency_p99_s: of the
    last 100 pongs; None before the first pong. loss: 0..1 over the last 100 pings. mtu: IP packet size.
    since: when the state began, on the caller's clock. reason: why not up, None when up.
    """

    peer: NodeId
    name: str
    link: LinkId
    local: str | None
    remote: str
    state: str
    active: bool
    priority: int
    latency_s: float | None
    latency_p99_s: float | None
    jitter_s: float | None
    loss: float
    mtu: int
    since: float
    reason: str | None
    tx_packets: int
    rx_packets: int
    tx_bytes: int
    rx_bytes: int


def row_of(peer: NodeId, path: Path, local: Address | None, active: bool) -> PathRow:
    """This path now. peer: where it leads.  local: this node's end."""
    quality = path.quality
    return PathRow(
        peer=peer,
        name=path.name,
        link=path.link,
        local=shown(local) if local is not None else None,
        remote=shown(path.address),
        state="disabled" if path.disabled is not None else "up" if path.up else "down",
        active=active,
        priority=path.timing.priority,
        latency_s=quality.latency,
        latency_p99_s=quality.p99,
        jitter_s=quality.jitter,
        loss=quality.loss,
        mtu=path.mtu.size,
        since=path.since,
        reason=path.reason,
        tx_packets=path.tx_packets,
        rx_packets=path.rx_packets,
        tx_bytes=path.tx_bytes,
        rx_bytes=path.rx_bytes,
    )


def shown(address: Address) -> str:
    """IP:PORT, or [IP]:PORT for IPv6."""
    ip, port = address
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
