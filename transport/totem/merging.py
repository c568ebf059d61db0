"""In operation: telling others what changed of us, finding nodes to merge with, and not doing so again and again.

Whoever hears that a better clique is in sight gathers, but not at once: rows of nodes that come back change one by
one, and half a merge would be two. A gather that gave the same members again makes the next merge with those it was
for wait, twice as long each time; until they restart, are out of reach and come back, or gather for it themselves, or
the ring changes. What others choose by, our row, votes and last primary, is told to all when it changes: a ring in
operation must not choose by what a gather will find to be different.
Merge detection goes to nodes outside the ring that can be reached, from the lowest member that reaches them; with
everybody in the ring nothing is sent.

A ring may go on working though two of its members do not reach each other: the others repair what they miss. It
is given up once that has lasted: which rings there are must follow from who reaches whom, not from what was before.
"""

from __future__ import annotations

from dataclasses import dataclass

from transport.core import earliest
from transport.ids import NodeId
from transport.totem.context import Context
from transport.totem.views import Views

ANNOUNCE_DELAY = 0.030  # seconds a changed row is held back, for more changes to come
SETTLE_GROW = 0.050  # wait before a merge that only adds nodes
SETTLE = 3.0  # times the merge timeout: wait before one that leaves members out
PATIENT = (
    0.5  # of the consensus timeout: no wait is longer, or those who gather to have us would give up before its end
)
BACKOFF = 0.500  # pause after a gather that gave the same members again; doubles
BACKOFF_MAX = 30.0
TORN = 2.0  # times the token timeout: how long a member may be out of our reach before the ring is given up

_Others = frozenset[tuple[NodeId, int]]  # nodes outside the ring with their incarnations


@dataclass(frozen=True, slots=True)
class _Failure:
    """Gathers that gave the same members again: how often, not again before, and what the others had said till then."""

    count: int
    not_before: float
    stamps: dict[NodeId, int]


class Merging:
    """Timers of the operational phase that concern nodes outside the ring, and members' rows."""

    __slots__ = (
        "_announce_at",
        "_considered",
        "_ctx",
        "_detect_at",
        "_failures",
        "_merge_at",
        "_merge_since",
        "_torn_at",
        "_tried",
        "_views",
    )

    def __init__(self, ctx: Context, views: Views, now: float) -> None:
        self._ctx = ctx
        self._views = views
        self._failures: dict[_Others, _Failure] = {}  # merges in vain
        self._tried: _Others | None = None  # whom the gather going on is to bring in, as far as we know
        self._announce_at: float | None = None
        self._detect_at: float | None = None
        self._merge_at: float | None = None
        self._merge_since: float | None = None  # a better clique has been in sight
        self._torn_at: float | None = None
        self._considered = -1  # version of the views a better clique was last looked for in

    def installed(self, same_members: bool, now: float) -> None:
        """A ring went into operation; same_members: as the one before, in the same incarnations."""
        if not same_members:
            self._failures.clear()
        elif self._tried is not None:
            before = self._failures.get(self._tried)
            count = before.count if before is not None else 0
            if len(self._failures) >= 64:
                self._failures.clear()
            pause = min(BACKOFF * 2 ** min(count, 16), BACKOFF_MAX)
            table = self._views.table
            stamps = {node: table[node].stamp for node, _ in self._tried if node in table}
            self._failures[self._tried] = _Failure(count + 1, now + pause, stamps)
        self._tried = None
        self._considered = -1
        self._detect_at = now + self._interval()
        self._announce_at = now + ANNOUNCE_DELAY  # rows may have changed while the ring was being formed

    def stop(self, members: tuple[NodeId, ...]) -> None:
        """No longer in operation, in a ring of `members`."""
        clique = self._views.clique(self._ctx.nodes, members)
        self._tried = self._others(clique, members) if clique != members else None
        self._merge_since = None
        self._announce_at = self._detect_at = self._merge_at = self._torn_at = None

    def _interval(self) -> float:
        return self._ctx.config.merge * (0.9 + 0.2 * self._ctx.fraction())

    def changed(self, now: float) -> None:
        """We say something new of ourselves."""
        if self._announce_at is None:
            self._announce_at = now + ANNOUNCE_DELAY

    def forgive(self, node: NodeId) -> None:
        """It restarted, or was out of reach and is back: what failed with it may work now."""
        for others in [others for others in self._failures if any(node == other for other, _ in others)]:
            del self._failures[others]
        self._considered = -1

    def _others(self, clique: tuple[NodeId, ...], members: tuple[NodeId, ...]) -> _Others:
        return frozenset((node, self._views.incarnation(node)) for node in clique if node not in members)

    def consider(self, members: tuple[NodeId, ...], now: float) -> None:
        """The views may have changed: is there a better clique for us than the ring we are in?"""
        if self._considered == self._views.version:
            return
        self._considered = self._views.version
        if self._unreached(members):
            if self._torn_at is None:
                self._torn_at = now + TORN * self._ctx.config.token
        else:
            self._torn_at = None
        clique = self._views.clique(self._ctx.nodes, members)
        if clique == members:
            self._merge_at = self._merge_since = None
            return
        if self._merge_since is None:
            self._merge_since = now
        config = self._ctx.config
        grows = set(clique) > set(members)
        settle = min(SETTLE_GROW if grows else SETTLE * config.merge, PATIENT * config.consensus)
        self._merge_at = self._merge_since + settle
        failure = self._failures.get(self._others(clique, members))
        if failure is not None and not self._offered_since(failure, clique, now):
            self._merge_at = max(self._merge_at, failure.not_before)

    def _offered_since(self, failure: _Failure, clique: tuple[NodeId, ...], now: float) -> bool:
        """Has somebody begun to gather for this very ring since it failed? It waits for us, and not long."""
        since = now - self._ctx.config.consensus
        return any(
            (offer := self._views.offers.get(node)) is not None
            and offer.clique == clique
            and offer.stamp > stamp
            and offer.at >= since
            for node, stamp in failure.stamps.items()
        )

    def _unreached(self, members: tuple[NodeId, ...]) -> list[NodeId]:
        return sorted(set(members) - self._views.own.row - {self._ctx.me})

    def due(self, members: tuple[NodeId, ...], now: float) -> str | None:
        """Why to gather now, if there is a reason whose time has come and that still holds."""
        if self._torn_at is not None and now >= self._torn_at:
            self._torn_at = None
            return f"{self._ctx.names(self._unreached(members))} out of reach for {TORN * self._ctx.config.token:g} s"
        if self._merge_at is not None and now >= self._merge_at:
            self._merge_at = self._merge_since = None
            clique = self._views.clique(self._ctx.nodes, members)
            if clique != members:
                return f"a ring of {self._ctx.names(clique)} is possible"
        return None

    def announce_to(self, members: tuple[NodeId, ...], now: float) -> set[NodeId]:
        """Whom to send our view now: of a changed row all we reach, for merge detection those outside the ring."""
        to: set[NodeId] = set()
        if self._announce_at is not None and now >= self._announce_at:
            self._announce_at = None
            to |= set(members) | self._views.own.row
        if self._detect_at is not None and now >= self._detect_at:
            self._detect_at = now + self._interval()
            me, table = self._ctx.me, self._views.table
            covered = {
                node for lower in members if lower < me and (view := table.get(lower)) is not None for node in view.row
            }
            to |= self._views.own.row - set(members) - covered
        return to.intersection(self._ctx.nodes) - {self._ctx.me}

    def next_timeout(self) -> float | None:
        return earliest(self._announce_at, self._detect_at, self._merge_at, self._torn_at)
