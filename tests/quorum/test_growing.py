"""Q1 while nodes come and go: under partitions, restarts, stopped processes and old configurations."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from quorum.options import QuorumOptions
from tests.quorum.world import World, options_of, with_nodes
from transport.ids import NodeId

MOST = 8
DOWN, STOPPED = 0, -1  # places without a ring; who is stopped goes on later where it was, and does not know


class Growth:
    """A world whose nodes have the configuration each of them took last; `versions`: its number, by node."""

    def __init__(self, nodes: int) -> None:
        self.configs = [options_of(nodes)]
        self.world = World(self.configs[0])
        self.versions: dict[NodeId, int] = dict.fromkeys(self.world.nodes, 0)
        self.running = set(self.world.nodes)
        self.acting: set[NodeId] = set()
        self.rings: list[tuple[NodeId, ...]] = []
        self.place(dict.fromkeys(self.world.nodes, 1))

    def options(self, node: NodeId) -> QuorumOptions:
        return self.configs[self.versions[node]]

    def place(self, where: dict[NodeId, int]) -> None:
        """Each node in the ring of that number, down, or stopped."""
        self.acting -= {node for node, place in where.items() if place in (DOWN, STOPPED)}
        self.running -= {node for node, place in where.items() if place == DOWN}
        self.rings = []
        for number in sorted(set(where.values()) - {DOWN, STOPPED}):
            ring: list[NodeId] = []
            for node in sorted(node for node, place in where.items() if place == number):
                if node not in self.running:
                    self.world.start(node, self.options(node))
                    self.running.add(node)
                listed = all(node in self.options(other).votes and other in self.options(node).votes for other in ring)
                if listed:
                    ring.append(node)
                else:
                    self.join(node)
            self.join(*ring)
        self.acting |= {node for ring in self.rings for node in ring if self.counts(node)}

    def join(self, *ring: NodeId) -> None:
        """The barrier compares versions; who is behind takes the configuration in force right after it."""
        in_force = max(self.versions[node] for node in ([n for n in ring if n in self.acting] or ring))
        self.world.form(*ring)
        self.world.activate(*ring, newest=[node for node in ring if self.versions[node] == in_force])
        for node in ring:
            if self.versions[node] < in_force:
                self.versions[node] = in_force
                self.world.nodes[node].reconfigure(self.configs[in_force], self.world.now, late=True)
        self.world.deliver()
        self.rings.append(ring)

    def counts(self, node: NodeId) -> bool:
        """Quorate by votes, whatever its lease says."""
        return self.world.nodes[node]._electorate.quorate

    def quorate(self) -> list[tuple[NodeId, ...]]:
        return [ring for ring in self.rings if any(self.counts(node) for node in ring)]

    def reconfigure(self, options: QuorumOptions) -> None:
        """A quorate ring agrees, if nobody in it objects."""
        (ring,) = self.quorate()
        version = self.versions[ring[0]]
        newest = version == len(self.configs) - 1 and {self.versions[node] for node in ring} == {version}
        if not newest or any(self.world.nodes[node].objection(options) for node in ring):
            return
        self.configs.append(options)
        self.versions |= dict.fromkeys(ring, version + 1)
        for node in options.votes:
            self.versions.setdefault(node, version + 1)
        self.world.reconfigure(options, *ring)


def live(seed: int) -> None:
    random = Random(seed)
    growth = Growth(random.randint(2, 4))
    for _ in range(random.randint(3, 14)):
        last = growth.configs[-1]
        if random.random() < 0.45 and len(growth.quorate()) == 1 and max(growth.versions) < MOST:
            options = with_nodes(last, max(growth.versions) + 1)
            away = sorted(options.votes.keys() - set(growth.quorate()[0]))
            if random.random() < 0.25 and len(options.votes) > 2:
                gone = random.choice(away)
                options = replace(options, votes={n: v for n, v in options.votes.items() if n != gone})
            growth.reconfigure(options)
        else:
            growth.place({node: random.choice((1, 1, 1, 2, 2, DOWN, STOPPED)) for node in sorted(growth.versions)})
        assert len(growth.quorate()) <= 1, (seed, growth.quorate())


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_at_most_one_part_is_quorate(first: int) -> None:
    """Q1: nodes added and replaced one after the other, never all of them there to hear it."""
    for seed in range(first, first + 100):
        live(seed)


def test_a_node_in_the_place_of_another_counts_at_once() -> None:
    """{1,5}|{3,4} after 5 took the place of 2 in one step: not counted before it joined, it would be half of a
    majority that nobody else knew of."""
    growth = Growth(4)
    growth.place({1: 1, 2: DOWN, 3: 1, 4: 1})
    growth.reconfigure(options_of(4, votes={1: 1, 3: 1, 4: 1, 5: 1}))
    assert growth.world.numbers(1) == (4, 3, 3, True)
    growth.place({1: 1, 5: 1, 3: 2, 4: 2, 2: DOWN})
    assert growth.quorate() == []


def test_who_is_not_counted_yet_is_remembered_with_the_number() -> None:
    """{1,2}|{3,4}, then {2,3}, then {1,2}|{3,4} again, 4 new: 3 took its number back from 2 and must know that 4 is
    not in it."""
    growth = Growth(3)
    growth.reconfigure(options_of(4))
    growth.place({1: 1, 2: 1, 3: 2, 4: 2})
    assert growth.quorate() == [(1, 2)]
    growth.place({1: 1, 2: 2, 3: 2, 4: 3})
    assert growth.quorate() == [(2, 3)]
    growth.place({1: 1, 2: 1, 3: 2, 4: 2})
    assert growth.quorate() == [(1, 2)]
