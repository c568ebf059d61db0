"""S1: what was acknowledged is durable. Right histories are taken, wrong ones found."""

from __future__ import annotations

from dataclasses import replace

from cfs.records import EpochKind, EpochRecord
from tests.sim.checkers import durable, one_line
from tests.sim.histories import RINGS, VOTES, broken, call, history_of, ident, narrow_branch, stores
from tests.sim.history import ACKED, FAILED, Configured, Durable, Process
from tests.transport.totem.evs import Trace
from transport.events import ConfigurationChange
from transport.ids import NO_RING


def test_an_ack_needs_the_required_set_on_disk() -> None:
    """On disk at the proposer and on a data majority, at the moment of the ack."""
    history = history_of()
    history.durable = [Durable(1.0, ident(1), 1, (1, 2), VOTES, RINGS[0])]
    durable.check_required_sets(history)
    history.durable = [Durable(1.0, ident(1), 1, (2, 3), VOTES, RINGS[0])]
    assert broken(durable.check_required_sets, history) == "S1"
    history.durable = [Durable(1.0, ident(1), 1, (1,), VOTES, RINGS[0])]
    assert broken(durable.check_required_sets, history) == "S1"
    history.durable = [Durable(1.0, ident(1), 1, (1,), {1: 1}, RINGS[0])]  # last_man_standing had lowered it
    durable.check_required_sets(history)


def test_a_disk_lost_while_its_word_was_under_way_counts() -> None:
    """It had the operation when it said so; the proposer's own disk is never replaced by it."""
    history = history_of()
    history.durable = [Durable(1.0, ident(1), 1, (1,), VOTES, RINGS[0], lost=(2,))]
    durable.check_required_sets(history)
    history.durable = [Durable(1.0, ident(1), 1, (2,), VOTES, RINGS[0], lost=(1,))]
    assert broken(durable.check_required_sets, history) == "S1"


def test_a_narrow_epoch_needs_every_holder() -> None:
    """Quorate without a data majority: on every member with a good store."""
    history = history_of()
    history.epochs[RINGS[0]] = EpochRecord(RINGS[0], NO_RING, 1, 1, EpochKind.NARROW, 0, (1, 2))
    history.durable = [Durable(1.0, ident(1), 1, (1, 2), VOTES, RINGS[0])]
    durable.check_required_sets(history)
    history.durable = [Durable(1.0, ident(1), 1, (1,), VOTES, RINGS[0])]
    assert broken(durable.check_required_sets, history) == "S1"
    history.durable = [Durable(1.0, ident(1), 1, (1,), VOTES, RINGS[0], failing=(2,))]
    durable.check_required_sets(history)


def test_an_acknowledged_write_that_is_gone_is_caught() -> None:
    """After everything healed its outcome is known on every node, with the same revision."""
    history = history_of(call(1, "put", 0.0, 1.0, ACKED, b"a", 5))
    history.final = stores({ident(1): ("OK", 5)})
    durable.check_acked_is_kept(history)
    history.final[2].outcomes.clear()
    assert broken(durable.check_acked_is_kept, history) == "S1"
    history.final = stores({ident(1): ("OK", 6)})
    assert broken(durable.check_acked_is_kept, history) == "S1"


def test_what_a_narrow_epoch_loses_is_listed() -> None:
    """S5: a write set aside is listed as discarded, or it was thrown away silently."""
    lost = call(1, "put", 0.0, 1.0, ACKED, b"a", 5)
    lost.epoch = RINGS[1]
    history = history_of(lost)
    narrow_branch(history)
    history.final = stores({}, discarded=frozenset([ident(1)]), epoch=RINGS[2])
    durable.check_acked_is_kept(history)
    history.final = stores({}, epoch=RINGS[2])
    assert broken(durable.check_acked_is_kept, history) == "S5"
    history.durable = [Durable(1.0, ident(1), 1, (1,), VOTES, RINGS[1])]
    history.disk_losses = [(0.5, 1), (2.0, 2)]
    assert broken(durable.check_acked_is_kept, history) == "S5"
    history.disk_losses = [(2.0, 1)]  # nobody else had it
    durable.check_acked_is_kept(history)
    history.disk_losses = []
    assert broken(durable.check_acked_is_kept, history) == "S5"
    history.final = history.final[1:]  # node 1 is none any more
    durable.check_acked_is_kept(history)


def test_what_a_narrow_epoch_did_the_line_may_have_done_otherwise() -> None:
    """S5: the ring broke before all had the message, and each did it; what the narrow side answered is set aside."""
    done = call(1, "put", 0.0, 1.0, ACKED, b"a", 5)
    done.epoch = RINGS[1]
    history = history_of(done)
    narrow_branch(history)
    history.final = stores({ident(1): ("OK", 4)}, discarded=frozenset([ident(1)]), epoch=RINGS[2])
    durable.check_acked_is_kept(history)
    history.final = stores({ident(1): ("OK", 4)}, epoch=RINGS[2])
    assert broken(durable.check_acked_is_kept, history) == "S5"
    history.final = stores({ident(1): ("OK", 4)}, discarded=frozenset([ident(1)]), epoch=RINGS[1])
    assert broken(durable.check_acked_is_kept, history) == "S1"


def test_only_what_a_narrow_epoch_acknowledged_may_be_set_aside() -> None:
    """S1: a narrow epoch in the run is no excuse for a write that a majority acknowledged."""
    lost = call(1, "put", 0.0, 1.0, ACKED, b"a", 5)
    lost.epoch = RINGS[0]
    history = history_of(lost)
    narrow_branch(history)
    history.final = stores({}, discarded=frozenset([ident(1)]), epoch=RINGS[2])
    assert broken(durable.check_acked_is_kept, history) == "S1"


def test_in_memory_only_a_loss_of_power_may_take_a_write() -> None:
    """`durability: memory`: S1 excludes power loss, and nothing else."""
    history = history_of(call(1, "put", 0.0, 1.0, ACKED, b"a", 5))
    history.final = stores({})
    history.in_memory = True
    assert broken(durable.check_acked_is_kept, history) == "S1"
    history.power_losses = [2.0]
    durable.check_acked_is_kept(history)
    history.in_memory = False
    assert broken(durable.check_acked_is_kept, history) == "S1"


def test_in_memory_a_write_of_before_a_loss_of_power_may_be_confirmed_after_it() -> None:
    """It was received by the required set; that the others lost it since is what S1 excludes there."""
    history = history_of(call(1, "put", 0.0, 3.0, ACKED, b"a", 5))
    history.durable = [Durable(3.0, ident(1), 1, (1,), VOTES, RINGS[0])]
    history.in_memory, history.power_losses = True, [2.0]
    durable.check_required_sets(history)
    history.calls[0].invoked = 2.5
    assert broken(durable.check_required_sets, history) == "S1"


def test_who_has_no_disk_holds_no_data() -> None:
    """S1: a quorum device never counts for durability."""
    history = history_of()
    history.durable = [Durable(1.0, ident(1), 1, (1, 2), {**VOTES, 99: 1}, RINGS[0])]
    assert broken(durable.check_required_sets, history) == "S1"


def test_two_branches_that_both_acknowledged_are_caught() -> None:
    """Q5: primaries form one line."""
    history = history_of()
    for ring, parent in ((RINGS[0], NO_RING), (RINGS[1], RINGS[0]), (RINGS[2], RINGS[1])):
        history.epochs[ring] = EpochRecord(ring, parent, 1, 1, EpochKind.MAJORITY, 0, (1, 2, 3))
        history.durable.append(Durable(1.0, ident(1), 1, (1, 2), VOTES, ring))
    one_line.check(history)
    history.epochs[RINGS[2]] = replace(history.epochs[RINGS[2]], parent=RINGS[0])
    assert broken(one_line.check, history) == "Q5"


def test_an_answer_that_is_not_the_outcome_kept_is_caught() -> None:
    """S3: whoever asks later is told what the first answer said."""
    failed = call(1, "rm", 0.0, 1.0, FAILED)
    failed.code = "MISSING"
    history = history_of(failed)
    history.final = stores({ident(1): ("MISSING", 0)})
    durable.check_acked_is_kept(history)
    history.final = stores({ident(1): ("OK", 4)})
    assert broken(durable.check_acked_is_kept, history) == "S3"


def test_an_old_copy_that_nobody_there_knew_may_have_been_gone_on_with() -> None:
    """S6: node 1 was put back to before the write; node 2, which was away then, cannot know it."""
    lost = call(1, "put", 0.0, 1.0, ACKED, b"a", 5)
    lost.epoch = RINGS[0]
    history = history_of(lost)
    narrow_branch(history)
    history.epochs[RINGS[2]] = replace(history.epochs[RINGS[2]], holders=(1, 2))
    history.final = stores({}, discarded=frozenset([ident(1)]), epoch=RINGS[2])
    history.durable = [Durable(1.0, ident(1), 3, (1, 3), VOTES, RINGS[0])]
    history.processes.append(Process(1, 1, 2.0, Trace(1, 1)))
    for place, ring in ((0, RINGS[0]), (2, RINGS[0]), (1, RINGS[2]), (3, RINGS[2])):
        history.processes[place].events.append(Configured(3.0, ConfigurationChange(True, ring, ())))
    assert broken(durable.check_acked_is_kept, history) == "S1"
    history.disk_losses = [(2.0, 1)]  # an empty disk is known to be empty
    assert broken(durable.check_acked_is_kept, history) == "S1"
    history.old_copies = [(2.0, 1)]
    durable.check_acked_is_kept(history)
    history.processes[1].events.append(Configured(1.0, ConfigurationChange(True, RINGS[0], ())))
    assert broken(durable.check_acked_is_kept, history) == "S1"  # node 2 had seen it
