"""What the local socket asks of a node: the seam between the server and the daemon's wiring.

The server calls these on the event loop's thread. Methods that are not `async` answer at once from memory and never
wait; they are called at the moment of the answer, so a verdict's lease is judged then (DESIGN Q4). They return plain
dicts in the shapes of `shapes.py`.

Errors: only those of `transport.errors`, `cfs.errors` and `ConfigRefused`, which the table in `errors.py` turns into
codes; anything else is our own bug, answered as FAILED and logged with its traceback.
An `async` method may be cancelled (the client went away, or its timeout passed): the operation then goes its way and
nobody waits for it. It must not raise `Refused` for what may have entered a log: that is `OutcomeUnknown`.

Paths are normalised: relative, no empty, `.` or `..` component, "" is the root. Permissions were checked before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from clusterd.control.shapes import (
    Change,
    Changed,
    Cut,
    Discarded,
    Entry,
    Event,
    FileData,
    Links,
    Listing,
    Nodes,
    Outcome,
    Quorum,
    Reloaded,
    Status,
    Written,
)

Cancel = Callable[[], None]
"""Ends a subscription; may be called again and at any time, also from inside a push."""


class Backend(Protocol):
    """One node, as its local socket sees it."""

    @property
    def node_id(self) -> int: ...
    @property
    def node_name(self) -> str: ...
    @property
    def cluster_name(self) -> str: ...
    @property
    def version(self) -> str:
        """The daemon's version, e.g. "0.1.0"."""
        ...

    @property
    def max_file_bytes(self) -> int:
        """Largest file the store takes now; the server takes no larger request."""
        ...

    @property
    def log_index(self) -> int:
        """A place of the log that every operation first proposed from now on, at any node, comes behind; at least 1."""
        ...

    @property
    def tree_number(self) -> int:
        """Another one whenever the whole tree was replaced by another history's: revisions of before mean nothing."""
        ...

    @property
    def store_readable(self) -> bool:
        """May the tree be shown now? Watchers of the store are woken when it becomes so."""
        ...

    # looking

    def status(self) -> Status: ...
    def quorum(self) -> Quorum: ...
    def nodes(self) -> Nodes: ...
    def links(self) -> Links: ...

    def watch_quorum(self, push: Callable[[Quorum], None]) -> Cancel:
        """Push every verdict from now on, also those that only a lease's end brings. The present one is not pushed:
        the server asks `quorum()` for it in the same step. Order: after the membership the verdict is about, before
        any message of the new configuration (Q3). push never raises and never blocks.
        """
        ...

    def watch_events(self, push: Callable[[Event], None]) -> Cancel:
        """Push what happens from now on: membership, quorum, link, store, config."""
        ...

    # changing the cluster

    async def set_expected(self, votes: int) -> Quorum:
        """`expected N`: returns the verdict after the change. Raises BadArgument, NoQuorum, Refused, OutcomeUnknown."""
        ...

    async def reload(self) -> Reloaded:
        """Read the configuration file and apply it on all nodes, all or nothing.

        Raises ConfigRefused (with every problem), NoQuorum, OutcomeUnknown.
        """
        ...

    async def rotate_key(self) -> Reloaded:
        """Make a new cluster key and put it in force. Raises NoQuorum, Refused, OutcomeUnknown."""
        ...

    # files: operation ids are made by the client, 32 hex digits, a dash and a `log_index` in hex; the same id again is
    # the same operation (S3). Of an id without dash and index that is true for 65,536 log records.

    async def fs_put(self, path: str, data: bytes, if_revision: int | None, operation_id: str) -> Written:
        """Write a whole file; parents are not made (NoSuchEntry).

        if_revision: None = always; else the entry's revision must be this, 0 = must not exist (Conflict).
        """
        ...

    async def fs_write(self, path: str, offset: int, data: bytes, truncate: bool, operation_id: str) -> Written:
        """Write into an existing file at `offset`, zeros in a gap; truncate: the file ends after `data`."""
        ...

    async def fs_rm(self, path: str, recursive: bool, operation_id: str) -> Changed:
        """Remove a file, link or empty directory, or a whole tree. Raises NoSuchEntry, NotEmpty."""
        ...

    async def fs_mkdir(self, path: str, parents: bool, operation_id: str) -> Changed:
        """Raises Exists when there is such an entry, except a directory with parents=True: then its revision."""
        ...

    async def fs_mv(self, path: str, to: str, operation_id: str) -> Changed:
        """Rename; `path` of the answer is the new one."""
        ...

    async def fs_cat(self, path: str, linearizable: bool) -> FileData:
        """A file's bytes. linearizable: after a barrier confirmed since the call (NoQuorum when none can be)."""
        ...

    def fs_stat(self, path: str) -> Entry: ...

    def fs_ls(self, path: str, recursive: bool, after: str | None, limit: int) -> Listing:
        """Entries of `path` (of a file: itself), sorted by path; at most `limit` of those with a path > `after`."""
        ...

    def fs_changes(self, after: int, limit: int) -> list[Change]:
        """The next changes of the tree with revision > `after`, in order, about `limit` but whole revisions.

        Empty: nothing newer yet. Raises Compacted when changes right after `after` are no longer kept, BadArgument
        when `after` is ahead of the tree.
        """
        ...

    def watch_store(self, wake: Callable[[], None]) -> Cancel:
        """Call `wake` after the visible tree changed; the server then asks `fs_changes`. Several may be one call."""
        ...

    def fs_discarded(self) -> Discarded: ...
    def fs_outcome(self, operation_id: str) -> Outcome: ...

    # the lab

    def lab_cuts(self, cuts: list[Cut]) -> None:
        """From now on exactly these are cut: this node drops what it sends and what it receives accordingly.

        Called only when the daemon runs with --lab. Rows that do not name this node are for others.
        """
        ...
