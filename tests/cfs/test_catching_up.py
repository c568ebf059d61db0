"""A node that comes back gets what it lacks, as little as will do, and shows nothing older than it had shown."""

from __future__ import annotations

import pytest

from cfs.status import StoreSettings
from tests.cfs.cluster import Cluster
from tests.cfs.scenes import ring_messages, settled, write


def test_node_that_was_away_catches_up_by_the_log():
    """A member that lacks the leader's entries gets them by log when the leader's log reaches back."""
    cluster = settled()
    cluster.crash(3)
    cluster.run(0.5)
    write(cluster, 1, 50)
    cluster.start(3)
    cluster.finish()
    assert cluster.counts["Adopt"] == 3  # only those of the first start
    assert cluster.replica(3).state.cat("f49") == b"49"


def test_node_behind_the_kept_log_gets_the_state_by_difference():
    """Where the log does not reach back, only entries that differ are sent."""
    cluster = settled(settings=StoreSettings(retain_records=20))
    cluster.put(1, "big", b"z" * 200_000)
    write(cluster, 1, 30)
    cluster.crash(3)
    cluster.run(0.5)
    write(cluster, 1, 60)
    before = cluster.counts["Adopt"]
    sent = sum(len(message.payload) for message in ring_messages(cluster))
    cluster.start(3)
    cluster.finish()
    assert cluster.counts["Adopt"] == before + 1
    assert sum(len(message.payload) for message in ring_messages(cluster)) < sent + 100_000  # `big` was not sent


def test_tree_that_differs_at_the_same_place_is_taken_anew():
    """S4: equal logs make equal trees; where memory or disk made one of three differ, it is resynced."""
    cluster = settled()
    write(cluster, 1, 5)
    cluster.run(0.5)
    replica = cluster.replica(2)
    replica.state._tree.remove("f3")
    cluster.partition({1, 2}, {3})
    cluster.heal()
    cluster.checks.strict = False
    cluster.run(2.0)
    assert cluster.replica(2).state.cat("f3") == b"3"
    assert cluster.replica(2).status().state == "synced"


def test_reads_wait_after_a_restart_until_the_tail_is_resolved():
    """S2: what may have been shown before the restart is shown again, or nothing is."""
    cluster = settled()
    cluster.put(1, "a", b"1")
    cluster.run(0.02)
    for n in (1, 2, 3):
        cluster.crash(n)
    cluster.start(1)
    cluster.run(0.5)
    replica = cluster.replica(1)
    tail = replica.log.end.index > replica.committed
    assert replica.readable() is not tail
    cluster.finish()
    assert cluster.replica(1).readable()


def test_falling_behind_in_the_very_first_epoch_does_not_begin_the_store_anew(monkeypatch: pytest.MonkeyPatch):
    """S1, S4: the empty tree is made only before the first record; afterwards a member asks for what it lacks."""
    monkeypatch.setattr("cfs.readiness.MAX_UNWRITTEN", 8)
    cluster = settled()
    write(cluster, 1, 5, "early")
    cluster.run(0.5)
    cluster.nodes[3].disk.full = True
    write(cluster, 1, 40)
    cluster.nodes[3].disk.full = False
    cluster.finish(20.0)
    assert cluster.replica(3).state.find("early0") is not None


def test_a_first_store_that_could_not_be_written_is_asked_for_later():
    """The others opened without it: what was logged meanwhile is not skipped."""
    cluster = Cluster(3, 3, start=False)
    cluster.nodes[3].disk.full = True
    for n in (1, 2, 3):
        cluster.start(n)
    cluster.run(1.0)
    write(cluster, 1, 5)
    cluster.nodes[3].disk.full = False
    cluster.finish(20.0)
    assert cluster.replica(3).state.find("f0") is not None


def test_who_could_not_catch_up_tries_again_by_itself(monkeypatch: pytest.MonkeyPatch):
    """ "Recovers by itself": also when the room came after the last of many tries in a row."""
    monkeypatch.setattr("cfs.catchup.MAX_ASKS", 1)
    cluster = settled()
    write(cluster, 1, 5)
    cluster.crash(3)
    cluster.nodes[3].disk.lose()
    cluster.start(3)
    cluster.nodes[3].disk.full = True
    cluster.run(5.0)
    cluster.nodes[3].disk.full = False
    cluster.run(5.0)
    assert "could not catch up" in cluster.put(3, "early").refused
    cluster.finish(60.0)
