"""Each checker accepts a history that keeps its promise and catches one that does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import pytest

from cfs.records import EpochKind, EpochRecord
from tests.sim.checkers import evs, linearizability, liveness, quorum, store
from tests.sim.history import (
    ACKED,
    FAILED,
    REFUSED,
    UNKNOWN,
    Call,
    Configured,
    Durable,
    Event,
    FinalStore,
    Heard,
    History,
    Process,
    StoreSample,
    Told,
    Violation,
)
from tests.transport.totem.evs import Trace
from transport.events import ConfigurationChange, Delivery
from transport.ids import NO_RING, RingId

VOTES = {1: 1, 2: 1, 3: 1}
RINGS = [RingId(4, 1, 1), RingId(8, 1, 1), RingId(12, 2, 1)]


def ident(number: int) -> bytes:
    return number.to_bytes(16, "big")


def call(
    number: int,
    kind: str,
    invoked: float,
    ended: float | None,
    outcome: str,
    value: bytes | None = None,
    revision: int = 0,
    expected: int | None = None,
    node: int = 1,
) -> Call:
    made = Call(ident(number), kind, "k", node, 0, 1, invoked, value, expected)
    made.ended, made.outcome, made.revision = ended, outcome, revision
    return made


def broken(check: Callable[[History], object], history: History) -> str:
    with pytest.raises(Violation) as caught:
        check(history)
    return caught.value.promise


def history_of(*calls: Call) -> History:
    return History({1: 1, 2: 1, 3: 1}, list(calls), [Process(node, 0, 0.0, Trace(node, 1)) for node in (1, 2, 3)])


# -- S2 ------------------------------------------------------------------------------------------------------


def test_a_read_may_see_a_write_that_is_under_way_or_not() -> None:
    """Concurrent operations may stand in either order."""
    put = call(1, "put", 0.0, 2.0, ACKED, b"a", 1)
    for value, revision in ((None, 0), (b"a", 1)):
        read = call(2, "read", 1.0, 1.5, ACKED, value, revision)
        assert linearizability.check(history_of(put, read)) == 0


def test_a_stale_read_is_caught() -> None:
    """A read begun after a write was acknowledged sees it."""
    put = call(1, "put", 0.0, 1.0, ACKED, b"a", 1)
    read = call(2, "read", 2.0, 3.0, ACKED, None, 0)
    assert broken(linearizability.check, history_of(put, read)) == "S2"


def test_two_reads_never_go_back() -> None:
    """Once a read has seen a write under way, a later read sees it too."""
    put = call(1, "put", 0.0, 9.0, ACKED, b"a", 1)
    new = call(2, "read", 1.0, 2.0, ACKED, b"a", 1)
    old = call(3, "read", 3.0, 4.0, ACKED, None, 0)
    assert broken(linearizability.check, history_of(put, new, old)) == "S2"


def test_a_write_with_unknown_outcome_may_show_late_or_never() -> None:
    """It may take effect at any time after it began; once seen it has."""
    lost = call(1, "put", 0.0, 1.0, UNKNOWN, b"a")
    never = call(2, "read", 2.0, 3.0, ACKED, None, 0)
    late = call(3, "read", 4.0, 5.0, ACKED, b"a", 6)
    gone = call(4, "read", 6.0, 7.0, ACKED, None, 0)
    assert linearizability.check(history_of(lost, never, late)) == 0
    assert broken(linearizability.check, history_of(lost, never, late, gone)) == "S2"


def test_of_two_compare_and_sets_on_one_revision_one_wins() -> None:
    """Both acknowledged is a violation; one conflict that names the other's revision is fine."""
    put = call(1, "put", 0.0, 1.0, ACKED, b"a", 1)
    first = call(2, "cas", 2.0, 4.0, ACKED, b"b", 2, expected=1)
    second = call(3, "cas", 2.0, 4.0, ACKED, b"c", 3, expected=1)
    lost = call(3, "cas", 2.0, 4.0, FAILED, b"c", 2, expected=1)
    assert linearizability.check(history_of(put, first, lost)) == 0
    assert broken(linearizability.check, history_of(put, first, second)) == "S2"


def test_a_conflict_must_name_a_revision_that_was_there() -> None:
    """A compare-and-set that lost tells the entry's revision at that moment."""
    put = call(1, "put", 0.0, 1.0, ACKED, b"a", 1)
    conflict = call(2, "cas", 2.0, 3.0, FAILED, b"b", 7, expected=2)
    assert broken(linearizability.check, history_of(put, conflict)) == "S2"


def test_create_only_if_absent() -> None:
    """Revision 0 means that it must not exist; a removed entry does not."""
    made = call(1, "cas", 0.0, 1.0, ACKED, b"a", 1, expected=0)
    gone = call(2, "rm", 2.0, 3.0, ACKED, None, 2)
    again = call(3, "cas", 4.0, 5.0, ACKED, b"b", 3, expected=0)
    assert linearizability.check(history_of(made, gone, again)) == 0
    assert broken(linearizability.check, history_of(made, again)) == "S2"


def test_refused_operations_take_no_part() -> None:
    """A refused write must not explain a read."""
    refused = call(1, "put", 0.0, 1.0, REFUSED, b"a")
    read = call(2, "read", 2.0, 3.0, ACKED, b"a", 1)
    assert broken(linearizability.check, history_of(refused, read)) == "S2"


def test_the_search_agrees_with_a_register_that_is_one() -> None:
    """Random concurrent histories of a real register are accepted; with one stale read they are not."""
    random = Random(5)
    caught = undecided = 0
    for _ in range(30):
        calls = random_register(random)
        assert linearizability.linearizable(calls) is True
        reads = [c for c in calls if c.kind == "read" and c.value is not None]
        stale, wrong = reads[0], reads[-1]
        wrong.value, wrong.revision = stale.value, stale.revision
        caught += linearizability.linearizable(calls) is False
        undecided += linearizability.linearizable(calls) is None
    assert caught + undecided == 30
    assert undecided <= 3


def random_register(random: Random) -> list[Call]:
    value: bytes | None = None
    revision = entry = 0
    calls = []
    for number in range(60):
        at = number * 0.1
        began, ended = at - random.random() * 0.5, at + random.random() * 0.5
        match random.choice(("put", "read", "cas", "read", "rm", "put", "read", "lost")):
            case "read":
                calls.append(call(number, "read", began, ended, ACKED, value, entry))
            case "put":
                revision += 1
                value, entry = ident(number), revision
                calls.append(call(number, "put", began, ended, ACKED, value, revision))
            case "lost":
                made = call(number, "put", began, None, UNKNOWN, ident(number))
                if random.random() < 0.5:
                    revision += 1
                    value, entry = made.value, revision
                calls.append(made)
            case "cas":
                expected = random.choice((entry, 0, entry + 1))
                if expected == entry:
                    revision += 1
                    value, entry = ident(number), revision
                    calls.append(call(number, "cas", began, ended, ACKED, value, revision, expected))
                else:
                    calls.append(call(number, "cas", began, ended, FAILED, ident(number), entry, expected))
            case "rm" if value is not None:
                revision += 1
                value, entry = None, 0
                calls.append(call(number, "rm", began, ended, ACKED, None, revision))
    return calls


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


# -- S1, S3, S4, S5 -------------------------------------------------------------------------------------------


def stores(outcomes: dict[bytes, tuple[str, int]], **more: frozenset[bytes]) -> list[FinalStore]:
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


def test_what_a_narrow_epoch_loses_is_listed() -> None:
    """S5: a write set aside is listed as discarded, or it was thrown away silently."""
    history = history_of(call(1, "put", 0.0, 1.0, ACKED, b"a", 5))
    history.epochs[RINGS[0]] = EpochRecord(RINGS[0], NO_RING, 1, 1, EpochKind.NARROW, 0, (1,))
    history.final = stores({}, discarded=frozenset([ident(1)]))
    store.check_acked_is_kept(history)
    history.final = stores({})
    assert broken(store.check_acked_is_kept, history) == "S5"


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


def test_two_trees_at_one_revision_are_caught() -> None:
    """S4: the same revision, the same digest."""
    history = history_of()
    history.samples = [StoreSample(1.0, 1, 0, 4, b"x"), StoreSample(2.0, 2, 0, 4, b"x")]
    store.check_digests(history)
    history.samples.append(StoreSample(3.0, 3, -1, 0, b""))  # a new disk says nothing
    store.check_digests(history)
    history.samples.append(StoreSample(3.0, 3, 0, 4, b"y"))
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


# -- Q1, Q3, Q4 ----------------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """What the checkers read of a verdict."""

    quorate: bool
    ring_id: RingId
    members: tuple[int, ...]


def told(at: float, quorate: bool, ring: RingId, *members: int) -> Told:
    return Told(at, Verdict(quorate, ring, members))  # type: ignore[arg-type]  # the rest of it is not read


def configured(at: float, ring: RingId, *members: int) -> Configured:
    return Configured(at, ConfigurationChange(True, ring, members))


def test_a_quorate_minority_is_caught() -> None:
    """Q1: one component at most, so each has more than half of the votes."""
    history = history_of()
    history.processes[0].events = [told(1.0, True, RINGS[0], 1, 2), told(2.0, False, RINGS[1], 1)]
    quorum.check_one_component(history)
    history.processes[1].events = [told(2.0, True, RINGS[2], 2)]
    assert broken(quorum.check_one_component, history) == "Q1"
    history.exact_quorum = False
    quorum.check_one_component(history)


def test_one_ring_has_one_membership() -> None:
    """Two nodes are told the same members of one ring."""
    history = history_of()
    history.processes[0].events = [told(1.0, True, RINGS[0], 1, 2)]
    history.processes[1].events = [told(1.0, True, RINGS[0], 1, 2, 3)]
    assert broken(quorum.check_one_component, history) == "Q1"


def test_a_verdict_stands_between_membership_and_messages() -> None:
    """Q3: not before the membership it is about, not after the first message."""
    history = history_of()
    events: list[Event] = [configured(1.0, RINGS[0], 1), told(1.1, True, RINGS[0], 1), Heard(1.2, "a change", RINGS[0])]
    history.processes[0].events = list(events)
    quorum.check_order(history)
    history.processes[0].events = [events[0], events[2], events[1]]
    assert broken(quorum.check_order, history) == "Q3"
    history.processes[0].events = [events[1], events[0]]
    assert broken(quorum.check_order, history) == "Q3"


def test_two_components_that_say_quorate_at_once_are_caught() -> None:
    """Q4: a node that others went on without stops saying quorate before they begin."""
    answers = {
        1: quorum.Answer(True, RINGS[0], (1, 2, 3)),
        2: quorum.Answer(True, RINGS[1], (2, 3)),
        3: quorum.Answer(True, RINGS[0], (1, 2, 3)),
    }
    leases = quorum.Leases([1, 2, 3], answers.get)
    with pytest.raises(Violation, match="node 1 says quorate"):
        leases.check(1.0)
    answers[1].quorate = False
    leases.check(1.0)  # node 3 is still in the old ring, but in the new one's membership too


# -- O1 to O6, L1 ----------------------------------------------------------------------------------------------


def test_a_message_that_one_member_misses_is_caught() -> None:
    """E8: those that go on together delivered the same; the rules themselves are tested with the ring."""
    history = history_of()
    first, last = RINGS[0], RINGS[1]
    for process in history.processes[:2]:
        ring = process.ring
        incarnations = {1: 1, 2: 1}
        ring.events = [
            ConfigurationChange(True, first, (1, 2), incarnations=incarnations),
            Delivery(1, b"mark", first, 1),
            ConfigurationChange(False, first, (1, 2)),
            ConfigurationChange(True, last, (1, 2), incarnations=incarnations),
        ]
    history.processes[0].ring.sent = [(1, b"mark", False)]
    assert evs.check(history) == 2
    del history.processes[1].ring.events[1]
    assert broken(evs.check, history) == "E8"


def condition(node: int, **more: object) -> liveness.Condition:
    good = liveness.Condition(node, "operational", RINGS[0], (1, 2), True, "synced", True, "")
    return replace(good, **more)  # type: ignore[arg-type]


def test_a_cluster_that_does_not_converge_is_caught() -> None:
    """L1: one ring of all, quorate, synced, writable."""
    liveness.check_ring(9.0, (1, 2), [condition(1), condition(2)])
    liveness.check_store(9.0, [condition(1), condition(2)])
    for bad in ({"phase": "gather"}, {"members": (2,)}, {"ring": RINGS[1]}, {"quorate": False}):
        with pytest.raises(Violation, match="node"):
            liveness.check_ring(9.0, (1, 2), [condition(1), condition(2, **bad)])
    for bad in ({"store": "syncing"}, {"writable": False}):
        with pytest.raises(Violation, match="the store of node 2"):
            liveness.check_store(9.0, [condition(1), condition(2, **bad)])


def test_a_last_write_that_is_not_acknowledged_is_caught() -> None:
    """After everything healed each node takes writes."""
    liveness.check_last_writes(9.0, [call(1, "put", 8.0, 8.1, ACKED, b"a", 5)])
    with pytest.raises(Violation, match="after everything healed"):
        liveness.check_last_writes(9.0, [call(1, "put", 8.0, 8.1, REFUSED, b"a")])
