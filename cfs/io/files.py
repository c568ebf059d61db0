"""The few calls by which the store touches its file system, in one place so that a test can make them fail.

All raise OSError. Whatever returns normally from `sync` or `write_atomic` is on disk.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path


def write(fd: int, data: bytes, offset: int) -> None:
    """All of `data` at `offset`; a full disk may leave a part of it there before it raises."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def sync(fd: int) -> None:
    """Content and size of the file are on disk."""
    os.fdatasync(fd)


def sync_path(path: Path) -> None:
    """A file's content, or a directory's names, are on disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace(source: Path, target: Path) -> None:
    """Rename, and have both directories' names on disk."""
    source.replace(target)
    sync_path(target.parent)
    if source.parent != target.parent:
        sync_path(source.parent)


def write_new(path: Path, data: bytes) -> None:
    """A new file with this content, mode 0600, on disk (its name is not yet: sync the directory)."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write(fd, data, 0)
        sync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file: after a crash there is the old content or the new."""
    temporary = path.with_name(path.name + ".new")
    write_new(temporary, data)
    replace(temporary, path)


def checked_line(text: str) -> bytes:
    """A file of one line that ends with its own CRC-32."""
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


def write_line(path: Path, text: str) -> None:
    """Replace a one-line file."""
    write_atomic(path, checked_line(text))


def read_line(path: Path) -> str | None:
    """The text of a one-line file; None if there is no such file. Raises ValueError if it is damaged."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    text, _, check = raw.decode("utf-8", "replace").rstrip("\n").rpartition(" ")
    if check != f"{zlib.crc32(text.encode()):08x}":
        raise ValueError(f"{path.name}: checksum does not match")
    return text
