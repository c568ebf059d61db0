"""Gather: joins until all of a clique offer the same ring.

Everybody tells everybody what it knows (views.py) and computes the clique it belongs to (cliques.py). A node's
offer is that clique, with the incarnations of its members; when each of them offers the same, there is consensus
and the lowest of them issues the commit token. Joins go out at once when the offer changes (with jitter, so that
n nodes do not all talk at the same instant) and are repeated at `join`, growing to four times that.

It ends for every reachability graph: the clique depends only on rows that travel with the joins, so it is the same
for all once the rows are still; and whoever does not come to agree within `consensus` is *silenced*: left out of
our own published row for a while that doubles each time, which again makes the same clique for all. A node nobody
can reach is in no row and is not waited for.
"""

from __future__ import annotations

from transport.ids import NodeId
from transport.totem.context import Context
from transport.totem.joins import CommitToken
from transport.totem.views import Offer, Views

JITTER_PER_NODE = 0.0002  # seconds of spread of a changed join, per configured node
FRESH = 0.200  # a node heard so shortly before the gather began counts as heard in it
SILENCE_MAX = 60.0


class Silence:
    """Nodes left out of our row because they reach us and do not come to agree; by whom, until when."""

    __slots__ = ("_count", "_until")

    def __init__(self) -> None:
        self._until: dict[NodeId, float] = {}
        self._count: dict[NodeId, int] = {}

    def add(self, node: NodeId, base: float, now: float) -> None:
        """base: seconds of the first silence; doubles with each that follows."""
        count = self._count.get(node, 0)
        self._count[node] = count + 1
        self._until[node] = now + min(base * 2 ** min(count, 16), SILENCE_MAX)

    def forgive(self, nodes: tuple[NodeId, ...]) -> None:
        """They are in a ring with us: all is well."""
        for node in nodes:
            self._count.pop(node, None)
            self._until.pop(node, None)

    def end(self) -> None:
        """What we came to no agreement by is not true any more. Whoever fails again is silenced for longer."""
        self._until.clear()

    def lift(self, now: float) -> bool:
        """Drop what is over; True if there was any."""
        over = [node for node, until in self._until.items() if now >= until]
        for node in over:
            del self._until[node]
        return bool(over)

    def nodes(self) -> frozenset[NodeId]:
        return frozenset(self._until)

    def next_timeout(self) -> float | None:
        return min(self._until.values()) if self._until else None


class Gather:
    """The phase; `clique` is our offer."""

    __slots__ = (
        "_ctx",
        "_incarnations",
        "_interval",
        "_views",
        "base",
        "changed_at",
        "clique",
        "held",
        "held_until",
        "join_at",
        "reason",
        "retry_at",
        "started",
    )

    def __init__(
        self, ctx: Context, views: Views, base: dict[NodeId, tuple[int, int]], reason: str, now: float
    ) -> None:
        self._ctx = ctx
        self._views = views
        self.base = base  # node -> (incarnation, stamp) of joins that earlier attempts have used up
        self.reason = reason
        self.started = now
        self.clique: tuple[NodeId, ...] = ()
        self._incarnations: tuple[int, ...] = ()
        self.changed_at = now
        self.join_at = now
        self.held: CommitToken | None = None  # acceptable but for the wait to exclude somebody, or for the disk
        self.held_until = now
        self.retry_at: float | None = None  # when what consensus waits for may be over
        self._interval = ctx.config.join

    def choose(self, now: float) -> bool:
        """Compute our clique; True if it changed."""
        clique = self._views.clique(self._ctx.nodes, (), self.started - FRESH)
        self._incarnations = tuple(map(self._views.incarnation, clique))
        if clique == self.clique:
            return False
        self.clique = clique
        self.changed_at = now
        self.held = None
        self.speak_soon(now)
        return True

    def speak_soon(self, now: float) -> None:
        """Our join says something new: send it shortly."""
        spread = JITTER_PER_NODE * len(self._ctx.nodes) if len(self._ctx.nodes) > 8 else 0.0
        self._interval = self._ctx.config.join
        self.join_at = min(self.join_at, now + spread * self._ctx.fraction())

    def spoke(self, now: float) -> None:
        """A join went out: when the next one does."""
        self.join_at = now + self._interval * (0.9 + 0.2 * self._ctx.fraction())
        self._interval = min(1.5 * self._interval, 4 * self._ctx.config.join)

    def agrees(self, node: NodeId, now: float) -> bool:
        """Does this member's last join offer exactly our clique, and is it of this gather?"""
        offer = self._views.offers.get(node)
        return (
            offer is not None
            and offer.clique == self.clique
            and offer.incarnations == self._incarnations
            and not self._stale(node, offer, now)
        )

    def _stale(self, node: NodeId, offer: Offer, now: float) -> bool:
        incarnation, stamp = self.base.get(node, (-1, -1))
        if offer.incarnation == incarnation and offer.stamp <= stamp:
            return True
        return now - offer.at > max(self._ctx.config.consensus, 10 * self._ctx.config.join)

    def missing(self, now: float) -> list[NodeId]:
        """Members of our clique that do not agree (yet)."""
        return [node for node in self.clique if node != self._ctx.me and not self.agrees(node, now)]

    def deadline(self) -> float:
        """When to stop waiting for those that do not agree."""
        patience = self._ctx.config.consensus
        return min(self.changed_at + patience, max(self.started + 3 * patience, self.changed_at + patience / 4))
