"""SQLite's own file-system calls, seen from a test: a VFS registered over the one SQLite has, in this process.

SQLite reaches its files through a table of functions (sqlite.org/c3ref/vfs.html). `hooked` puts another one in front:
it tells a watcher of each call before it is done, and gives SQLite the watcher's error in its place. What is not told:
locks, stat and access, which change nothing.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

_OK, _IOERR, _FULL, _CANTOPEN = 0, 10, 13, 14
_READ, _WRITE, _FSYNC, _TRUNCATE, _DELETE = (_IOERR | n << 8 for n in (1, 3, 4, 6, 10))
_CREATE = 4  # SQLITE_OPEN_CREATE


class Watcher(Protocol):
    """Told before each call. Raises OSError: the call is not done (of a write to a full disk, half is), and SQLite
    hears of it."""

    def opens(self, path: Path, creates: bool) -> None: ...
    def reads(self, path: Path) -> None: ...
    def writes(self, path: Path, offset: int, data: bytes) -> None: ...
    def truncates(self, path: Path, size: int) -> None: ...
    def syncs(self, path: Path) -> None: ...
    def deletes(self, path: Path, sync: bool) -> None: ...


_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_Close = ctypes.CFUNCTYPE(_I, _P)
_Move = ctypes.CFUNCTYPE(_I, _P, _P, _I, _L)
_Resize = ctypes.CFUNCTYPE(_I, _P, _L)
_Sync = ctypes.CFUNCTYPE(_I, _P, _I)
_Open = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, ctypes.POINTER(_I))  # a name has hidden fields around: no copy will do
_Delete = ctypes.CFUNCTYPE(_I, _P, ctypes.c_char_p, _I)


class _Methods(ctypes.Structure):
    """sqlite3_io_methods; what is not replaced is copied as it is."""

    _fields_ = [
        ("version", _I),
        ("close", _Close),
        ("read", _Move),
        ("write", _Move),
        ("truncate", _Resize),
        ("sync", _Sync),
        ("others", _P * 13),
    ]


class _Vfs(ctypes.Structure):
    """sqlite3_vfs."""

    _fields_ = [
        ("version", _I),
        ("file_size", _I),
        ("longest", _I),
        ("following", _P),
        ("name", ctypes.c_char_p),
        ("data", _P),
        ("open", _Open),
        ("delete", _Delete),
        ("others", _P * 14),
    ]


class _Hook:
    """The one VFS of this process that is put in front, for as long as it lives: SQLite keeps pointers into it."""

    def __init__(self) -> None:
        library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        for function in (library.sqlite3_vfs_register, library.sqlite3_vfs_unregister):
            function.argtypes = [ctypes.POINTER(_Vfs), _I]
        library.sqlite3_vfs_unregister.argtypes = [ctypes.POINTER(_Vfs)]
        self.library = library
        self.watcher: Watcher | None = None
        self.plain = library.sqlite3_vfs_find(None)
        self.vfs = _Vfs.from_buffer_copy(self.plain.contents)
        self._plain_open, self._plain_delete = self.plain.contents.open, self.plain.contents.delete
        self.vfs.name = b"watched"
        self.vfs.open, self.vfs.delete = _Open(self._open), _Delete(self._delete)
        self._methods: dict[int, tuple[_Methods, _Methods]] = {}
        self._paths: dict[int, Path] = {}

    def _told(self, code: int, tell: Callable[[Watcher], None]) -> int:
        """What SQLite is to hear: _OK when the call may be done."""
        if self.watcher is None:
            return _OK
        try:
            tell(self.watcher)
        except OSError as error:
            return _FULL if error.errno == errno.ENOSPC and code == _WRITE else code
        return _OK

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        path = Path(ctypes.string_at(name).decode()) if name else None
        if path is not None:
            known = path
            creates = bool(flags & _CREATE) and not path.exists()
            if (code := self._told(_CANTOPEN, lambda watcher: watcher.opens(known, creates))) != _OK:
                return code
        code = int(self._plain_open(self.plain, name, file, flags, out))
        if code == _OK and path is not None:
            self._paths[file] = path
            place = ctypes.cast(file, ctypes.POINTER(_P))
            plain = place[0]
            if plain not in self._methods:
                self._methods[plain] = self._copied(plain)
            place[0] = ctypes.addressof(self._methods[plain][1])
        return code

    def _copied(self, address: int) -> tuple[_Methods, _Methods]:
        plain = _Methods.from_address(address)
        made = _Methods.from_buffer_copy(plain)

        def close(file: int) -> int:
            self._paths.pop(file, None)
            return int(plain.close(file))

        def read(file: int, buffer: int, size: int, offset: int) -> int:
            path = self._paths[file]
            code = self._told(_READ, lambda watcher: watcher.reads(path))
            return code or int(plain.read(file, buffer, size, offset))

        def write(file: int, buffer: int, size: int, offset: int) -> int:
            path, data = self._paths[file], ctypes.string_at(buffer, size)
            code = self._told(_WRITE, lambda watcher: watcher.writes(path, offset, data))
            if code == _FULL:
                plain.write(file, buffer, size // 2, offset)  # a full disk takes a part
            return code or int(plain.write(file, buffer, size, offset))

        def truncate(file: int, size: int) -> int:
            path = self._paths[file]
            return self._told(_TRUNCATE, lambda watcher: watcher.truncates(path, size)) or int(
                plain.truncate(file, size)
            )

        def sync(file: int, flags: int) -> int:
            path = self._paths[file]
            return self._told(_FSYNC, lambda watcher: watcher.syncs(path)) or int(plain.sync(file, flags))

        made.close, made.read, made.write = _Close(close), _Move(read), _Move(write)
        made.truncate, made.sync = _Resize(truncate), _Sync(sync)
        return plain, made

    def _delete(self, vfs: int, name: bytes, sync: int) -> int:
        path = Path(name.decode())
        if path.exists() and (code := self._told(_DELETE, lambda watcher: watcher.deletes(path, bool(sync)))) != _OK:
            return code
        return int(self._plain_delete(self.plain, name, sync))


_made: list[_Hook] = []


@contextmanager
def hooked(watcher: Watcher) -> Iterator[None]:
    """Databases opened within are watched, until they are closed."""
    if not _made:
        _made.append(_Hook())
    hook = _made[0]
    hook.watcher = watcher
    hook.library.sqlite3_vfs_register(ctypes.byref(hook.vfs), 1)
    try:
        yield
    finally:
        hook.library.sqlite3_vfs_unregister(ctypes.byref(hook.vfs))
        hook.library.sqlite3_vfs_register(hook.plain, 1)
        hook.watcher = None
