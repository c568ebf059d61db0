"""Claims of a configuration that has ended: DESIGN 7, "Claims"."""

from __future__ import annotations

from tests.cfs.cluster import Cluster
from transport.events import ConfigurationChange


def test_a_late_claim_of_an_ended_epoch_commits_nothing() -> None:
    """ "Claims of an ended configuration commit nothing": neither before the next one is installed nor in it."""
    cluster = Cluster(1, 3)
    assert cluster.run_until(cluster.settled, 5.0)
    for other in (2, 3):
        cluster.nodes[other].disk.latency = (60.0, 60.0)
    attempt = cluster.put(1, "a")
    cluster.run(0.2)
    node, replica = cluster.nodes[1], cluster.replica(1)
    index, committed = replica.log.end.index, replica.committed
    assert index == committed + 1
    assert replica.log.standing().last[1] == index
    claims = dict.fromkeys((1, 2, 3), index + 1)
    assert node.ring is not None
    ended = node.ring.id
    for change in (
        ConfigurationChange(False, ended, (1,)),
        ConfigurationChange(True, ended._replace(seq=ended.seq + 1), (1,), transitional_members=(1,)),
    ):
        cluster._call(node, lambda r, change=change: r.configuration(change, cluster.now))
        cluster._call(node, lambda r: r.progress(claims, cluster.now))
        assert replica.committed == committed
    assert attempt.result is None
