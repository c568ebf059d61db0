"""S2: the search accepts histories of a register and catches others."""

from __future__ import annotations

from random import Random

from cfs.records import EpochKind, EpochRecord
from tests.sim.checkers import linearizability
from tests.sim.histories import RINGS, broken, call, history_of, ident, narrow_branch, stores
from tests.sim.history import ACKED, FAILED, REFUSED, UNKNOWN, Call, FinalStore, History
from transport.ids import NO_RING, RingId


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


def test_a_removal_that_is_not_judged_says_nothing_of_the_entry() -> None:
    """Refused as EXPIRED, because it was begun in a history that was set aside, it removes nothing; NO_SUCH_ENTRY is an
    answer about the entry."""
    put = call(1, "put", 0.0, 1.0, ACKED, b"a", 1)
    removal = call(2, "rm", 2.0, 3.0, FAILED)
    for code, end, promise in (("EXPIRED", b"a", None), ("EXPIRED", None, "S2"), ("NO_SUCH_ENTRY", b"a", "S2")):
        removal.code = code
        history = history_of(put, removal, call(3, "read", 4.0, 5.0, ACKED, end, 1 if end else 0))
        if promise is None:
            assert linearizability.check(history) == 0
        else:
            assert broken(linearizability.check, history) == promise


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


def test_many_lost_answers_do_not_hide_a_stale_read() -> None:
    """Writes that nobody saw cost the search nothing, however many hang over the whole history."""
    lost = [call(100 + n, "put", 0.1 * n, None, UNKNOWN, ident(n)) for n in range(60)]
    put = call(1, "put", 10.0, 11.0, ACKED, b"a", 1)
    new = call(2, "put", 12.0, 13.0, ACKED, b"b", 2)
    reads = [call(10 + n, "read", 14.0 + n, 14.5 + n, ACKED, b"b", 2) for n in range(20)]
    assert linearizability.linearizable([*lost, put, new, *reads]) is True
    stale = call(40, "read", 40.0, 41.0, ACKED, b"a", 1)
    assert linearizability.linearizable([*lost, put, new, *reads, stale]) is False


def test_a_lost_answer_may_explain_a_conflict() -> None:
    """A write without an answer that a conflict names is one that happened."""
    lost = call(1, "put", 0.0, None, UNKNOWN, b"x")
    conflict = call(2, "cas", 2.0, 3.0, FAILED, b"y", 7, expected=0)
    assert linearizability.linearizable([lost, conflict]) is True
    assert linearizability.linearizable([conflict]) is False


def forked() -> History:
    """All wrote a in one epoch; then node 1 alone, narrow, wrote b and read; the others went on and wrote c."""
    first, branch, line = RINGS
    calls = [
        call(1, "put", 0.0, 1.0, ACKED, b"a", 1),
        call(2, "put", 2.0, 3.0, ACKED, b"b", 2),
        call(3, "read", 4.0, 5.0, ACKED, b"b", 2),
        call(4, "put", 2.0, 3.5, ACKED, b"c", 2, node=2),
        call(5, "read", 6.0, 7.0, ACKED, b"c", 2, node=2),
    ]
    for one, epoch in zip(calls, (first, branch, branch, line, line), strict=True):
        one.epoch = epoch
    history = history_of(*calls)
    history.epochs = {
        first: EpochRecord(first, NO_RING, 1, 1, EpochKind.MAJORITY, 0, (1, 2, 3)),
        branch: EpochRecord(branch, first, 3, 1, EpochKind.NARROW, 0, (1,)),
        line: EpochRecord(line, first, 3, 1, EpochKind.MAJORITY, 0, (2, 3)),
    }
    places: list[tuple[RingId, int, int]] = [(first, 2, 1), (branch, 4, 2), (line, 4, 4)]
    history.records = {(epoch, index): bytes(4) + ident(number) for epoch, index, number in places}
    outcomes = {ident(1): ("OK", 1), ident(4): ("OK", 2)}
    history.final = [FinalStore(2, 2, b"", outcomes, {}, frozenset({ident(2)}), line)]
    return history


def test_a_branch_that_was_set_aside_is_a_register_of_its_own() -> None:
    """S2 holds in a narrow component while it lasts, and for the others as if it had never been."""
    assert linearizability.check(forked()) == 0
    assert len(linearizability.registers(forked())) == 2


def test_a_stale_read_on_a_branch_is_caught() -> None:
    """Before its own write, or of the line that others went on with."""
    for value, revision in ((b"a", 1), (b"c", 2), (None, 0)):
        history = forked()
        history.calls[2].value, history.calls[2].revision = value, revision
        assert broken(linearizability.check, history) == "S2"


def moved(number: int, kind: str, at: float, outcome: str, path: str, to: str = "", revision: int = 0) -> Call:
    made = call(number, kind, at, at + 0.5, outcome, revision=revision)
    made.key, made.to = path, to
    made.code = {"mkdir": "EXISTS", "mv": "NO_SUCH_ENTRY"}[kind] if outcome == FAILED else ""
    return made


def test_a_directory_that_was_moved_is_where_it_was_moved_to() -> None:
    """Its old name can be made again, the new one not."""
    made = moved(1, "mkdir", 0.0, ACKED, "d1", revision=1)
    gone = moved(2, "mv", 1.0, ACKED, "d1", "d2", revision=2)
    there = moved(3, "mkdir", 2.0, FAILED, "d2")
    again = moved(4, "mkdir", 3.0, ACKED, "d1", revision=3)
    assert linearizability.check(history_of(made, gone, there, again)) == 0
    still = moved(4, "mkdir", 3.0, FAILED, "d1")
    assert broken(linearizability.check, history_of(made, gone, there, still)) == "S2"
    nowhere = moved(3, "mkdir", 2.0, ACKED, "d2", revision=3)
    assert broken(linearizability.check, history_of(made, gone, nowhere)) == "S2"


def test_what_is_not_there_cannot_be_moved() -> None:
    """And what is there cannot be said to be missing."""
    made = moved(1, "mkdir", 0.0, ACKED, "d1", revision=1)
    assert broken(linearizability.check, history_of(moved(2, "mv", 0.0, ACKED, "d1", "d2", revision=1))) == "S2"
    assert broken(linearizability.check, history_of(made, moved(2, "mv", 1.0, FAILED, "d1", "d2"))) == "S2"


def test_a_move_without_an_answer_may_have_been_done_or_not() -> None:
    """Either explains what is seen later, but not both."""
    made = moved(1, "mkdir", 0.0, ACKED, "d1", revision=1)
    lost = moved(2, "mv", 1.0, UNKNOWN, "d1", "d2")
    for seen in (moved(3, "mkdir", 2.0, FAILED, "d1"), moved(3, "mkdir", 2.0, FAILED, "d2")):
        assert linearizability.check(history_of(made, lost, seen)) == 0
    both = [moved(3, "mkdir", 2.0, FAILED, "d2"), moved(4, "mkdir", 3.0, FAILED, "d1")]
    assert broken(linearizability.check, history_of(made, lost, *both)) == "S2"


def test_directories_with_which_something_else_is_done_are_left_out() -> None:
    """What a file below them, or their removal, makes of the answers is not known to this search."""
    removed = call(1, "delete", 0.0, 1.0, ACKED, revision=1)
    removed.key = "d1/x"
    moves = [moved(2, "mv", 2.0, ACKED, "d1", "d2", revision=2)]
    assert linearizability.directories(history_of(removed, *moves)) == []


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
