"""Exactly-once, watch history, reads, and the delta for checkpoints (cfs/state.py)."""

from __future__ import annotations

from random import Random
from time import process_time

import pytest

from cfs.digest import make_entry
from cfs.entries import DIRECTORY, FILE, StateImage
from cfs.errors import Compacted, Expired, IsDirectory, NoSuchEntry, NotDirectory
from cfs.limits import OUTCOMES
from cfs.messages import Code, Kind
from cfs.refusals import refusal
from cfs.state import State
from tests.cfs.building import mkdir, mv, op, put, rm, run, tree, whole
from transport.errors import OutcomeUnknown


def test_an_id_is_applied_once() -> None:
    """Applying an id already there returns the stored result and changes nothing (S3)."""
    state = State()
    first = put("f", b"1")
    original = run(state, first, put("f", b"2"))[0]
    again = run(state, first)[0]
    assert again.repeated
    assert again.result == original.result
    assert again.changes == ()
    assert (state.cat("f"), state.revision, state.index) == (b"2", 2, 3)


def test_a_refusal_is_remembered_too() -> None:
    """A refused operation stays refused under its id, even when it would succeed now."""
    state = State()
    early = put("d/f")
    run(state, early, mkdir("d"))
    again = run(state, early)[0]
    assert (again.repeated, again.result.code, again.result.index) == (True, Code.NO_SUCH_ENTRY, 1)


def test_outcomes_are_kept_by_index_distance() -> None:
    """Bounded: a result is kept for OUTCOMES log indexes, whatever happens in them."""
    state = State()
    first = put("f")
    run(state, first)
    state.advance(OUTCOMES)
    assert state.outcome(first.id) is not None
    state.advance(OUTCOMES + 1)
    assert state.outcome(first.id) is None


def test_a_retry_that_comes_too_late_is_unknown_not_applied() -> None:
    """Beyond the table a retry that says since when it waits is refused: exactly-once stays strict (S3)."""
    state = State()
    late = put("f", since=5)
    state.advance(5 + OUTCOMES)
    applied = run(state, late)[0]
    assert applied.result.code is Code.EXPIRED
    assert state.entries == 0
    assert isinstance(refusal(late, applied.result), OutcomeUnknown)


def test_an_operation_of_a_history_that_was_set_aside_is_unknown_not_applied() -> None:
    """`since` is not behind us: it was told where the log was longer. When it would be too late here nobody can say."""
    state = State(window=10)
    run(state, put("a"), put("b"))
    for since in (3, 4, 1 << 63):  # the next index is 3
        applied = run(State(state.image(), window=10), put("f", since=since))[0]
        assert (applied.result.code, applied.result.detail) == (Code.EXPIRED, 1), since
        error = refusal(put("f"), applied.result)
        assert isinstance(error, Expired)
        assert error.never
    assert run(state, put("f", since=2))[0].result.ok


def test_a_retry_is_never_applied_twice_whenever_it_comes() -> None:
    """Exactly once has no end for who says since when (S3): at every distance the first outcome, or EXPIRED."""
    for distance in range(1, 30):
        state = State(window=8)
        run(state, put("before"))
        write = put("f", since=1)
        assert run(state, write)[0].result.ok
        for _ in range(distance - 1):
            run(state, put("other"))
        again = run(state, write)[0]
        assert again.changes == (), distance
        assert again.repeated == (distance < 8), distance
        assert again.result.code is (Code.OK if distance < 8 else Code.EXPIRED)


def test_who_does_not_say_since_when_is_covered_for_the_window_only() -> None:
    """Old clients: the same id within the window is the same operation; behind it nobody remembers."""
    state = State(window=8)
    write = put("f")
    run(state, write, *(put("other") for _ in range(6)))
    assert run(state, write)[0].repeated
    run(state, *(put("other") for _ in range(1)))
    assert run(state, write)[0].changes


def test_outcomes_of_another_window_do_not_outlive_this_one() -> None:
    """A store read from disk may bring more: what is known decides, so it must be alike on all nodes."""
    state = State()
    first = put("f", since=0)
    run(state, first, *(put("other") for _ in range(20)))
    small = State(state.image(), window=8)
    assert not run(small, first)[0].repeated


def test_a_retry_in_time_is_applied() -> None:
    """At the very edge the table still covers everything since."""
    state = State()
    state.advance(4 + OUTCOMES)
    assert run(state, put("f", since=5))[0].result.ok


def test_watch_from_a_revision() -> None:
    """since(revision) gives every change after it, in order; the newest gives none."""
    state = tree(mkdir("d"), put("d/f"), rm("d/f"))
    assert [(c.revision, c.op) for c in state.since(1)] == [(2, "put"), (3, "rm")]
    assert state.since(3) == []
    assert len(state.since(0)) == 3


def test_history_gone_is_told() -> None:
    """History is bounded; older is Compacted and names the oldest (CLI: history gone: 1)."""
    state = State(history=2)
    run(state, put("a"), put("b"), put("c"))
    assert [c.path for c in state.since(1)] == ["b", "c"]
    with pytest.raises(Compacted) as caught:
        state.since(0)
    assert caught.value.oldest == state.oldest == 1


def test_history_begins_anew_with_an_image() -> None:
    """It is not part of the replicated state: a restored node knows changes from then on."""
    state = State(tree(put("a")).image())
    with pytest.raises(Compacted):
        state.since(0)
    assert state.since(1) == []


def test_ls_is_sorted_and_recursive_on_ask() -> None:
    """`fs ls [-R]`: sorted by path (CLI contract)."""
    state = tree(mkdir("b"), put("b/z"), mkdir("b/c"), put("b/c/f"), put("a"), put("b-x"))
    assert [e.path for e in state.ls()] == ["a", "b", "b-x"]
    assert [e.path for e in state.ls("b")] == ["b/c", "b/z"]
    assert [e.path for e in state.ls("", recursive=True)] == ["a", "b", "b-x", "b/c", "b/c/f", "b/z"]
    assert [e.path for e in state.ls("a")] == ["a"]


def test_reads_say_what_is_wrong() -> None:
    """ENOENT, ENOTDIR, EISDIR as in POSIX."""
    state = tree(mkdir("d"), put("f"))
    for read, error in (
        ("x", NoSuchEntry),
        ("d/x", NoSuchEntry),
        ("f/x", NotDirectory),
        ("d", IsDirectory),
        ("", IsDirectory),
    ):
        with pytest.raises(error):
            state.cat(read)
    assert state.stat("").is_directory
    assert state.stat("").revision == 2


def test_a_delta_brings_an_image_to_the_state() -> None:
    """take_delta tells what changed since it was last taken; an image updated by it equals the state's own."""
    state = tree(mkdir("d"), put("d/f", b"1"), put("g"))
    image = StateImage()
    image.update(state.take_delta())
    run(
        state,
        rm("g"),
        mv("d/f", "h"),
        put("d/f", b"2"),
        op(Kind.STAGE, "", b"chunk", staging=bytes(16)),
        put("no/where"),
    )
    first, _ = state.take_delta(), run(state, put("k"), rm("h"))
    image.update(first.then(state.take_delta()))
    assert image == state.image()
    assert State(image).digest() == state.digest()


def test_an_empty_delta_when_nothing_changed() -> None:
    """Only what changed is written again."""
    state = tree(put("f"))
    state.take_delta()
    delta = state.take_delta()
    assert (delta.entries, delta.outcomes, delta.staging) == ({}, {}, {})


def test_an_image_that_is_no_tree_is_refused() -> None:
    """Entries without their directory make no state."""
    image = tree(mkdir("d"), put("d/f")).image()
    del image.entries["d"]
    with pytest.raises(ValueError, match="d: holds"):
        State(image)


def test_an_image_stands_still() -> None:
    """An image is not changed by what the state does later: it may be written by another thread."""
    state = tree(put("f", b"1"))
    image = state.image()
    run(state, put("f", b"2"), put("g"))
    assert whole(State(image)) == {"f": b"1"}


def test_pages_are_the_listing_whatever_happens_between_them() -> None:
    """Each page costs what is in it; together they are `ls`, in order, also after entries came and went."""
    random = Random(7)
    state = State()
    names = ["a", "a-b", "a.b", "b", "c0", "a b"]
    for _ in range(400):
        path = "/".join(random.choices(names, k=random.randint(1, 3)))
        run(state, random.choice([mkdir(path), mkdir(path), put(path), rm(path, recursive=random.random() < 0.3)]))
        run(state, mv(path, random.choice(names) + "/moved"))
        where = random.choice(["", "a", "a-b", "b"])
        if state.find(where) is None:
            continue
        for recursive in (False, True):
            listed = state.ls(where, recursive)
            after = random.choice(["", "a/", "a/b/zz", "a-b/a", "nothing", *(e.path for e in listed)])
            wanted = [e for e in listed if e.path > after]
            assert state.page(where, recursive, after, 3) == wanted[:3]
            assert state.page(where, recursive, after, 10**6) == wanted


def test_a_page_of_a_large_directory_costs_little() -> None:
    """Anybody on the host may list: a page must not hold up the node's loop."""
    entries = {"d": make_entry("d", DIRECTORY, b"", revision=1, created=1, mtime=0, writer=1)}
    for n in range(2, 20_000):
        entries[f"d/{n}"] = make_entry(f"d/{n}", FILE, b"", revision=n, created=n, mtime=0, writer=1)
    state = State(StateImage(20_000, 20_000, entries=entries))
    state.page("", True, "", 1)
    began = process_time()
    for _ in range(100):
        assert len(state.page("", True, "d/5", 10)) == 10
    assert process_time() - began < 0.1  # sorting it a hundred times takes a second
