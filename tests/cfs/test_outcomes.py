"""What a client is told of its write: once, in time, and never wrongly; also when it asks again (S3)."""

from __future__ import annotations

import pytest

from cfs.errors import Expired
from cfs.messages import Kind, Operation
from cfs.status import BarrierFailed, Outcome, StoreSettings
from tests.cfs.building import put
from tests.cfs.scenes import settled, write
from transport.errors import QueueFull, Refused
from transport.events import ConfigurationChange
from transport.ids import RingId


def test_write_under_way_when_a_member_dies_is_done_once():
    """S3: on a plain configuration change it is sent again under the same id when the primary reopens."""
    cluster = settled()
    cluster.linger = (1, 0.05)
    cluster.partition({1, 2}, {3})
    attempt = cluster.put(1, "a", condition=0)
    cluster.run(2.0)
    assert attempt.result is not None
    assert attempt.result.ok
    assert cluster.replica(1).state.revision == 1


def test_write_under_way_when_quorum_goes_has_an_unknown_outcome():
    """S3: OutcomeUnknown when quorum is lost; asking for its id later tells what became of it."""
    cluster = settled()
    cluster.linger = (1, 0.05)
    cluster.partition({1}, {2, 3})
    attempt = cluster.put(1, "a")
    cluster.run(1.0)
    assert attempt.unknown
    assert attempt.ended is not None
    cluster.finish()


def test_commit_deadline():
    """S3: never a hang: after 5 s without a commit the outcome is unknown."""
    cluster = settled()
    for node in (2, 3):
        cluster.nodes[node].disk.latency = (60.0, 60.0)
    cluster.put(1, "a")  # the others' disks hang on this one
    cluster.run(0.3)
    attempt = cluster.put(1, "b")
    cluster.run(6.0)
    assert attempt.unknown
    assert attempt.ended is not None
    assert attempt.ended - attempt.began == pytest.approx(5.0, abs=0.1)


def test_identical_retry_gets_the_first_outcome_and_other_content_is_refused():
    """S3: an identical retry is exactly-once; the id of an operation under way cannot carry another one."""
    cluster = settled()
    operation = Operation(b"i" * 16, Kind.PUT, "a", b"1", writer=1)
    first = cluster.propose(1, operation)
    other = Operation(b"i" * 16, Kind.PUT, "a", b"2", writer=1)
    assert "other content" in cluster.propose(1, other).refused
    cluster.run(0.2)
    again = cluster.propose(2, operation)
    cluster.run(0.2)
    assert first.result is not None
    assert again.result == first.result
    assert cluster.replica(3).state.revision == 1


def test_retry_behind_the_window_is_never_applied_twice():
    """S3, exactly once: an identical retry that says since when it waits, at another node, whenever it comes."""
    cluster = settled(settings=StoreSettings(outcomes=20))
    first = cluster.put(1, "a", b"1")
    cluster.run(0.2)
    assert first.result is not None
    write(cluster, 1, 30)
    cluster.run(0.2)
    before = cluster.replica(2).state.revision
    again = cluster.propose(2, first.operation)
    assert again.unknown  # at once: nothing was proposed
    cluster.run(0.2)
    assert cluster.replica(2).state.revision == before
    cluster.finish()


def test_retry_behind_the_window_is_told_so_also_without_quorum():
    """Which of the two it is matters to whoever asks: trying again later is of no use."""
    cluster = settled(settings=StoreSettings(outcomes=20))
    first = cluster.put(1, "a", b"1")
    write(cluster, 1, 30)
    cluster.partition({1}, {2, 3})
    cluster.run(1.0)
    with pytest.raises(Expired) as caught:
        cluster.replica(1).propose(first.operation, cluster.now)
    assert caught.value.never


def test_window_goes_on_after_restarts_and_transfers():
    """What is known of outcomes is part of the state: a node that was restarted or resynced judges as the others do."""
    cluster = settled(settings=StoreSettings(outcomes=20, retain_records=20))
    old = cluster.put(1, "a", b"1")
    cluster.run(0.2)
    cluster.crash(3)
    write(cluster, 1, 40)
    young = cluster.put(2, "b", b"1")
    cluster.run(0.2)
    cluster.start(3)
    assert cluster.run_until(cluster.settled, 5.0)
    write(cluster, 1, 12, prefix="g")
    cluster.run(0.2)
    again = [cluster.propose(3, attempt.operation) for attempt in (old, young)]
    cluster.run(0.3)
    assert again[0].unknown
    assert again[1].result == young.result
    cluster.finish()


def test_write_of_a_history_set_aside_is_not_done_by_its_retry_in_the_other():
    """Its log index was told by a longer log that is gone: unknown, so that somebody looks at what was set aside."""
    cluster = settled(3, strict=False, quorate=lambda part: len(part) > 1 or part == {1})
    cluster.partition({1}, {2, 3})
    cluster.run(1.0)
    write(cluster, 1, 8)
    lost = cluster.put(1, "lost")
    cluster.run(0.3)
    write(cluster, 2, 2, prefix="g")
    cluster.heal()
    assert cluster.run_until(cluster.settled, 10.0)
    assert lost.operation.since > cluster.replica(2).state.index
    again = cluster.propose(2, lost.operation)
    fresh = cluster.put(2, "fresh")
    cluster.run(0.3)
    assert again.unknown
    assert cluster.replica(3).state.find("lost") is None
    assert fresh.result is not None
    assert fresh.result.ok


def test_outcome_asked_for_again_names_the_disks_that_hold_it():
    """`durable_on` of a repeated write is that of what it did, not nothing."""
    cluster = settled()
    operation = cluster.put(1, "a").operation
    cluster.run(0.3)
    replica = cluster.replica(2)
    replica.propose(operation, cluster.now)
    outcome = replica.next_event()
    assert isinstance(outcome, Outcome)
    assert (outcome.repeated, outcome.durable_on) == (True, (1, 2, 3))


def test_refusal_tells_a_verdict_from_a_membership_that_changes():
    """Without a verdict about the present members nothing is known of their votes; with one, its reason is said."""
    cluster = settled()
    replica = cluster.replica(1)
    assert replica.refusal() is None
    ring = RingId(100, 1, 7)
    replica.configuration(ConfigurationChange(True, ring, (1,), transitional_members=(1,)), cluster.now)
    assert "membership of the cluster is changing" in str(replica.refusal())
    replica.set_quorate(False, cluster.now, "2 of 3 votes needed, 1 present")
    assert str(replica.refusal()) == "this node is not quorate: 2 of 3 votes needed, 1 present"


def test_leaving_refuses_new_writes_and_ends_those_under_way():
    """SIGTERM: what was proposed is unknown, what was not is refused, and both say why."""
    cluster = settled()
    replica = cluster.replica(1)
    under_way, late = put("a"), put("b")
    replica.propose(under_way, cluster.now)
    replica.barrier(1, cluster.now)
    replica.leave(cluster.now)
    with pytest.raises(Refused, match="this node is leaving the cluster"):
        replica.propose(late, cluster.now)
    assert replica.waiting
    replica.left(cluster.now)
    assert not replica.waiting
    told = []
    while (event := replica.next_event()) is not None:
        told.append(event)
    assert Outcome(under_way, None, "this node is leaving the cluster") in told
    assert BarrierFailed(1, "this node is leaving the cluster") in told


def test_too_many_proposals_are_refused():
    """Bounded queues: beyond the limit QueueFull, nothing was sent."""
    cluster = settled(settings=StoreSettings(max_pending=3))
    replica = cluster.replica(1)
    for number in range(3):
        replica.propose(Operation(bytes([number]) * 16, Kind.PUT, "a", writer=1), cluster.now)
    with pytest.raises(QueueFull):
        replica.propose(Operation(b"x" * 16, Kind.PUT, "a", writer=1), cluster.now)
