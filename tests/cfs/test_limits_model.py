"""The state machine's refusals, limits, flags and uploads against a model that is a few dicts: the code of every answer
(docs/store-format.md, "Rules", "Staging"), and two replicas side by side, one of which goes on from an image."""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cfs.limits import Limits
from cfs.messages import Code, Flag, Kind, Operation
from cfs.state import State
from tests.cfs.building import op, whole

PATHS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=3).map("/".join)
DATA = st.binary(max_size=9)
UPLOADS = st.sampled_from([bytes([n]) * 16 for n in (1, 2, 3)])
CONDITIONS = st.none() | st.integers(0, 4)


class Refused(Exception):  # noqa: N818  the word of the outcome
    def __init__(self, code: Code) -> None:
        super().__init__(code)
        self.code = code


class Bounded(RuleBasedStateMachine):
    """Each rule says by the model what the answer is, and only then asks the real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = State(), State()
        self.tree: dict[str, bytes | None] = {}  # None: a directory
        self.revisions: dict[str, int] = {}
        self.uploads: dict[bytes, tuple[bytes, int]] = {}  # content, index of the last chunk
        self.limits = Limits()
        self.revision = 0

    # -- what the rules share ----------------------------------------------------------------------------------

    def ask(self, operation: Operation, wanted: Code) -> None:
        operation = Operation.decode(operation.encode())
        index = self.one.index + 1
        first, second = self.one.apply(operation, index), self.two.apply(operation, index)
        assert first == second
        assert first.result.code is wanted, (operation, first.result, self.tree)

    def place(self, path: str, condition: int | None) -> None:
        """Name, then directory, then condition; the first that fails is the answer."""
        self.parent(path)
        if condition is not None and condition != self.revisions.get(path, 0):
            raise Refused(Code.CONFLICT)

    def parent(self, path: str) -> None:
        parts = path.split("/")
        if len(parts) > self.limits.depth:
            raise Refused(Code.TOO_DEEP)
        above = ["/".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)]
        if above and self.tree.get(above[0], b"") is not None:
            on_the_way = any(self.tree.get(p) is not None for p in above)
            raise Refused(Code.NOT_DIRECTORY if on_the_way else Code.NO_SUCH_ENTRY)

    def entry(self, path: str, condition: int | None = None) -> None:
        self.place(path, condition)
        if path not in self.tree:
            raise Refused(Code.NO_SUCH_ENTRY)

    def below(self, path: str) -> list[str]:
        return [p for p in self.tree if p.startswith(path + "/")]

    def total(self) -> int:
        return sum(len(data or b"") for data in self.tree.values())

    def note(self, path: str, data: bytes | None) -> None:
        self.revision += 1
        self.tree[path], self.revisions[path] = data, self.revision

    def stored(self, path: str, data: bytes, condition: int | None) -> None:
        """What a PUT does."""
        self.place(path, condition)
        old = self.tree.get(path, b"")
        if path not in self.tree and len(self.tree) >= self.limits.entries:
            raise Refused(Code.NO_SPACE)
        if old is None:
            raise Refused(Code.IS_DIRECTORY)
        if len(data) > len(old):
            if len(data) > self.limits.file_bytes:
                raise Refused(Code.TOO_LARGE)
            if self.total() - len(old) + len(data) > self.limits.total_bytes:
                raise Refused(Code.NO_SPACE)
        self.note(path, data)

    # -- rules -------------------------------------------------------------------------------------------------

    @rule(path=PATHS, data=DATA, condition=CONDITIONS)
    def put(self, path: str, data: bytes, condition: int | None) -> None:
        wanted = Code.OK
        try:
            self.stored(path, data, condition)
        except Refused as refused:
            wanted = refused.code
        self.ask(op(Kind.PUT, path, data, condition=condition), wanted)

    @rule(path=PATHS)
    def mkdir(self, path: str) -> None:
        wanted = Code.OK
        try:
            self.parent(path)
            if path in self.tree:
                raise Refused(Code.EXISTS)
            if len(self.tree) >= self.limits.entries:
                raise Refused(Code.NO_SPACE)
            self.note(path, None)
        except Refused as refused:
            wanted = refused.code
        self.ask(op(Kind.MKDIR, path), wanted)

    @rule(path=PATHS, flags=st.sampled_from([0, 4, 4, 4 | 16, 4 | 32, 16, 32]), condition=CONDITIONS)
    def delete(self, path: str, flags: int, condition: int | None) -> None:
        wanted, given = Code.OK, Flag(flags)
        try:
            self.entry(path, condition)
            directory, many = self.tree[path] is None, 1 + len(self.below(path))
            if directory and given & Flag.ONLY_FILE:
                raise Refused(Code.IS_DIRECTORY)
            if not directory and given & Flag.ONLY_DIRECTORY:
                raise Refused(Code.NOT_DIRECTORY)
            if many > 1 and not given & Flag.RECURSIVE:
                raise Refused(Code.NOT_EMPTY)
            if many > 1 and many > self.limits.delete_entries:
                raise Refused(Code.TOO_LARGE)
            self.revision += 1
            for gone in [path, *self.below(path)]:
                del self.tree[gone], self.revisions[gone]
        except Refused as refused:
            wanted = refused.code
        self.ask(op(Kind.DELETE, path, flags=given, condition=condition), wanted)

    @rule(path=PATHS, to=PATHS, replace=st.booleans())
    def rename(self, path: str, to: str, replace: bool) -> None:
        wanted = Code.OK
        try:
            self.entry(path)
            self.parent(to)
            if to != path:
                self.renamed(path, to, replace)
        except Refused as refused:
            wanted = refused.code
        self.ask(op(Kind.RENAME, path, to=to, flags=Flag.NONE if replace else Flag.NO_REPLACE), wanted)

    def renamed(self, path: str, to: str, replace: bool) -> None:
        if to in self.tree and not replace:
            raise Refused(Code.EXISTS)
        if self.tree[path] is None:
            if self.below(path):
                raise Refused(Code.NOT_EMPTY)
            if to.startswith(path + "/"):
                raise Refused(Code.INVALID)
            if self.tree.get(to) is not None:
                raise Refused(Code.NOT_DIRECTORY)
            if self.below(to):
                raise Refused(Code.NOT_EMPTY)
        elif self.tree.get(to, b"") is None:
            raise Refused(Code.IS_DIRECTORY)
        del self.revisions[path]
        self.note(to, self.tree.pop(path))

    @rule(ident=UPLOADS, chunk=st.binary(min_size=1, max_size=5), ahead=st.sampled_from([0, 0, 0, 0, 1, -1]))
    def stage(self, ident: bytes, chunk: bytes, ahead: int) -> None:
        """A chunk begins where its upload ends; room is made by dropping those whose last chunk is the oldest."""
        held, _ = self.uploads.get(ident, (b"", 0))
        offset = max(0, len(held) + ahead)
        if offset != len(held):
            wanted = Code.STAGING_GONE if offset > len(held) else Code.INVALID
        elif len(held) + len(chunk) > self.limits.file_bytes:
            wanted = Code.TOO_LARGE
        else:
            wanted = Code.OK
            for _, other in sorted((touched, key) for key, (_, touched) in self.uploads.items() if key != ident):
                size = sum(len(content) for content, _ in self.uploads.values()) + len(chunk)
                many = len(self.uploads.keys() | {ident})
                if size <= self.limits.staging_bytes and many <= self.limits.staging_count:
                    break
                del self.uploads[other]
            self.uploads[ident] = (held + chunk, self.one.index + 1)
        self.ask(op(Kind.STAGE, "", chunk, staging=ident, offset=offset), wanted)

    @rule(path=PATHS, ident=UPLOADS, wrong=st.sampled_from([0, 0, 0, 1]), condition=CONDITIONS)
    def put_staged(self, path: str, ident: bytes, wrong: int, condition: int | None) -> None:
        """The upload goes only with success."""
        content, wanted = self.uploads.get(ident, (b"", 0))[0], Code.OK
        size = len(content) + wrong
        try:
            if wrong or not size:
                raise Refused(Code.STAGING_GONE)
            self.stored(path, content, condition)
            del self.uploads[ident]
        except Refused as refused:
            wanted = refused.code
        self.ask(op(Kind.PUT_STAGED, path, staging=ident, size=size, condition=condition), wanted)

    @rule(ident=UPLOADS)
    def drop_staged(self, ident: bytes) -> None:
        self.uploads.pop(ident, None)
        self.ask(op(Kind.DROP_STAGED, staging=ident), Code.OK)

    @rule(
        sizes=st.tuples(st.integers(0, 12), st.integers(0, 30), st.integers(0, 7), st.integers(1, 3)),
        staging=st.tuples(st.integers(0, 20), st.integers(1, 3)),
        deletes=st.integers(1, 5),
    )
    def set_limits(self, sizes: tuple[int, int, int, int], staging: tuple[int, int], deletes: int) -> None:
        """What is there already stays; an upload area smaller than a file is refused."""
        wished = Limits(*sizes, *staging, deletes)
        good = wished.staging_bytes >= wished.file_bytes
        self.limits = wished if good else self.limits
        self.ask(op(Kind.SET_LIMITS, data=wished.encode()), Code.OK if good else Code.INVALID)

    @rule()
    def no_limits(self) -> None:
        """Room again, or few histories would get beyond their first limit."""
        self.limits = Limits()
        self.ask(op(Kind.SET_LIMITS, data=self.limits.encode()), Code.OK)

    @rule()
    def move_to_another_node(self) -> None:
        """Replica two goes on from an image of replica one."""
        self.two = State(self.one.image())

    # -- always ------------------------------------------------------------------------------------------------

    @invariant()
    def the_same_everywhere(self) -> None:
        image = self.one.image()
        assert whole(self.one) == self.tree
        assert {e.path: e.revision for e in self.one.ls("", recursive=True)} == self.revisions
        assert {key: (b"".join(s.chunks), s.touched) for key, s in image.staging.items()} == self.uploads
        assert image.limits == self.limits
        assert image == self.two.image()
        assert self.one.digest() == self.two.digest()


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # what fails is short enough; making it shorter takes minutes
TestBounded = Bounded.TestCase
TestBounded.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, phases=PHASES)
