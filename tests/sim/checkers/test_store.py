"""The checkers of S1, S3, S4, S5 and Q5 accept histories that keep the promise and catch others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cfs.records import EpochKind, EpochRecord
from tests.sim.checkers import linearizability, store
from tests.sim.histories import RINGS, VOTES, broken, call, history_of, ident
from tests.sim.history import (
    ACKED,
    FAILED,
    REFUSED,
    UNKNOWN,
    Applied,
    Durable,
    FinalStore,
    History,
    StoreSample,
    Violation,
)
from transport.ids import NO_RING


def stores(outcomes: dict[bytes, tuple[str, int]], **more: Any) -> list[FinalStore]:
    return [FinalStore(node, 9, b"d", dict(outcomes), {}, **more) for node in (1, 2, 3)]


def test_an_ack_needs_the_required_set_on_disk() -> None:
    """On disk at the proposer and on a data majority, at the moment of the ack."""
    history = history_of()
    history.durable = [Durable(1.0, ident(1), 1, (1, 2), VOTES, RINGS[0])]
    store.check_required_sets(history)
    history.durable = [Durable(1.0, ident(1), 1, (2, 3), VOTES, RINGS[0])]
    assert broken(store.check_required_sets, history) == "S1"
    history.durable = [Durable(1.0, ident(1), 1, (1,), VOTES, RINGS[0])]
    assert broken(store.check_required_sets, history) == "S1"
    history.durable = [Durable(1.0, ident(1), 1, (1,), {1: 1}, RINGS[0])]  # last_man_standing had lowered it
    store.check_required_sets(history)


def test_a_disk_lost_while_its_word_was_under_way_counts() -> None:
    """It had the operation when it said so; the proposer's own disk is never replaced by it."""
    history = history_of()
    history.durable = [Durable(1.0, ident(1), 1, (1,), VOTES, RINGS[0], lost=(2,))]
    store.check_required_sets(history)
    history.durable = [Durable(1.0, ident(1), 1, (2,), VOTES, RINGS[0], lost=(1,))]
    assert broken(store.check_required_sets, history) == "S1"


def test_a_narrow_epoch_needs_every_holder() -> None:
    """Quorate without a data majority: on every member with a good store."""
    history = history_of()
    history.epochs[RINGS[0]] = EpochRecord(RINGS[0], NO_RING, 1, 1, EpochKind.NARROW, 0, (1, 2))
    history.durable = [Durable(1.0, ident(1), 1, (1, 2), VOTES, RINGS[0])]
    store.check_required_sets(history)
    history.durable = [Durable(1.0, ident(1), 1, (1,), VOTES, RINGS[0])]
    assert broken(store.check_required_sets, history) == "S1"
    history.durable = [Durable(1.0, ident(1), 1, (1,), VOTES, RINGS[0], failing=(2,))]
    store.check_required_sets(history)


def test_an_acknowledged_write_that_is_gone_is_caught() -> None:
    """After everything healed its outcome is known on every node, with the same revision."""
    history = history_of(call(1, "put", 0.0, 1.0, ACKED, b"a", 5))
    history.final = stores({ident(1): ("OK", 5)})
    store.check_acked_is_kept(history)
    history.final[2].outcomes.clear()
    assert broken(store.check_acked_is_kept, history) == "S1"
    history.final = stores({ident(1): ("OK", 6)})
    assert broken(store.check_acked_is_kept, history) == "S1"


def narrow_branch(history: History) -> None:
    """RINGS[0] is where all begin; RINGS[1] is a narrow epoch that was set aside, RINGS[2] the line they ended on."""
    for ring, parent, kind in (
        (RINGS[0], NO_RING, EpochKind.MAJORITY),
        (RINGS[1], RINGS[0], EpochKind.NARROW),
        (RINGS[2], RINGS[0], EpochKind.MAJORITY),
    ):
        history.epochs[ring] = EpochRecord(ring, parent, 1, 1, kind, 0, (1,))


def test_what_a_narrow_epoch_loses_is_listed() -> None:
    """S5: a write set aside is listed as discarded, or it was thrown away silently."""
    lost = call(1, "put", 0.0, 1.0, ACKED, b"a", 5)
    lost.epoch = RINGS[1]
    history = history_of(lost)
    narrow_branch(history)
    history.final = stores({}, discarded=frozenset([ident(1)]), epoch=RINGS[2])
    store.check_acked_is_kept(history)
    history.final = stores({}, epoch=RINGS[2])
    assert broken(store.check_acked_is_kept, history) == "S5"
    history.durable = [Durable(1.0, ident(1), 1, (1,), VOTES, RINGS[1])]
    history.disk_losses = [(0.5, 1), (2.0, 2)]
    assert broken(store.check_acked_is_kept, history) == "S5"
    history.disk_losses = [(2.0, 1)]  # nobody else had it
    store.check_acked_is_kept(history)


def test_what_a_narrow_epoch_did_the_line_may_have_done_otherwise() -> None:
    """S5: the ring broke before all had the message, and each did it; what the narrow side answered is set aside."""
    done = call(1, "put", 0.0, 1.0, ACKED, b"a", 5)
    done.epoch = RINGS[1]
    history = history_of(done)
    narrow_branch(history)
    history.final = stores({ident(1): ("OK", 4)}, discarded=frozenset([ident(1)]), epoch=RINGS[2])
    store.check_acked_is_kept(history)
    history.final = stores({ident(1): ("OK", 4)}, epoch=RINGS[2])
    assert broken(store.check_acked_is_kept, history) == "S5"
    history.final = stores({ident(1): ("OK", 4)}, discarded=frozenset([ident(1)]), epoch=RINGS[1])
    assert broken(store.check_acked_is_kept, history) == "S1"


def test_only_what_a_narrow_epoch_acknowledged_may_be_set_aside() -> None:
    """S1: a narrow epoch in the run is no excuse for a write that a majority acknowledged."""
    lost = call(1, "put", 0.0, 1.0, ACKED, b"a", 5)
    lost.epoch = RINGS[0]
    history = history_of(lost)
    narrow_branch(history)
    history.final = stores({}, discarded=frozenset([ident(1)]), epoch=RINGS[2])
    assert broken(store.check_acked_is_kept, history) == "S1"


def test_in_memory_only_a_loss_of_power_may_take_a_write() -> None:
    """`durability: memory`: S1 excludes power loss, and nothing else."""
    history = history_of(call(1, "put", 0.0, 1.0, ACKED, b"a", 5))
    history.final = stores({})
    history.in_memory = True
    assert broken(store.check_acked_is_kept, history) == "S1"
    history.power_losses = [2.0]
    store.check_acked_is_kept(history)
    history.in_memory = False
    assert broken(store.check_acked_is_kept, history) == "S1"


def test_in_memory_a_write_of_before_a_loss_of_power_may_be_confirmed_after_it() -> None:
    """It was received by the required set; that the others lost it since is what S1 excludes there."""
    history = history_of(call(1, "put", 0.0, 3.0, ACKED, b"a", 5))
    history.durable = [Durable(3.0, ident(1), 1, (1,), VOTES, RINGS[0])]
    history.in_memory, history.power_losses = True, [2.0]
    store.check_required_sets(history)
    history.calls[0].invoked = 2.5
    assert broken(store.check_required_sets, history) == "S1"


def test_in_memory_a_node_may_show_less_after_a_loss_of_power() -> None:
    """S2: what its disk had not got is gone; it is not told to read only what it once showed."""
    history = history_of(call(1, "put", 0.0, 1.0, ACKED, b"a", 7))
    history.samples = [StoreSample(1.5, 1, 0, 7, b"x"), StoreSample(3.0, 1, 1, 6, b"y")]
    history.in_memory = True
    assert broken(store.check_reads_never_go_back, history) == "S2"
    history.power_losses = [2.0]
    store.check_reads_never_go_back(history)
    history.in_memory = False
    assert broken(store.check_reads_never_go_back, history) == "S2"
    history.in_memory = True
    history.samples += [StoreSample(4.0, 1, 1, 8, b"z"), StoreSample(5.0, 1, 1, 7, b"x")]
    assert broken(store.check_reads_never_go_back, history) == "S2"


def test_a_branch_is_judged_by_itself() -> None:
    """S2 and S4 hold on the line; what was shown of a branch that was set aside does not bind anybody after."""
    branch = call(1, "put", 0.0, 1.0, ACKED, b"a", 7)
    branch.epoch = RINGS[1]
    after = call(2, "put", 2.0, 3.0, ACKED, b"b", 6)
    after.epoch = RINGS[2]
    history = history_of(branch, after)
    narrow_branch(history)
    history.final = stores({ident(2): ("OK", 6)}, discarded=frozenset([ident(1)]), epoch=RINGS[2])
    history.samples = [StoreSample(1.5, 1, 0, 7, b"x", RINGS[1]), StoreSample(3.5, 1, 0, 6, b"y", RINGS[2])]
    checks = (
        store.check_revisions_follow_real_time,
        store.check_reads_never_go_back,
        store.check_digests,
        linearizability.check,
    )
    for check in checks:
        check(history)
    history.samples += [StoreSample(4.0, 2, 0, 7, b"y", RINGS[2]), StoreSample(5.0, 2, 0, 6, b"y", RINGS[2])]
    assert broken(store.check_reads_never_go_back, history) == "S2"
    history.samples = [StoreSample(1.5, 1, 0, 7, b"x", RINGS[1]), StoreSample(1.6, 2, 0, 7, b"y", RINGS[1])]
    assert broken(store.check_digests, history) == "S4"


def test_reads_of_the_line_are_judged_beside_a_branch() -> None:
    """S2: a stale read on the line is caught although the run had a narrow epoch."""
    put = call(1, "put", 0.0, 1.0, ACKED, b"a", 1)
    read = call(2, "read", 2.0, 3.0, ACKED, None, 0)
    put.epoch = read.epoch = RINGS[2]
    history = history_of(put, read)
    narrow_branch(history)
    history.final = stores({ident(1): ("OK", 1)}, epoch=RINGS[2])
    assert broken(linearizability.check, history) == "S2"
    read.epoch = RINGS[1]
    assert linearizability.check(history) == 0


def test_who_has_no_disk_holds_no_data() -> None:
    """S1: a quorum device never counts for durability."""
    history = history_of()
    history.durable = [Durable(1.0, ident(1), 1, (1, 2), {**VOTES, 99: 1}, RINGS[0])]
    assert broken(store.check_required_sets, history) == "S1"


def test_an_operation_that_never_ends_is_caught() -> None:
    """S3: unless the process it was asked of died."""
    history = history_of(call(1, "put", 0.0, None, ""))
    assert broken(store.check_every_call_ended, history) == "S3"
    history.processes[0].ended = 3.0
    store.check_every_call_ended(history)


def test_an_operation_that_takes_too_long_is_caught() -> None:
    """S3: unknown at the latest at the commit deadline, pauses of the process not counted."""
    slow = call(1, "put", 0.0, 7.0, UNKNOWN)
    with pytest.raises(Violation, match="took 7"):
        store.check_deadline(slow, 0.0)
    store.check_deadline(slow, 2.0)


def test_a_refused_operation_in_a_log_is_caught() -> None:
    """S3: refused means that it never entered a log."""
    history = history_of(call(1, "put", 0.0, 1.0, REFUSED))
    store.check_refused_never_appears(history)
    history.logged = frozenset([ident(1)])
    assert broken(store.check_refused_never_appears, history) == "S3"


def test_what_vanished_from_a_log_is_caught() -> None:
    """S5: also a write that nobody acknowledged is set aside before a merge discards it."""
    history = history_of(call(1, "put", 0.0, 1.0, UNKNOWN))
    history.final = stores({})
    store.check_nothing_is_thrown_away(history)
    history.logged = frozenset([ident(1)])
    assert broken(store.check_nothing_is_thrown_away, history) == "S5"
    history.disk_losses = [(2.0, 1)]
    store.check_nothing_is_thrown_away(history)
    history.disk_losses = []
    history.final[1].discarded = frozenset([ident(1)])
    store.check_nothing_is_thrown_away(history)


def test_two_trees_at_one_revision_are_caught() -> None:
    """S4: the same revision, the same digest."""
    history = history_of()
    history.samples = [StoreSample(1.0, 1, 0, 4, b"x"), StoreSample(2.0, 2, 0, 4, b"x")]
    store.check_digests(history)
    history.samples.append(StoreSample(3.0, 3, -1, 0, b""))  # a new disk says nothing
    store.check_digests(history)
    history.samples.append(StoreSample(3.0, 3, 0, 4, b"y"))
    assert broken(store.check_digests, history) == "S4"


def test_a_revision_that_power_took_from_all_is_used_again() -> None:
    """S4 with `durability: memory`: of one epoch still all show the same, and on a disk nothing is used again."""
    history = history_of()
    history.in_memory, history.power_losses = True, [2.0]
    history.samples = [StoreSample(1.0, 1, 0, 5, b"x", RINGS[0]), StoreSample(3.0, 2, 1, 5, b"y", RINGS[1])]
    store.check_digests(history)
    history.in_memory = False
    assert broken(store.check_digests, history) == "S4"
    history.in_memory = True
    history.samples.append(StoreSample(2.5, 3, 1, 5, b"z", RINGS[0]))
    assert broken(store.check_digests, history) == "S4"


def test_stores_that_end_apart_are_caught() -> None:
    """S4: after everything healed all nodes hold one tree."""
    history = history_of()
    history.final = stores({})
    store.check_digests(history)
    history.final[1].revision = 8
    assert broken(store.check_digests, history) == "S4"


def test_two_branches_that_both_acknowledged_are_caught() -> None:
    """Q5: primaries form one line."""
    history = history_of()
    for ring, parent in ((RINGS[0], NO_RING), (RINGS[1], RINGS[0]), (RINGS[2], RINGS[1])):
        history.epochs[ring] = EpochRecord(ring, parent, 1, 1, EpochKind.MAJORITY, 0, (1, 2, 3))
        history.durable.append(Durable(1.0, ident(1), 1, (1, 2), VOTES, ring))
    store.check_epochs_form_one_line(history)
    history.epochs[RINGS[2]] = replace(history.epochs[RINGS[2]], parent=RINGS[0])
    assert broken(store.check_epochs_form_one_line, history) == "Q5"


def test_revisions_follow_real_time_over_all_keys() -> None:
    """A write begun after another's ack has the higher revision, whatever the keys."""
    first = call(1, "put", 0.0, 1.0, ACKED, b"a", 5)
    later = replace(call(2, "put", 2.0, 3.0, ACKED, b"b", 4), key="other")
    assert broken(store.check_revisions_follow_real_time, history_of(first, later)) == "S2"
    store.check_revisions_follow_real_time(history_of(first, replace(later, revision=6)))


def test_a_node_never_shows_an_older_tree() -> None:
    """Local reads never go back, also across a restart, and see the node's own acknowledged writes."""
    history = history_of(call(1, "put", 0.0, 1.0, ACKED, b"a", 5))
    history.samples = [StoreSample(2.0, 1, 0, 5, b""), StoreSample(3.0, 1, 1, 6, b"")]
    store.check_reads_never_go_back(history)
    history.samples.append(StoreSample(4.0, 1, 2, 4, b""))
    assert broken(store.check_reads_never_go_back, history) == "S2"
    history.samples = [StoreSample(2.0, 1, 0, 4, b"")]
    assert broken(store.check_reads_never_go_back, history) == "S2"


def test_an_answer_that_is_not_the_outcome_kept_is_caught() -> None:
    """S3: whoever asks later is told what the first answer said."""
    failed = call(1, "rm", 0.0, 1.0, FAILED)
    failed.code = "MISSING"
    history = history_of(failed)
    history.final = stores({ident(1): ("MISSING", 0)})
    store.check_acked_is_kept(history)
    history.final = stores({ident(1): ("OK", 4)})
    assert broken(store.check_acked_is_kept, history) == "S3"


def test_what_was_in_a_tree_is_set_aside_if_it_goes() -> None:
    """S5: also where nobody was told that it was done."""
    history = history_of()
    history.applied = [Applied(2.0, 3, ident(1), RINGS[0], 7, (5,))]
    history.final = stores({ident(1): ("OK", 5)})
    assert store.check_set_aside(history) == 0
    history.final = stores({})
    assert broken(store.check_set_aside, history) == "S5"
    history.disk_losses = [(1.0, 3)]  # before: that disk had it all the same
    assert broken(store.check_set_aside, history) == "S5"
    history.disk_losses = [(3.0, 3)]
    assert store.check_set_aside(history) == 1
    history.disk_losses = []
    history.final[1].discarded = frozenset({ident(1)})
    assert store.check_set_aside(history) == 1


def test_an_epoch_of_a_minority_that_calls_itself_a_majoritys_is_caught() -> None:
    """Q5: by those who had the state on disk when it opened."""
    history = history_of()
    history.data_sets = {1: {tuple(VOTES.items())}}
    history.durable = [Durable(1.0, ident(1), 1, (1, 2), VOTES, RINGS[0])]
    history.epochs[RINGS[0]] = EpochRecord(RINGS[0], NO_RING, 1, 1, EpochKind.MAJORITY, 0, (1, 2))
    assert store.check_epochs_form_one_line(history) == 1
    history.epochs[RINGS[0]] = EpochRecord(RINGS[0], NO_RING, 1, 1, EpochKind.MAJORITY, 0, (1,))
    assert broken(store.check_epochs_form_one_line, history) == "Q5"


def test_only_pauses_within_a_call_excuse_it() -> None:
    """S3: the deadline is put off by the time in which the process could not run, and no other."""
    history = history_of()
    history.pauses = [(1, 2.0, 3.0), (1, 6.0, 9.0), (2, 5.0, 8.0)]
    assert store.stopped(history, 1, 4.0, 7.0) == 1.0
    assert store.stopped(history, 1, 0.0, 10.0) == 4.0
    assert store.stopped(history, 3, 0.0, 10.0) == 0.0
