"""Any reachability graph, however asymmetric, ends in bounded time in stable rings (DESIGN L4)."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.transport.totem.evs import check
from tests.transport.totem.net import Net

Edge = tuple[int, int]
BOUND = 3.0  # virtual seconds from the cut to the rings that stay
REST = 1.5  # virtual seconds without another gather


def cliques(nodes: set[int], edges: set[Edge]) -> list[tuple[int, ...]]:
    """The rings that are to form, by trying every subset: most nodes, then lowest ids (equal votes, no primary)."""
    found = []
    left = set(nodes)
    while left:
        best = min(
            (
                (-size, group)
                for size in range(1, len(left) + 1)
                for group in itertools.combinations(sorted(left), size)
                if all((a, b) in edges and (b, a) in edges for a, b in itertools.combinations(group, 2))
            ),
        )[1]
        found.append(best)
        left -= set(best)
    return found


def settle(n: int, edges: set[Edge], seed: int, together_first: bool) -> None:
    """From one ring of all, or from the start: do the expected rings form, and stay?"""
    net = Net(n, seed)
    cuts = {(a, b) for a in net.ids for b in net.ids if a != b and (a, b) not in edges}
    if not together_first:
        net.cuts = set(cuts)
    net.start()
    if together_first:
        net.until(lambda: net.formed(net.ids), 3.0)
        for node in net.ids:
            net.send(node)
        net.cuts = set(cuts)
        for node in net.ids:
            net.send(node)
    expected = cliques(set(net.ids), edges)
    net.run(BOUND)
    assert net.formed(*expected), f"{sorted(edges)}: {expected} expected\n{net.tail(60)}"
    gathers = sum(node.srp.stats.gathers for node in net.nodes.values())
    net.run(REST)
    assert sum(node.srp.stats.gathers for node in net.nodes.values()) == gathers, (
        f"{sorted(edges)}: gathered again\n{net.tail(60)}"
    )
    net.heal()
    net.until(lambda: net.formed(net.ids), 2.5)
    net.run(0.2)
    check(net.traces)


def undirected(n: int) -> list[set[Edge]]:
    pairs = list(itertools.combinations(range(1, n + 1), 2))
    return [
        {e for i, (a, b) in enumerate(pairs) if mask >> i & 1 for e in ((a, b), (b, a))}
        for mask in range(2 ** len(pairs))
    ]


@pytest.mark.parametrize("together_first", [True, False])
@pytest.mark.parametrize("n", [2, 3])
def test_every_graph_of_up_to_three_nodes(n: int, together_first: bool) -> None:
    """All directed graphs: facts, totem.md section 15, point 5; section 7.3 shows what corosync makes of one."""
    arcs = list(itertools.permutations(range(1, n + 1), 2))
    for mask in range(2 ** len(arcs)):
        settle(n, {arc for i, arc in enumerate(arcs) if mask >> i & 1}, mask, together_first)


def test_every_symmetric_graph_of_four_nodes() -> None:
    """Facts, totem.md section 15, point 5."""
    for number, edges in enumerate(undirected(4)):
        settle(4, edges, number, together_first=True)


@pytest.mark.parametrize("n", [4, 5])
def test_random_asymmetric_graphs(n: int) -> None:
    """Arcs in one direction only count as none: DESIGN L4."""
    rng = random.Random(n)
    arcs = list(itertools.permutations(range(1, n + 1), 2))
    for number in range(20):
        share = rng.choice([0.5, 0.75, 0.9])
        edges = {arc for arc in arcs if rng.random() < share}
        settle(n, edges, number, together_first=number % 2 == 0)
