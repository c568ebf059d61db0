"""Why an operation on the tree was refused: it did not happen and will not (transport.errors.Refused).

Each text names the path and what to do. The same operation is refused alike on every node, in log order.
"""

from __future__ import annotations

from transport.errors import BadArgument, ClusterError, OutcomeUnknown, Refused, TooLarge

__all__ = [
    "BadArgument",
    "Compacted",
    "Conflict",
    "Denied",
    "DiskFailed",
    "Exists",
    "Expired",
    "IsDirectory",
    "NameInvalid",
    "NoSpace",
    "NoSuchEntry",
    "NotDirectory",
    "NotEmpty",
    "StagingGone",
    "TooDeep",
    "TooLarge",
]


class NoSuchEntry(Refused):
    """The entry, or the directory it should be in, does not exist (ENOENT)."""


class Exists(Refused):
    """There is such an entry already (EEXIST)."""


class NotEmpty(Refused):
    """The directory is not empty (ENOTEMPTY)."""


class IsDirectory(Refused):
    """A file was expected (EISDIR)."""


class NotDirectory(Refused):
    """A directory was expected (ENOTDIR)."""


class Conflict(Refused):
    """A condition was not met: somebody else changed the entry first.

    current_revision: the entry's revision when the operation was judged, 0 = it did not exist.
    """

    def __init__(self, message: str, current_revision: int = 0) -> None:
        super().__init__(message)
        self.current_revision = current_revision


class TooDeep(Refused):
    """The path has more parts, or more bytes, than the limit (ENAMETOOLONG)."""


class NameInvalid(Refused):
    """No path of ours: empty part, `.`, `..`, NUL, not UTF-8, a part above 255 bytes, or the root itself."""


class NoSpace(Refused):
    """The tree's limit of bytes or entries would be passed (ENOSPC)."""


class StagingGone(Refused):
    """The staged chunks are not (or no longer, or not all) there: start the upload again."""


class DiskFailed(Refused):
    """The disk of this node, or of too many others, takes no writes now: full, read-only, failing or hanging (EIO)."""


class Denied(Refused):
    """The caller's credentials or the path rules do not allow it (EACCES)."""


class Expired(OutcomeUnknown):
    """The log is so far from the index at which the operation was made that an earlier outcome may be forgotten.

    Too far on, or (a history that was set aside) not there yet. Nothing was done this time.
    never: nor in any earlier attempt that said the same index, in this history: if this was the first, it is not done.
    """

    def __init__(self, message: str, operation_id: str = "", never: bool = False) -> None:
        super().__init__(message, operation_id)
        self.never = never


class Compacted(ClusterError):  # noqa: N818
    """Changes since the asked revision are no longer in the history: read everything and watch from there.

    oldest: the smallest revision `since` can be asked for now.
    """

    def __init__(self, message: str, oldest: int) -> None:
        super().__init__(message)
        self.oldest = oldest
