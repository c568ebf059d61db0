"""A disk that is full, slow or hangs: it costs its own node, not the others, and fills nobody's memory."""

from __future__ import annotations

import pytest

from cfs.status import StoreSettings
from tests.cfs.scenes import settled, write


def test_disk_slower_than_the_ring_delays_nobody_but_itself():
    """A required set acknowledges without the slow disk; it follows when it can."""
    cluster = settled()
    cluster.nodes[3].disk.latency = (0.2, 0.3)
    attempts = [cluster.put(1, f"f{n}") for n in range(5)]
    cluster.run(0.15)
    assert all(attempt.result for attempt in attempts)
    cluster.finish()


def test_two_full_disks_of_three_refuse_new_writes_at_once_and_recover():
    """No required set of ok disks: writes are refused at once; it recovers by itself."""
    cluster = settled()
    cluster.nodes[2].disk.full = cluster.nodes[3].disk.full = True
    cluster.put(1, "a")
    cluster.run(0.5)
    refused = cluster.put(1, "b")
    assert "too few disks" in refused.refused
    assert cluster.replica(2).status().state == "disk_error"
    assert "No space left" in cluster.put(2, "c").refused
    cluster.nodes[2].disk.full = cluster.nodes[3].disk.full = False
    cluster.run(3.0)
    assert cluster.put(2, "d").refused == ""
    cluster.finish()


def test_one_full_disk_of_three_does_not_stop_the_others():
    """The data majority goes on; the full node refuses its own clients, as its disk could not hold the write."""
    cluster = settled()
    cluster.nodes[3].disk.full = True
    cluster.put(1, "a")
    cluster.run(0.5)
    attempt = cluster.put(1, "b")
    cluster.run(0.3)
    assert attempt.result is not None
    assert cluster.put(3, "c").refused
    cluster.finish()


def test_hanging_disk_counts_as_failed():
    """A disk that answers nothing for 2 s is not waited for."""
    cluster = settled(2, strict=False)
    cluster.nodes[2].disk.latency = (30.0, 30.0)
    cluster.put(1, "a")
    cluster.run(3.0)
    assert "too few disks" in cluster.put(1, "b").refused


def test_what_a_failed_disk_has_not_taken_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch):
    """A disk that stays full for hours must not fill the memory: the node falls behind, and catches up later."""
    monkeypatch.setattr("cfs.readiness.MAX_UNWRITTEN_BYTES", 50_000)
    cluster = settled(settings=StoreSettings(retain_bytes=10_000))
    cluster.nodes[3].disk.full = True
    for number in range(40):
        cluster.put(1, f"f{number}", bytes(5_000))
        cluster.run(0.02)
        assert cluster.replica(3).log.size < 70_000
    cluster.nodes[3].disk.full = False
    cluster.finish(60.0)


def test_a_disk_that_hangs_for_long_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch):
    """Not a failure but an fdatasync of minutes: it is asked for no more, falls behind, and comes back by itself."""
    monkeypatch.setattr("cfs.readiness.MAX_UNWRITTEN_BYTES", 50_000)
    cluster = settled(settings=StoreSettings(retain_bytes=10_000))
    disk = cluster.nodes[3].disk
    disk.hung = True
    asked = len(disk._queue)
    for number in range(60):
        cluster.put(1, f"f{number}", bytes(5_000))
        cluster.run(0.1)
        assert cluster.replica(3).log.size < 170_000  # of 2 s, until it is known to hang, and 60,000
    assert len(disk._queue) - asked < 25  # those of the first 2 s
    assert cluster.replica(3).status().state == "disk_error"
    assert "it hangs" in cluster.put(3, "here").refused
    written = [attempt for attempt in cluster.history if attempt.result is not None]
    assert len(written) >= 60
    disk.hung = False
    cluster.finish(60.0)
    assert cluster.replica(3).state.find("f59") is not None


def test_store_being_replaced_on_a_hanging_disk_holds_up_nobody():
    """The others open their primary without it; it is resynced when the disk answers."""
    cluster = settled()
    cluster.crash(3)
    cluster.nodes[3].disk.lose()
    cluster.run(0.5)
    write(cluster, 1, 3)
    cluster.start(3)
    cluster.nodes[3].disk.latency = (20.0, 20.0)
    cluster.run(1.0)
    assert cluster.replica(3)._store.adopting
    cluster.partition({1, 2}, {3})
    cluster.run(1.0)
    cluster.heal()
    cluster.run(5.0)
    assert cluster.put(1, "a").refused == ""
    cluster.run(1.0)
    assert cluster.replica(1).state.find("a") is not None
    cluster.nodes[3].disk.latency = (0.001, 0.002)
    cluster.finish(60.0)
