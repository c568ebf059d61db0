"""The replica on the scripted ring: one behaviour each."""

from __future__ import annotations

from tests.cfs.cluster import Cluster


def settled(votes: dict[int, int] | int = 3, seed: int = 1) -> Cluster:
    cluster = Cluster(seed, votes)
    assert cluster.run_until(cluster.settled, 5.0)
    return cluster


def test_first_start_makes_the_empty_tree_when_all_configured_nodes_are_there():
    """Genesis: all configured nodes present, none ever had a store: one epoch with the nodelist as its data set."""
    cluster = Cluster(1, 3, start=False)
    cluster.start(1)
    cluster.start(2)
    cluster.run(3.0)
    assert not cluster.replica(1).status().writable
    assert "missing: 3" in cluster.replica(1).status().reason
    cluster.start(3)
    assert cluster.run_until(cluster.settled, 3.0)
    assert cluster.replica(2).status().data_set == {1: 1, 2: 1, 3: 1}


def test_a_single_node_cluster_is_writable_by_itself():
    """Genesis with a nodelist of one is immediate."""
    cluster = settled(1)
    attempt = cluster.put(1, "a")
    cluster.run(0.2)
    assert attempt.result is not None
    assert attempt.result.ok


def test_write_is_acknowledged_and_read_everywhere():
    """S1, S2: acknowledged means on a required set of disks; all nodes show it."""
    cluster = settled()
    attempt = cluster.put(2, "a", b"hello")
    cluster.run(0.3)
    assert attempt.result is not None
    assert attempt.result.ok
    assert [cluster.replica(n).state.cat("a") for n in (1, 2, 3)] == [b"hello"] * 3


def test_write_without_quorum_is_refused_at_once():
    """S3: without a primary writes are refused at once, reads go on."""
    cluster = settled()
    cluster.partition({1}, {2, 3})
    cluster.run(1.0)
    attempt = cluster.put(1, "a")
    assert attempt.refused == "this node is not quorate"
    assert cluster.replica(1).readable()
    assert cluster.put(2, "b").refused == ""
    cluster.run(0.5)
    cluster.finish()


def test_node_that_was_away_catches_up_by_the_log():
    """A member that lacks the leader's entries gets them by log when the leader's log reaches back."""
    cluster = settled()
    cluster.crash(3)
    cluster.run(0.5)
    for number in range(50):
        cluster.put(1, f"f{number}", b"x" * number)
        cluster.run(0.01)
    cluster.start(3)
    cluster.finish()
    assert cluster.counts["Adopt"] == 3  # only those of the first start
    assert cluster.replica(3).state.cat("f49") == b"x" * 49


def test_acknowledged_writes_survive_power_loss_of_all_nodes():
    """S1: never lost, also when all nodes lose power at once."""
    cluster = settled()
    attempts = [cluster.put(1 + n % 3, f"f{n}", b"%d" % n) for n in range(30)]
    cluster.run(0.02)
    for n in (1, 2, 3):
        cluster.crash(n)
    assert any(attempt.result for attempt in attempts)
    cluster.finish()
