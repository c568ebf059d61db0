"""A cluster's whole life with real processes: kills, power loss, leaving, sleeping (DESIGN 4)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from clusterd.client import NoQuorum, OutcomeUnknown
from tests.live.cluster import Cluster, Writer, eventually

pytestmark = pytest.mark.live
Lab = Callable[..., Cluster]


def test_one_dies_then_another_then_both_return(three: Cluster) -> None:
    """Quorum survives one; without it writes are refused at once and reads go on; who returns is equal (L1, L2, S3)."""
    cluster = three
    with cluster.client(1) as client:
        client.put("greeting", b"hello")
    for node in (1, 2, 3):
        with cluster.client(node) as client:
            assert client.cat("greeting", linearizable=True)["data"] == b"hello"

    verdicts = cluster.verdict_without(2, 1, 3)
    killed = cluster.kill(2)
    seen = verdicts.wait()
    took = max(when for when, _ in seen) - killed
    print(f"SIGKILL to the new verdict on both others: {took:.3f} s")
    assert all(verdict["quorate"] for _, verdict in seen)
    with cluster.client(3) as client:
        client.put("greeting", b"one is away")
    cluster.equal(1, 3)  # node 1 has it on disk already, and now knows that it is acknowledged

    verdicts = cluster.verdict_without(3, 1)
    cluster.kill(3)
    assert not verdicts.wait()[0][1]["quorate"]
    began = time.monotonic()
    code, answer, stderr = cluster.ctl(1, "fs", "put", "greeting", stdin=b"never")
    assert (code, answer["error"]["code"]) == (4, "NO_QUORUM")
    assert time.monotonic() - began < 5  # refused, not waited for: a write waits for 10 s
    assert stderr.count("\n") == 1
    with cluster.client(1) as client:
        assert client.cat("greeting")["data"] == b"one is away"
        with pytest.raises(NoQuorum):
            client.cat("greeting", linearizable=True)

    cluster.start(2, 3)
    cluster.whole()
    cluster.equal()
    with cluster.client(2) as client:
        assert client.cat("greeting", linearizable=True)["data"] == b"one is away"


def test_kill_and_power_loss_under_writes(three: Cluster) -> None:
    """One node dies, then all at once, while two write: what was acknowledged stays, nothing hangs (S1, S3)."""
    cluster = three
    with Writer(cluster, 1, "a") as first, Writer(cluster, 2, "b") as second:
        first.more(10)
        cluster.kill(3)
        eventually("two left", lambda: cluster.members(1) == [1, 2])
        first.more(10)
        second.more(10)
        problems = [*first.problems, *second.problems]
        assert [error for error in problems if not isinstance(error, OutcomeUnknown)] == []
        print(f"longest time without an answer around a SIGKILL: {max(first.gap, second.gap):.2f} s")
        cluster.start(3)
        cluster.whole()
        first.more(10)
        cluster.kill(1, 2, 3)
        kept = dict(first.acknowledged) | dict(second.acknowledged)
    cluster.start(1, 2, 3)
    cluster.whole()
    cluster.equal()
    with cluster.client(3) as client:
        for path, data in kept.items():
            assert int(client.cat(path)["data"]) >= int(data)  # one write may have been under way, never answered


def test_clean_leaves(lab: Lab) -> None:
    """SIGTERM: exit 0, the others go on without it well before its token could be missed (L2); all may leave."""
    cluster = lab(3, "totem.token=3000")
    verdicts = cluster.verdict_without(2, 1, 3)
    asked = cluster.stop(2)
    seen = verdicts.wait()
    took = max(when for when, _ in seen) - asked
    print(f"SIGTERM to the new verdict on both others: {took:.3f} s, token 3 s")
    assert took < 3.0
    assert all(verdict["quorate"] for _, verdict in seen)
    with cluster.client(1) as client:
        client.put("kept", b"x")
    before = cluster.equal(1, 3)
    cluster.stop(3)
    cluster.stop(1)
    assert [cluster.exit_status(node) for node in (1, 2, 3)] == [0, 0, 0]
    cluster.start(1, 2, 3)
    cluster.whole()
    assert cluster.equal() == before


def test_a_sleeper_wakes_not_quorate_and_comes_back(lab: Lab) -> None:
    """SIGSTOP for longer than the token: on waking it says "not quorate" before anything else, then rejoins without a
    restart (Q4, L3). A shorter pause expels nobody."""
    cluster = lab(3, "totem.token=1500")
    ring = cluster.ring()
    cluster.pause(2)
    cluster.resume(2)
    assert [cluster.ring(node) for node in (1, 2, 3)] == [ring] * 3

    told: list[bool] = []
    with cluster.client(2) as listening, cluster.client(2) as asking:
        watch = listening.watch_quorum()
        told.append(next(watch)["quorate"])
        asking.ping()
        link = asking._link
        assert link is not None
        verdicts = cluster.verdict_without(2, 1, 3)
        cluster.pause(2)
        assert all(verdict["quorate"] for _, verdict in verdicts.wait())
        with cluster.client(1) as client:
            client.put("while-it-slept", b"x")
        question = link.request("quorum", {}, time.monotonic() + 5)  # waits in the socket until the node wakes
        cluster.resume(2)
        answer = link.receive(time.monotonic() + 5)
        assert answer["id"] == question and answer["ok"]["quorate"] is False
        for verdict in watch:
            told.append(verdict["quorate"])
            if told[-1]:
                break
    assert told[:2] == [True, False]
    cluster.whole()
    cluster.equal()
