"""Q4 on the ring: nobody may be left out of a ring while it may still trust a verdict."""

from __future__ import annotations

from collections.abc import Iterable

from tests.transport.totem.node import Node
from transport.events import ConfigurationChange
from transport.ids import NodeId


class Leases:
    """What each process sent and somebody echoed for its ring, and who was left out of a ring, by whom and when.

    token: the token timeout in seconds. A process trusts its verdict for less than that after what was echoed last.
    """

    def __init__(self, token: float) -> None:
        self._token = token
        self._exclusions: list[tuple[NodeId, int, NodeId, float]] = []  # (who, incarnation, by whom, when)
        self._beats: dict[tuple[NodeId, int, NodeId], list[tuple[float, float]]] = {}  # sent, echoed

    def beat(self, node: Node, peer: NodeId, sent_at: float, echoed_at: float) -> None:
        self._beats.setdefault((node.id, node.incarnation, peer), []).append((sent_at, echoed_at))

    def installed(self, node: Node, change: ConfigurationChange, alive: Iterable[Node], now: float) -> None:
        """`node` goes on without those of `alive` that are not in `change`."""
        for other in alive:
            if change.incarnations.get(other.id) != other.incarnation:
                self._exclusions.append((other.id, other.incarnation, node.id, now))

    def check(self) -> int:
        """No node is left out of a ring by one whose echo could still keep its lease alive; beats looked at."""
        total = 0
        for who, incarnation, by, when in self._exclusions:
            for sent_at, echoed_at in self._beats.get((who, incarnation, by), ()):
                total += 1
                assert echoed_at > when or sent_at <= when - 0.8 * self._token, (
                    f"n{by} left n{who} out at {when:.3f}, and had echoed what it sent at {sent_at:.3f}"
                )
        return total
