"""What a node says of itself, in the shapes of the command line contract. Computed when asked, from memory."""

from __future__ import annotations

import os
from collections.abc import Callable

from clusterd.config.schema import ClusterConfig
from clusterd.control.shapes import (
    ClusterInfo,
    Dropped,
    Link,
    Links,
    NodeInfo,
    Nodes,
    Quorum,
    RingInfo,
    Status,
    StoreInfo,
)
from clusterd.control.shapes import Node as NodeShape
from clusterd.node import Node
from transport.ids import NO_RING, RingId

CONTRACT = 1


def ring_text(ring_id: RingId) -> str | None:
    return None if ring_id == NO_RING else str(ring_id)


class Views:
    """now: the cores' clock. wall: Unix time. started: now at the daemon's start."""

    def __init__(
        self, node: Node, version: str, started: float, now: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._node = node
        self._version = version
        self._started = started
        self._now = now
        self._wall = wall

    @property
    def _config(self) -> ClusterConfig:
        return self._node.changes.config

    def quorum(self) -> Quorum:
        now = self._now()
        quorate = self._node.quorate(now)
        verdict = self._node.votequorum.view().verdict
        configuration = self._node.configuration
        return {
            "time": self._wall(),
            "node_id": self._node.me,
            "ring_id": ring_text(verdict.ring_id),
            "quorate": quorate,
            "members": list(verdict.members if configuration is not None else ()),
            "votes": {
                "expected": verdict.expected,
                "highest": verdict.highest_expected,
                "total": verdict.total,
                "quorum": verdict.quorum,
            },
            "flags": list(verdict.flags),
            "reason": verdict.reason,
            "lease_s": round(self._node.votequorum.lease_left(now), 3) if quorate else 0.0,
        }

    def nodes(self) -> Nodes:
        srp = self._node.endpoint.srp
        votes = self._node.votequorum.view().votes
        members = set(self._node.configuration.members) if self._node.configuration is not None else set()
        nodes: list[NodeShape] = [
            {
                "id": listed.id,
                "name": listed.name,
                "votes": votes.get(listed.id, listed.votes),
                "online": listed.id in members,
                "local": listed.id == self._node.me,
                "addresses": [listed.addresses[link] for link in sorted(listed.addresses)],
                "lag": srp.lag(listed.id) if listed.id in members else None,
            }
            for _, listed in sorted(self._config.transport.nodes.items())
        ]
        return {"nodes": nodes}

    def links(self) -> Links:
        dropped = self._node.endpoint.security.dropped
        reassembly = self._node.endpoint.malformed_fragments
        offset = self._wall() - self._now()
        links: list[Link] = [
            {
                "peer": row.peer,
                "name": row.name,
                "link": row.link,
                "local": row.local or "",
                "remote": row.remote,
                "state": row.state,
                "active": row.active,
                "priority": row.priority,
                "latency_s": row.latency_s,
                "jitter_s": row.jitter_s,
                "loss": row.loss,
                "mtu": row.mtu,
                "since": round(row.since + offset, 3),
                "reason": row.reason,
                "tx_packets": row.tx_packets,
                "rx_packets": row.rx_packets,
                "tx_bytes": row.tx_bytes,
                "rx_bytes": row.rx_bytes,
            }
            for row in self._node.endpoint.links.rows()
        ]
        counts: Dropped = {
            "not_authentic": dropped.not_authentic,
            "replayed": dropped.replayed,
            "malformed": dropped.malformed + reassembly,
            "unknown_sender": dropped.unknown_sender,
        }
        return {"links": links, "dropped": counts}

    def store(self) -> StoreInfo:
        status = self._node.replica.status()
        return {
            "state": status.state,
            "writable": status.writable,
            "revision": status.revision,
            "digest": status.digest.hex(),
            "entries": status.entries,
            "bytes": status.bytes,
            "durable_revision": status.durable_revision,
            "durable_on": list(status.durable_on),
            "durability": status.durability,
            "reason": status.reason,
            "kind": status.kind,
            "held_only_by": list(status.held_only_by),
            "received": status.received,
            "alarm": status.alarm,
        }

    def status(self) -> Status:
        config, srp = self._config, self._node.endpoint.srp
        node: NodeInfo = {
            "id": self._node.me,
            "name": config.name_of(self._node.me),
            "pid": os.getpid(),
            "version": self._version,
            "uptime_s": round(self._now() - self._started, 3),
        }
        cluster: ClusterInfo = {
            "name": config.cluster_name,
            "config_version": config.config_version,
            "transport": "knet",
            "secure_auth": True,
        }
        ring: RingInfo = {
            "id": ring_text(srp.ring_id),
            "phase": srp.phase,
            "members": list(srp.members),
            "detection_s": config.detection,
        }
        return {
            "contract": CONTRACT,
            "time": self._wall(),
            "node": node,
            "cluster": cluster,
            "ring": ring,
            "quorum": self.quorum(),
            "nodes": self.nodes()["nodes"],
            "store": self.store(),
        }
