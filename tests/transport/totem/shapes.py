"""Every network of a few nodes: do its rings stop changing, and are they the right ones (DESIGN L4)?

python -m tests.transport.totem.shapes --nodes 4              each of the 64 graphs of 4 nodes in six ways: a minute
python -m tests.transport.totem.shapes --nodes 5              each of the 1024 of 5 nodes in six ways: an hour
python -m tests.transport.totem.shapes --nodes 5 --arcs --runs 200       200 drawn, with arcs in one direction only
python -m tests.transport.totem.shapes --nodes 5 [--arcs] --seed 1234    one again, with its log

A ring with most votes opens a primary, as the store does, sooner or later or never; whom the last one bound is
preferred, so the rings that come out depend on those that were before. Here they are compared with what must follow
from the graph, the votes and the primaries that there are in the end.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.transport.totem.evs import check
from tests.transport.totem.net import Net
from tests.transport.totem.node import Node
from transport.events import ConfigurationChange
from transport.ids import NO_RING, NodeId, RingId

Arc = tuple[NodeId, NodeId]
BOUND = 4.0  # virtual seconds from the last change to the rings that stay
REST = 5.0  # virtual seconds without another gather
WAYS = 6
OPENING = 0.020  # virtual seconds between the first and the last member that has opened a primary, at most
AGAIN = 2  # so often the same members may form their ring anew: what they know of each other differs for a moment


def undirected(n: int) -> list[frozenset[Arc]]:
    """Every graph whose arcs go both ways."""
    pairs = list(itertools.combinations(range(1, n + 1), 2))
    return [
        frozenset(arc for i, (a, b) in enumerate(pairs) if mask >> i & 1 for arc in ((a, b), (b, a)))
        for mask in range(2 ** len(pairs))
    ]


def directed(n: int, random_: random.Random) -> frozenset[Arc]:
    """A graph in which some reach others that do not reach them."""
    share = random_.choice((0.6, 0.8, 0.9))
    return frozenset(arc for arc in itertools.permutations(range(1, n + 1), 2) if random_.random() < share)


class Shape:
    """One network, one way to get there. way: where it starts from; when primaries open; who has how many votes."""

    def __init__(self, n: int, arcs: frozenset[Arc], way: int, seed: int) -> None:
        self._random = random.Random(seed)
        self.arcs = arcs
        self._opened_at: dict[RingId, float] = {}
        self._same_again: list[tuple[float, NodeId]] = []
        self._start = ("whole", "cut", "one by one", "another")[way % 4]
        self._opens = self._random.choice((0.01, 0.05, 0.05, 0.7, 1.5))  # seconds, at most
        self._quorum = way >= 2 or self._random.random() < 0.5
        votes = {node: 1 if way % 3 else self._random.choice((1, 1, 2, 0)) for node in range(1, n + 1)}
        self.net = Net(n, seed, delay=(0.0001, self._random.choice((0.0003, 0.003, 0.01))), votes=votes)
        self.net.watch = self._told

    def _told(self, node: Node, event: object) -> None:
        if not isinstance(event, ConfigurationChange) or not event.regular:
            return
        if not event.joined and not event.left:
            self._same_again.append((self.net.now, node.id))
        if self._quorum:
            self._open_primary(node, event)

    def _open_primary(self, node: Node, event: ConfigurationChange) -> None:
        votes = self.net.votes
        if 2 * sum(votes[member] for member in event.members) > sum(votes.values()):

            def opened() -> None:
                if node.alive and node.srp.ring_id == event.ring_id:
                    node.srp.set_primary(event.members, self.net.now)
                    self.net.pump(node)

            first = self._opened_at.setdefault(event.ring_id, self.net.now + self._opens * self._random.random())
            at = max(self.net.now, first)
            self.net.at(at + OPENING * self._random.random(), opened)

    def _cut(self, arcs: frozenset[Arc]) -> None:
        self.net.cuts = {arc for arc in itertools.permutations(self.net.ids, 2) if arc not in arcs}

    def run(self) -> None:
        """Raises AssertionError where rings go on changing, or the wrong ones stay."""
        net = self.net
        if self._start == "cut":
            self._cut(self.arcs)
            net.start()
        elif self._start == "one by one":
            self._cut(self.arcs)
            for node in self._random.sample(net.ids, len(net.ids)):
                net.boot(node)
                net.run(self._random.choice((0.01, 0.3, 1.5)))
        else:
            if self._start == "another":
                self._cut(directed(len(net.ids), self._random))
            net.start()
            net.run(self._random.uniform(0.5, 3.0))
            self._cut(self.arcs)
        begun = net.now
        net.run(BOUND)
        gathers = self._gathers()
        rings = self._rings()
        net.run(REST)
        told = f"{sorted(self.arcs)}, votes {net.votes}\n{net.tail(80)}"
        assert self._gathers() == gathers, f"gathered again: {told}"
        expected = best_first(self._edges(), self._weights())
        assert rings == expected, f"rings {rings}, not {expected}: {told}"
        again = Counter(node for at, node in self._same_again if at > begun)
        assert max(again.values(), default=0) <= AGAIN, f"the same ring formed anew {again}: {told}"
        check(net.traces)

    def _gathers(self) -> int:
        return sum(node.srp.stats.gathers for node in self.net.nodes.values())

    def _rings(self) -> list[tuple[NodeId, ...]]:
        net = self.net
        rings = {net.nodes[node].srp.members for node in net.ids}
        assert net.formed(*rings), f"{rings}: not of their members\n{net.tail(80)}"
        return sorted(rings)

    def _edges(self) -> dict[NodeId, set[NodeId]]:
        return {a: {b for b in self.net.ids if {(a, b), (b, a)} <= self.arcs} for a in self.net.ids}

    def _weights(self) -> dict[NodeId, tuple[int, int]]:
        """Votes; 1 for who was in the newest primary of its part of the network."""
        net, edges = self.net, self._edges()
        primary = {node: net.nodes[node].srp.primary for node in net.ids}
        weights = {}
        for node in net.ids:
            newest = max(primary[other] for other in component(node, edges))
            weights[node] = (net.votes[node], 1 if newest != NO_RING and primary[node] == newest else 0)
        return weights


def component(node: NodeId, edges: dict[NodeId, set[NodeId]]) -> set[NodeId]:
    found, todo = {node}, [node]
    while todo:
        new = edges[todo.pop()] - found
        found |= new
        todo += new
    return found


def best_first(edges: dict[NodeId, set[NodeId]], weights: dict[NodeId, tuple[int, int]]) -> list[tuple[NodeId, ...]]:
    """The rings there must be, by trying every subset: most votes, most of the last primary, most nodes, lowest ids."""
    found = []
    left = sorted(edges)
    while left:
        groups = [
            group
            for size in range(1, len(left) + 1)
            for group in itertools.combinations(left, size)
            if all(b in edges[a] for a, b in itertools.combinations(group, 2))
        ]
        best = min(groups, key=lambda g: (-sum(weights[n][0] for n in g), -sum(weights[n][1] for n in g), -len(g), g))
        found.append(best)
        left = [node for node in left if node not in best]
    return sorted(found)


def shape(n: int, seed: int, arcs: bool) -> Shape:
    """The one of this number. Without `arcs` the numbers go through all graphs, WAYS times."""
    if arcs:
        return Shape(n, directed(n, random.Random(seed)), seed % WAYS, seed)
    graphs = undirected(n)
    return Shape(n, graphs[seed % len(graphs)], seed // len(graphs) % WAYS, seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--arcs", action="store_true", help="random graphs, with arcs in one direction only")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--runs", type=int, default=0, help="so many; 0: every graph in every way")
    parser.add_argument("--seed", type=int, default=None, help="run this one only, and print its log")
    arguments = parser.parse_args()
    count = arguments.runs or WAYS * 2 ** (arguments.nodes * (arguments.nodes - 1) // 2)
    seeds: Sequence[int] = range(arguments.first, arguments.first + count)
    if arguments.seed is not None:
        seeds = [arguments.seed]
    failed = []
    start = time.monotonic()
    for seed in seeds:
        one = shape(arguments.nodes, seed, arguments.arcs)
        if arguments.seed is not None:
            one.net.trace = print
        try:
            one.run()
        except Exception as error:
            failed.append(seed)
            print(f"seed {seed} failed: {type(error).__name__}: {str(error)[: 6000 if arguments.seed else 300]}")
    print(f"{len(seeds)} networks in {time.monotonic() - start:.0f} s, failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
