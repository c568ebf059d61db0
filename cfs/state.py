"""The store's state machine: the tree, the outcomes of past operations, uploads under way, the limits in force.

Source: DESIGN 7. `apply` is deterministic and total: nodes that apply the same log are equal in everything but the
history kept for watchers. Every condition is judged here, in log order. True between any two calls:
    same revision <=> same digest, on nodes that applied the same log
    an operation id is applied once within `window` log indexes; for ever, if it says since when it waits: it is refused
        as EXPIRED wherever its earlier outcome might be forgotten
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from cfs.apply import Judge
from cfs.entries import DIRECTORY, Entry, StateDelta, StateImage
from cfs.errors import IsDirectory, NoSuchEntry, NotDirectory
from cfs.history import History
from cfs.limits import OUTCOMES, Limits
from cfs.messages import Applied, Change, Code, Operation, Result
from cfs.paths import parent
from cfs.scrub import Scrub
from cfs.staging import Staging
from cfs.tree import Tree

_Bytes = bytes  # State has a property of that name
HISTORY = 16_384  # changes kept for watchers


class State:
    """index: the last log index applied. Reads are plain methods and never wait."""

    def __init__(
        self,
        image: StateImage | None = None,
        history: int = HISTORY,
        tree: Tree | None = None,
        window: int = OUTCOMES,
    ) -> None:
        """From an image (None: the empty state). Raises ValueError if its entries do not make a tree.

        tree: made of the image's entries before (`Tree.filled`), when there are too many to do it in one turn.
        window: log indexes for which outcomes are kept; alike on all nodes, so another one is for tests.
        """
        image = image or StateImage()
        self.index = image.index
        self._tree = Tree(image.revision, image.entries.values()) if tree is None else tree
        self._staging = Staging(image.staging)
        self._judge = Judge(self._tree, self._staging, image.limits)
        self._outcomes: dict[_Bytes, _Bytes] = dict(image.outcomes)
        self._order: deque[_Bytes] = deque(self._outcomes)
        self._new_outcomes: dict[_Bytes, _Bytes] = {}
        self._window = window
        self._history = History(image.revision, history)

    # --- the machine ---------------------------------------------------------------------------------------------

    def apply(self, operation: Operation, index: int) -> Applied:
        """Judge and do one operation at log index `index` (> self.index). Never raises on a decoded operation."""
        self.advance(index)
        known = self._outcomes.get(operation.id)
        if known is not None:
            return Applied(Result.decode(known), (), repeated=True)
        if operation.since and not 0 < index - operation.since <= self._window:
            result = Result(Code.EXPIRED, index, 0, int(operation.since >= index))
            changes: tuple[Change, ...] = ()
        else:
            result, changes = self._judge.judge(operation, index)
        encoded = result.encode()
        self._outcomes[operation.id] = encoded
        self._new_outcomes[operation.id] = encoded
        self._order.append(operation.id)
        self._history.add(changes)
        return Applied(result, changes)

    def too_late(self, operation: Operation) -> bool:
        """Wherever in the log it came now, it would be EXPIRED."""
        return bool(operation.since) and self.index - operation.since >= self._window

    def advance(self, index: int) -> None:
        """Pass a log record that is no operation (epoch, data set): only old outcomes go."""
        assert index > self.index
        self.index = index
        order, outcomes = self._order, self._outcomes
        while order and int.from_bytes(outcomes[order[0]][1:9], "big") <= index - self._window:
            ident = order.popleft()
            del outcomes[ident]
            self._new_outcomes.pop(ident, None)

    # --- what it is ----------------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """+1 per change of the tree."""
        return self._tree.revision

    @property
    def entries(self) -> int:
        """Files and directories, without the root."""
        return len(self._tree)

    @property
    def bytes(self) -> int:
        """Data of all files."""
        return self._tree.size

    @property
    def limits(self) -> Limits:
        return self._judge.limits

    @property
    def staged_bytes(self) -> int:
        return self._staging.size

    def digest(self) -> _Bytes:
        """32 bytes over revision and tree: equal on two nodes exactly when both are."""
        return self._tree.digest.digest(self._tree.revision)

    def buckets(self) -> tuple[_Bytes, ...]:
        """256 sums of 32 bytes: where they differ, the trees do (cfs/digest.py)."""
        return self._tree.digest.buckets()

    def rotten(self, scrub: Scrub) -> str | None:
        """See Scrub.part."""
        return scrub.part(self._tree.entries)

    def parts(self) -> list[object]:
        """See Tree.parts."""
        return self._tree.parts()

    # --- reads ---------------------------------------------------------------------------------------------------

    def outcome(self, ident: _Bytes) -> Result | None:
        """What became of an operation; None: not applied here, or too long ago."""
        known = self._outcomes.get(ident)
        return Result.decode(known) if known is not None else None

    def find(self, path: str) -> Entry | None:
        """The entry, or None; the root is a directory with the tree's own revision."""
        if not path:
            return Entry("", DIRECTORY, b"", self._tree.revision, 0, 0, 0, 0)
        return self._tree.get(path)

    def stat(self, path: str) -> Entry:
        """Raises NoSuchEntry, NotDirectory. path: as cfs.paths.clean gives it."""
        entry = self.find(path)
        if entry is not None:
            return entry
        above = path
        while above := parent(above):
            if self._tree.get(above) is not None and not self._tree.is_directory(above):
                raise NotDirectory(f"{path}: {above} is a file")
        raise NoSuchEntry(f"{path}: no such entry")

    def cat(self, path: str) -> _Bytes:
        """A file's whole content. Raises NoSuchEntry, NotDirectory, IsDirectory."""
        entry = self.stat(path)
        if entry.is_directory:
            raise IsDirectory(f"{path or 'the root'}: is a directory")
        return entry.data

    def ls(self, path: str = "", recursive: bool = False) -> list[Entry]:
        """What is in a directory (recursive: all below), sorted by path; of a file: itself. Raises as stat."""
        entry = self.stat(path)
        if not entry.is_directory:
            return [entry]
        if recursive:
            return [self._tree.entries[found] for found in sorted(self._tree.below(path))]
        prefix = f"{path}/" if path else ""
        return [self._tree.entries[prefix + name] for name in self._tree.names(path)]

    def page(self, path: str, recursive: bool, after: str, limit: int) -> list[Entry]:
        """As `ls`, but at most `limit` entries, of those whose path sorts behind `after`; costs only those."""
        entry = self.stat(path)
        if not entry.is_directory:
            return [entry] if entry.path > after else []
        return [self._tree.entries[found] for found in islice(self._tree.after(path, after, recursive), limit)]

    def since(self, revision: int) -> list[Change]:
        """Changes after `revision`, oldest first. Raises Compacted when the history does not reach back so far."""
        return self._history.since(revision)

    @property
    def oldest(self) -> int:
        """The smallest revision `since` can be asked for."""
        return self._history.oldest

    # --- to and from plain data ----------------------------------------------------------------------------------

    def image(self) -> StateImage:
        """The whole state now; entries are shared, so it costs one copy of the dicts and may go to another thread."""
        return StateImage(
            self.index,
            self._tree.revision,
            self._judge.limits,
            dict(self._tree.entries),
            dict(self._outcomes),
            dict(self._staging.uploads),
        )

    def take_delta(self) -> StateDelta:
        """What changed since this was last called (or since construction): for a Checkpoint. Forgets it here."""
        delta = StateDelta(
            self.index,
            self._tree.revision,
            self.digest(),
            self._judge.limits,
            self._tree.dirty,
            self._new_outcomes,
            max(0, self.index - self._window),
            self._staging.dirty,
        )
        self._tree.dirty, self._new_outcomes, self._staging.dirty = {}, {}, {}
        return delta
