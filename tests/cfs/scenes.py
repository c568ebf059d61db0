"""A cluster that has settled, and what is done with it in one line, for the tests of the replica."""

from __future__ import annotations

from tests.cfs.cluster import Cluster


def settled(votes: dict[int, int] | int = 3, seed: int = 1, **options: object) -> Cluster:
    cluster = Cluster(seed, votes, **options)  # type: ignore[arg-type]
    assert cluster.run_until(cluster.settled, 5.0)
    return cluster


def write(cluster: Cluster, node: int, count: int, prefix: str = "f", pause: float = 0.01) -> None:
    for number in range(count):
        cluster.put(node, f"{prefix}{number}", b"%d" % number)
        cluster.run(pause)


def ring_messages(cluster: Cluster) -> list:
    ring = cluster.nodes[1].ring
    return ring.messages if ring else []
