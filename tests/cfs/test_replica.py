"""The replica on the scripted ring, one behaviour each: first start, writing, reading, and bad input."""

from __future__ import annotations

import pytest

from cfs.disk import AppendLog
from cfs.messages import Kind, Operation
from cfs.status import Claim, Multicast, StoreSettings
from tests.cfs.building import put
from tests.cfs.cluster import Cluster
from tests.cfs.scenes import ring_messages, settled
from transport.errors import Refused
from transport.events import ConfigurationChange
from transport.ids import RingId

# --- first start, writing, reading -------------------------------------------------------------------------------


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


def test_first_start_cut_short_is_begun_again():
    """A store that was made but never got a record holds nothing: with all nodes present it is made anew."""
    cluster = Cluster(5, 3, start=False, latency=(0.0, 0.05))
    for n in (1, 2, 3):
        cluster.start(n)
    cluster.run_until(lambda: any(cluster.nodes[n].disk._store for n in (1, 2, 3)), 2.0)
    for n in (1, 2, 3):
        cluster.crash(n)
    cluster.finish()


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
    assert attempt.refused.startswith("this node is not quorate: ")
    assert cluster.replica(1).readable()
    assert cluster.put(2, "b").refused == ""
    cluster.run(0.5)
    cluster.finish()


def test_acknowledged_writes_survive_power_loss_of_all_nodes():
    """S1: never lost, also when all nodes lose power at once."""
    cluster = settled()
    attempts = [cluster.put(1 + n % 3, f"f{n}", b"%d" % n) for n in range(30)]
    cluster.run(0.02)
    for n in (1, 2, 3):
        cluster.crash(n)
    assert any(attempt.result for attempt in attempts)
    cluster.finish()


def test_memory_durability_acknowledges_before_the_fsync():
    """`durability: memory` puts "received" for "on disk"; the epoch record is on disk all the same."""
    cluster = settled(settings=StoreSettings(durable=False))
    attempt = cluster.put(1, "a")
    cluster.run(0.2)
    assert attempt.result is not None
    assert cluster.replica(1).status().durability == "memory"
    cluster.finish()


# --- reading linearizably ----------------------------------------------------------------------------------------


def test_barrier_is_not_confirmed_where_others_may_have_gone_on():
    """S2: a read that began after an acknowledgement elsewhere sees that write, or fails."""
    cluster = settled()
    cluster.linger = (1, 3.0)
    cluster.partition({1}, {2, 3})
    cluster.run(1.0)
    attempt = cluster.put(2, "new")
    cluster.run(0.5)
    assert attempt.result is not None
    cluster.barrier(1, 7)
    cluster.run(1.0)
    assert "barriers" not in cluster.counts
    assert cluster.nodes[1].barriers  # it waits; the cluster checks what it may show
    cluster.finish()


def test_barrier_in_a_primary_is_confirmed():
    """S2: linearizable reads on ask."""
    cluster = settled()
    attempt = cluster.put(1, "a")
    cluster.run(0.3)
    assert attempt.result is not None
    cluster.barrier(3, 1)
    cluster.run(0.3)
    assert cluster.counts["barriers"] == 1


# --- bad input ---------------------------------------------------------------------------------------------------


def test_malformed_messages_are_counted_and_change_nothing():
    """Nothing a member can send makes it raise."""
    cluster = settled()
    replica = cluster.replica(1)
    before = replica.status()
    for payload in (b"", b"\x01", b"\x02" * 40, b"\x01\x04" + bytes(16), b"\x01\x63" + bytes(16)):
        replica.deliver(2, payload, False, cluster.now)
    assert replica.malformed == 4  # an operation on another ring is void, not malformed
    assert replica.status().log_index == before.log_index


def test_messages_of_another_ring_or_of_no_member_are_void():
    """Everything is sent for one configuration: delivered in another it means nothing."""
    cluster = settled()
    payloads = [message.payload for message in ring_messages(cluster)]
    cluster.partition({1, 2}, {3})
    cluster.run(1.0)
    replica = cluster.replica(1)
    index = replica.log.end.index
    for payload in payloads:
        replica.deliver(2, payload, False, cluster.now)
        replica.deliver(3, payload, False, cluster.now)
    assert replica.log.end.index == index


def test_refusals_are_refused():
    """Every refusal is of the class that says: did not happen and will not."""
    cluster = Cluster(1, 3, start=False)
    cluster.start(1)
    with pytest.raises(Refused):
        cluster.replica(1).propose(Operation(b"x" * 16, Kind.PUT, "a", writer=1), cluster.now)


def test_a_claim_not_handed_out_yet_ends_with_its_configuration():
    """DESIGN 7, "Claims": what the disk answered for the old epoch must not be told on the new ring."""
    replica = settled(1).replica(1)
    replica.propose(put("a"), 100.0)
    sent = [event for event in iter(replica.next_event, None) if isinstance(event, Multicast)]
    replica.deliver(1, sent[-1].payload, False, 100.0)
    asked = [event for event in iter(replica.next_event, None) if isinstance(event, AppendLog)]
    replica.persisted([(asked[-1].receipt, None)], 100.0)
    next_ring = RingId(replica.highest_ring_seq + 4, 1, 1)
    for regular in (False, True):
        replica.configuration(ConfigurationChange(regular, next_ring, (1,)), 100.0)
    assert not [event for event in iter(replica.next_event, None) if isinstance(event, Claim)]
