"""What the tree is made of, and the plain-data forms of a whole State and of what changed in it.

Entry and Staged are never changed once made (a new one takes the place of the old), so an image or a delta shares them
with the live State and may be handed to another thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cfs.limits import Limits
from transport.ids import NodeId

FILE = 8  # as d_type, and as pmxcfs stores it
DIRECTORY = 4


@dataclass(slots=True)
class Entry:
    """A file or a directory.

    revision: of its last change; created: the revision that made it, its inode number, kept by a rename, never reused.
    mtime: Unix nanoseconds, told by the client.  writer: node that made the last change.
    digest: SHA-256 over the canonical encoding as an integer (cfs/digest.py), kept so that replacing it costs one
    subtraction.
    """

    path: str
    type: int
    data: bytes
    revision: int
    created: int
    mtime: int
    writer: NodeId
    digest: int

    @property
    def size(self) -> int:
        """Bytes; 0 for a directory."""
        return len(self.data)

    @property
    def is_directory(self) -> bool:
        return self.type == DIRECTORY


@dataclass(slots=True)
class Staged:
    """Chunks of an upload not committed yet.  touched: log index of the last chunk, which decides who is dropped."""

    chunks: tuple[bytes, ...]
    size: int
    touched: int


@dataclass(slots=True)
class StateImage:
    """A whole State as plain data. index: the last log index applied, 0 = none.

    entries: by path, without the root.  outcomes: operation id -> encoded Result, in order of application.
    """

    index: int = 0
    revision: int = 0
    limits: Limits = field(default_factory=Limits)
    entries: dict[str, Entry] = field(default_factory=dict)
    outcomes: dict[bytes, bytes] = field(default_factory=dict)
    staging: dict[bytes, Staged] = field(default_factory=dict)


@dataclass(slots=True)
class StateDelta:
    """What changed in a State between two log indexes: what a checkpoint writes.

    entries, staging: None = gone.  outcomes: added, in order; those with index <= outcomes_after fell out of the table.
    """

    index: int
    revision: int
    limits: Limits
    entries: dict[str, Entry | None]
    outcomes: dict[bytes, bytes]
    outcomes_after: int
    staging: dict[bytes, Staged | None]

    def then(self, later: StateDelta) -> StateDelta:
        """Both as one; `later` must follow directly on this one."""
        return StateDelta(
            later.index,
            later.revision,
            later.limits,
            self.entries | later.entries,
            self.outcomes | later.outcomes,
            later.outcomes_after,
            self.staging | later.staging,
        )
