"""Somebody without keys on the wire of the net, who brings what he heard to others, or later."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING

from transport.ids import NodeId
from transport.totem.messages import ProgressReport

if TYPE_CHECKING:
    from tests.transport.totem.net import Net
    from tests.transport.totem.node import Node


class Attacker:
    """copies: the share of ring datagrams that he brings to others than it was sent to, up to `held` seconds later.
    (Twice to the same one it comes to nothing: the replay window.)  keeps_reports: he keeps half of the progress
    datagrams, and lets each pass at the moment at which it would do most harm in a later ring."""

    def __init__(self, net: Net, seed: int, copies: float, held: float, keeps_reports: bool) -> None:
        self._net = net
        self._rng = random.Random(seed + 1)  # of its own: the rest of a run stays as it is without
        self._copies, self._held, self._keeps_reports = copies, held, keeps_reports
        self._kept: dict[NodeId, list[tuple[NodeId, bytes]]] = defaultdict(list)

    def hear(self, source: NodeId, to: NodeId, kind: str, frame: bytes) -> None:
        """A datagram is sent, whether it arrives or not."""
        if frame and kind != "progress" and self._rng.random() < self._copies:
            self._copy(source, to, frame)

    def keep(self, source: NodeId, to: NodeId, kind: str, frame: bytes) -> bool:
        """Does he keep this one, which would have arrived?"""
        kept = self._keeps_reports and kind == "progress" and self._rng.random() < 0.5
        if kept:
            self._kept[to].append((source, frame))
        return kept

    def _copy(self, source: NodeId, to: NodeId, frame: bytes) -> None:
        net = self._net
        incarnation = net.nodes[source].incarnation

        def bring(other: NodeId) -> None:
            if net.nodes[source].incarnation == incarnation:  # the keys of a process end with it
                net._deliver(other, "frame", source, frame)

        for other in net.ids:
            if other not in (source, to) and self._rng.random() < 0.5:
                net.at(net.now + net.delay[0] + self._held * self._rng.random(), lambda other=other: bring(other))

    def let_pass(self, node: Node) -> None:
        """A report of an ended ring that would make `node` believe that a member has what it lacks."""
        net, ring = self._net, node.srp._membership.installed
        if not self._kept or ring is None or node.srp.phase != "operational":
            return
        for source, frame in self._kept[node.id]:
            report, other = ProgressReport.decode(frame), net.nodes[source].srp._membership.installed
            if report.ring_id == ring.ring_id or other is None or other.ring_id != ring.ring_id:
                continue
            if other.ring.window.aru < report.aru <= ring.ring.seq:
                self._kept[node.id].remove((source, frame))
                node.srp.receive_progress(source, frame, net.now)
                return
