"""One ordered operation against the tree: judged, then done whole or not at all.

Semantics follow pmxcfs where users rely on them (parents are not made, a rename replaces a file or an empty directory,
a non-empty directory cannot be renamed, a write leaves its directory's mtime alone), with its defects left out: a
refused operation changes nothing anywhere, sizes do not wrap, an empty file can grow, limits are enforced.
Everything is decided from the tree, the staging, the limits and the operation: never from a clock or the node.
"""

from __future__ import annotations

from collections.abc import Callable

from cfs.digest import make_entry
from cfs.entries import DIRECTORY, FILE, Entry
from cfs.limits import Limits
from cfs.messages import Change, Code, Flag, Kind, Operation, Result
from cfs.paths import parent, problem
from cfs.staging import Staging
from cfs.tree import Tree
from transport.errors import ClusterError


class _Refuse(Exception):  # noqa: N818  never leaves this file
    """Judged: no. Raised only before the first change."""

    def __init__(self, code: Code, detail: int = 0) -> None:
        self.code = code
        self.detail = detail


class Judge:
    """Applies operations to one tree and its staging."""

    __slots__ = ("_changes", "_index", "_staging", "_tree", "limits")

    def __init__(self, tree: Tree, staging: Staging, limits: Limits) -> None:
        self._tree = tree
        self._staging = staging
        self.limits = limits
        self._index = 0
        self._changes: list[Change] = []

    def judge(self, operation: Operation, index: int) -> tuple[Result, tuple[Change, ...]]:
        """What became of it at this place of the log, and the changes it made."""
        self._index = index
        self._changes = []
        try:
            result = _KINDS[operation.kind](self, operation)
        except _Refuse as no:
            assert not self._changes
            return Result(no.code, index, 0, no.detail), ()
        return result, tuple(self._changes)

    # --- the kinds -----------------------------------------------------------------------------------------------

    def _put(self, operation: Operation) -> Result:
        return self._store(operation, operation.data)

    def _store(self, operation: Operation, data: bytes) -> Result:
        path = operation.path
        entry = self._judged(operation)
        if entry is None:
            self._room(1)
        elif entry.is_directory:
            raise _Refuse(Code.IS_DIRECTORY)
        self._fits(len(data), entry.size if entry else 0)
        revision = self._tree.revision + 1
        self._make(operation, path, FILE, data, entry.created if entry else revision)
        return self._done(operation, "put", path)

    def _write(self, operation: Operation) -> Result:
        entry = self._present(operation)
        if entry.is_directory:
            raise _Refuse(Code.IS_DIRECTORY)
        old, new, start = entry.data, operation.data, operation.offset
        end = start + len(new)
        size = end if operation.flags & Flag.TRUNCATE or end > len(old) else len(old)
        self._fits(size, len(old))
        if start > len(old):
            data = b"".join((old, bytes(start - len(old)), new))
        else:
            data = b"".join((old[:start], new, b"" if operation.flags & Flag.TRUNCATE else old[end:]))
        self._make(operation, entry.path, FILE, data, entry.created)
        return self._done(operation, "put", entry.path)

    def _mkdir(self, operation: Operation) -> Result:
        path, parents = operation.path, bool(operation.flags & Flag.PARENTS)
        self._named(path)
        missing = [path]
        if parents:
            while (above := parent(missing[-1])) and self._tree.get(above) is None:
                missing.append(above)
        self._parent(missing[-1])
        entry = self._tree.get(path)
        if entry is not None:
            if parents and entry.is_directory:
                return Result(Code.OK, self._index, entry.revision)
            raise _Refuse(Code.EXISTS)
        self._room(len(missing))
        result = Result(Code.OK)
        for made in reversed(missing):
            self._make(operation, made, DIRECTORY, b"", self._tree.revision + 1)
            result = self._done(operation, "mkdir", made)
        return result

    def _rename(self, operation: Operation) -> Result:
        path, to, tree = operation.path, operation.to, self._tree
        entry = self._present(operation)
        self._named(to)
        self._parent(to)
        if to == path:
            return Result(Code.OK, self._index, entry.revision)
        target = tree.get(to)
        if target is not None and operation.flags & Flag.NO_REPLACE:
            raise _Refuse(Code.EXISTS)
        if entry.is_directory:
            if not tree.is_empty(path):
                raise _Refuse(Code.NOT_EMPTY)
            if parent(to) == path:
                raise _Refuse(Code.INVALID)  # into itself
            if target is not None and not target.is_directory:
                raise _Refuse(Code.NOT_DIRECTORY)
            if target is not None and not tree.is_empty(to):
                raise _Refuse(Code.NOT_EMPTY)
        elif target is not None and target.is_directory:
            raise _Refuse(Code.IS_DIRECTORY)
        if target is not None:
            tree.remove(to)
        tree.remove(path)
        self._make(operation, to, entry.type, entry.data, entry.created)
        return self._done(operation, "mv", path, to)

    def _delete(self, operation: Operation) -> Result:
        path, flags, tree = operation.path, operation.flags, self._tree
        entry = self._present(operation)
        if entry.is_directory and flags & Flag.ONLY_FILE:
            raise _Refuse(Code.IS_DIRECTORY)
        if not entry.is_directory and flags & Flag.ONLY_DIRECTORY:
            raise _Refuse(Code.NOT_DIRECTORY)
        if entry.is_directory and not tree.is_empty(path):
            if not flags & Flag.RECURSIVE:
                raise _Refuse(Code.NOT_EMPTY)
            for count, _ in enumerate(tree.below(path), 2):
                if count > self.limits.delete_entries:
                    raise _Refuse(Code.TOO_LARGE, self.limits.delete_entries)
        gone = tree.remove_all(path)
        result = self._done(operation, "rm", path)
        result.detail = gone
        return result

    def _set_time(self, operation: Operation) -> Result:
        entry = self._present(operation)
        self._make(operation, entry.path, entry.type, entry.data, entry.created)
        return self._done(operation, "mkdir" if entry.is_directory else "put", entry.path)

    def _stage(self, operation: Operation) -> Result:
        length, chunk, limits = self._staging.length(operation.staging), operation.data, self.limits
        if operation.offset != length or not chunk:
            raise _Refuse(Code.STAGING_GONE if operation.offset > length else Code.INVALID, length)
        if length + len(chunk) > limits.file_bytes:
            raise _Refuse(Code.TOO_LARGE, limits.file_bytes)
        staged = self._staging.append(operation.staging, chunk, self._index, limits)
        return Result(Code.OK, self._index, 0, staged)

    def _put_staged(self, operation: Operation) -> Result:
        if self._staging.length(operation.staging) != operation.size or not operation.size:
            raise _Refuse(Code.STAGING_GONE, self._staging.length(operation.staging))
        result = self._store(operation, self._staging.joined(operation.staging))
        self._staging.drop(operation.staging)
        return result

    def _drop_staged(self, operation: Operation) -> Result:
        self._staging.drop(operation.staging)
        return Result(Code.OK, self._index)

    def _set_limits(self, operation: Operation) -> Result:
        try:
            limits = Limits.decode(operation.data)
            limits.check()
        except ClusterError:
            raise _Refuse(Code.INVALID) from None
        self.limits = limits
        return Result(Code.OK, self._index)

    # --- what they share -----------------------------------------------------------------------------------------

    def _named(self, path: str) -> None:
        code = problem(path, self.limits.depth)
        if code is not Code.OK:
            raise _Refuse(code, self.limits.depth if code is Code.TOO_DEEP else 0)

    def _parent(self, path: str) -> None:
        above = parent(path)
        if self._tree.is_directory(above):
            return
        while above:  # a file anywhere on the way is ENOTDIR, as in POSIX
            entry = self._tree.get(above)
            if entry is not None and not entry.is_directory:
                raise _Refuse(Code.NOT_DIRECTORY)
            above = parent(above)
        raise _Refuse(Code.NO_SUCH_ENTRY)

    def _judged(self, operation: Operation) -> Entry | None:
        """The entry at `path`, its name, directory and condition judged."""
        self._named(operation.path)
        self._parent(operation.path)
        entry = self._tree.get(operation.path)
        if operation.condition is not None:
            current = entry.revision if entry else 0
            if operation.condition != current:
                raise _Refuse(Code.CONFLICT, current)
        return entry

    def _present(self, operation: Operation) -> Entry:
        entry = self._judged(operation)
        if entry is None:
            raise _Refuse(Code.NO_SUCH_ENTRY)
        return entry

    def _fits(self, size: int, before: int) -> None:
        """May a file of `before` bytes become one of `size`? Shrinking always may, whatever the limits are now."""
        if size <= before:
            return
        if size > self.limits.file_bytes:
            raise _Refuse(Code.TOO_LARGE, self.limits.file_bytes)
        if self._tree.size + size - before > self.limits.total_bytes:
            raise _Refuse(Code.NO_SPACE, self.limits.total_bytes)

    def _room(self, count: int) -> None:
        if len(self._tree) + count > self.limits.entries:
            raise _Refuse(Code.NO_SPACE, self.limits.entries)

    def _make(self, operation: Operation, path: str, kind: int, data: bytes, created: int) -> None:
        self._tree.put(
            make_entry(
                path,
                kind,
                data,
                revision=self._tree.revision + 1,
                created=created,
                mtime=operation.time,
                writer=operation.writer,
            )
        )

    def _done(self, operation: Operation, op: str, path: str, to: str | None = None) -> Result:
        """Count the change just made to the tree."""
        self._tree.revision += 1
        revision = self._tree.revision
        self._changes.append(Change(revision, op, path, to, operation.writer, operation.time))
        return Result(Code.OK, self._index, revision)


# Of the class: a table of bound methods would tie a tree to itself, and only the garbage collector could free it.
_KINDS: dict[Kind, Callable[[Judge, Operation], Result]] = {
    Kind.PUT: Judge._put,
    Kind.WRITE: Judge._write,
    Kind.MKDIR: Judge._mkdir,
    Kind.RENAME: Judge._rename,
    Kind.DELETE: Judge._delete,
    Kind.SET_TIME: Judge._set_time,
    Kind.STAGE: Judge._stage,
    Kind.PUT_STAGED: Judge._put_staged,
    Kind.DROP_STAGED: Judge._drop_staged,
    Kind.SET_LIMITS: Judge._set_limits,
}
