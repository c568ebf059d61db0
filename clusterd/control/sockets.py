"""Unix sockets by path, from any directory depth: bind, connect, and what an old file means.

The kernel takes 107 bytes of path. A longer one is reached through its directory's file descriptor,
`/proc/self/fd/N/NAME`, which the kernel resolves like any other path, for bind and connect alike.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator

from transport.errors import Refused

MAX_PATH = 107
_BACKLOG = 512


@contextlib.contextmanager
def fitting(path: str) -> Iterator[str]:
    """A name for `path` short enough for sun_path; good inside the with block only.

    Raises OSError when the directory does not exist, or the last component alone is too long.
    """
    if len(os.fsencode(path)) <= MAX_PATH:
        yield path
        return
    directory, name = os.path.split(path)
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def connect(path: str, timeout: float | None) -> socket.socket:
    """A connected stream socket. timeout: seconds, None for ever, 0 for a socket that never blocks.

    Raises OSError: FileNotFoundError, ConnectionRefusedError, PermissionError, BlockingIOError or TimeoutError (nobody
    accepts: the daemon is stopped and its backlog full).
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(timeout)
        with fitting(path) as name:
            sock.connect(name)
    except BaseException:
        sock.close()
        raise
    return sock


def listen(path: str, mode: int = 0o666) -> socket.socket:
    """A listening, non-blocking socket at `path`; everybody may connect, who they are is asked of the kernel later.

    A socket file that nobody answers on is replaced, atomically: there is no moment without a file, nor one with the
    wrong mode. Raises Refused when a process answers on it, or when the file is no socket; OSError from the kernel.
    """
    _refuse_if_taken(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    fresh = f"{path}.{os.getpid()}"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(fresh)
        with fitting(fresh) as name:
            sock.bind(name)
        os.chmod(fresh, mode)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
        os.rename(fresh, path)
    except BaseException:
        sock.close()
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
    return sock


def _refuse_if_taken(path: str) -> None:
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise Refused(f"{path} exists and is no socket; move it away first")
    try:
        connect(path, timeout=0).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return
    except BlockingIOError:
        pass  # somebody holds it, with a full backlog
    raise Refused(f"another process answers on {path}")
