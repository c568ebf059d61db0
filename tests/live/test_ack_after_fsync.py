"""No acknowledgement leaves before the fsync of its required set has returned, seen from outside by strace (S1)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clusterd.client import AsyncClient
from clusterd.control import frames
from tests.live.cluster import Cluster, eventually
from tests.live.tracing import Call, acknowledged, judge, on_disk, read_trace, traced

pytestmark = pytest.mark.live
Lab = Callable[..., Cluster]
NODES = (1, 2, 3)
MAJORITY = 2
ONE_BY_ONE, AT_ONCE = 60, 100
WHY_NOT = (
    "watching other processes needs root"
    if os.geteuid()
    else ""
    if shutil.which("strace")
    else "strace is not installed: apt install strace"
)


def write(cluster: Cluster) -> list[str]:
    """One at a time through node 1, then many at once through the others; the names of all that were acknowledged."""
    with cluster.client(1) as client:
        names = [f"single-{number:04}-end" for number in range(ONE_BY_ONE)]
        for name in names:
            client.put(name, name.encode() * 5)

    async def many(node: int) -> list[str]:
        told = [f"many-{node}-{number:04}-end" for number in range(AT_ONCE)]
        async with AsyncClient(cluster.client(node).path) as client:
            await asyncio.gather(*(client.put(name, b"x" * 100, timeout=30.0) for name in told))
        return told

    async def both() -> list[list[str]]:
        return await asyncio.gather(many(2), many(3))

    return names + [name for told in asyncio.run(both()) for name in told]


def on_all_disks(cluster: Cluster, revision: int) -> bool:
    store = cluster.status(1)["store"]
    return bool(store["durable_revision"] >= revision and store["durable_on"] == list(NODES))


@pytest.mark.skipif(bool(WHY_NOT) and os.geteuid() != 0, reason=WHY_NOT)
def test_every_fsync_returns_before_its_acknowledgement_leaves(lab: Lab, tmp_path: Path) -> None:
    """Each of some hundred writes: on the proposer's disk, on a majority's and wherever the answer says it is; and the
    judge of that finds each single fsync whose return is moved behind the acknowledgement."""
    assert not WHY_NOT, WHY_NOT
    cluster = lab(3, "totem.token=5000")  # a traced daemon is slow
    with traced({node: cluster.pid(node) for node in NODES}, tmp_path) as files:
        names = write(cluster)
        # Two disks are enough for the answers; the third's records are looked for as well.
        last = max(cluster.status(node)["store"]["revision"] for node in NODES)
        eventually("on all disks", lambda: on_all_disks(cluster, last))
    calls = {node: read_trace(file.read_text()) for node, file in files.items()}
    acks = [ack for node in NODES for ack in acknowledged(node, calls[node])]
    assert sorted(ack.path for ack in acks) == sorted(names)
    disks = {node: on_disk(calls[node], names) for node in NODES}
    assert all(found.keys() == set(names) for found in disks.values()), "records were not found in the traces"
    assert judge(acks, disks, MAJORITY) == []
    alone = [ack for ack in acks if ack.path.startswith("single")]  # no later fsync was over before they left
    for ack in alone[::6]:
        late = _later(calls[ack.node], disks[ack.node][ack.path], ack.at)
        moved = {**disks, ack.node: on_disk(late, names)}
        assert any(problem.startswith(ack.path) for problem in judge(acks, moved, MAJORITY)), ack


def _later(calls: list[Call], returned: float, at: float) -> list[Call]:
    """The trace in which the fsync that returned then did so only behind `at`."""
    return [
        replace(call, ended=at + 1e-6) if call.ended == returned and call.name.startswith("f") else call
        for call in calls
    ]


def _line(thread: int, at: float, call: str, data: bytes, rest: str) -> str:
    written = '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'
    return f"{thread} {at:.9f} {call}, {written}, {rest}" if data else f"{thread} {at:.9f} {call}{rest}"


def _trace(ack: float, synced: float, result: int = 0) -> str:
    """A daemon that is asked at 1, writes at 2, begins to sync at 3 and returns at `synced`, answers at `ack`."""
    client, log = "7<UNIX-STREAM:[5->4]>", "9<\\x2f\\x31\\x2e\\x6c\\x6f\\x67>"
    request = frames.pack({"id": 1, "op": "fs_put", "args": {"path": "name", "data": b"x"}})
    answer = frames.pack({"id": 1, "ok": {"durable_on": [1]}})
    lines = [
        (1.0, _line(1, 1.0, f"read({client}", request, f"65536) = {len(request)} <0.000001000>")),
        (2.0, _line(2, 2.0, f"pwrite64({log}", b"..name..", "8, 0) = 8 <0.000001000>")),
        (3.0, _line(2, 3.0, f"fdatasync({log}", b"", " <unfinished ...>")),
        (synced, f"2 {synced:.9f} <... fdatasync resumed>) = {result} <0.1>"),
        (ack, _line(1, ack, f"write({client}", answer, f"{len(answer)}) = {len(answer)} <0.000001000>")),
    ]
    return "\n".join(text for _, text in sorted(lines))


@pytest.mark.parametrize(
    ("ack", "synced", "result", "good"), [(5.0, 4.0, 0, True), (4.0, 5.0, 0, False), (5.0, 4.0, -1, False)]
)
def test_the_judge_of_traces(ack: float, synced: float, result: int, good: bool) -> None:
    """Only an fsync that was begun after the record was written, succeeded, and returned before the answer counts."""
    calls = read_trace(_trace(ack, synced, result))
    found = judge(acknowledged(1, calls), {1: on_disk(calls, ["name"])}, 1)
    assert found == [] if good else found == ["name: acknowledged by node 1 while on disk on [] only"]
