"""What the tree must be, from the log alone: a dict, and a few lines for each operation. Shares nothing with cfs/."""

from __future__ import annotations

from cfs.messages import Flag, Kind, Operation


def above(path: str) -> str:
    return path.rpartition("/")[0]


class TreeModel:
    """entries: path -> data (None: a directory) and the revision that made it so.  revision: +1 for each change.

    Knows PUT, MKDIR, RENAME and DELETE. window: log indexes within which an operation comes, or is not done any more.
    """

    def __init__(self, window: int) -> None:
        self.entries: dict[str, tuple[bytes | None, int]] = {}
        self.revision = 0
        self._window = window
        self._done: set[bytes] = set()

    def apply(self, operation: Operation, index: int) -> bool:
        """The record at this log index: does it change the tree? An id that came before changes nothing."""
        if operation.id in self._done:
            return False
        self._done.add(operation.id)
        if operation.since and not 0 < index - operation.since <= self._window:
            return False
        changes = self._judge(operation)
        if changes:
            self.revision += 1
            for path, data in changes.items():
                if isinstance(data, _Gone):
                    del self.entries[path]
                else:
                    self.entries[path] = (data, self.revision)
        return bool(changes)

    def _judge(self, operation: Operation) -> dict[str, bytes | _Gone | None]:
        path, to, there = operation.path, operation.to, self.entries.get(operation.path)
        if operation.condition is not None and operation.condition != (there[1] if there else 0):
            return {}
        below = [other for other in self.entries if other.startswith(path + "/")]
        match operation.kind:
            case Kind.PUT if self._directory(above(path)) and not (there and there[0] is None):
                return {path: operation.data}
            case Kind.MKDIR if self._directory(above(path)) and there is None:
                return {path: None}
            case Kind.DELETE if there and (not below or operation.flags & Flag.RECURSIVE):
                return dict.fromkeys([path, *below], GONE)
            case Kind.RENAME if there and path != to and self._directory(above(to)):
                target = self.entries.get(to)
                inside = any(other.startswith(to + "/") for other in self.entries)
                if there[0] is not None and not (target and target[0] is None):
                    return {path: GONE, to: there[0]}
                if there[0] is None and not below and above(to) != path and not inside:
                    return {path: GONE, to: None} if not target or target[0] is None else {}
        return {}

    def _directory(self, path: str) -> bool:
        return not path or (path in self.entries and self.entries[path][0] is None)


class _Gone:
    pass


GONE = _Gone()
