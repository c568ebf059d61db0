"""Small files that must be right after a crash: written whole, durably, on a thread of their own.

The way of every write: temporary file, fsync, rename, fsync of the directory. So there is the old content or the new.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data` in one step. Raises OSError; then the old content stands."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)  # made anew, so that its mode is ours from the first byte
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_if_there(path: Path) -> bytes | None:
    """The content, or None when there is no such file. Raises OSError for anything else."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


class FileWriter:
    """One thread that writes files in the order asked; answers come on the loop.

    A write that fails is told and tried again every second until it succeeds or a newer one of the same file is
    asked for: what waits for it (a ring sequence reserve) must not be told that it is on disk.
    """

    RETRY = 1.0

    def __init__(self, loop: asyncio.AbstractEventLoop, on_error: Callable[[Path, str], None]) -> None:
        self._loop = loop
        self._on_error = on_error
        self._thread = ThreadPoolExecutor(1, "files")
        self._newest: dict[Path, int] = {}
        self._unsaved: set[Path] = set()
        self._failing: set[Path] = set()
        self._waiting: list[Callable[[bool], None]] = []
        self._closed = False

    def write(self, path: Path, data: bytes, done: Callable[[], None] | None = None, mode: int = 0o600) -> None:
        """Queue a write; `done` is called on the loop once it is on disk."""
        if self._closed:  # asked for by the answer to the last write before the end: there is no loop to wait in
            with contextlib.suppress(OSError):
                write_durably(path, data, mode)
            return
        number = self._newest.get(path, 0) + 1
        self._newest[path] = number
        self._unsaved.add(path)
        self._submit(path, data, done, mode, number)

    def when_saved(self, done: Callable[[bool], None]) -> None:
        """Call `done` on the loop when everything asked for is on disk (True), or a file cannot be written (False)."""
        self._waiting.append(done)
        self._tell()

    def _tell(self) -> None:
        if self._failing or not self._unsaved:
            waiting, self._waiting = self._waiting, []
            for done in waiting:
                done(not self._failing)

    def _submit(self, path: Path, data: bytes, done: Callable[[], None] | None, mode: int, number: int) -> None:
        def work() -> None:
            try:
                write_durably(path, data, mode)
            except OSError as error:
                self._loop.call_soon_threadsafe(failed, error.strerror or str(error))
            else:
                self._loop.call_soon_threadsafe(written)

        def written() -> None:
            if done is not None:
                done()  # may ask for the next write
            if self._newest[path] == number:
                self._unsaved.discard(path)
                self._failing.discard(path)
            self._tell()

        def failed(reason: str) -> None:
            self._on_error(path, reason)
            self._failing.add(path)
            self._tell()
            if not self._closed:
                self._loop.call_later(self.RETRY, again)

        def again() -> None:
            if not self._closed and self._newest[path] == number:
                self._submit(path, data, done, mode, number)

        self._thread.submit(work)

    def close(self) -> None:
        """Finish what is queued; blocks for as long as the disk takes."""
        self._closed = True
        self._thread.shutdown(wait=True)
