"""The tree in memory: entries by path, who lies in which directory, how much it all is.

No operation costs more than the entries it touches. True between any two calls:
    every entry's parent is a directory of the tree (or the root)
    size == sum of the data of all files; digest == sum over all entries
    dirty holds exactly the paths changed since it was last taken, each with its entry now (None = gone)
    of a directory that was listed in pages, its names are kept sorted: the next page costs only what is in it
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

from cfs import turns
from cfs.digest import TreeDigest
from cfs.entries import Entry
from cfs.turns import Turns, finish


class Tree:
    """revision: of the last change. size: bytes of all files' data."""

    __slots__ = ("_children", "_ordered", "digest", "dirty", "entries", "revision", "size")

    def __init__(self, revision: int = 0, entries: Iterable[Entry] = ()) -> None:
        """Raises ValueError as `filled`."""
        self.revision = revision
        self.entries: dict[str, Entry] = {}
        self.size = 0
        self.digest = TreeDigest()
        self.dirty: dict[str, Entry | None] = {}
        self._children: dict[str, set[str]] = {"": set()}
        self._ordered: dict[str, list[str]] = {}  # names, and for a directory also `name/`: where what it holds sorts
        finish(self._fill(entries))

    @classmethod
    def filled(cls, revision: int, entries: Iterable[Entry]) -> Turns[Tree]:
        """A tree of these entries, in any order; they must not change before it is done.

        Raises ValueError if an entry has no directory to lie in, is there twice, or has a revision above the tree's.
        """
        made = cls(revision)
        yield from made._fill(entries)
        return made

    def _fill(self, entries: Iterable[Entry]) -> Turns[None]:
        mine, children = self.entries, self._children
        for count, entry in enumerate(entries, 1):
            path = entry.path
            if path in mine or not path:
                raise ValueError(f"{path or 'the root'}: is there twice")
            if not 0 < entry.created <= entry.revision <= self.revision:
                raise ValueError(f"{path}: revision {entry.revision} in a tree at {self.revision}")
            mine[path] = entry
            above, _, name = path.rpartition("/")
            children.setdefault(above, set()).add(name)
            if entry.is_directory:
                children.setdefault(path, set())
            self.size += len(entry.data)
            self.digest.add(entry)
            if not count % turns.ENTRIES:
                yield
        for count, path in enumerate(children):
            if path and (path not in mine or not mine[path].is_directory):
                raise ValueError(f"{path}: holds entries, and is no directory of the tree")
            if not count % turns.LOOKS:
                yield

    def parts(self) -> list[object]:
        """All it is made of: who lets go of a tree keeps these, and lets go of them a few at a time."""
        return [*self.entries.values(), *self._children.values()]

    def __len__(self) -> int:
        """Entries, without the root."""
        return len(self.entries)

    def get(self, path: str) -> Entry | None:
        return self.entries.get(path)

    def is_directory(self, path: str) -> bool:
        """True for the root too."""
        return path in self._children

    def is_empty(self, path: str) -> bool:
        """Of a directory."""
        return not self._children[path]

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted."""
        return sorted(self._children[path])

    def below(self, path: str) -> Iterator[str]:
        """Every path below a directory, in no order; O(what is there)."""
        waiting = [path]
        while waiting:
            here = waiting.pop()
            prefix = f"{here}/" if here else ""
            for name in self._children[here]:
                found = prefix + name
                yield found
                if found in self._children:
                    waiting.append(found)

    def after(self, path: str, after: str, recursive: bool) -> Iterator[str]:
        """The paths in a directory (recursive: all below) that sort behind `after`, in order; the tree must not change
        meanwhile."""
        prefix = f"{path}/" if path else ""
        ordered, first = self._in_order(path), 0
        if after.startswith(prefix):
            rest = after[len(prefix) :]
            name, inside, _ = rest.partition("/")
            first = bisect_left(ordered, name + "/") if inside else bisect_right(ordered, rest)
        elif after > prefix:
            return
        for place in range(first, len(ordered)):
            name = ordered[place]
            if not name.endswith("/"):
                yield prefix + name
            elif recursive:
                yield from self.after(prefix + name[:-1], after, True)

    def _in_order(self, path: str) -> list[str]:
        ordered = self._ordered.get(path)
        if ordered is None:
            prefix, names = f"{path}/" if path else "", self._children[path]
            ordered = sorted([*names, *(f"{name}/" for name in names if prefix + name in self._children)])
            self._ordered[path] = ordered
        return ordered

    def put(self, entry: Entry) -> None:
        """Insert, or take the place of the entry of that path; its directory is there (a bug otherwise)."""
        path = entry.path
        old = self.entries.get(path)
        if old is not None:
            assert old.type == entry.type
            self.size -= len(old.data)
            self.digest.remove(old)
        else:
            above, _, name = path.rpartition("/")
            self._children[above].add(name)
            if entry.is_directory:
                self._children[path] = set()
            if (ordered := self._ordered.get(above)) is not None:
                insort(ordered, name)
                if entry.is_directory:
                    insort(ordered, name + "/")
        self.entries[path] = entry
        self.size += len(entry.data)
        self.digest.add(entry)
        self.dirty[path] = entry

    def remove(self, path: str) -> Entry:
        """Take out a file or an empty directory."""
        entry = self.entries[path]
        if entry.is_directory:
            assert not self._children[path]
            del self._children[path]
            self._ordered.pop(path, None)
        del self.entries[path]
        above, _, name = path.rpartition("/")
        self._children[above].discard(name)
        if (ordered := self._ordered.get(above)) is not None:
            del ordered[bisect_left(ordered, name)]
            if entry.is_directory:
                del ordered[bisect_left(ordered, name + "/")]
        self.size -= len(entry.data)
        self.digest.remove(entry)
        self.dirty[path] = None
        return entry

    def remove_all(self, path: str) -> int:
        """Take out an entry with everything below it; returns how many."""
        below = list(self.below(path)) if path in self._children else []
        entries, children, ordered, dirty = self.entries, self._children, self._ordered, self.dirty
        for found in below:
            entry = entries.pop(found)
            self.size -= len(entry.data)
            self.digest.remove(entry)
            dirty[found] = None
            if entry.is_directory:
                del children[found]
                ordered.pop(found, None)
        if below:
            children[path] = set()
            ordered.pop(path, None)
        self.remove(path)
        return len(below) + 1
