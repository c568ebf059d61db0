"""S4, "digest compared continuously": a tree that is not what the log makes of it is found while the ring turns."""

from __future__ import annotations

from cfs import wire
from cfs.comparing import EVERY
from cfs.digest import make_entry
from cfs.entries import FILE
from tests.cfs.cluster import Cluster
from tests.transport.security_world import ListLog


def settled(votes: int = 3, **options: object) -> Cluster:
    cluster = Cluster(1, votes, strict=False, **options)  # type: ignore[arg-type]
    assert cluster.run_until(cluster.settled, 5.0)
    return cluster


def spoil(cluster: Cluster, node: int) -> None:
    """A bit flips in memory, or a version of the program with another opinion: the tree is no longer the log's."""
    tree = cluster.replica(node).state._tree
    tree.put(make_entry("spoilt", FILE, b"by nobody", revision=1, created=1, mtime=0, writer=node))


def digests(cluster: Cluster) -> set[bytes]:
    return {cluster.replica(n).state.digest() for n in cluster.nodes}


def test_the_odd_tree_is_taken_anew_from_the_others() -> None:
    logs = {n: ListLog() for n in (1, 2, 3)}
    cluster = settled(log=lambda node: logs[node.id])
    spoil(cluster, 2)
    cluster.put(1, "after", b"x")
    cluster.run(0.5)
    assert len(digests(cluster)) == 2
    cluster.run(EVERY + 1.0)
    assert cluster.run_until(cluster.settled, 5.0)
    assert len(digests(cluster)) == 1
    assert cluster.replica(2).state._tree.get("spoilt") is None
    assert cluster.replica(2).state._tree.get("after") is not None
    assert any("its tree differs" in line for line in logs[2].lines)
    assert any("the trees of nodes 2 differ" in line or "the trees of 2 differ" in line for line in logs[3].lines)


def test_the_node_that_asks_may_be_the_odd_one() -> None:
    cluster = settled()
    spoil(cluster, 1)
    cluster.put(3, "after", b"x")
    cluster.run(EVERY + 1.5)
    assert cluster.run_until(cluster.settled, 5.0)
    assert digests(cluster) == {cluster.replica(3).state.digest()}
    assert cluster.replica(1).state._tree.get("spoilt") is None


def test_of_two_trees_the_lower_nodes_stands() -> None:
    cluster = settled(2)
    spoil(cluster, 2)
    cluster.put(1, "after", b"x")
    cluster.run(EVERY + 1.5)
    assert cluster.run_until(cluster.settled, 5.0)
    assert len(digests(cluster)) == 1
    assert cluster.replica(2).state._tree.get("spoilt") is None


def test_an_idle_cluster_compares_nothing() -> None:
    cluster = settled()
    cluster.put(1, "once", b"x")
    cluster.run(2 * EVERY)
    before = (
        cluster.counts.get("messages", 0),
        [len(node.ring.messages) for node in cluster.nodes.values() if node.ring],
    )
    cluster.run(10 * EVERY)
    after = cluster.counts.get("messages", 0), [len(node.ring.messages) for node in cluster.nodes.values() if node.ring]
    assert before == after
    assert any(
        isinstance(wire.decode(sent.payload)[1], wire.Tree)
        for node in cluster.nodes.values()
        if node.ring
        for sent in node.ring.messages
    )


def test_equal_trees_are_left_alone_under_writes() -> None:
    cluster = settled()
    for number in range(60):
        cluster.put(1 + number % 3, f"f{number}", b"x")
        cluster.run(EVERY / 20)
        assert all(cluster.replica(n).status().state == "synced" for n in cluster.nodes)
