"""Behind the transitional event of a ring that ended: DESIGN 7, "Log"; docs/protocol-store.md, "One configuration"."""

from __future__ import annotations

from tests.cfs.cluster import Cluster


def test_a_read_begun_on_a_ring_that_the_others_have_left_is_not_answered_by_its_end() -> None:
    """S2: node 1 has not noticed yet that the others went on, and acknowledged a write, without it. Its BARRIER is
    delivered to nobody but itself, behind the transitional event: that confirms nothing, and what node 1 has is old."""
    cluster = Cluster(1, 3)
    assert cluster.run_until(cluster.settled, 5.0)
    cluster.linger = (1, 1.0)
    cluster.partition({1}, {2, 3})
    assert cluster.run_until(lambda: cluster.replica(2).primary_members == (2, 3), 0.8)
    kept = cluster.put(2, "kept")
    cluster.run(0.1)
    assert kept.result is not None and kept.result.ok
    assert cluster.nodes[1].ring is not None and cluster.nodes[1].ring.members == (1, 2, 3)
    cluster.barrier(1, token=7)  # raises Broken if it is answered before `kept` is visible here
    cluster.run(2.0)
    assert cluster.replica(1).state.find("kept") is None and "barriers" not in cluster.counts
    cluster.linger = None
    cluster.finish()
