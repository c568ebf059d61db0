"""Paths of the tree: parts joined by `/`, without a leading one; the root is the empty string.

A path is one text on all nodes, so nothing is folded or normalised but a leading and a trailing slash at the edge
(`clean`).
"""

from __future__ import annotations

from cfs.errors import NameInvalid
from cfs.limits import NAME_BYTES, PATH_BYTES
from cfs.messages import Code

_NEVER = frozenset({"", ".", ".."})


def problem(path: str, depth: int) -> Code:
    """OK, NAME_INVALID or TOO_DEEP. The root is not valid here: no operation may name it."""
    parts = path.split("/")
    if len(parts) > depth:
        return Code.TOO_DEEP
    if not _NEVER.isdisjoint(parts) or "\0" in path:
        return Code.NAME_INVALID
    if len(path) > NAME_BYTES // 4:  # UTF-8 takes at most 4 bytes a character: a short path needs no counting
        for part in parts:
            if len(part) > NAME_BYTES or len(part.encode("utf-8", "surrogatepass")) > NAME_BYTES:
                return Code.NAME_INVALID
    return Code.OK


def parent(path: str) -> str:
    """The directory a path lies in; "" for one at the top."""
    return path.rpartition("/")[0]


def clean(text: str) -> str:
    """A path as a user writes it (a leading and a trailing slash allowed), as the store names it.

    Raises NameInvalid. The depth is not judged here: that limit is a part of the state.
    """
    path = text[1:] if text.startswith("/") else text
    path = path[:-1] if path.endswith("/") else path
    try:
        size = len(path.encode())
    except UnicodeEncodeError as error:
        raise NameInvalid(f"{text!r}: not UTF-8") from error
    if size > PATH_BYTES or (path and problem(path, PATH_BYTES) is not Code.OK):
        raise NameInvalid(f"{text!r}: a part is empty, `.`, `..`, has a NUL or is longer than {NAME_BYTES} bytes")
    return path
