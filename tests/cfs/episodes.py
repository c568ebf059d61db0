"""Situations that random faults seldom make, with everything about them drawn: `python -m tests.cfs.episodes [first]
[count]`.

    opening   writes are acknowledged by a bare majority; the others come back, disks lag behind, and power goes at all
              about when the next primary opens
    copy      the disk of a member of that majority is put back to what it was before, its marker stays or goes back
              with it; then only those are there who lack the writes, and that member
    away      members are away for longer than the others keep records, and get the state by difference

Clients make, move and remove files and directories, and ask again under the same id at other nodes. The tree of every
node is held against one that is made of the log by itself (tests/cfs/treemodel.py), at every record.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from random import Random

from cfs.messages import Flag, Kind, Operation
from cfs.status import StoreSettings
from tests.cfs.cluster import Cluster
from tests.cfs.treemodel import TreeModel

SLOW = (60.0, 60.0)  # seconds of an fsync that does not end here any more
NAMES = ("a", "b", "c", "d")
KINDS = (Kind.PUT, Kind.PUT, Kind.PUT, Kind.DELETE, Kind.DELETE, Kind.RENAME, Kind.RENAME, Kind.MKDIR)


class Episodes:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.latency = random.choice([(0.0001, 0.0002), (0.0003, 0.004)])
        delay = random.choice([(0.0001, 0.003), (0.005, 0.011)])
        settings = StoreSettings(retain_records=random.choice([4, 50_000]))
        self.cluster = Cluster(seed, random.choice([3, 3, 5]), settings=settings, latency=self.latency, delay=delay)
        self.cluster.checks.model = TreeModel(settings.outcomes)

    def go(self) -> dict[str, int]:
        """Raises Broken."""
        cluster = self.cluster
        cluster.run_until(cluster.settled, 5.0)
        for _ in range(4):
            self._write(list(cluster.nodes), 8)
            episode = self.random.choice([self._opening, self._opening, self._copy, self._copy, self._away])
            episode(*self._split())
            cluster.count(episode.__name__.strip("_"))
            cluster.heal()
            for n in cluster.nodes:
                cluster.nodes[n].disk.latency = self.latency
                if n not in cluster.up:
                    cluster.start(n)
            cluster.run_until(cluster.settled, 10.0)
        cluster.finish()
        return cluster.counts

    def _split(self) -> tuple[list[int], list[int]]:
        """A bare majority, and the rest."""
        nodes = self.random.sample(list(self.cluster.nodes), len(self.cluster.nodes))
        return nodes[: len(nodes) // 2 + 1], nodes[len(nodes) // 2 + 1 :]

    def _write(self, nodes: list[int], count: int) -> None:
        """Operations at these nodes, a few milliseconds one after the other."""
        for _ in range(count):
            self._ask(self.random.choice(nodes))
            self.cluster.run(self.random.uniform(0.0, 0.02))

    def _ask(self, node: int) -> None:
        cluster, random = self.cluster, self.random
        if cluster.history and random.random() < 0.15:
            old = random.choice(cluster.history[-10:])
            if old.ended is None or old.unknown:  # a client that did not hear asks elsewhere
                cluster.propose(node, Operation.decode(old.operation.encode()))
                return
        path, to = ("/".join(random.choices(NAMES, k=random.choice([1, 1, 2]))) for _ in range(2))
        made = Operation(random.randbytes(16), random.choice(KINDS), path, writer=node, time=len(cluster.history) + 1)
        if made.kind is Kind.PUT:
            made.data = random.randbytes(random.choice([0, 10, 3000]))
        elif made.kind is Kind.RENAME:
            made.to = to
        elif made.kind is Kind.DELETE:
            made.flags = random.choice([Flag.NONE, Flag.RECURSIVE])
        replica = cluster.nodes[node].replica
        made.since = max(1, replica.state.index) if replica is not None else 1
        cluster.propose(node, made)

    def _go_on(self, members: list[int]) -> None:
        """Until these have a primary of their own."""
        cluster = self.cluster
        cluster.run_until(lambda: self._opened(members), 5.0)

    def _opened(self, members: list[int]) -> bool:
        """Do exactly these make a primary, open at one of them at least?"""
        primaries = [self.cluster.replica(n)._primary for n in members if n in self.cluster.up]
        return any(primary.opened and set(primary.members) == set(members) for primary in primaries)

    def _opening(self, some: list[int], others: list[int]) -> None:
        cluster, random = self.cluster, self.random
        usual, early = cluster.delay, random.random() < 0.5
        cluster.partition(set(some), set(others))
        cluster.run(0.4)  # all have noticed
        if early:
            cluster.delay = (0.0001, 0.0002)
            for n in some:
                cluster.nodes[n].disk.latency = (0.0001, 0.0002)
        while not self._opened(some) and cluster.now < 60.0:
            cluster.run(0.0001)
        if early:  # so early that for a second no disk knows what is committed
            cluster.put(some[0], "first")
            cluster.run(random.choice([0.02, 0.06]))
        else:
            self._write(some, random.choice([1, 2, 10]))
            cluster.run(random.choice([0.02, 0.1, 1.5]))
        cluster.delay = random.choice([usual, (0.01, 0.011)])
        lag = some if random.random() < 0.7 else random.sample(list(cluster.nodes), 2)
        for n in lag:
            cluster.nodes[n].disk.latency = SLOW
        cluster.heal()
        until = cluster.now + 1.0
        while not self._opened(list(cluster.nodes)) and cluster.now < until:
            cluster.run(0.0005)
        cluster.run(random.choice([0.0, 0.001, 0.003, 0.01, 0.03]))
        for n in list(cluster.up):
            disk = cluster.nodes[n].disk
            disk.broken = n in lag  # what is under way gets nowhere
            cluster.crash(n)
            disk.broken, disk.latency = False, self.latency
        for n in random.choice([list(cluster.nodes), some, [*others, *some[:1]]]):
            cluster.start(n)
        cluster.run(random.choice([0.5, 2.0]))
        cluster.delay = usual

    def _copy(self, some: list[int], others: list[int]) -> None:
        """With the marker gone back too only the others can know better, and where they do not no promise covers it
        (docs/protocol-store.md): then they have seen what the member claimed after the copy was made."""
        cluster, random = self.cluster, self.random
        node = some[0]
        cluster.run_until(cluster.settled, 5.0)
        saved, marker = deepcopy(cluster.nodes[node].disk), random.random() < 0.5
        if not marker or random.random() < 0.3:
            self._write(list(cluster.nodes), 5)
            cluster.crash(some[1])
            cluster.start(some[1])
            if not cluster.run_until(cluster.settled, 5.0):
                return
            cluster.run(0.1)  # the others hear what all claim
        cluster.partition(set(some), set(others))
        self._go_on(some)
        self._write(some, random.choice([1, 3, 10]))
        cluster.run(0.1)
        cluster.crash(node)
        disk = cluster.nodes[node].disk
        disk.restore(saved.backup())
        if not marker:
            disk._marker = saved._marker
        cluster.nodes[node].shown = 0  # until it hears of others, nothing tells it that it is older
        cluster.partition({node, *others}, set(some) - {node})
        cluster.start(node)
        cluster.run(0.5)
        self._write([node, *others], 5)
        cluster.run(random.choice([0.1, 1.0]))

    def _away(self, some: list[int], others: list[int]) -> None:
        cluster, random = self.cluster, self.random
        if random.random() < 0.5:
            for n in others:
                cluster.crash(n)
        else:
            cluster.partition(set(some), set(others))
        self._go_on(some)
        self._write(some, random.choice([5, 30]))
        cluster.run(0.2)


def run(seed: int) -> dict[str, int]:
    """Raises Broken, or whatever the replica raised."""
    return Episodes(seed).go()


def main() -> None:
    first, count = int(sys.argv[1]), int(sys.argv[2])
    totals: dict[str, int] = {}
    for seed in range(first, first + count):
        try:
            for what, times in run(seed).items():
                totals[what] = totals.get(what, 0) + times
        except Exception as error:
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:700]}", flush=True)
    print(dict(sorted(totals.items())))


if __name__ == "__main__":
    main()
