"""Whose log leads, and what may open: DESIGN 7 as tables over reports."""

from __future__ import annotations

from typing import Any

from cfs.epochs import Choice, choose
from cfs.log import Mark, Standing, Stretch
from cfs.records import DataSet, EpochKind, LogPosition
from cfs.wire import Health, Report
from transport.ids import NO_RING, RingId

G, A, B, C = RingId(1, 1), RingId(10, 1), RingId(20, 1), RingId(30, 1)
NOW = RingId(100, 1)
M, N = EpochKind.MAJORITY, EpochKind.NARROW
THREE = DataSet(1, {1: 1, 2: 1, 3: 1})
FOUR = DataSet(1, {1: 1, 2: 1, 3: 1, 4: 1})


def report(epochs: list[tuple[RingId, int, EpochKind]], end: int, data_set: DataSet = THREE, **more: Any) -> Report:
    """A good store with these epochs (ring, first index, kind) and its last record at `end`."""
    chain = [Stretch(G, 0, M), *(Stretch(*epoch) for epoch in epochs)]
    last = chain[-1].ring_id if epochs else NO_RING
    majority: Mark = (NO_RING, 0)
    upto = end
    for stretch in reversed(chain):
        if stretch.kind is not N:
            majority = (stretch.ring_id, upto)
            break
        upto = stretch.first_index - 1
    made = Report(
        health=Health.GOOD,
        nodes=dict(data_set.votes),
        standing=Standing(0, majority, (last, end)),
        end=LogPosition(end, last, bytes([last.seq]) * 32 if end else bytes(32)),
        cluster=G,
        tail=tuple(chain),
        data_set=data_set,
    )
    for name, value in more.items():
        setattr(made, name, value)
    return made


def decide(*members: tuple[int, Report]) -> Choice:
    return choose(NOW, tuple(n for n, _ in members), dict(members))


def test_a_chain_that_contains_the_other_leads():
    """Rule 2: the longer."""
    choice = decide((1, report([(A, 1, M)], 5)), (2, report([(A, 1, M)], 9)), (3, report([(A, 1, M), (B, 10, M)], 10)))
    assert (choice.leader, choice.base.index, choice.kind) == (3, 10, M)


def test_majority_epoch_after_the_fork_beats_a_later_narrow_one():
    """Rule 3: and the index decides nothing."""
    lead = report([(A, 1, M), (B, 6, M)], 7)
    narrow = report([(A, 1, M), (C, 6, N)], 50)
    assert decide((1, lead), (2, lead), (3, narrow)).leader == 1


def test_later_majority_epoch_beats_an_earlier_one():
    """Two epochs of a data majority follow each other: the later knows what the earlier committed."""
    early = report([(A, 1, M), (B, 6, M)], 40)
    late = report([(A, 1, M), (C, 6, M)], 6)
    assert decide((1, early), (2, late), (3, late)).leader == 2


def test_an_epoch_nobody_can_have_used_does_not_beat_a_narrow_one():
    """All data members report and only one has its record: no majority can have committed anything in it."""
    opened = report([(A, 1, M), (C, 6, M)], 6, FOUR)
    narrow = report([(A, 1, M), (B, 6, N)], 9, FOUR)
    before = report([(A, 1, M)], 5, FOUR)
    assert decide((1, narrow), (2, narrow), (3, opened), (4, before)).leader == 3  # later, and others went on
    early = report([(A, 1, M), (RingId(15, 1), 6, M)], 6, FOUR)
    assert decide((1, narrow), (2, narrow), (3, early), (4, before)).leader == 1


def test_an_epoch_that_may_have_been_used_beats_a_narrow_one():
    """With a member away that may hold it too, the majority epoch has to be taken for used."""
    early = report([(A, 1, M), (RingId(15, 1), 6, M)], 6)
    narrow = report([(A, 1, M), (B, 6, N)], 9)
    assert decide((1, narrow), (3, early)).leader == 3


def test_of_two_narrow_branches_the_higher_epoch_leads():
    """Rule 4: then the index."""
    one = report([(A, 1, M), (B, 6, N)], 90)
    other = report([(A, 1, M), (C, 6, N)], 7)
    assert decide((1, one), (2, other)).leader == 2
    assert decide((1, one), (2, report([(A, 1, M), (B, 6, N)], 91))).leader == 2


def test_higher_era_leads():
    """Rule 1: raised only by a confirmed recovery."""
    recovered = report([(A, 1, M)], 3, standing=Standing(1, (A, 3), (A, 3)))
    assert decide((1, report([(A, 1, M), (B, 4, M)], 9)), (2, recovered), (3, recovered)).leader == 2


def test_two_majority_branches_with_committed_writes_raise_an_alarm():
    """Refuse to merge: the operator picks."""
    one = report([(A, 1, M), (B, 6, M)], 9, committed=(B, 8))
    other = report([(A, 1, M), (C, 6, M)], 9, committed=(C, 8))
    choice = decide((1, one), (2, other), (3, other))
    assert choice.leader is None
    assert choice.alarm
    assert "1" in choice.reason


def test_committed_narrow_writes_that_lose_raise_no_alarm():
    """They are set aside (S5)."""
    lead = report([(A, 1, M), (C, 6, M)], 9, committed=(C, 8))
    narrow = report([(A, 1, M), (B, 6, N)], 9, committed=(B, 8))
    assert decide((1, lead), (2, lead), (3, narrow)).leader == 1


def test_reports_of_a_data_majority_are_needed():
    """Opening: lost stores count as present, but not as reports."""
    lost = Report(health=Health.LOST, nodes=dict(THREE.votes))
    choice = decide((1, report([(A, 1, M)], 5)), (2, lost))
    assert choice.leader is None
    assert choice.reason == "too few good stores: 1 of 1, 2, 3; lost: 2; away: 3"
    choice = decide((1, report([(A, 1, M)], 5)), (2, report([(A, 1, M)], 5)), (3, lost))
    assert (choice.leader, choice.lost) == (1, {3})


def test_half_of_the_good_stores_is_enough_when_a_majority_is_present():
    """Every majority that ever acknowledged has a member in any half."""
    lost = Report(health=Health.LOST, nodes={1: 1, 2: 1})
    two = DataSet(1, {1: 1, 2: 1})
    assert decide((1, report([(A, 1, M)], 5, two)), (2, lost)).leader == 1


def test_component_without_a_data_majority_can_only_be_narrow():
    """Whether it is quorate is not for the store to say."""
    assert decide((1, report([(A, 1, M)], 5))).kind is N


def test_store_that_lacks_what_others_saw_it_have_does_not_count():
    """S6: rolled back."""
    seen = report([(A, 1, M)], 9, known={3: (A, 9)})
    choice = decide((1, seen), (2, seen), (3, report([(A, 1, M)], 7)))
    assert (choice.good, choice.lost) == ({1, 2}, {3})
    alone = decide((1, seen), (3, report([(A, 1, M)], 7)))
    assert alone.leader is None
    assert alone.behind == {3}


def test_store_with_another_tree_at_the_same_place_does_not_count():
    """S4: same log, same index applied, another digest: the odd one is resynced."""
    one = report([(A, 1, M)], 9, applied=9)
    choice = decide((1, report([(A, 1, M)], 9, applied=9, digest=b"x" * 32)), (2, one), (3, one))
    assert (choice.leader, choice.lost) == (2, {1})


def test_ring_numbers_that_went_back_open_nothing():
    """An epoch is named by its ring, and later epochs have greater names."""
    newer = report([(A, 1, M), (RingId(200, 1), 6, M)], 9)
    choice = decide((1, newer), (2, newer))
    assert choice.leader is None
    assert "ring numbers went back" in choice.reason


def test_stores_of_two_clusters_are_not_merged():
    """The ring on which the first empty tree was made names the history."""
    other = report([(A, 1, M)], 5, cluster=RingId(2, 2))
    choice = decide((1, report([(A, 1, M)], 5)), (2, other))
    assert choice.alarm
    assert choice.reason == "stores of different clusters meet here: nodes 1 against nodes 2"


def test_pending_change_needs_a_majority_of_both_sets():
    """In force once on disk on a majority of the old and of the new list."""
    new = DataSet(2, {1: 1, 2: 1, 3: 1, 4: 3})
    one = report([(A, 1, M)], 5, pending=(5, new))
    assert decide((1, one), (2, one)).kind is N
    assert decide((1, one), (2, one), (4, one)).kind is M
    known = report([(A, 1, M)], 5, pending=(5, new), committed=(A, 5))
    assert decide((1, known), (4, one)).data_set == new


def test_first_start_needs_every_configured_node_and_equal_lists():
    """Genesis."""
    fresh = Report(nodes={1: 1, 2: 1})
    assert decide((1, fresh), (2, fresh)).genesis
    assert decide((1, fresh)).reason == "no store yet: the first start needs every configured node, missing: 2"
    assert decide((1, fresh), (2, Report(nodes={1: 1}))).leader is None
    assert decide((1, fresh), (2, Report(health=Health.LOST, nodes={1: 1, 2: 1}))).leader is None


def test_new_node_beside_a_store_waits_for_it():
    """A blank member is a learner."""
    fresh = Report(nodes={1: 1, 2: 1, 3: 1, 4: 1})
    lead = report([(A, 1, M)], 5)
    choice = decide((1, lead), (2, lead), (4, fresh))
    assert (choice.leader, choice.good) == (1, {1, 2})


def test_a_damaged_store_alone_is_not_told_as_a_first_start():
    """There was one: the others have to bring it back, nobody is waited for to begin."""
    choice = decide((2, Report(health=Health.LOST, nodes={1: 1, 2: 1, 3: 1})))
    assert choice.leader is None
    assert choice.reason == "no store present has data, and those of nodes 2 were lost or damaged"
