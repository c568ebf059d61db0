"""Semantics of the operations, case by case (facts/pmxcfs.md sections 4, 7, 8, 20; cfs/apply.py)."""

from __future__ import annotations

import pytest

from cfs.limits import Limits
from cfs.messages import Code, Flag, Kind, Operation
from cfs.refusals import refusal
from tests.cfs.building import mkdir, mv, op, put, rm, run, tree, whole
from transport.errors import Refused

#   a (dir), a/f "one", a/sub (empty dir), e (empty dir), f "two"
BASE = [mkdir("a"), put("a/f", b"one"), mkdir("a/sub"), mkdir("e"), put("f", b"two")]
A, E, F = None, None, b"two"
FULL: dict[str, bytes | None] = {"a": None, "a/f": b"one", "a/sub": None, "e": None, "f": b"two"}


def without(*paths: str, **more: bytes | None) -> dict[str, bytes | None]:
    return {path: data for path, data in FULL.items() if path not in paths} | more


DONE = [
    (put("g", b"new"), without(g=b"new")),
    (put("f", b""), without(f=b"")),
    (put("f", b"z", condition=5), without(f=b"z")),
    (put("g", b"z", condition=0), without(g=b"z")),
    (op(Kind.WRITE, "f", b"X", offset=1), without(f=b"tXo")),
    (op(Kind.WRITE, "f", b"XY", offset=2), without(f=b"twXY")),
    (op(Kind.WRITE, "f", b"X", offset=5), without(f=b"two\0\0X")),
    (op(Kind.WRITE, "f", b"X", flags=Flag.TRUNCATE), without(f=b"X")),
    (op(Kind.WRITE, "f", b"", offset=1, flags=Flag.TRUNCATE), without(f=b"t")),
    (op(Kind.WRITE, "f", b"", offset=5, flags=Flag.TRUNCATE), without(f=b"two\0\0")),
    (mkdir("g"), without(g=None)),
    (mkdir("g/h/i", flags=Flag.PARENTS), without() | {"g": None, "g/h": None, "g/h/i": None}),
    (mkdir("a/sub", flags=Flag.PARENTS), FULL),
    (mv("f", "g"), without("f", g=b"two")),
    (mv("f", "a/g"), without("f") | {"a/g": b"two"}),
    (mv("f", "a/f"), without("f") | {"a/f": b"two"}),
    (mv("f", "f"), FULL),
    (mv("e", "g"), without("e", g=None)),
    (mv("e", "a/sub"), without("e")),
    (mv("a", "a"), FULL),
    (rm("f"), without("f")),
    (rm("e"), without("e")),
    (rm("a", recursive=True), without("a", "a/f", "a/sub")),
    (rm("f", recursive=True), without("f")),
    (rm("e", flags=Flag.ONLY_DIRECTORY), without("e")),
    (rm("f", flags=Flag.ONLY_FILE), without("f")),
    (op(Kind.SET_TIME, "a", time=5), FULL),
]


@pytest.mark.parametrize(("operation", "expected"), DONE)
def test_done(operation: Operation, expected: dict[str, bytes | None]) -> None:
    """What succeeds, and the whole tree after it (pmxcfs sections 7 and 8)."""
    state = tree(*BASE)
    applied = run(state, operation)[0]
    assert applied.result.ok
    assert refusal(operation, applied.result) is None
    assert whole(state) == expected


REFUSED = [
    (put("x/y"), Code.NO_SUCH_ENTRY),
    (put("f/y"), Code.NOT_DIRECTORY),
    (put("f/y/z"), Code.NOT_DIRECTORY),
    (put("a/none/y"), Code.NO_SUCH_ENTRY),
    (put("a"), Code.IS_DIRECTORY),
    (put("f", condition=0), Code.CONFLICT),
    (put("f", condition=4), Code.CONFLICT),
    (put("g", condition=4), Code.CONFLICT),
    (put(""), Code.NAME_INVALID),
    (put("/f"), Code.NAME_INVALID),
    (put("a//b"), Code.NAME_INVALID),
    (put("a/../f"), Code.NAME_INVALID),
    (put("a/."), Code.NAME_INVALID),
    (put("a\0b"), Code.NAME_INVALID),
    (put("n" * 256), Code.NAME_INVALID),
    (put("ü" * 128), Code.NAME_INVALID),
    (put("/".join("d" * 33)), Code.TOO_DEEP),
    (op(Kind.WRITE, "g", b"x"), Code.NO_SUCH_ENTRY),
    (op(Kind.WRITE, "a", b"x"), Code.IS_DIRECTORY),
    (op(Kind.WRITE, "f", b"x", condition=1), Code.CONFLICT),
    (mkdir("a"), Code.EXISTS),
    (mkdir("f"), Code.EXISTS),
    (mkdir("f", flags=Flag.PARENTS), Code.EXISTS),
    (mkdir("f/x/y", flags=Flag.PARENTS), Code.NOT_DIRECTORY),
    (mkdir("x/y"), Code.NO_SUCH_ENTRY),
    (mv("g", "h"), Code.NO_SUCH_ENTRY),
    (mv("f", "x/y"), Code.NO_SUCH_ENTRY),
    (mv("f", "a/f/y"), Code.NOT_DIRECTORY),
    (mv("f", "e"), Code.IS_DIRECTORY),
    (mv("e", "f"), Code.NOT_DIRECTORY),
    (mv("a", "g"), Code.NOT_EMPTY),
    (mv("a", "e"), Code.NOT_EMPTY),
    (mv("e", "a"), Code.NOT_EMPTY),
    (mv("e", "e/x"), Code.INVALID),
    (mv("a/sub", "a/sub/x"), Code.INVALID),
    (mv("f", "a/f", flags=Flag.NO_REPLACE), Code.EXISTS),
    (mv("f", "g", condition=1), Code.CONFLICT),
    (mv("", "g"), Code.NAME_INVALID),
    (mv("f", ""), Code.NAME_INVALID),
    (rm("g"), Code.NO_SUCH_ENTRY),
    (rm("a"), Code.NOT_EMPTY),
    (rm("", recursive=True), Code.NAME_INVALID),
    (rm("e", flags=Flag.ONLY_FILE), Code.IS_DIRECTORY),
    (rm("f", flags=Flag.ONLY_DIRECTORY), Code.NOT_DIRECTORY),
    (rm("f", condition=2), Code.CONFLICT),
    (op(Kind.SET_TIME, "g"), Code.NO_SUCH_ENTRY),
    (op(Kind.SET_LIMITS, "", b"junk"), Code.INVALID),
    (op(Kind.SET_LIMITS, "", Limits(file_bytes=1 << 40).encode()), Code.INVALID),
]


@pytest.mark.parametrize(("operation", "code"), REFUSED)
def test_refused_changes_nothing(operation: Operation, code: Code) -> None:
    """A refused operation takes an index but no revision, and leaves the tree as it was (DESIGN 7; pmxcfs X1)."""
    state = tree(*BASE)
    before = state.digest()
    applied = run(state, operation)[0]
    assert applied.result.code is code
    assert applied.changes == ()
    assert (state.digest(), state.revision, whole(state)) == (before, 5, FULL)
    assert state.index == 6
    error = refusal(operation, applied.result)
    assert isinstance(error, Refused)
    assert str(error)


def test_conflict_tells_the_current_revision() -> None:
    """`fs cas` lost: +current_revision (CLI contract)."""
    state = tree(*BASE)
    lost, missing = run(state, put("f", condition=1), put("g", condition=1))
    assert (lost.result.detail, missing.result.detail) == (5, 0)


def test_revision_counts_changes_and_inode_stays() -> None:
    """+1 per change; the inode is the creating revision, kept by rename and rewrite (pmxcfs section 3)."""
    state = tree(put("f", b"1"), put("f", b"22"), put("g"))
    run(state, mv("f", "h"), op(Kind.SET_TIME, "h", time=9))
    entry = state.stat("h")
    assert (entry.created, entry.revision, entry.mtime, entry.size) == (1, 5, 9, 2)
    assert state.revision == 5


def test_replacing_by_rename_keeps_the_source_inode() -> None:
    """rename file -> existing file: atomic, keeps inode (pmxcfs section 8)."""
    state = tree(put("f", b"old"), put("tmp", b"new"), mv("tmp", "f"))
    assert state.cat("f") == b"new"
    assert state.stat("f").created == 2
    assert (state.entries, state.bytes) == (1, 3)


def test_mkdir_with_parents_is_a_change_per_directory() -> None:
    """Each directory is a change with its own revision, so each inode is its own (brief: revision +1 per change)."""
    applied = run(tree(), mkdir("a/b/c", flags=Flag.PARENTS))[0]
    assert [(c.revision, c.op, c.path) for c in applied.changes] == [
        (1, "mkdir", "a"),
        (2, "mkdir", "a/b"),
        (3, "mkdir", "a/b/c"),
    ]
    assert applied.result.revision == 3


def test_recursive_delete_is_one_change() -> None:
    """`rm -r` is one change and one revision, and says how many entries went."""
    state = tree(*BASE)
    applied = run(state, rm("a", recursive=True))[0]
    assert [(c.revision, c.op, c.path) for c in applied.changes] == [(6, "rm", "a")]
    assert applied.result.detail == 3


def test_changes_tell_what_watchers_need() -> None:
    """{"revision","op","path","to","writer"} as `fs watch` prints (CLI contract)."""
    state = tree(mkdir("d"), put("f", writer=3))
    moved = run(state, mv("f", "d/f", writer=2, time=8))[0].changes[0]
    assert (moved.revision, moved.op, moved.path, moved.to, moved.writer, moved.time) == (3, "mv", "f", "d/f", 2, 8)


def test_a_write_leaves_its_directory_alone() -> None:
    """A write to a file does not change its directory's mtime or version (pmxcfs section 3)."""
    state = tree(mkdir("d", time=1), put("d/f", time=50))
    assert (state.stat("d").mtime, state.stat("d").revision) == (1, 1)


SMALL = Limits(file_bytes=10, total_bytes=25, entries=4, depth=2, staging_bytes=10, staging_count=1, delete_entries=2)


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (put("big", bytes(11)), Code.TOO_LARGE),
        (op(Kind.WRITE, "f", b"x", offset=10), Code.TOO_LARGE),
        (op(Kind.WRITE, "f", b"", offset=1 << 40, flags=Flag.TRUNCATE), Code.TOO_LARGE),
        (op(Kind.WRITE, "f", b"x", offset=1 << 63), Code.TOO_LARGE),
        (put("h", bytes(10)), Code.NO_SPACE),
        (op(Kind.WRITE, "f", bytes(8), offset=2), Code.NO_SPACE),
        (mkdir("d/e/g"), Code.TOO_DEEP),
        (put("h", bytes(5)), Code.OK),
        (put("f", bytes(10)), Code.NO_SPACE),
        (put("f", bytes(9)), Code.OK),
        (mkdir("h/i", flags=Flag.PARENTS), Code.NO_SPACE),
    ],
)
def test_limits_are_enforced(operation: Operation, code: Code) -> None:
    """A file, all files, entries and depth are limited as announced (DESIGN 7; pmxcfs X3, X4, X12)."""
    state = tree(op(Kind.SET_LIMITS, "", SMALL.encode()), put("f", bytes(4)), put("g", bytes(10)), put("k", bytes(6)))
    assert run(state, operation)[0].result.code is code


def test_entries_limit() -> None:
    """The number of entries is limited, and a rename or rewrite at the limit still works."""
    limits = Limits(entries=2)
    state = tree(op(Kind.SET_LIMITS, "", limits.encode()), put("f"), mkdir("d"))
    codes = [a.result.code for a in run(state, put("g"), mkdir("e"), put("f"), mv("f", "d/f"))]
    assert codes == [Code.NO_SPACE, Code.NO_SPACE, Code.OK, Code.OK]


def test_a_lowered_limit_lets_things_shrink() -> None:
    """Limits below the present use refuse growth only."""
    state = tree(put("f", bytes(100)), op(Kind.SET_LIMITS, "", Limits(file_bytes=10, total_bytes=50).encode()))
    shrink, grow = run(state, put("f", bytes(99)), put("f", bytes(100)))
    assert (shrink.result.code, grow.result.code) == (Code.OK, Code.TOO_LARGE)


def test_recursive_delete_is_bounded() -> None:
    """No operation holds up every node's loop: a larger subtree is deleted in parts."""
    limits = Limits(delete_entries=3)
    state = tree(op(Kind.SET_LIMITS, "", limits.encode()), mkdir("d"), put("d/a"), put("d/b"), put("d/c"))
    too_many, one, rest = run(state, rm("d", recursive=True), rm("d/a"), rm("d", recursive=True))
    assert (too_many.result.code, too_many.result.detail) == (Code.TOO_LARGE, 3)
    assert (one.result.ok, rest.result.ok, state.entries) == (True, True, 0)
