"""What every node says of itself, as far as we know: the common ground on which cliques are chosen.

Each join carries all the sender knows; rows are merged so that all nodes that hear of each other, however far
apart, end with the same. Within an incarnation the higher stamp wins; of two incarnations the one born later does
(joins.View). Where birth says nothing, what a node keeps saying itself for CONFIRM while its other self is silent
wins, so that a datagram that comes late does not bring back the dead; and of two second-hand stories the one heard
from its node more recently.
"""

from __future__ import annotations

from dataclasses import dataclass

from transport.ids import NO_RING, NodeId, RingId
from transport.totem.cliques import Weight, clique_of
from transport.totem.joins import VOTES_MAX, Join, View

CONFIRM = 0.300  # seconds
_FRESHER = 0.050  # seconds; second-hand ages closer than this do not order two incarnations
_BIRTH_MAX = 0xFFFFFFFF


@dataclass(slots=True)
class Offer:
    """A node's last gathering join: the ring it offers to form."""

    clique: tuple[NodeId, ...]
    incarnations: tuple[int, ...]
    incarnation: int  # of the node itself
    stamp: int
    at: float


class Views:
    """Our own view and those of others. `version` changes whenever a clique might."""

    __slots__ = ("_births", "_candidates", "_last", "me", "offers", "own", "table", "version")

    def __init__(self, me: NodeId, incarnation: int, birth: int, votes: int, now: float) -> None:
        self.me = me
        self.own = View(incarnation, min(birth, _BIRTH_MAX), 0, frozenset(), votes, NO_RING, NO_RING, False, now)
        self.table: dict[NodeId, View] = {}
        self.offers: dict[NodeId, Offer] = {}
        self.version = 0
        self._last: dict[NodeId, tuple[int, int, float]] = {}  # last first-hand: incarnation, stamp, when
        self._candidates: dict[NodeId, tuple[int, float]] = {}  # another incarnation, heard since
        self._births: dict[NodeId, dict[int, int]] = {}

    def changed(self) -> None:
        """We say something new of ourselves."""
        self.own.stamp += 1
        self.version += 1

    def forget(self, node: NodeId) -> None:
        """The node is no longer configured."""
        for known in (self.table, self.offers, self._last, self._candidates, self._births):
            known.pop(node, None)
        self.version += 1

    def merge(self, join: Join, nodes: dict[NodeId, int], now: float) -> bool:
        """Take in what a join says; False if it is of a dead incarnation, or older than one heard before."""
        sender = join.sender
        said = join.views[sender]
        last = self._last.get(sender)
        if last is not None:
            if last[0] == said.incarnation and said.stamp < last[1]:
                return False
            if last[0] != said.incarnation and not self._restarted(sender, said, last, now):
                return False
        self._last[sender] = (said.incarnation, said.stamp, now)
        self._candidates.pop(sender, None)
        said.heard_at = now
        self._put(sender, said)
        if join.gathering:
            incarnations = tuple(self._said_incarnation(join, node) for node in join.clique)
            self.offers[sender] = Offer(join.clique, incarnations, said.incarnation, said.stamp, now)
        else:
            self.offers.pop(sender, None)
        for node, view in join.views.items():
            if node not in (self.me, sender) and node in nodes:
                self._second_hand(node, view)
        return True

    def _restarted(self, node: NodeId, said: View, last: tuple[int, int, float], now: float) -> bool:
        """Is this other incarnation the node's present one?"""
        if said.birth > self.birth(node, last[0]):
            return True
        told = self.table.get(node)
        if told is not None and told.incarnation == said.incarnation and told.heard_at - last[2] > 2 * CONFIRM:
            return True  # others have heard it long after we heard the first one
        incarnation, since = self._candidates.get(node, (-1, now))
        if incarnation != said.incarnation or last[2] >= since:
            self._candidates[node] = (said.incarnation, now)
            return False
        return now - since >= CONFIRM

    def _second_hand(self, node: NodeId, view: View) -> None:
        known = self.table.get(node)
        if known is None:
            self._put(node, view)
        elif view.incarnation == known.incarnation:
            if view.stamp > known.stamp:
                self._put(node, view)
            elif view.heard_at > known.heard_at:
                known.heard_at = view.heard_at
        else:
            # Not even a later birth outweighs that the other one was heard long after: a disk that came back empty
            # has its machine count from the beginning, and who was away then still tells of the process before.
            margin = _FRESHER if view.birth == known.birth else 2 * CONFIRM
            ahead = view.heard_at - known.heard_at
            if ahead > margin or (view.birth > known.birth and ahead >= -margin):
                self._put(node, view)

    @staticmethod
    def _said_incarnation(join: Join, node: NodeId) -> int:
        view = join.views.get(node)
        return view.incarnation if view is not None else -1

    def _put(self, node: NodeId, view: View) -> None:
        known = self.table.get(node)
        if known is None or (known.incarnation, known.stamp) != (view.incarnation, view.stamp):
            self.version += 1
        if known is not None and known.incarnation == view.incarnation:
            view.heard_at = max(view.heard_at, known.heard_at)
        self.table[node] = view
        births = self._births.setdefault(node, {})
        if view.incarnation not in births and len(births) >= 16:
            births.clear()
        births[view.incarnation] = view.birth

    def birth(self, node: NodeId, incarnation: int) -> int:
        """Of an incarnation of a node; -1 if it was not heard of lately."""
        return self._births.get(node, {}).get(incarnation, -1)

    def replaced(self, node: NodeId, incarnation: int, echoed_at: float) -> bool:
        """Is it certain that this incarnation of the node is gone: have we heard a later born one since its echo?

        What others tell is no proof, nor is the birth alone: where the disk came back empty, the process before was
        born "later", and who was away then still tells of it.
        """
        last = self._last.get(node)
        if last is None or last[0] == incarnation or last[2] < echoed_at:
            return False
        return 0 <= self.birth(node, incarnation) < self.birth(node, last[0])

    def incarnation(self, node: NodeId) -> int:
        """As we know it; -1 if we never heard of the node."""
        if node == self.me:
            return self.own.incarnation
        view = self.table.get(node)
        return view.incarnation if view is not None else -1

    def clique(
        self,
        nodes: dict[NodeId, int],
        together: tuple[NodeId, ...] = (),
        fresh_since: float | None = None,
    ) -> tuple[NodeId, ...]:
        """The clique we belong to.

        together: these count as reaching each other (the ring in operation). fresh_since: while gathering, a node
        not heard since then is given the benefit of the doubt, for as long as the caller waits: whoever reaches
        it is taken to be reached by it.
        """
        own = self.own
        rows: dict[NodeId, frozenset[NodeId]] = {self.me: own.row}
        doubted: set[NodeId] = set()  # not heard of lately
        for node in nodes:
            if node == self.me:
                continue
            view = self.table.get(node)
            if view is not None and view.left:
                continue
            if view is not None:
                rows[node] = view.row
            if fresh_since is not None and (view is None or view.heard_at < fresh_since):
                rows.setdefault(node, frozenset())
                doubted.add(node)
        if not together and (near := self._alike(rows, doubted)) is not None:
            return tuple(sorted(near))
        edges: dict[NodeId, set[NodeId]] = {node: set() for node in rows}
        joined = set(together)
        for node, row in rows.items():
            for other in row:
                if other in edges and (node in rows[other] or (other in doubted and node not in doubted)):
                    edges[node].add(other)
                    edges[other].add(node)
        for node in joined:
            if node in edges:
                edges[node] |= joined & edges.keys() - {node}
        newest = self._newest_primary(edges)
        weights: dict[NodeId, Weight] = {}
        for node in edges:
            view = own if node == self.me else self.table.get(node)
            if view is None:
                weights[node] = (min(nodes[node], VOTES_MAX), 0)
            else:
                weights[node] = (min(view.votes, VOTES_MAX), 1 if newest != NO_RING and view.primary == newest else 0)
        return clique_of(self.me, edges, weights)

    def _alike(self, rows: dict[NodeId, frozenset[NodeId]], doubted: set[NodeId]) -> frozenset[NodeId] | None:
        """The usual case, decided without building the graph: we and all we reach reach exactly each other.

        None: it is not that simple. Otherwise what the graph would give.
        """
        known = frozenset(rows)
        near = (rows[self.me] & known) | {self.me}
        unsure = near & doubted
        for node in near:
            row = rows[node]
            if node in unsure:
                if not unsure <= row | {node}:
                    return None
            elif (row & known) | {node} != near:
                return None
        for node in known - near:
            for other in rows[node] & unsure:
                if node not in doubted or node in rows[other]:
                    return None
        return near

    def _newest_primary(self, edges: dict[NodeId, set[NodeId]]) -> RingId:
        newest = NO_RING
        component, todo = {self.me}, [self.me]
        while todo:
            node = todo.pop()
            view = self.own if node == self.me else self.table.get(node)
            if view is not None and view.primary > newest:
                newest = view.primary
            for other in edges[node]:
                if other not in component:
                    component.add(other)
                    todo.append(other)
        return newest
