"""The node behind the local socket: every admin operation, answered from the cores or handed to them.

Implements control/backend.py. Translation only: rules are in the cores, shapes in views.py, errors in
control/errors.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from cfs.condition import LEAVING
from cfs.entries import Entry as TreeEntry
from cfs.io.discarded import Discarded
from cfs.limits import OUTCOMES
from cfs.messages import Change as TreeChange
from cfs.messages import Code, Flag, Kind, Operation
from cfs.status import BarrierDone, BarrierFailed, Outcome
from clusterd import proposals
from clusterd.agreements import Agreements
from clusterd.control.backend import Cancel
from clusterd.control.shapes import (
    Change,
    Changed,
    Cut,
    Entry,
    Event,
    FileData,
    Links,
    Listing,
    Nodes,
    Quorum,
    Reloaded,
    Status,
    Written,
)
from clusterd.control.shapes import Discarded as DiscardedShape
from clusterd.control.shapes import Outcome as OutcomeShape
from clusterd.node import Node
from clusterd.proposals import Proposals, operation_id, revision_of
from clusterd.reconfigure import Concluded
from clusterd.uploads import Share, Uploads
from clusterd.views import Views
from transport.errors import BadArgument, NoQuorum, OutcomeUnknown, Refused
from transport.io.driver import Driver

_OPENING = 0.5
"""Seconds a write waits for a store that is opening; the contract wants a refusal within 1 s."""


class Host(Protocol):
    """What the daemon does for the backend beyond the node's cores."""

    version: str

    def read_config(self) -> bytes: ...
    def set_cuts(self, cuts: list[Cut]) -> None: ...
    def discarded(self) -> list[Discarded]: ...


class NodeBackend:
    """One node, as its local socket sees it; `told_*` are called by the daemon as the node's events come."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, node: Node, driver: Driver[object], views: Views, host: Host
    ) -> None:
        self._loop = loop
        self._node = node
        self._driver = driver
        self._views = views
        self._host = host
        self._proposals = Proposals(
            loop,
            node.me,
            lambda operation: driver.call(node.propose, operation),
            self._store_opens,
            lambda ident: node.replica.readable() and node.replica.state.outcome(ident) is not None,
            Uploads(loop, self._share),
        )
        self._leaving = False
        self._opening: list[asyncio.Future[bool]] = []
        self._barriers: dict[int, asyncio.Future[None]] = {}
        self._next_barrier = 1
        self._agreements = Agreements(loop)
        self._quorum_watchers: list[Callable[[Quorum], None]] = []
        self._event_watchers: list[Callable[[Event], None]] = []
        self._store_watchers: list[Callable[[], None]] = []
        self.tree_number = 0

    # -- who -------------------------------------------------------------------------------------------------

    @property
    def node_id(self) -> int:
        return self._node.me

    @property
    def node_name(self) -> str:
        return self._node.changes.config.name_of(self._node.me)

    @property
    def cluster_name(self) -> str:
        return self._node.changes.config.cluster_name

    @property
    def version(self) -> str:
        return self._host.version

    @property
    def max_file_bytes(self) -> int:
        return self._node.replica.state.limits.file_bytes

    @property
    def log_index(self) -> int:
        # Applied is committed, and every later log has it: what is proposed from now on comes behind. The first record
        # of a log is never an operation.
        return max(1, self._node.replica.state.index)

    def _share(self) -> Share:
        """Of the uploads staged at once: the same for each configured node."""
        limits, nodes = self._node.replica.state.limits, len(self._node.changes.config.transport.nodes)
        return Share(limits.staging_bytes // nodes, limits.staging_count // nodes)

    @property
    def store_readable(self) -> bool:
        return self._node.replica.readable()

    # -- told by the daemon ----------------------------------------------------------------------------------

    def told_verdict(self) -> None:
        answer = self.quorum()
        for push in list(self._quorum_watchers):
            push(answer)
        if not answer["quorate"]:
            self._opened(False)
        self._agreements.expected(answer["votes"]["expected"])

    def told_event(self, event: Event) -> None:
        for push in list(self._event_watchers):
            push(event)

    def told_change(self, replaced: bool = False) -> None:
        self.tree_number += replaced
        for wake in list(self._store_watchers):
            wake()

    def told_store_status(self) -> None:
        self.told_change()  # what a watch waits for may be shown now
        if self._node.replica.refusal() is None:
            self._opened(True)

    def _opened(self, usable: bool) -> None:
        for future in self._opening:
            if not future.done():
                future.set_result(usable)

    async def _store_opens(self) -> bool:
        """After a membership change the store is closed until its members have the new epoch on disk: milliseconds
        in which nobody who was just told "quorate" should be refused. False at once when not quorate."""
        if self._leaving or not self.quorum()["quorate"]:
            return False
        future: asyncio.Future[bool] = self._loop.create_future()
        self._opening.append(future)
        try:
            return await asyncio.wait_for(future, _OPENING)
        except TimeoutError:
            return False
        finally:
            self._opening.remove(future)

    def told_outcome(self, outcome: Outcome) -> None:
        self._proposals.outcome(outcome)

    def told_barrier(self, event: BarrierDone | BarrierFailed) -> None:
        future = self._barriers.pop(event.token, None)
        if future is None or future.done():
            return
        if isinstance(event, BarrierDone):
            future.set_result(None)
        else:
            future.set_exception(NoQuorum(f"the read cannot be confirmed: {event.reason}"))

    def leave(self) -> None:
        """The node is leaving and takes nothing more: who waits for what will not come now is told so."""
        self._leaving = True
        self._proposals.refuse_waiting(NoQuorum(LEAVING))
        self._opened(True)  # who waits for the store asks it again, and hears why not
        self._agreements.give_up(OutcomeUnknown(f"{LEAVING}; look at `clusterctl status` of another one"))

    def told_concluded(self, event: Concluded, saved: bool) -> None:
        """See Agreements.concluded."""
        self._agreements.concluded(event, saved)

    # -- looking ---------------------------------------------------------------------------------------------

    def status(self) -> Status:
        return self._views.status()

    def quorum(self) -> Quorum:
        return self._views.quorum()

    def nodes(self) -> Nodes:
        return self._views.nodes()

    def links(self) -> Links:
        return self._views.links()

    def watch_quorum(self, push: Callable[[Quorum], None]) -> Cancel:
        return _subscribe(self._quorum_watchers, push)

    def watch_events(self, push: Callable[[Event], None]) -> Cancel:
        return _subscribe(self._event_watchers, push)

    def watch_store(self, wake: Callable[[], None]) -> Cancel:
        return _subscribe(self._store_watchers, wake)

    # -- changing the cluster --------------------------------------------------------------------------------

    async def set_expected(self, votes: int) -> Quorum:
        self._staying()
        expected = self.quorum()["votes"]["expected"]
        await self._agreements.expect(votes, expected, lambda: self._driver.call(self._node.set_expected, votes))
        return self.quorum()

    async def reload(self) -> Reloaded:
        self._staying()
        text = self._host.read_config()
        before = self._node.changes.config
        if text == before.text:
            return {"config_version": before.config_version, "changed": [], "needs_restart": []}
        difference = self._node.changes.difference(text)
        await self._agreements.run(lambda: self._driver.call(self._node.change_config, text))
        config = self._node.changes.config
        return {
            "config_version": config.config_version,
            "changed": list(difference.changed),
            "needs_restart": list(difference.needs_restart),
        }

    async def rotate_key(self) -> Reloaded:
        self._staying()
        await self._agreements.run(lambda: self._driver.call(self._node.rotate_key))
        key = self._node.endpoint.security.current_key
        return {
            "config_version": self._node.changes.config.config_version,
            "changed": [f"cluster key: generation {key.generation} (fingerprint {key.fingerprint}) is in use"],
            "needs_restart": [],
        }

    def _staying(self) -> None:
        if self._leaving:
            raise NoQuorum(LEAVING)

    # -- files -----------------------------------------------------------------------------------------------

    async def fs_put(self, path: str, data: bytes, if_revision: int | None, operation_id: str) -> Written:
        outcome = await self._proposals.put(proposals.operation_id(operation_id), path, data, if_revision)
        return {
            "path": path,
            "revision": revision_of(outcome),
            "size": len(data),
            "durable_on": sorted(outcome.durable_on),
        }

    async def fs_write(self, path: str, offset: int, data: bytes, truncate: bool, operation_id: str) -> Written:
        flags = Flag.TRUNCATE if truncate else Flag.NONE
        outcome = await self._run(operation_id, Kind.WRITE, path, data=data, offset=offset, flags=flags)
        entry = self._node.replica.state.find(path)
        size = entry.size if entry is not None else offset + len(data)
        return {
            "path": path,
            "revision": revision_of(outcome),
            "size": size,
            "durable_on": sorted(outcome.durable_on),
        }

    async def fs_rm(self, path: str, recursive: bool, operation_id: str) -> Changed:
        flags = Flag.RECURSIVE if recursive else Flag.NONE
        outcome = await self._run(operation_id, Kind.DELETE, path, flags=flags)
        return {"path": path, "revision": revision_of(outcome)}

    async def fs_mkdir(self, path: str, parents: bool, operation_id: str) -> Changed:
        flags = Flag.PARENTS if parents else Flag.NONE
        outcome = await self._run(operation_id, Kind.MKDIR, path, flags=flags)
        return {"path": path, "revision": revision_of(outcome)}

    async def fs_mv(self, path: str, to: str, operation_id: str) -> Changed:
        outcome = await self._run(operation_id, Kind.RENAME, path, to=to)
        return {"path": to, "revision": revision_of(outcome)}

    async def _run(
        self,
        text: str,
        kind: Kind,
        path: str,
        *,
        to: str = "",
        data: bytes = b"",
        offset: int = 0,
        flags: Flag = Flag.NONE,
    ) -> Outcome:
        ident = operation_id(text)
        operation = Operation(ident.id, kind, path, data, to=to, offset=offset, flags=flags, since=ident.since)
        return await self._proposals.run(operation, ident)

    async def fs_cat(self, path: str, linearizable: bool) -> FileData:
        if linearizable:
            await self._barrier()
        self._readable()
        state = self._node.replica.state
        data = state.cat(path)
        entry = state.stat(path)
        return {
            "path": path,
            "revision": entry.revision,
            "size": entry.size,
            "mtime": entry.mtime / 1e9,
            "data": data,
        }

    async def _barrier(self) -> None:
        try:
            await self._one_barrier()
        except NoQuorum:
            if not await self._store_opens():
                raise
            await self._one_barrier()

    async def _one_barrier(self) -> None:
        token, self._next_barrier = self._next_barrier, self._next_barrier + 1
        future: asyncio.Future[None] = self._loop.create_future()
        self._barriers[token] = future
        try:
            self._driver.call(self._node.barrier, token)
            await future
        finally:
            self._barriers.pop(token, None)

    def _readable(self) -> None:
        status = self._node.replica.status()
        if not status.readable:
            raise Refused(status.unreadable)

    def fs_stat(self, path: str) -> Entry:
        self._readable()
        return _entry(self._node.replica.state.stat(path))

    def fs_ls(self, path: str, recursive: bool, after: str | None, limit: int) -> Listing:
        self._readable()
        state = self._node.replica.state
        found = state.page(path, recursive, after or "", limit + 1)
        return {
            "path": path,
            "revision": state.revision,
            "entries": [_entry(e) for e in found[:limit]],
            "more": len(found) > limit,
        }

    def fs_changes(self, after: int, limit: int) -> list[Change]:
        state = self._node.replica.state
        if after > state.revision:
            raise BadArgument(f"revision {after} is ahead of the tree, which is at {state.revision}")
        return [_change(c) for c in state.since(after)[:limit]]

    def fs_discarded(self) -> DiscardedShape:
        return {
            "discarded": [
                {
                    "time": d.time,
                    "id": d.id,
                    "revisions": list(d.revisions),
                    "entries": d.entries,
                    "file": d.file,
                }
                for d in self._host.discarded()
            ]
        }

    def fs_outcome(self, operation_id: str) -> OutcomeShape:
        ident = proposals.operation_id(operation_id)
        self._readable()
        result = self._node.replica.state.outcome(ident.id)
        if result is None or result.code is Code.EXPIRED:
            late = result is not None or (ident.since and self.log_index - ident.since >= OUTCOMES)
            why = "it is too long ago to know" if late else "not done here until now; under way, lost, or long ago"
            return {"id": operation_id, "outcome": "unknown", "revision": None, "message": why}
        if result.ok:
            return {"id": operation_id, "outcome": "done", "revision": result.revision, "message": None}
        words = result.code.name.lower().replace("_", " ")
        return {"id": operation_id, "outcome": "refused", "revision": None, "message": words}

    def lab_cuts(self, cuts: list[Cut]) -> None:
        self._host.set_cuts(cuts)


def _subscribe(watchers: list[Callable[..., None]], push: Callable[..., None]) -> Cancel:
    watchers.append(push)

    def cancel() -> None:
        if push in watchers:
            watchers.remove(push)

    return cancel


def _entry(entry: TreeEntry) -> Entry:
    return {
        "path": entry.path,
        "type": "dir" if entry.is_directory else "file",
        "size": entry.size,
        "revision": entry.revision,
        "mtime": entry.mtime / 1e9,
        "writer": entry.writer,
    }


def _change(change: TreeChange) -> Change:
    return {
        "revision": change.revision,
        "op": change.op,
        "path": change.path,
        "to": change.to,
        "writer": change.writer,
    }
