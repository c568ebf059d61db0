"""Cluster key rotation on a running cluster (DESIGN 6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.cluster import Cluster, Writer, check_written, eventually

pytestmark = pytest.mark.live


def authkey(cluster: Cluster, node: int) -> bytes:
    return (Path(cluster.lab.node_dir(node)) / "authkey").read_bytes()


def test_a_node_with_another_key_stays_out(three: Cluster) -> None:
    """Counted not_authentic, never logged per packet; the others are undisturbed; with the right key it is back."""
    cluster = three
    cluster.stop(3)
    cluster.together(1, 2)
    ring = cluster.ring()
    path = Path(cluster.lab.node_dir(3)) / "authkey"
    right = path.read_bytes()
    path.write_bytes(bytes(byte ^ 1 for byte in right))
    lines = cluster.log(1).count("\n")
    cluster.start(3)
    for node in (1, 2, 3):
        eventually("counted", lambda node=node: cluster.dropped(node)["not_authentic"] >= 1)
    assert cluster.members(3) in ([], [3])
    assert not cluster.status(3)["quorum"]["quorate"]
    assert cluster.ring(1) == cluster.ring(2) == ring
    assert cluster.log(1).count("\n") - lines <= 5
    with cluster.client(1) as client:
        client.put("undisturbed", b"x")
    cluster.stop(3)
    path.write_bytes(right)
    cluster.start(3)
    cluster.whole()


def test_rotation_under_writes(three: Cluster) -> None:
    """No write is lost or refused, nobody leaves the ring, all nodes hold the new key also on disk; who was down then
    comes back by itself, a restarted node too (DESIGN 6)."""
    cluster = three
    cluster.stop(3)
    cluster.together(1, 2)
    cluster.writable(1, 2)
    ring, before = cluster.ring(), authkey(cluster, 1)
    with Writer(cluster, 1, "a") as first, Writer(cluster, 2, "b") as second:
        first.more(5)
        code, answer, _ = cluster.ctl(2, "key", "rotate")
        assert code == 0, answer
        assert answer["config_version"] == 1 and "generation 2" in answer["changed"][0]
        first.more(20)
        second.more(20)
    assert first.problems == second.problems == []
    print(f"longest time between two acknowledgements: {max(first.gap, second.gap):.3f} s")
    assert cluster.ring(1) == cluster.ring(2) == ring
    eventually("both files", lambda: before != authkey(cluster, 1) == authkey(cluster, 2))
    assert authkey(cluster, 3) == before
    code, answer, _ = cluster.ctl(1, "key", "rotate")
    assert code == 2 and "not over yet" in answer["error"]["message"]

    cluster.kill(2)
    cluster.start(2, 3)
    cluster.whole()
    eventually("node 3 has the new key", lambda: authkey(cluster, 3) == authkey(cluster, 1))
    cluster.equal()
    check_written(cluster, 3, first.acknowledged)
    cluster.kill(1, 2, 3)
    cluster.start(1, 2, 3)
    cluster.whole()
