"""The state machine against a model that is a plain dict, two replicas side by side, and digests from scratch."""

from __future__ import annotations

import hashlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cfs.digest import TreeDigest, encode_entry
from cfs.messages import Flag, Kind, Operation
from cfs.state import State
from tests.cfs.building import op, whole

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
DATA = st.binary(max_size=6)
CONDITIONS = st.none() | st.integers(0, 6)
Model = dict[str, bytes | None]


def above(path: str) -> str:
    return path.rpartition("/")[0]


def children(model: Model, path: str) -> list[str]:
    return [p for p in model if p.startswith(path + "/")]


class Store(RuleBasedStateMachine):
    """Every rule says in a few lines of dict what the operation means; the real one must agree."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = State(), State()
        self.model: Model = {}
        self.revisions: dict[str, int] = {}
        self.revision = 0
        self.past: list[tuple[Operation, bool]] = []

    def apply(self, operation: Operation, expected: bool, revisions: int = 1) -> None:
        operation = Operation.decode(operation.encode())
        index = self.one.index + 1
        first, second = self.one.apply(operation, index), self.two.apply(operation, index)
        assert first == second
        assert first.result.ok == expected, (operation, first, self.model)
        assert len(first.changes) == (revisions if expected else 0)
        self.revision += revisions if expected else 0
        self.past.append((operation, expected))

    def has_parent(self, path: str) -> bool:
        return above(path) == "" or (above(path) in self.model and self.model[above(path)] is None)

    def met(self, path: str, condition: int | None) -> bool:
        return condition is None or condition == self.revisions.get(path, 0)

    def note(self, path: str, data: bytes | None) -> None:
        self.model[path] = data
        self.revisions[path] = self.revision

    @rule(path=PATHS, data=DATA, condition=CONDITIONS)
    def put(self, path: str, data: bytes, condition: int | None) -> None:
        good = self.has_parent(path) and self.model.get(path, b"") is not None and self.met(path, condition)
        self.apply(op(Kind.PUT, path, data, condition=condition), good)
        if good:
            self.note(path, data)

    @rule(path=PATHS, data=DATA, offset=st.integers(0, 8), cut=st.booleans())
    def write(self, path: str, data: bytes, offset: int, cut: bool) -> None:
        old = self.model.get(path)
        good = self.has_parent(path) and old is not None
        flags = Flag.TRUNCATE if cut else Flag.NONE
        self.apply(op(Kind.WRITE, path, data, offset=offset, flags=flags), good)
        if good and old is not None:
            new = bytearray(old.ljust(offset + len(data), b"\0"))
            new[offset : offset + len(data)] = data
            self.note(path, bytes(new[: offset + len(data)] if cut else new))

    @rule(path=PATHS)
    def mkdir(self, path: str) -> None:
        good = self.has_parent(path) and path not in self.model
        self.apply(op(Kind.MKDIR, path), good)
        if good:
            self.note(path, None)

    @rule(path=PATHS)
    def mkdir_parents(self, path: str) -> None:
        parts = path.split("/")
        line = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        good = all(self.model.get(p) is None for p in line)
        missing = [p for p in line if p not in self.model]
        before = self.revision
        self.apply(op(Kind.MKDIR, path, flags=Flag.PARENTS), good, len(missing))
        if good:
            for number, made in enumerate(missing, 1):
                self.model[made] = None
                self.revisions[made] = before + number

    @rule(path=PATHS, to=PATHS, condition=CONDITIONS)
    def rename(self, path: str, to: str, condition: int | None) -> None:
        good = path in self.model and self.met(path, condition) and self.has_parent(to)
        if good and path != to:
            if self.model[path] is None:
                good = not children(self.model, path) and above(to) != path
                good = good and self.model.get(to) is None and not children(self.model, to)
            else:
                good = self.model.get(to, b"") is not None
        self.apply(op(Kind.RENAME, path, to=to, condition=condition), good, 0 if path == to else 1)
        if good and path != to:
            data = self.model.pop(path)
            del self.revisions[path]
            self.note(to, data)

    @rule(path=PATHS, recursive=st.booleans(), condition=CONDITIONS)
    def delete(self, path: str, recursive: bool, condition: int | None) -> None:
        below = children(self.model, path)
        good = path in self.model and self.met(path, condition) and (recursive or not below)
        flags = Flag.RECURSIVE if recursive else Flag.NONE
        self.apply(op(Kind.DELETE, path, flags=flags, condition=condition), good)
        if good:
            for gone in [path, *below]:
                del self.model[gone], self.revisions[gone]

    @rule(path=PATHS, time=st.integers(0, 9))
    def set_time(self, path: str, time: int) -> None:
        good = path in self.model
        self.apply(op(Kind.SET_TIME, path, time=time), good)
        if good:
            self.note(path, self.model[path])
            assert self.one.stat(path).mtime == time

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """Any earlier operation again, under its id: the same answer, and nothing else."""
        if not self.past:
            return
        operation, expected = data.draw(st.sampled_from(self.past))
        before = self.one.digest()
        applied = [state.apply(operation, state.index + 1) for state in (self.one, self.two)]
        assert all(a.repeated and a.result.ok == expected for a in applied)
        assert self.one.digest() == before

    @rule()
    def move_to_another_node(self) -> None:
        """Replica two goes on from an image of replica one."""
        self.two = State(self.one.image())

    @invariant()
    def the_same_tree(self) -> None:
        assert whole(self.one) == self.model
        assert {e.path: e.revision for e in self.one.ls("", recursive=True)} == self.revisions
        assert self.one.revision == self.revision
        assert self.one.bytes == sum(len(data or b"") for data in self.model.values())
        assert self.one.entries == len(self.model)
        inodes = [e.created for e in self.one.ls("", recursive=True)]
        assert len(set(inodes)) == len(inodes)

    @invariant()
    def the_same_digest(self) -> None:
        """Incremental equals from scratch, and equals the other replica's."""
        entries = self.one.ls("", recursive=True)
        for entry in entries:
            assert entry.digest == int.from_bytes(hashlib.sha256(encode_entry(entry)).digest(), "big")
        anew = TreeDigest(entries)
        assert anew.digest(self.one.revision) == self.one.digest() == self.two.digest()
        assert anew.buckets() == self.one.buckets() == self.two.buckets()
        assert self.one.image() == self.two.image()


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
