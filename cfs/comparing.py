"""Do all members hold the same tree at the same place of the log? Asked while the cluster runs, not at changes only.

Source: DESIGN 4, S4 ("digest compared continuously"); docs/protocol-store.md, "Comparing trees". The logs of members
that are whole end alike wherever COMPARE is delivered: that index is the place. Each answers with its tree's digest
once it has made visible exactly so much. When all have answered, the most frequent digest stands, of equally frequent
ones the one of the lowest node; everybody draws the same conclusion, and who has another tree takes it anew.
"""

from __future__ import annotations

from collections.abc import Callable

from cfs import wire
from cfs.primary import Primary
from cfs.store import LocalStore
from transport.ids import NodeId

EVERY = 5.0  # seconds between two comparisons, while anything is written at all


class Comparing:
    """The comparisons of one configuration; one at a time, a new one ends the last.

    place: the log index where the trees are compared, 0 before the first.
    """

    def __init__(
        self, me: NodeId, primary: Primary, store: LocalStore, send: Callable[[wire.Message], None], now: float
    ) -> None:
        self.me = me
        self.place = 0
        self._primary = primary
        self._store = store
        self._send = send
        self._asked_at = now
        self._asking = False  # a COMPARE of ours is on its way
        self._owed = False
        self._awaited: frozenset[NodeId] = frozenset()
        self._digests: dict[NodeId, bytes] = {}

    def due(self, whole: bool) -> float | None:
        """When this node is to ask: the lowest of those that hold the state does, if something was written since."""
        primary = self._primary
        if not whole or self._asking or not primary.opened or self._store.state.index <= self.place:
            return None
        return self._asked_at + EVERY if min(primary.ready, default=None) == self.me else None

    def tell(self, whole: bool, now: float) -> None:
        """Ask when it is time; answer when this node's tree has come to the place."""
        due = self.due(whole)
        if due is not None and now >= due:
            self._asked_at, self._asking = now, True
            self._send(wire.Compare())
        digest = self._store.sampled
        if self._owed and whole and digest is not None:
            self._owed = False
            self._send(wire.Tree(self.place, digest))

    def on_compare(self, sender: NodeId, whole: bool, end: int, now: float) -> None:
        """end: of this node's log. All are asked; only those count that hold the state now."""
        primary = self._primary
        if sender == self.me:
            self._asking = False
        if not primary.opened or sender != min(primary.ready, default=None):
            return
        self._asked_at = now  # whoever asks next time
        self.place = end
        self._awaited, self._digests = frozenset(primary.ready), {}
        self._owed = whole and self.me in self._awaited
        if self._owed:
            self._store.sample(end)

    def on_tree(self, sender: NodeId, message: wire.Tree) -> tuple[NodeId, ...]:
        """Whose trees are wrong, once the last answer is here.

        Of a node that fell behind since nothing is awaited. One that is not whole knows the place as little as the
        others' answers: it judges nobody.
        """
        if sender not in self._awaited or message.index != self.place:
            return ()
        self._digests.setdefault(sender, message.digest)
        awaited = sorted(self._awaited & self._primary.ready)
        if any(node not in self._digests for node in awaited):
            return ()
        self._awaited = frozenset()
        told = [self._digests[node] for node in awaited]
        usual = max(told, key=lambda digest: (told.count(digest), -told.index(digest)), default=b"")
        return tuple(node for node, digest in zip(awaited, told, strict=True) if digest != usual)
