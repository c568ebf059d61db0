"""S4, "digest compared continuously": a tree that is not what the log makes of it is found while the ring turns."""

from __future__ import annotations

from cfs import wire
from cfs.comparing import EVERY
from cfs.digest import make_entry
from cfs.entries import FILE
from cfs.scrub import PART_ENTRIES, Scrub
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


def flip(cluster: Cluster, node: int, path: str) -> None:
    """A bit of what was written flips where it lies."""
    entry = cluster.replica(node).state._tree.entries[path]
    entry.data = bytes([entry.data[0] ^ 4]) + entry.data[1:]


def test_whoever_finds_a_flipped_bit_in_its_own_memory_is_resynced() -> None:
    """S4, S6: the sums of digests are still equal; and of two nodes the lower one is not right for being lower."""
    for votes in (2, 3):
        logs = {n: ListLog() for n in (1, 2, 3)}
        cluster = settled(votes, log=lambda node, logs=logs: logs[node.id])
        cluster.put(2, "kept", b"as written")
        cluster.run(0.5)
        flip(cluster, 1, "kept")
        assert len(digests(cluster)) == 1
        cluster.put(2, "after", b"x")
        cluster.run(EVERY + 1.5)
        assert cluster.run_until(cluster.settled, 5.0)
        kept = [cluster.replica(n).state._tree.entries["kept"].data for n in cluster.nodes]
        assert kept == [b"as written"] * votes
        assert any("kept is not in memory as it was written" in line for line in logs[1].lines)
        assert not any("not in memory" in line for line in logs[2].lines)


def test_a_node_alone_tells_of_a_flipped_bit() -> None:
    """There is nobody to take it from but its own disk."""
    logs = ListLog()
    cluster = settled(1, log=lambda node: logs)
    cluster.put(1, "kept", b"as written")
    cluster.run(0.5)
    flip(cluster, 1, "kept")
    cluster.put(1, "after", b"x")
    cluster.run(EVERY + 1.5)
    assert any("restart clusterd to read its disk" in line for line in logs.lines)
    assert cluster.settled()


def test_a_large_tree_is_looked_at_in_parts() -> None:
    """However large, a part takes milliseconds; the round goes on although entries come and go."""
    tree = {f"f{number}": make_entry(f"f{number}", FILE, b"x", revision=1, created=1, mtime=0, writer=1)
            for number in range(2 * PART_ENTRIES + 10)}  # fmt: skip
    scrub = Scrub()
    assert scrub.part(tree) is None
    tree["f0"].data = tree[f"f{PART_ENTRIES + 5}"].data = b"y"
    del tree[f"f{PART_ENTRIES + 1}"]
    assert scrub.part(tree) == f"f{PART_ENTRIES + 5}"
    assert scrub.part(tree) is None
    assert scrub.part(tree) == "f0"
    assert Scrub().part({}) is None


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
