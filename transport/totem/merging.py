"""In operation: telling others of changed rows, finding nodes to merge with, and not doing so again and again.

Whoever hears that a better clique is in sight gathers, but not at once: rows of nodes that come back change one by
one, and half a merge would be two. A gather that gave the same members again makes the next merge wait, twice as
long each time. Merge detection goes to nodes outside the ring that can be reached, from the lowest member that
reaches them; with everybody in the ring nothing is sent.

A ring may go on working though two of its members do not reach each other: the others repair what they miss. It
is given up once that has lasted: which rings there are must follow from who reaches whom, not from what was before.
"""

from __future__ import annotations

from transport.core import earliest
from transport.ids import NodeId
from transport.totem.context import Context, names
from transport.totem.views import Views

ANNOUNCE_DELAY = 0.030  # seconds a changed row is held back, for more changes to come
SETTLE_GROW = 0.050  # wait before a merge that only adds nodes
BACKOFF = 0.500  # pause after a gather that gave the same members again; doubles
BACKOFF_MAX = 30.0
TORN = 2.0  # times the token timeout: how long a member may be out of our reach before the ring is given up


class Merging:
    """Timers of the operational phase that concern nodes outside the ring, and members' rows."""

    __slots__ = (
        "_after",
        "_announce_at",
        "_considered",
        "_ctx",
        "_detect_at",
        "_failures",
        "_merge_at",
        "_torn_at",
        "_views",
    )

    def __init__(self, ctx: Context, views: Views, now: float) -> None:
        self._ctx = ctx
        self._views = views
        self._failures = 0
        self._after = now  # no merge before
        self._announce_at: float | None = None
        self._detect_at: float | None = None
        self._merge_at: float | None = None
        self._torn_at: float | None = None
        self._considered = -1  # version of the views a better clique was last looked for in

    def installed(self, same_members: bool, now: float) -> None:
        """A ring went into operation; same_members: as the one before, in the same incarnations."""
        if same_members:
            self._after = now + min(BACKOFF * 2 ** min(self._failures, 16), BACKOFF_MAX)
            self._failures += 1
        else:
            self._failures = 0
            self._after = now
        self._considered = -1
        self._detect_at = now + self._interval()
        self._announce_at = now + ANNOUNCE_DELAY  # rows may have changed while the ring was being formed

    def stop(self) -> None:
        """No longer in operation."""
        self._announce_at = self._detect_at = self._merge_at = self._torn_at = None

    def _interval(self) -> float:
        return self._ctx.config.merge * (0.9 + 0.2 * self._ctx.fraction())

    def row_changed(self, now: float) -> None:
        if self._announce_at is None:
            self._announce_at = now + ANNOUNCE_DELAY

    def consider(self, members: tuple[NodeId, ...], now: float) -> None:
        """The views may have changed: is there a better clique for us than the ring we are in?"""
        if self._considered == self._views.version:
            return
        self._considered = self._views.version
        if self._unreached(members):
            if self._torn_at is None:
                self._torn_at = max(now + TORN * self._ctx.config.token, self._after)
        else:
            self._torn_at = None
        clique = self._views.clique(self._ctx.nodes, members)
        if clique == members:
            self._merge_at = None
        elif self._merge_at is None:
            settle = SETTLE_GROW if set(clique) > set(members) else 3 * self._ctx.config.merge
            self._merge_at = max(now + settle, self._after)

    def _unreached(self, members: tuple[NodeId, ...]) -> list[NodeId]:
        return sorted(set(members) - self._views.own.row - {self._ctx.me})

    def due(self, members: tuple[NodeId, ...], now: float) -> str | None:
        """Why to gather now, if there is a reason whose time has come and that still holds."""
        if self._torn_at is not None and now >= self._torn_at:
            self._torn_at = None
            return f"{names(self._unreached(members))} out of reach for {TORN * self._ctx.config.token:g} s"
        if self._merge_at is not None and now >= self._merge_at:
            self._merge_at = None
            clique = self._views.clique(self._ctx.nodes, members)
            if clique != members:
                return f"a ring of {names(clique)} is possible"
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
        return (to & self._ctx.nodes.keys()) - {self._ctx.me}

    def next_timeout(self) -> float | None:
        return earliest(self._announce_at, self._detect_at, self._merge_at, self._torn_at)
