"""Who forms a ring with whom: the best clique first, the same for all (DESIGN L4)."""

from __future__ import annotations

import itertools
import random
import time

from transport.ids import NodeId
from transport.totem.cliques import Weight, clique_of


def best_first(edges: dict[NodeId, set[NodeId]], weights: dict[NodeId, Weight], me: NodeId) -> tuple[NodeId, ...]:
    """By trying every subset."""
    left = sorted(edges)
    while True:
        groups = [
            group
            for size in range(1, len(left) + 1)
            for group in itertools.combinations(left, size)
            if all(b in edges[a] for a, b in itertools.combinations(group, 2))
        ]
        best = min(groups, key=lambda g: (-sum(weights[n][0] for n in g), -sum(weights[n][1] for n in g), -len(g), g))
        if me in best:
            return best
        left = [node for node in left if node not in best]


def random_graph(rng: random.Random, n: int, share: float) -> dict[NodeId, set[NodeId]]:
    edges: dict[NodeId, set[NodeId]] = {node: set() for node in range(1, n + 1)}
    for a, b in itertools.combinations(edges, 2):
        if rng.random() < share:
            edges[a].add(b)
            edges[b].add(a)
    return edges


def test_like_trying_everything() -> None:
    """Votes, then last primary, then nodes, then lowest ids; for every node of random graphs."""
    rng = random.Random(1)
    for _ in range(300):
        edges = random_graph(rng, rng.randint(1, 7), rng.choice([0.3, 0.6, 0.9]))
        weights = {node: (rng.choice([0, 1, 1, 2]), rng.randint(0, 1)) for node in edges}
        for me in edges:
            assert clique_of(me, edges, weights) == best_first(edges, weights, me)


def test_64_nodes_take_bounded_time_and_agree() -> None:
    """Bounded and deterministic where exact search would not end: all nodes still partition alike."""
    rng = random.Random(2)
    edges = random_graph(rng, 64, 0.7)
    weights: dict[NodeId, Weight] = dict.fromkeys(edges, (1, 0))
    start = time.process_time()
    found = {me: clique_of(me, edges, weights) for me in (1, 17, 64)}
    assert time.process_time() - start < 20.0
    for me, clique in found.items():
        assert me in clique
        assert all(b in edges[a] for a, b in itertools.combinations(clique, 2))
    for a, b in itertools.combinations(found.values(), 2):
        assert a == b or not set(a) & set(b)


def test_two_halves_joined_by_one_node() -> None:
    """A split network with a node that sees both halves: the half with the votes takes it."""
    ids = range(1, 12)
    edges = {n: {m for m in ids if m != n and (6 in (n, m) or (n < 6) == (m < 6))} for n in ids}
    weights: dict[NodeId, Weight] = {n: (2 if n == 9 else 1, 0) for n in ids}
    assert clique_of(6, edges, weights) == tuple(range(6, 12))
    assert clique_of(1, edges, weights) == tuple(range(1, 6))
