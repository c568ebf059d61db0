"""Every call by which a store touches its file system, its own ones and SQLite's: numbered, made to fail, remembered.

`Calls` counts the calls below one directory. Any of them can be told to fail, once or until `heal`; and from what was
written, and what was synced when, it knows what the disk holds if the power fails now. It is the strictest reading of
fsync(2): what was not synced is lost; what was written before an fsync that failed is lost too, whatever a later one
says; a name is on disk once its directory was synced.

Not seen here: reading a directory, stat, locks, closing a file, and reads by the store of its own small files.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cfs.vfs import hooked

Change = tuple[int, bytes | int]  # (offset, data): written;  (-1, size): cut or lengthened to it


@dataclass(slots=True)
class _File:
    """What a file or directory is on disk, and what is not there yet. names: of a directory, None for a file."""

    disk: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)
    names: dict[str, _File] | None = None
    names_on_disk: dict[str, _File] = field(default_factory=dict)


class Calls:
    """The calls below `root`, which need not exist yet; what is there is on disk, and its parent is never lost. Used
    within `watching`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: list[str] = []  # each call, as words
        self.failed: list[str] = []
        self.ended = 0  # how many there were when who uses this said that it had ended
        self.before: Callable[[], None] = lambda: None  # done before each call
        self._from = self._until = 0
        self._error = 0
        self._top = _File(names={root.name: _known(root)} if root.exists() else {})
        self._moved: dict[int, list[tuple[_File, str]]] = {}  # id of a directory: what moved into it, from where

    # -- faults ----------------------------------------------------------------------------------------------------

    def fail(self, number: int, error: int, once: bool) -> None:
        """Call `number` (from 1) fails, or it and all after it until `heal`."""
        self._from, self._until, self._error = number, number + 1 if once else 1 << 60, error

    def heal(self) -> None:
        self._until = 0

    def _call(self, what: str, path: Path) -> None:
        """Count it. Raises OSError when it is to fail."""
        self.before()
        self.made.append(f"{what} {path.relative_to(self.root.parent)}")
        if self._from <= len(self.made) < self._until:
            self.failed.append(self.made[-1])
            raise OSError(self._error, os.strerror(self._error))

    def _ours(self, path: Path) -> bool:
        return path == self.root or self.root in path.parents

    # -- what is on disk -------------------------------------------------------------------------------------------

    def _at(self, path: Path) -> _File:
        here = self._top
        for part in path.relative_to(self.root.parent).parts:
            assert here.names is not None
            here = here.names[part]
        return here

    def _names(self, path: Path) -> dict[str, _File]:
        names = self._at(path.parent).names
        assert names is not None
        return names

    def _synced(self, path: Path, held: bool) -> None:
        file = self._at(path)
        pending, file.pending = file.pending, []
        if not held:
            return  # what was pending is marked clean, and is nowhere
        if file.names is not None:
            file.names_on_disk = dict(file.names)
            for other, name in self._moved.pop(id(file), ()):
                other.names_on_disk.pop(name, None)  # a rename is on disk in both directories or in none
        _apply(file.disk, pending)

    def after_power_loss(self, place: Path) -> Path:
        """Make in `place` what the disk holds; its path."""
        assert self._top.names is not None
        return _written(self._top.names[self.root.name], place / self.root.name)

    # -- the watcher of SQLite -------------------------------------------------------------------------------------

    def opens(self, path: Path, creates: bool) -> None:
        if self._ours(path):
            self._call("create" if creates else "open", path)
            if creates:
                self._names(path)[path.name] = _File()

    def reads(self, path: Path) -> None:
        if self._ours(path):
            self._call("read", path)

    def writes(self, path: Path, offset: int, data: bytes) -> None:
        if self._ours(path):
            self._note_write(path, offset, data)

    def _note_write(self, path: Path, offset: int, data: bytes) -> None:
        pending = self._at(path).pending
        try:
            self._call("write", path)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                pending.append((offset, data[: len(data) // 2]))
            raise
        pending.append((offset, data))

    def truncates(self, path: Path, size: int) -> None:
        if self._ours(path):
            self._call("truncate", path)
            self._at(path).pending.append((-1, size))

    def syncs(self, path: Path) -> None:
        if not self._ours(path):
            return
        try:
            self._call("sync", path)
        except OSError:
            self._synced(path, False)
            raise
        self._synced(path, True)
        if path.name.endswith("-journal"):  # with a new journal SQLite syncs its directory too
            parent = self._at(path.parent)
            assert parent.names is not None
            parent.names_on_disk = dict(parent.names)

    def deletes(self, path: Path, sync: bool) -> None:
        if self._ours(path):
            self._call("unlink", path)
            del self._names(path)[path.name]

    # -- the store's own calls -------------------------------------------------------------------------------------

    def patches(self) -> dict[str, Callable[..., Any]]:
        """What stands in place of the functions of `os`."""
        plain = {name: getattr(os, name) for name in _REPLACED}

        def of(fd: int) -> Path:
            return Path(f"/proc/self/fd/{fd}").readlink()

        def place(path: Any, dir_fd: int | None) -> Path:
            return (of(dir_fd) / path) if dir_fd is not None else Path(path)

        def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            where = place(path, dir_fd)
            creates = bool(flags & os.O_CREAT) and not where.exists()
            if self._ours(where):
                self._call("create" if creates else "open", where)
                if creates:
                    self._names(where)[where.name] = _File()
                elif flags & os.O_TRUNC:
                    self._at(where).pending.append((-1, 0))
            return int(plain["open"](path, flags, mode, dir_fd=dir_fd))

        def pwrite(fd: int, data: Any, offset: int) -> int:
            if self._ours(of(fd)):
                try:
                    self._note_write(of(fd), offset, bytes(data))
                except OSError as error:
                    if error.errno == errno.ENOSPC:
                        plain["pwrite"](fd, bytes(data)[: len(data) // 2], offset)
                    raise
            return int(plain["pwrite"](fd, data, offset))

        def fsync(fd: int) -> None:
            self.syncs(of(fd))
            plain["fsync"](fd)

        def ftruncate(fd: int, size: int) -> None:
            self.truncates(of(fd), size)
            plain["ftruncate"](fd, size)

        def truncate(path: Any, size: int) -> None:
            self.truncates(Path(path), size)
            plain["truncate"](path, size)

        def replace(source: Any, target: Any) -> None:
            source, target = Path(source), Path(target)
            if self._ours(source):
                self._call("rename", source)
                self._names(target)[target.name] = self._names(source).pop(source.name)
                if source.parent != target.parent:
                    into = id(self._at(target.parent))
                    self._moved.setdefault(into, []).append((self._at(source.parent), source.name))
            plain["replace"](source, target)

        def unlink(path: Any, *, dir_fd: int | None = None) -> None:
            where = place(path, dir_fd)
            if self._ours(where) and where.exists():
                self._call("unlink", where)
                del self._names(where)[where.name]
            plain["unlink"](path, dir_fd=dir_fd)

        def rmdir(path: Any, *, dir_fd: int | None = None) -> None:
            where = place(path, dir_fd)
            if self._ours(where):
                self._call("rmdir", where)
                del self._names(where)[where.name]
            plain["rmdir"](path, dir_fd=dir_fd)

        def mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            where = place(path, dir_fd)
            new = self._ours(where) and not where.exists()
            if new:
                self._call("mkdir", where)
            plain["mkdir"](path, mode, dir_fd=dir_fd)
            if new:
                self._names(where)[where.name] = _File(names={})
                if where == self.root:
                    self._top.names_on_disk = dict(self._top.names or {})

        ours = (opened, pwrite, fsync, fsync, ftruncate, truncate, replace, unlink, rmdir, mkdir)
        return dict(zip(_REPLACED, ours, strict=True))


_REPLACED = (
    "open",
    "pwrite",
    "fsync",
    "fdatasync",
    "ftruncate",
    "truncate",
    "replace",
    "unlink",
    "rmdir",
    "mkdir",
)


@contextmanager
def watching(root: Path) -> Iterator[Calls]:
    """The calls of what is done within, below `root`."""
    calls = Calls(root)
    with pytest.MonkeyPatch.context() as patch, hooked(calls):
        for name, function in calls.patches().items():
            patch.setattr(os, name, function)
        yield calls


def _apply(disk: bytearray, changes: list[Change]) -> None:
    for offset, what in changes:
        if isinstance(what, int):
            del disk[what:]
            disk.extend(bytes(what - len(disk)))
        else:
            disk.extend(bytes(max(0, offset - len(disk))))
            disk[offset : offset + len(what)] = what


def _known(path: Path) -> _File:
    if not path.is_dir():
        return _File(disk=bytearray(path.read_bytes()))
    names = {inner.name: _known(inner) for inner in path.iterdir()}
    return _File(names=names, names_on_disk=dict(names))


def _written(file: _File, path: Path) -> Path:
    if file.names is None:
        path.write_bytes(file.disk)
    else:
        path.mkdir()
        for name, inner in file.names_on_disk.items():
            _written(inner, path / name)
    return path
