"""A store that is gone, or older than what its node had said of it, counts for nothing until it is resynced (S6)."""

from __future__ import annotations

from tests.cfs.scenes import settled, write


def test_node_with_an_empty_disk_is_resynced_and_counts_again():
    """S6: a store that is gone never counts until resynced; then its disk carries acknowledgements again."""
    cluster = settled()
    write(cluster, 1, 20)
    cluster.crash(3)
    cluster.nodes[3].disk.lose()
    cluster.run(0.3)
    cluster.start(3)
    cluster.finish()
    cluster.crash(2)
    cluster.run(1.0)
    attempt = cluster.put(1, "late")
    cluster.run(0.5)
    assert attempt.result is not None


def test_one_good_store_of_three_opens_nothing():
    """S6: an acknowledged write may be on the third disk alone with the lost one: nobody goes on without it."""
    cluster = settled()
    write(cluster, 1, 5)
    cluster.crash(1)
    cluster.crash(2)
    cluster.nodes[2].disk.lose()
    cluster.nodes[2].shown = 0
    cluster.start(2)
    cluster.crash(3)
    cluster.start(1)
    cluster.run(2.0)
    status = cluster.replica(1).status()
    assert not status.writable
    assert status.reason == "too few good stores: 1 of 1, 2, 3; lost: 2; away: 3"
    cluster.finish()


def test_of_two_stores_one_lost_is_made_again_from_the_other():
    """A two-member data set: all that both had acknowledged is on each, so one good store is enough to go on from."""
    cluster = settled(2)
    write(cluster, 1, 5)
    cluster.crash(2)
    cluster.nodes[2].disk.lose()
    cluster.run(0.2)
    cluster.start(2)
    cluster.finish()
    assert cluster.replica(2).state.cat("f4") == b"4"


def test_rolled_back_disk_is_a_learner_until_resynced():
    """S6: a snapshot restored under the same epoch: the others have seen its claims and do not count it."""
    cluster = settled()
    write(cluster, 1, 3)
    saved = cluster.nodes[3].disk.backup()
    write(cluster, 1, 5, "late")
    cluster.crash(3)
    cluster.nodes[3].disk.restore(saved)
    cluster.nodes[3].shown = 0
    cluster.partition({1}, {2, 3})
    cluster.start(3)
    cluster.run(1.0)
    choice = cluster.replica(2)._primary.choice
    assert choice is not None
    assert choice.lost == {3}
    cluster.finish()


def test_rolled_back_disk_remembers_it_where_nothing_can_open():
    """S1, S6: told so by the one that knows, in a ring without a majority of good stores; then it meets the other."""
    cluster = settled()
    write(cluster, 1, 5)
    cluster.run(0.5)
    cluster.crash(2)
    cluster.run(0.5)
    saved = cluster.nodes[3].disk.backup()
    attempt = cluster.put(1, "acknowledged")
    cluster.run(0.5)
    assert attempt.result is not None
    cluster.crash(3)
    cluster.nodes[3].disk.restore(saved)
    cluster.nodes[3].shown = 0
    cluster.partition({1, 3}, {2})
    cluster.start(2)
    cluster.start(3)
    cluster.run(1.0)
    assert "too few good stores" in cluster.put(1, "b").refused
    cluster.partition({2, 3}, {1})
    cluster.run(1.0)
    assert "too few good stores" in cluster.put(2, "c").refused
    cluster.finish()
    assert cluster.replica(2).state.find("acknowledged") is not None


def test_rolled_back_disk_stays_a_learner_while_it_takes_no_writes():
    """S6: what the others saw of it is not forgotten before it is resynced on disk."""
    cluster = settled()
    write(cluster, 1, 3)
    saved = cluster.nodes[3].disk.backup()
    write(cluster, 1, 5, "late")
    cluster.crash(3)
    cluster.nodes[3].disk.restore(saved)
    cluster.nodes[3].disk.full = True
    cluster.nodes[3].shown = 0
    cluster.start(3)
    cluster.run(1.0)
    cluster.crash(3)
    cluster.partition({1}, {2, 3})
    cluster.nodes[3].disk.full = False
    cluster.start(3)
    cluster.run(1.0)
    choice = cluster.replica(2)._primary.choice
    assert choice is not None
    assert choice.lost == {3}
    cluster.finish()
