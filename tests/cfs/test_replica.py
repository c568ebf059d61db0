"""The replica on the scripted ring: one behaviour each."""

from __future__ import annotations

import pytest

from cfs.disk import AppendLog
from cfs.errors import Expired
from cfs.messages import Kind, Operation
from cfs.status import BarrierFailed, Claim, Multicast, Outcome, StoreSettings
from tests.cfs.building import put
from tests.cfs.cluster import Cluster
from tests.transport.security_world import ListLog
from transport.errors import QueueFull, Refused
from transport.events import ConfigurationChange
from transport.ids import RingId


def settled(votes: dict[int, int] | int = 3, seed: int = 1, **options: object) -> Cluster:
    cluster = Cluster(seed, votes, **options)  # type: ignore[arg-type]
    assert cluster.run_until(cluster.settled, 5.0)
    return cluster


def write(cluster: Cluster, node: int, count: int, prefix: str = "f", pause: float = 0.01) -> None:
    for number in range(count):
        cluster.put(node, f"{prefix}{number}", b"%d" % number)
        cluster.run(pause)


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


# --- outcomes ----------------------------------------------------------------------------------------------------


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


# --- coming back -------------------------------------------------------------------------------------------------


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


def ring_messages(cluster: Cluster) -> list:
    ring = cluster.nodes[1].ring
    return ring.messages if ring else []


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


def test_tree_that_differs_at_the_same_place_is_taken_anew():
    """S4: equal logs make equal trees; where memory or disk made one of three differ, it is resynced."""
    cluster = settled()
    write(cluster, 1, 5)
    cluster.run(0.5)
    replica = cluster.replica(2)
    replica.state._tree.remove("f3")
    cluster.partition({1, 2}, {3})
    cluster.heal()
    cluster.strict = False
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


def test_disk_slower_than_the_ring_delays_nobody_but_itself():
    """A required set acknowledges without the slow disk; it follows when it can."""
    cluster = settled()
    cluster.nodes[3].disk.latency = (0.2, 0.3)
    attempts = [cluster.put(1, f"f{n}") for n in range(5)]
    cluster.run(0.15)
    assert all(attempt.result for attempt in attempts)
    cluster.finish()


# --- merging -----------------------------------------------------------------------------------------------------


def test_leader_of_a_merge_is_the_later_epoch_not_the_longer_log():
    """Rule 3: the majority's epoch wins over a longer tail of the one that was left behind."""
    cluster = settled()
    cluster.linger = (1, 0.5)
    cluster.partition({1}, {2, 3})
    for number in range(20):
        cluster.put(1, f"left{number}")
    cluster.run(0.2)
    won = cluster.put(2, "won")
    cluster.run(1.0)
    assert won.result is not None
    left = [attempt for attempt in cluster.history if attempt.operation.path.startswith("left")]
    assert all(attempt.unknown for attempt in left)
    cluster.finish()
    assert cluster.replica(1).state.find("won") is not None
    assert cluster.replica(1).state.find("left0") is None
    assert {attempt.operation.id for attempt in left} <= cluster.discarded()  # S5


def test_narrow_primary_says_so_and_its_writes_survive_the_merge():
    """S1, narrow: held while any member of that component survives and nobody went on without it."""
    cluster = settled(2, strict=False, quorate=lambda part: 1 in part)
    cluster.crash(2)
    cluster.run(1.0)
    attempt = cluster.put(1, "alone")
    cluster.run(0.5)
    status = cluster.replica(1).status()
    assert attempt.result is not None
    assert (status.kind, status.held_only_by, status.writable) == ("narrow", (1,), True)
    cluster.start(2)
    cluster.finish()
    assert cluster.replica(2).state.find("alone") is not None
    assert cluster.replica(2).status().kind == "majority"


def test_majority_epoch_beats_a_later_narrow_one_which_is_set_aside():
    """Rules 3 and S5: a forced minority's writes lose to the majority's, and are set aside, logged and listed."""
    forced: set[frozenset[int]] = set()
    logs = {n: ListLog() for n in (1, 2, 3)}
    cluster = settled(
        3, strict=False, quorate=lambda part: len(part) >= 2 or part in forced, log=lambda node: logs[node.id]
    )
    cluster.partition({1, 2}, {3})
    cluster.run(1.0)
    kept = cluster.put(1, "majority")
    cluster.run(0.5)
    forced.add(frozenset({3}))
    cluster._call(cluster.nodes[3], lambda r: r.set_quorate(True, cluster.now))
    cluster.run(0.5)
    lost = cluster.put(3, "forced")
    cluster.run(0.5)
    assert kept.result is not None
    assert lost.result is not None
    assert cluster.replica(3).status().kind == "narrow"
    cluster.heal()
    cluster.finish()
    assert cluster.replica(3).state.find("majority") is not None
    assert cluster.replica(3).state.find("forced") is None
    assert lost.operation.id in cluster.discarded()
    said = {n: [line for line in log.lines if "set aside" in line] for n, log in logs.items()}
    assert (said[1], said[2], len(said[3])) == ([], [], 1)
    assert "lists what was set aside" in said[3][0]


def test_narrow_writes_win_over_an_epoch_nobody_can_have_used():
    """One node opened a majority epoch just before the ring broke; nothing of it can be committed."""
    cluster = settled(4, strict=False, quorate=lambda part: len(part) >= 3 or (len(part) == 2 and 1 in part))
    cluster.crash(4)
    cluster.run(1.0)
    cluster.linger = (3, 0.3)
    cluster.partition({1, 2}, {3})
    cluster.run(1.0)
    attempt = cluster.put(1, "narrow")
    cluster.run(0.5)
    assert attempt.result is not None
    cluster.finish()
    assert cluster.replica(3).state.find("narrow") is not None


# --- disks -------------------------------------------------------------------------------------------------------


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


# --- the data set ------------------------------------------------------------------------------------------------


def test_added_nodes_become_data_members_when_whole():
    """A new node is a learner until its disk holds the state at the entry that admits it."""
    cluster = settled(1)
    write(cluster, 1, 10)
    cluster.add(2)
    cluster.run(2.0)
    assert cluster.replica(1).status().data_set == {1: 1, 2: 1}
    cluster.add(3)
    cluster.run(2.0)
    assert cluster.replica(3).status().data_set == {1: 1, 2: 1, 3: 1}
    cluster.crash(1)
    cluster.run(1.0)
    attempt = cluster.put(3, "without-1")
    cluster.run(0.5)
    assert attempt.result is not None
    cluster.finish()


def test_removed_node_leaves_the_data_set():
    """The list changes by a log entry, one node at a time."""
    cluster = settled(3)
    cluster.crash(3)
    cluster.run(0.5)
    del cluster.votes[3]
    cluster.tell_nodes()
    cluster.run(1.0)
    assert cluster.replica(1).status().data_set == {1: 1, 2: 1}
    assert cluster.replica(1).status().writable


def test_data_set_is_lowered_as_nodes_are_let_go_and_grows_as_they_return():
    """last_man_standing lowers the data set the same way: a majority of old and new has it on disk."""
    cluster = settled(5, quorate=lambda part: len(part) >= 2)
    for gone in (5, 4, 3):
        cluster.crash(gone)
        cluster.run(1.0)
        for n in cluster.up:
            up = frozenset(cluster.up)
            cluster._call(cluster.nodes[n], lambda r, up=up: r.lower_data_set(up, cluster.now))
        cluster.run(1.0)
    status = cluster.replica(1).status()
    assert status.data_set == {1: 1, 2: 1}
    assert (status.writable, status.kind) == (True, "majority")
    cluster.finish()
    cluster.run(1.0)
    assert cluster.replica(1).status().data_set == dict.fromkeys(range(1, 6), 1)


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


def test_a_new_node_that_cannot_take_the_state_costs_the_others_nothing():
    """L1; DESIGN 7, "Data set": it is a learner "until its disk holds the state at the entry that admits it", so with
    one of three others gone the two that are left are still a data majority."""
    cluster = settled(3)
    cluster.add(4)
    cluster.nodes[4].disk.full = True
    cluster.run(1.0)
    cluster.crash(3)
    cluster.run(1.0)
    assert set(cluster.replica(1).status().data_set) == {1, 2, 3}
    attempt = cluster.put(1, "a")
    cluster.run(0.5)
    assert attempt.result is not None
    assert attempt.result.ok
    cluster.finish()
    assert set(cluster.replica(1).status().data_set) == {1, 2, 3, 4}
