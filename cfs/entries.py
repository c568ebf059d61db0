"""What the tree is made of, and the plain-data forms of a whole State and of what changed in it.

Entry and Staged are never changed once made (a new one takes the place of the old), so an image or a delta shares them
with the live State and may be handed to another thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from cfs.limits import Limits
from transport.ids import NodeId

_K = TypeVar("_K")
_V = TypeVar("_V")

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

    def copy(self) -> StateImage:
        """One that may be updated apart; the entries themselves are shared."""
        return StateImage(
            self.index, self.revision, self.limits, dict(self.entries), dict(self.outcomes), dict(self.staging)
        )

    def update(self, delta: StateDelta) -> None:
        """Bring this image to where `delta` leads; it must begin where this image stands."""
        self.index, self.revision, self.limits = delta.index, delta.revision, delta.limits
        _overlay(self.entries, delta.entries)
        _overlay(self.staging, delta.staging)
        self.outcomes.update(delta.outcomes)
        for ident in forgotten(self.outcomes, delta.outcomes_after):
            del self.outcomes[ident]


@dataclass(slots=True)
class StateDelta:
    """What changed in a State between two log indexes: what a checkpoint writes.

    entries, staging: None = gone.  outcomes: added, in order; those with index <= outcomes_after fell out of the table.
    digest: the State's at `index`, so that whoever follows by deltas can check that it followed rightly.
    """

    index: int
    revision: int
    digest: bytes
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
            later.digest,
            later.limits,
            self.entries | later.entries,
            self.outcomes | later.outcomes,
            later.outcomes_after,
            self.staging | later.staging,
        )


def forgotten(outcomes: dict[bytes, bytes], after: int) -> list[bytes]:
    """The ids at the front of an outcome table that were applied at index `after` or before."""
    found = []
    for ident, result in outcomes.items():
        if int.from_bytes(result[1:9], "big") > after:  # Result.index, without decoding the rest
            break
        found.append(ident)
    return found


def _overlay(base: dict[_K, _V], changes: dict[_K, _V | None]) -> None:
    for key, value in changes.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = value
