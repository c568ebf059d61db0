"""A backend without a cluster: one node's answers from plain dicts, for tests of the socket, clients and commands."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any

from cfs.errors import Compacted, Conflict, Exists, IsDirectory, NoSuchEntry, NotEmpty
from transport.errors import BadArgument, NoQuorum, OutcomeUnknown, TooLarge


class FakeBackend:
    """Holds a tree {path: entry}; `fail` makes the next change raise, `hang` makes it never answer."""

    node_id = 1
    node_name = "n1"
    cluster_name = "lab"
    version = "0.1.0"
    max_file_bytes = 1 << 20
    log_index = 0x1F3A

    def __init__(self) -> None:
        self.members = [1, 2, 3]
        self.quorate = True
        self.revision = 0
        self.tree: dict[str, dict[str, Any]] = {}
        self.changes: list[dict[str, Any]] = []
        self.compacted = 0  # changes up to this revision are forgotten
        self.tree_number = 0
        self.store_readable = True
        self.done: dict[str, dict[str, Any]] = {}
        self.fail: Exception | None = None
        self.hang = False
        self.quorum_watchers: list[Callable[[Any], None]] = []
        self.event_watchers: list[Callable[[Any], None]] = []
        self.store_watchers: list[Callable[[], None]] = []
        self.cuts: list[dict[str, int]] = []
        self.expected = 3
        self.calls: list[str] = []

    # looking

    def quorum(self) -> Any:
        total = len(self.members)
        return {
            "time": time.time(),
            "node_id": self.node_id,
            "ring_id": "1.1a8",
            "quorate": self.quorate,
            "members": list(self.members),
            "votes": {"expected": self.expected, "highest": 3, "total": total, "quorum": self.expected // 2 + 1},
            "flags": ["Quorate"] if self.quorate else [],
            "reason": f"{self.expected // 2 + 1} of {self.expected} votes needed, {total} present",
            "lease_s": 0.4 if self.quorate else 0.0,
        }

    def nodes(self) -> Any:
        return {
            "nodes": [
                {
                    "id": i,
                    "name": f"n{i}",
                    "votes": 1,
                    "online": i in self.members,
                    "local": i == self.node_id,
                    "addresses": [f"127.77.0.{i}", f"127.77.1.{i}"],
                    "lag": 0 if i in self.members else None,
                }
                for i in (1, 2, 3)
            ]
        }

    def links(self) -> Any:
        rows = [self._link(peer, link) for peer in (2, 3) for link in (0, 1)]
        dropped = {"not_authentic": 0, "replayed": 0, "malformed": 0, "unknown_sender": 0}
        return {"links": rows, "dropped": dropped}

    def _link(self, peer: int, link: int) -> Any:
        up = peer in self.members
        return {
            "peer": peer,
            "name": f"n{peer}",
            "link": link,
            "local": f"127.77.{link}.1:{5405 + link}",
            "remote": f"127.77.{link}.{peer}:{5405 + link}",
            "state": "up" if up else "down",
            "active": up and link == 0,
            "priority": 1,
            "latency_s": 0.0002 if up else None,
            "jitter_s": 0.00001 if up else None,
            "loss": 0.0,
            "mtu": 1500 if up else None,
            "since": time.time() - 12.5,
            "reason": None if up else "no pong for 0.3 s",
            "tx_packets": 1200,
            "rx_packets": 1100,
            "tx_bytes": 123456,
            "rx_bytes": 98765,
        }

    def status(self) -> Any:
        digest = hashlib.sha256(repr(sorted((p, e["data"]) for p, e in self.tree.items())).encode()).hexdigest()
        return {
            "contract": 1,
            "time": time.time(),
            "node": {
                "id": self.node_id,
                "name": self.node_name,
                "pid": 812,
                "version": self.version,
                "uptime_s": 9.1,
            },
            "cluster": {"name": self.cluster_name, "config_version": 1, "transport": "knet", "secure_auth": True},
            "ring": {"id": "1.1a8", "phase": "operational", "members": list(self.members), "detection_s": 0.84},
            "quorum": self.quorum(),
            "nodes": self.nodes()["nodes"],
            "store": {
                "state": "synced",
                "writable": self.quorate,
                "revision": self.revision,
                "digest": digest,
                "entries": len(self.tree),
                "bytes": sum(entry["size"] for entry in self.tree.values()),
                "durable_revision": self.revision,
                "durable_on": list(self.members),
                "durability": "disk",
                "reason": "" if self.quorate else "this node is not quorate",
                "kind": "majority",
                "held_only_by": [],
                "received": None,
                "alarm": False,
            },
        }

    def watch_quorum(self, push: Callable[[Any], None]) -> Callable[[], None]:
        return _listen(self.quorum_watchers, push)

    def watch_events(self, push: Callable[[Any], None]) -> Callable[[], None]:
        return _listen(self.event_watchers, push)

    def watch_store(self, wake: Callable[[], None]) -> Callable[[], None]:
        return _listen(self.store_watchers, wake)

    def set_quorate(self, quorate: bool) -> None:
        self.quorate = quorate
        for push in list(self.quorum_watchers):
            push(self.quorum())

    def happen(self, message: str) -> None:
        event = {"time": time.time(), "node_id": 1, "type": "membership", "message": message, "data": {}}
        for push in list(self.event_watchers):
            push(event)

    # changing

    async def _gate(self, operation_id: str) -> None:
        self.calls.append(operation_id)
        if self.hang:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.fail is not None:
            failure, self.fail = self.fail, None
            raise failure
        if not self.quorate:
            raise NoQuorum("2 of 3 votes needed, 1 present")

    async def set_expected(self, votes: int) -> Any:
        await self._gate("")
        if votes > 3:
            raise BadArgument(f"{votes} votes expected, but only 3 are configured")
        self.expected = votes
        return self.quorum()

    async def reload(self) -> Any:
        await self._gate("")
        return {"config_version": 2, "changed": ["totem.token"], "needs_restart": []}

    async def rotate_key(self) -> Any:
        await self._gate("")
        return {"config_version": 2, "changed": ["cluster key"], "needs_restart": []}

    async def fs_put(self, path: str, data: bytes, if_revision: int | None, operation_id: str) -> Any:
        await self._gate(operation_id)
        if operation_id in self.done:
            return self.done[operation_id]
        entry = self.tree.get(path)
        current = entry["revision"] if entry else 0
        if if_revision is not None and if_revision != current:
            raise Conflict(f"{path} is at revision {current}, not {if_revision}", current)
        if len(data) > self.max_file_bytes:
            raise TooLarge(f"{path}: {len(data)} bytes")
        self._parent(path)
        self._change("put", path)
        self._enter(path, "file", data)
        answer = {"path": path, "revision": self.revision, "size": len(data), "durable_on": [1, 3]}
        self.done[operation_id] = answer
        return answer

    async def fs_write(self, path: str, offset: int, data: bytes, truncate: bool, operation_id: str) -> Any:
        await self._gate(operation_id)
        old = self._entry(path)["data"].ljust(offset, b"\0")
        new = old[:offset] + data + (b"" if truncate else old[offset + len(data) :])
        self._change("put", path)
        self._enter(path, "file", new)
        return {"path": path, "revision": self.revision, "size": len(new), "durable_on": [1, 3]}

    async def fs_rm(self, path: str, recursive: bool, operation_id: str) -> Any:
        await self._gate(operation_id)
        self._entry(path)
        below = [name for name in self.tree if name.startswith(path + "/")]
        if below and not recursive:
            raise NotEmpty(f"{path} is not empty")
        for name in [path, *below]:
            del self.tree[name]
        self._change("rm", path)
        return {"path": path, "revision": self.revision}

    async def fs_mkdir(self, path: str, parents: bool, operation_id: str) -> Any:
        await self._gate(operation_id)
        if path in self.tree:
            if parents and self.tree[path]["type"] == "dir":
                return {"path": path, "revision": self.tree[path]["revision"]}
            raise Exists(f"{path} exists")
        if parents:
            parts = path.split("/")
            missing = ["/".join(parts[:n]) for n in range(1, len(parts)) if "/".join(parts[:n]) not in self.tree]
        else:
            self._parent(path)
            missing = []
        for name in [*missing, path]:
            self._change("mkdir", name)
            self._enter(name, "dir", b"")
        return {"path": path, "revision": self.revision}

    async def fs_mv(self, path: str, to: str, operation_id: str) -> Any:
        await self._gate(operation_id)
        self._entry(path)
        self._parent(to)
        for name in [name for name in self.tree if name == path or name.startswith(path + "/")]:
            self.tree[to + name[len(path) :]] = self.tree.pop(name)
        self._change("mv", path, to)
        return {"path": to, "revision": self.revision}

    async def fs_cat(self, path: str, linearizable: bool) -> Any:
        if linearizable:
            await self._gate("")
        entry = self._entry(path)
        if entry["type"] == "dir":
            raise IsDirectory(f"{path} is a directory")
        return {"path": path, **{key: entry[key] for key in ("revision", "size", "mtime", "data")}}

    def fs_stat(self, path: str) -> Any:
        if not path:
            return self._row("", {"type": "dir", "size": 0, "revision": 0, "mtime": 0.0, "writer": None})
        return self._row(path, self._entry(path))

    def fs_ls(self, path: str, recursive: bool, after: str | None, limit: int) -> Any:
        if path and self._entry(path)["type"] != "dir":
            names = [path]
        else:
            start = path + "/" if path else ""
            names = [n for n in self.tree if n.startswith(start) and (recursive or "/" not in n[len(start) :])]
        names = sorted(n for n in names if after is None or n > after)
        rows = [self._row(name, self.tree[name]) for name in names[:limit]]
        return {"path": path, "revision": self.revision, "entries": rows, "more": len(names) > limit}

    def fs_changes(self, after: int, limit: int) -> Any:
        if after < self.compacted:
            raise Compacted(f"changes before revision {self.compacted} are no longer kept", self.compacted)
        if after > self.revision:
            raise BadArgument(f"revision {after} is ahead of the tree ({self.revision})")
        return [dict(change) for change in self.changes if change["revision"] > after][:limit]

    def fs_discarded(self) -> Any:
        aside = {"time": 1.5, "id": "1.1a4", "revisions": [40, 44], "entries": 3, "file": "discarded/1.1a4.tar"}
        return {"discarded": [aside]}

    def fs_outcome(self, operation_id: str) -> Any:
        done = self.done.get(operation_id)
        return {
            "id": operation_id,
            "outcome": "done" if done else "unknown",
            "revision": done["revision"] if done else None,
            "message": None,
        }

    def lab_cuts(self, cuts: list[Any]) -> None:
        self.cuts = list(cuts)

    # inside

    def _entry(self, path: str) -> dict[str, Any]:
        if path not in self.tree:
            raise NoSuchEntry(f"{path}: no such entry")
        return self.tree[path]

    def _parent(self, path: str) -> None:
        parent, _, _ = path.rpartition("/")
        if parent:
            self._entry(parent)

    def _enter(self, path: str, kind: str, data: bytes) -> None:
        self.tree[path] = {
            "type": kind,
            "size": len(data),
            "data": data,
            "revision": self.revision,
            "mtime": 1700000000.5,
            "writer": self.node_id,
        }

    def _row(self, path: str, entry: dict[str, Any]) -> dict[str, Any]:
        return {"path": path, **{key: entry[key] for key in ("type", "size", "revision", "mtime", "writer")}}

    def _change(self, op: str, path: str, to: str | None = None) -> None:
        self.revision += 1
        change = {"revision": self.revision, "op": op, "path": path, "to": to, "writer": self.node_id}
        self.changes.append(change)
        for wake in list(self.store_watchers):
            wake()


def _listen(listeners: list[Any], one: Any) -> Callable[[], None]:
    listeners.append(one)

    def cancel() -> None:
        if one in listeners:
            listeners.remove(one)

    return cancel


UNKNOWN = OutcomeUnknown("the ring changed while it was in flight", "00" * 16)
