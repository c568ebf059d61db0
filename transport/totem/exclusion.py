"""When a ring without a node that was in the last one may be installed: the other half of the quorum lease.

A node q *echoes* X when it passes on a token or commit token of a ring that has X in it, or answers X's ping with
its ring id. X's verdict lives at most 0.8 * T_excl from the sending of what q echoed, and q installs no ring
without X before T_excl has passed since its last echo: so X has stopped trusting its verdict by then. Free at
once: a node that said goodbye since, or that certainly restarted since (Views.replaced).

A fresh process does not know what the one before it echoed: it treats every configured node as echoed at start.
"""

from __future__ import annotations

from collections.abc import Iterable

from transport.ids import NodeId
from transport.totem.views import Views


class Echoes:
    """Last echo per node, with the incarnation it was for (None: unknown)."""

    __slots__ = ("_last",)

    def __init__(self, nodes: Iterable[NodeId], me: NodeId, now: float) -> None:
        self._last: dict[NodeId, tuple[float, int | None]] = {node: (now, None) for node in nodes if node != me}

    def note(self, node: NodeId, incarnation: int, at: float) -> None:
        """`node` in this incarnation was echoed at that time; earlier than known changes nothing."""
        last = self._last.get(node)
        if last is None or last[1] != incarnation or at > last[0]:
            self._last[node] = (at, incarnation)

    def free_at(self, members: Iterable[NodeId], views: Views, exclusion: float) -> float:
        """From when on a ring of exactly `members` may be installed. exclusion: T_excl, seconds."""
        inside = set(members)
        when = 0.0
        for node, (at, incarnation) in self._last.items():
            if node in inside:
                continue
            view = views.table.get(node)
            # Of an unknown incarnation a goodbye counts only if it came after: an older one may be of a process
            # before the one that was echoed.
            known = view is not None and (
                incarnation == view.incarnation if incarnation is not None else view.heard_at >= at
            )
            if view is not None and view.left and known:
                continue
            if incarnation is not None and views.replaced(node, incarnation, at):
                continue
            when = max(when, at + exclusion)
        return when
