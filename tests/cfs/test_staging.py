"""Large files in chunks: staged in replicated state, committed by one small operation (DESIGN 7, "Limits enforced")."""

from __future__ import annotations

import pytest

from cfs.limits import INLINE_BYTES, MIB, Limits
from cfs.messages import Code, Kind, Operation
from cfs.refusals import refusal
from cfs.state import State
from tests.cfs.building import op, run, tree
from transport.errors import Refused

ONE, TWO, THREE = (bytes([n]) * 16 for n in (1, 2, 3))


def stage(ident: bytes, data: bytes, offset: int = 0) -> Operation:
    return op(Kind.STAGE, "", data, staging=ident, offset=offset)


def commit(path: str, ident: bytes, size: int, condition: int | None = None) -> Operation:
    return op(Kind.PUT_STAGED, path, staging=ident, size=size, condition=condition)


def test_a_megabyte_in_four_chunks() -> None:
    """Chunks take no revision, the commit one; the staging is empty afterwards."""
    content = bytes(range(256)) * 4096
    chunks = [stage(ONE, content[at : at + INLINE_BYTES], at) for at in range(0, MIB, INLINE_BYTES)]
    state = tree(*chunks)
    assert (state.revision, state.staged_bytes, state.entries) == (0, MIB, 0)
    applied = run(state, commit("big", ONE, MIB))[0]
    assert applied.result.ok
    assert (state.cat("big"), state.revision, state.staged_bytes) == (content, 1, 0)
    assert len(commit("big", ONE, MIB).encode()) < 100


def test_a_commit_is_judged_like_a_put() -> None:
    """The condition is judged when the commit is applied; refused, the chunks stay for another try."""
    state = tree(stage(ONE, b"abc"))
    lost, won = run(state, commit("f", ONE, 3, condition=7), commit("f", ONE, 3, condition=0))
    assert (lost.result.code, won.result.code) == (Code.CONFLICT, Code.OK)
    assert state.cat("f") == b"abc"


@pytest.mark.parametrize("size", [2, 4])
def test_a_commit_of_another_size_is_refused(size: int) -> None:
    """All chunks must be there: an upload that lost one is told to begin again."""
    state = tree(stage(ONE, b"abc"))
    operation = commit("f", ONE, size)
    applied = run(state, operation)[0]
    assert applied.result.code is Code.STAGING_GONE
    assert isinstance(refusal(operation, applied.result), Refused)


def test_chunks_follow_each_other() -> None:
    """A chunk begins where the last ended; else refused with the length that is there."""
    state = tree(stage(ONE, b"abc"))
    results = [
        a.result for a in run(state, stage(ONE, b"x", 2), stage(ONE, b"x", 4), stage(TWO, b"x", 1), stage(ONE, b"d", 3))
    ]
    assert [(r.code, r.detail) for r in results] == [
        (Code.INVALID, 3),
        (Code.STAGING_GONE, 3),
        (Code.STAGING_GONE, 0),
        (Code.OK, 4),
    ]


def test_the_upload_untouched_for_longest_makes_room() -> None:
    """Abandoned staging is dropped by ordered rules: bounded bytes and count, oldest first, no clock."""
    limits = Limits(file_bytes=10, staging_bytes=10, staging_count=2)
    state = tree(op(Kind.SET_LIMITS, "", limits.encode()), stage(ONE, b"1111"), stage(TWO, b"22"), stage(ONE, b"1", 4))
    run(state, stage(THREE, b"3"))  # a third upload: TWO was touched last longest ago
    codes = [
        a.result.code for a in run(state, commit("two", TWO, 2), stage(THREE, b"333333", 1), commit("one", ONE, 5))
    ]
    assert codes == [Code.STAGING_GONE, Code.OK, Code.STAGING_GONE]
    assert state.staged_bytes == 7


def test_a_file_too_large_is_refused_while_it_is_staged() -> None:
    """The file limit holds for uploads."""
    state = tree(op(Kind.SET_LIMITS, "", Limits(file_bytes=4).encode()), stage(ONE, b"1234"))
    applied = run(state, stage(ONE, b"5", 4))[0]
    assert (applied.result.code, applied.result.detail) == (Code.TOO_LARGE, 4)


def test_giving_up_frees_the_chunks() -> None:
    """DROP_STAGED is done whether or not the upload is there."""
    state = tree(stage(ONE, b"abc"), op(Kind.DROP_STAGED, "", staging=ONE), op(Kind.DROP_STAGED, "", staging=TWO))
    assert state.staged_bytes == 0


def test_many_small_chunks_stay_few_pieces() -> None:
    """An upload a byte at a time costs no list of a byte each."""
    state = State()
    run(state, *(stage(ONE, b"x", at) for at in range(50)))
    assert len(state.image().staging[ONE].chunks) == 1
