"""Digests, snapshots and transfers by digest (cfs/digest.py, cfs/snapshot.py)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfs.digest import BUCKETS, bucket_of, decode_entry, encode_entry
from cfs.messages import Kind
from cfs.snapshot import Assembler, snapshot
from cfs.state import State
from tests.cfs.building import mkdir, op, put, rm, run, tree
from transport.errors import WireError


def some() -> State:
    return tree(mkdir("d"), put("d/f", b"1" * 1000), put("g", b""), op(Kind.STAGE, "", b"part", staging=bytes(16)))


def rebuilt(chunks: list[bytes], base: State | None = None, buckets: set[int] | None = None) -> State:
    assembler = Assembler(base, buckets) if buckets is not None else Assembler()
    for chunk in chunks:
        assembler.feed(chunk)
    return assembler.finish()


def test_golden_digest() -> None:
    """The digest is compared between versions: built here by hand from its description (docs/store-format.md)."""
    state = tree(put("a", b"hi", time=7, writer=3))
    entry = bytes.fromhex("0800030000000000000001000000000000000100000000000000070001") + b"a" + b"hi"
    total = hashlib.sha256(entry).digest()
    expected = hashlib.sha256(b"clusterd tree 1\0" + (1).to_bytes(8, "big") + total).digest()
    assert state.digest() == expected


def test_the_order_of_history_is_in_the_digest() -> None:
    """Same revision <=> same digest: equal contents by another way differ in their revisions (S4)."""
    one, two = tree(put("a"), put("b")), tree(put("b"), put("a"))
    assert one.digest() != two.digest()
    assert one.digest() == tree(put("a"), put("b")).digest()


def test_a_change_and_its_undoing_do_not_cancel() -> None:
    """The revision is in the digest: an equal tree at another revision has another."""
    state = tree(put("a"))
    before = state.digest()
    run(state, put("b"), rm("b"))
    assert state.digest() != before


@pytest.mark.parametrize("size", [1, 64, 1 << 20])
def test_a_snapshot_makes_the_same_state(size: int) -> None:
    """Tree, outcomes, staging, limits and counters go along, however the stream is cut."""
    state = some()
    made = rebuilt(list(snapshot(state, size=size)))
    assert made.image() == state.image()
    assert list(snapshot(made, size=size)) == list(snapshot(state, size=size))


def test_only_differing_buckets_are_sent() -> None:
    """Transfer by digest: the rest comes from what the learner has (pmxcfs F20; DESIGN 7)."""
    leader = tree(*(put(f"f{n}", bytes(100)) for n in range(300)))
    learner = State(leader.image())
    run(leader, put("f7", b"new"), rm("f8"), put("more"))
    run(learner, put("only here"))
    differ = {n for n in range(BUCKETS) if leader.buckets()[n] != learner.buckets()[n]}
    assert differ == {bucket_of(p) for p in ("f7", "f8", "more", "only here")}
    made = rebuilt(list(snapshot(leader, differ)), learner, differ)
    assert made.image() == leader.image()
    assert [e.path for e in leader.entries_in({bucket_of("f7")})] == sorted(
        p for p in leader.image().entries if bucket_of(p) == bucket_of("f7")
    )


def test_a_base_that_is_not_what_was_thought_is_found_out() -> None:
    """The tree built must have the digest the leader told."""
    leader, learner = tree(put("a"), put("b")), tree(put("a", b"other"))
    with pytest.raises(WireError, match="another digest"):
        rebuilt(list(snapshot(leader, {bucket_of("b")})), learner, {bucket_of("b")})


def test_a_snapshot_stands_still_while_it_is_taken() -> None:
    """Operations applied meanwhile do not show in it."""
    state = some()
    image = state.image()
    chunks = snapshot(state, size=16)
    first = next(chunks)
    run(state, put("g", b"later"))
    assert rebuilt([first, *chunks]).image() == image


@given(st.data())
def test_a_damaged_snapshot_is_a_wire_error(data: st.DataObject) -> None:
    """Any changed, missing or added byte: WireError, nothing else, no state."""
    raw = bytearray(b"".join(snapshot(some())))
    at = data.draw(st.integers(0, len(raw) - 1))
    kind = data.draw(st.sampled_from(["flip", "cut", "add"]))
    if kind == "flip":
        raw[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del raw[at:]
    else:
        raw += b"x" * 5
    with pytest.raises(WireError):
        rebuilt([bytes(raw)])


def test_entries_survive_the_wire() -> None:
    """Canonical entry encoding; a directory with content is no entry."""
    for entry in some().ls("", recursive=True):
        assert decode_entry(encode_entry(entry)) == entry
    with pytest.raises(WireError):
        decode_entry(encode_entry(some().stat("d")) + b"x")
