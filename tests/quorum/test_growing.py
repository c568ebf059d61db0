"""Q1 while nodes come and go: under partitions, restarts, stopped processes and old configurations."""

from __future__ import annotations

from collections.abc import Collection
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
        self.acting = {node for ring in self.rings for node in ring if self.counts(node)}

    def join(self, *ring: NodeId) -> None:
        """The barrier compares versions; who is behind takes the configuration in force right after it."""
        in_force = max(self.versions[node] for node in ([n for n in ring if n in self.acting] or ring))
        self.world.form(*ring)
        newest = [node for node in ring if self.versions[node] == in_force]
        self.world.activate(*ring, newest=newest, ahead=[node for node in ring if self.versions[node] > in_force])
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

    def reconfigure(self, options: QuorumOptions, unheard: Collection[NodeId] = ()) -> None:
        """A quorate ring agrees, if nobody in it objects. unheard: cut off just before the last agreement; who is
        removed keeps what it has, too."""
        (ring,) = self.quorate()
        version = self.versions[ring[0]]
        newest = version == len(self.configs) - 1 and {self.versions[node] for node in ring} == {version}
        if not newest or any(self.world.nodes[node].objection(options) for node in ring):
            return
        reached = tuple(node for node in ring if node not in unheard and node in options.votes)
        self.configs.append(options)
        self.versions |= dict.fromkeys(reached, version + 1)
        for node in options.votes:
            self.versions.setdefault(node, version + 1)
        for node in reached:
            self.world.rings[node] = reached
        self.world.reconfigure(options, *reached)


def changed(random: Random, growth: Growth) -> QuorumOptions:
    """Any other list: nodes more, fewer, with other votes, all of it in one step."""
    votes = dict(growth.configs[-1].votes)
    for _ in range(random.choice((1, 1, 2, 3))):
        node = random.choice(sorted(votes))
        match random.choice(("add", "remove", "votes")):
            case "add" if max(growth.versions) < MOST:
                votes[max(*growth.versions, *votes) + 1] = 1
            case "remove" if len(votes) > 1 and (node not in growth.quorate()[0] or random.random() < 0.3):
                del votes[node]
            case _:
                votes[node] = random.choice((1, 1, 2, 3))
    return replace(growth.configs[-1], votes=votes)


def live_cut_off(seed: int) -> int:
    """As `live`, with any changes, some cut off in the middle of one. Returns how many changes were made."""
    random = Random(seed)
    growth = Growth(random.randint(2, 5))
    for _ in range(random.randint(4, 20)):
        quorate = growth.quorate()
        if random.random() < 0.5 and len(quorate) == 1:
            (ring,) = quorate
            unheard = {node for node in ring if random.random() < 0.4} if random.random() < 0.6 else set()
            before = len(growth.configs)
            growth.reconfigure(changed(random, growth), unheard if len(unheard) < len(ring) else ())
            unheard |= set(ring) - growth.configs[-1].votes.keys()
            if len(growth.configs) == before or not unheard:
                continue
            where = {node: random.choice((1, 1, 2, DOWN)) for node in sorted(growth.versions)}
            away = dict.fromkeys(unheard, 3)
            growth.place(where | away | {node: 3 for node in where if node not in ring and random.random() < 0.6})
        else:
            growth.place({node: random.choice((1, 1, 1, 2, 2, DOWN, STOPPED)) for node in sorted(growth.versions)})
        assert len(growth.quorate()) <= 1, (seed, growth.quorate())
    return len(growth.configs) - 1


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


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_at_most_one_part_is_quorate_when_a_change_is_cut_in_the_middle(first: int) -> None:
    """Q1: any change of the list that nobody refuses, with some of the members cut off before they hear that all
    agreed, and together with those who were away."""
    assert sum(live_cut_off(seed) for seed in range(first, first + 100)) > 20


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


def test_who_alone_heard_of_a_change_counts_by_it() -> None:
    """{3,4}|{1,2}: 3 alone heard that 4 was added, and came back to 1 and 2, who are quorate without knowing of 4. Had
    3 taken their number, {3,4} would have been a majority of three."""
    growth = Growth(3)
    growth.reconfigure(options_of(4), unheard=(1, 2))
    growth.place({1: 1, 2: 1, 3: 2, 4: DOWN})
    growth.place({1: 1, 2: 1, 3: 1, 4: DOWN})
    assert growth.versions[1] == 0
    growth.place({1: 1, 2: 1, 3: 2, 4: 2})
    assert growth.quorate() == [(1, 2)]


def test_who_alone_heard_of_more_votes_has_the_old_ones_for_the_others() -> None:
    """{2,4}|{1,3,5}: 4 alone heard that it has two votes, and meets 2, who was quorate by the list before."""
    growth = Growth(5)
    growth.reconfigure(replace(options_of(5), votes={1: 1, 2: 1, 3: 1, 4: 2, 5: 1}), unheard=(1, 2, 3, 5))
    growth.place({1: 1, 2: 1, 3: 1, 4: DOWN, 5: 1})
    growth.place({1: 2, 2: 1, 3: 2, 4: 1, 5: 2})
    assert growth.quorate() == [(1, 3, 5)]


def test_a_newcomer_is_counted_by_a_list_that_knows_less_too() -> None:
    """{1}|{2,3}: 3 is new, and has the list by which 1 and 2 have four votes; 2 has the next one, of five without 3."""
    growth = Growth(2)
    growth.reconfigure(replace(options_of(2), votes={1: 3, 2: 1}))
    growth.reconfigure(replace(options_of(3), votes={1: 3, 2: 1, 3: 1}))
    growth.reconfigure(replace(options_of(3), votes={1: 3, 2: 2, 3: 1}))
    growth.versions[3] = 2
    growth.place({1: 1, 2: 2, 3: 2})
    assert growth.quorate() == [(1,)]


def test_who_was_away_learns_that_the_newcomer_has_joined() -> None:
    """{2,3}|{1,4}: 4 joined while 3 was away, so {2,3} are two of four; by the next list, which 1 alone heard, {1,4}
    have three of five."""
    growth = Growth(3)
    growth.reconfigure(options_of(4))
    growth.place({1: 1, 2: 1, 3: DOWN, 4: 1})
    growth.reconfigure(replace(options_of(4), votes={1: 1, 2: 1, 3: 1, 4: 2}), unheard=(2, 4))
    growth.place({1: 2, 2: 3, 3: DOWN, 4: 3})
    growth.place({1: 2, 2: 1, 3: 1, 4: 2})
    assert growth.quorate() == [(1, 4)]
