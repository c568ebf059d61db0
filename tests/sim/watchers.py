"""Clients that watch the tree: each is told every change by its node, and goes on at another one when that is gone.

As the product's client does: ask for everything since the newest revision known; where that is no longer kept, read
all and begin there; begin anew too when the whole tree of a node was replaced.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from random import Random
from typing import Protocol

from cfs.errors import Compacted
from cfs.messages import Change
from cfs.state import State
from tests.sim.checkers import watches
from tests.sim.clock import Clock
from tests.sim.history import History, Watched
from transport.ids import NodeId, RingId

WATCHERS = 2
AWAY = 0.3  # seconds at most between two connections
REFUSALS = 3  # after so many in a row it is no node that lags, but another history: the tree is read anew


class Shown(Protocol):
    """What a watcher asks of a node's local socket."""

    @property
    def process_number(self) -> int: ...
    def can_connect(self) -> bool: ...
    def tree(self) -> tuple[State, RingId] | None: ...


class Watcher:
    """told(node): the tree of `node` changed.  replaced(node): it is another tree now.  poll: it looks for a node."""

    def __init__(self, clock: Clock, random: Random, nodes: Mapping[NodeId, Shown], history: History) -> None:
        self._clock = clock
        self._random = random
        self._nodes = nodes
        self._stream: list[Watched] = []
        self._at: tuple[NodeId, int] | None = None  # node and process it is connected to
        self._known: int | None = None
        self._refused = 0
        history.watches.append(self._stream)

    def start(self) -> None:
        self._clock.after(self._random.uniform(0.0, AWAY), self._look)

    def _look(self) -> None:
        """Connect where one can; leave a node now and then, and one that is gone."""
        if self._at is not None:
            node, process = self._at
            there = self._nodes[node]
            gone = not there.can_connect() or there.process_number != process
            if gone or self._random.random() < 0.02:
                self._at = None
        else:
            open_now = [node for node, shown in self._nodes.items() if shown.can_connect() and shown.tree() is not None]
            if open_now:
                node = self._random.choice(open_now)
                self._at = (node, self._nodes[node].process_number)
                self.changed(node)
        self._clock.after(self._random.uniform(0.0, AWAY), self._look)

    def changed(self, node: NodeId) -> None:
        """`node` has something new."""
        if self._at is None or self._at != (node, self._nodes[node].process_number):
            return
        shown = self._nodes[node].tree()
        if shown is None:
            return
        state, epoch = shown
        if self._known is not None and self._known > state.revision:  # as `Backend.fs_changes` refuses it
            self._at, self._refused = None, self._refused + 1
            if self._refused >= REFUSALS:
                self._known = None
            return
        self._refused = 0
        changes: list[Change] = []
        try:
            if self._known is not None:
                changes = state.since(self._known)
        except Compacted:
            self._known = None
        if self._known is None:
            self._known = state.revision
            self._stream.append(Watched(self._clock.now, node, state.revision, None, epoch))
            return
        for change in changes:
            self._stream.append(Watched(self._clock.now, node, change.revision, change, epoch))
            self._known = change.revision

    def replaced(self, node: NodeId) -> None:
        """The tree of `node` was replaced by that of another history: it is read anew."""
        if self._at is not None and self._at[0] == node:
            self._known = None
            self.changed(node)

    def check_up_to_date(self, now: float, listed: Container[NodeId]) -> None:
        """All is at rest: whoever is connected knows the newest revision there. Raises Violation.

        listed: who is of the cluster. A node that was removed shows its clients the tree of then; one who comes from
        elsewhere and knows more would be refused there (`Backend.fs_changes`).
        """
        if self._at is None or self._at[0] not in listed:
            return
        node, process = self._at
        shown = self._nodes[node].tree() if self._nodes[node].process_number == process else None
        if shown is not None and self._known is not None:
            watches.check_end(now, node, self._known, shown[0].revision)
