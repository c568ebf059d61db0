"""Power goes while a primary opens: DESIGN 7, "Opening a primary": the state and the new label, or neither."""

from __future__ import annotations

from tests.cfs.cluster import Cluster


def test_power_lost_while_one_of_three_has_not_the_state_yet() -> None:
    """S1: nodes 1 and 2 have just acknowledged a write that node 3 lacks. It is back, the primary opens without it, and
    power goes at all before it has the state, and before the others have the record of the new epoch on disk: "until
    then it keeps its old label and counts for nothing". With the label alone it would lead, and the write be lost."""
    cluster = Cluster(3, 3, latency=(0.0001, 0.0002), delay=(0.0001, 0.0002))
    assert cluster.run_until(cluster.settled, 5.0)
    cluster.partition({1, 2}, {3})
    while cluster.replica(1).primary_members != (1, 2):
        cluster.run(0.0001)
    kept = cluster.put(1, "kept")
    cluster.run(0.05)
    assert kept.result is not None and kept.result.ok  # so early that for a second no disk knows what is committed
    cluster.delay = (0.01, 0.011)
    cluster.nodes[3].disk.latency = (0.0001, 0.0002)
    for node in (1, 2):
        cluster.nodes[node].disk.latency = (60.0, 60.0)
    cluster.heal()
    while not (cluster.replica(3)._primary.opened and len(cluster.replica(3)._primary.members) == 3):
        cluster.run(0.0005)
    cluster.run(0.002)
    for node in cluster.nodes.values():
        node.disk.broken = node.id != 3  # nothing of what is under way gets there
        cluster.crash(node.id)
        node.disk.broken, node.disk.latency = False, (0.0003, 0.004)
    for n in cluster.nodes:
        cluster.start(n)
    cluster.finish()


def test_power_lost_before_a_member_has_the_state_on_its_disk() -> None:
    """L1, S6: node 3 gets what it lacks from node 1, and its disk is too slow to take it when power goes. It has not
    said READY, so no record calls it a holder of what it never had on disk, and nodes 1 and 3 go on without node 2."""
    cluster = Cluster(1, 3)
    assert cluster.run_until(cluster.settled, 5.0)
    cluster.partition({1, 2}, {3})
    assert cluster.run_until(lambda: cluster.replica(1).primary_members == (1, 2), 2.0)
    kept = cluster.put(1, "kept")
    cluster.run(0.5)
    assert kept.result is not None and kept.result.ok
    cluster.nodes[3].disk.latency = (60.0, 60.0)
    cluster.partition({1, 3}, {2})
    cluster.run(1.0)
    for node in (cluster.nodes[1], cluster.nodes[3]):
        node.disk.broken = node.id == 3  # nothing of what is under way gets there
        cluster.crash(node.id)
        node.disk.broken, node.disk.latency = False, (0.0003, 0.004)
        cluster.start(node.id)
    cluster.run(1.0)
    again = cluster.put(1, "again")
    cluster.run(0.5)
    assert again.result is not None and again.result.ok
    assert cluster.replica(3).state.find("kept") is not None
    cluster.finish()
