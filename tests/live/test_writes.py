"""Writes of local clients to real daemons: repeated, many large ones at once, under way when a daemon ends (S3)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from clusterd.client import AsyncClient, NoQuorum, OutcomeUnknown
from tests.live.cluster import Cluster, eventually

pytestmark = pytest.mark.live
Lab = Callable[..., Cluster]


def test_a_write_and_its_repetitions(three: Cluster) -> None:
    """One operation whatever node is asked, also a large one; an id of a log that is not there is told as unknown."""
    cluster = three
    large = bytes(range(256)) * 2500
    with cluster.client(1) as first, cluster.client(2) as second:
        for path, data in (("small", b"x"), ("large", large)):
            ident = first.new_operation_id()
            assert int(ident.partition("-")[2], 16) >= 1
            done = first.put(path, data, operation_id=ident)
            again = second.put(path, data, operation_id=ident)
            assert again["revision"] == done["revision"]
            assert {1, 2} & set(again["durable_on"])
            assert second.outcome(ident) == {
                "id": ident,
                "outcome": "done",
                "revision": done["revision"],
                "message": None,
            }
        ahead = "ab" * 16 + "-ffffff"
        with pytest.raises(OutcomeUnknown) as caught:
            first.put("never", b"", operation_id=ahead)
        assert caught.value.expired
        found = first.outcome(ahead)
        assert (found["outcome"], found["message"]) == ("unknown", "it is too long ago to know")
        assert second.outcome("cd" * 16)["outcome"] == "unknown"
        assert [entry["path"] for entry in first.ls()["entries"]] == ["large", "small"]
    code, answer, _ = cluster.ctl(1, "fs", "outcome", ident)
    assert (code, answer["outcome"]) == (0, "done")


def test_more_large_files_at_once_than_can_be_staged(lab: Lab) -> None:
    """At every node more than its share: they take turns, and none is lost to another. (A long token: 48 MiB on a busy
    machine must not cost the ring.)"""
    cluster = lab(3, "totem.token=5000")
    data = bytes(1 << 20)
    with cluster.client(1) as client:
        client.mkdir("many")

    async def at(node: int) -> None:
        path = cluster.client(node).path
        async with AsyncClient(path) as client:
            await asyncio.gather(*(client.put(f"many/{node}-{n}", data, timeout=60.0) for n in range(16)))

    async def everywhere() -> None:
        await asyncio.gather(*(at(node) for node in (1, 2, 3)))

    asyncio.run(everywhere())
    with cluster.client(2) as client:
        client.cat("many/1-0", linearizable=True)  # from now on node 2's own copy holds all that was acknowledged
        assert len(client.ls("many")["entries"]) == 48


def test_a_refused_write_says_the_votes(three: Cluster) -> None:
    """What is there and what is needed, in the one line that people see."""
    cluster = three
    cluster.kill(2, 3)
    eventually("the verdict", lambda: cluster.members(1) == [1])
    with cluster.client(1) as client, pytest.raises(NoQuorum, match="2 of 3 votes needed, 1 present"):
        client.put("a", b"")


def test_writes_under_way_when_a_daemon_ends(lab: Lab) -> None:
    """SIGTERM while the others do not answer: each hears that this node is leaving, before its connection ends."""
    cluster = lab(3, "totem.token=5000")

    async def ends() -> list[object]:
        async with AsyncClient(cluster.client(1).path) as client:
            idents = [await client.new_operation_id() for _ in range(3)]
            files = (b"x", bytes(1 << 20), b"y")
            writes = [
                asyncio.create_task(client.put(f"f{n}", data, operation_id=idents[n])) for n, data in enumerate(files)
            ]
            read = asyncio.create_task(client.cat("f0", linearizable=True))
            await client.ping()  # answered behind them: the daemon has them all
            await client.ping()
            os.kill(cluster.pid(1), signal.SIGTERM)
            return await asyncio.gather(*writes, read, return_exceptions=True)

    cluster.pause(2, 3)
    ended = asyncio.run(ends())
    assert [type(error) for error in ended] == [OutcomeUnknown] * 3 + [NoQuorum]
    assert all("this node is leaving the cluster" in str(error) for error in ended)
    cluster.resume(2, 3)
