"""The last changes of the tree, so that a watcher can ask for everything since a revision it knows.

Kept per node and in memory only: after a restart or a state transfer it begins anew, and an older question is answered
Compacted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from cfs.errors import Compacted
from cfs.messages import Change


class History:
    """Revisions follow each other without a gap, so a revision finds its change by its distance from the newest."""

    __slots__ = ("_changes", "_newest")

    def __init__(self, revision: int, limit: int) -> None:
        self._changes: deque[Change] = deque(maxlen=limit)
        self._newest = revision

    @property
    def oldest(self) -> int:
        """The smallest revision `since` can be asked for."""
        return self._newest - len(self._changes)

    def add(self, changes: Iterable[Change]) -> None:
        for change in changes:
            assert change.revision == self._newest + 1
            self._newest = change.revision
            self._changes.append(change)

    def since(self, revision: int) -> list[Change]:
        """The changes after `revision`, oldest first; none if it is the newest or lies ahead. Raises Compacted."""
        if revision < self.oldest:
            text = f"changes since revision {revision} are gone, the oldest known is {self.oldest}"
            raise Compacted(text + ": read all and watch from there", self.oldest)
        count = max(0, self._newest - revision)
        return list(islice(self._changes, len(self._changes) - count, None))
