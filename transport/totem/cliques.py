"""Who forms a ring with whom, from everybody's reachability: the same answer for all who know the same.

The nodes that reach each other pairwise, both ways, form a clique. The best clique is taken first (highest votes,
then most members of the last primary, then most nodes, then lowest ids), its nodes removed, and so on. Finding the
best clique is exact for every graph an administrator will meet: nodes with the same neighbours count as one, so a
split network has a handful of them. Beyond STEPS search steps the best found so far is taken; the search order is
fixed, so that too is the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping

from transport.ids import NodeId

STEPS = 4000

Weight = tuple[int, int]  # votes; 1 for a member of the last primary, else 0
_Rank = tuple[int, int, int]


def clique_of(me: NodeId, edges: Mapping[NodeId, set[NodeId]], weights: Mapping[NodeId, Weight]) -> tuple[NodeId, ...]:
    """The clique `me` belongs to, sorted.

    edges: symmetric, without loops. weights: of every node. Only the component of `me` is looked at.
    """
    component = {me}
    todo = [me]
    while todo:
        for node in edges.get(todo.pop(), ()):
            if node not in component:
                component.add(node)
                todo.append(node)
    left = component
    while True:
        best = _best(sorted(left), edges, weights)
        if me in best:
            return tuple(sorted(best))
        left -= best


def _best(nodes: list[NodeId], edges: Mapping[NodeId, set[NodeId]], weights: Mapping[NodeId, Weight]) -> set[NodeId]:
    inside = set(nodes)
    closed = {node: frozenset((edges.get(node, set()) & inside) | {node}) for node in nodes}
    if all(len(near) == len(nodes) for near in closed.values()):
        return inside
    # Nodes with the same closed neighbourhood are always together in a best clique.
    groups: dict[frozenset[NodeId], list[NodeId]] = {}
    for node in nodes:
        groups.setdefault(closed[node], []).append(node)
    classes = list(groups.values())
    rank: list[_Rank] = [
        (sum(weights[n][0] for n in group), sum(weights[n][1] for n in group), len(group)) for group in classes
    ]
    order = sorted(range(len(classes)), key=lambda i: (*(-part for part in rank[i]), classes[i][0]))
    classes = [classes[i] for i in order]
    rank = [rank[i] for i in order]
    where = {group[0]: i for i, group in enumerate(classes)}
    near = [
        sum(1 << j for first, j in where.items() if j != i and first in closed[group[0]])
        for i, group in enumerate(classes)
    ]
    return _Search(classes, rank, near).run()


class _Search:
    """Branch and bound over classes, in fixed order, at most STEPS steps."""

    def __init__(self, classes: list[list[NodeId]], rank: list[_Rank], near: list[int]) -> None:
        self._classes, self._rank, self._near = classes, rank, near
        self._steps = 0
        self._best_rank: _Rank = (-1, -1, -1)
        self._best_ids: tuple[NodeId, ...] = ()

    def run(self) -> set[NodeId]:
        self._extend((1 << len(self._classes)) - 1, [], (0, 0, 0))
        return set(self._best_ids)

    def _extend(self, candidates: int, chosen: list[int], rank: _Rank) -> None:
        if not candidates:
            ids = tuple(sorted(node for i in chosen for node in self._classes[i]))
            if rank > self._best_rank or (rank == self._best_rank and ids < self._best_ids):
                self._best_rank, self._best_ids = rank, ids
            return
        while candidates:
            self._steps += 1
            bound = rank
            rest = candidates
            while rest:
                low = rest & -rest
                bound = _plus(bound, self._rank[low.bit_length() - 1])
                rest ^= low
            if bound < self._best_rank or (self._steps > STEPS and self._best_ids):
                return
            low = candidates & -candidates
            i = low.bit_length() - 1
            candidates ^= low
            chosen.append(i)
            self._extend(candidates & self._near[i], chosen, _plus(rank, self._rank[i]))
            chosen.pop()
            # A clique without class i must hold one that is not its neighbour, or i could be added.
            if not candidates & ~self._near[i]:
                return


def _plus(a: _Rank, b: _Rank) -> _Rank:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]
