"""Damaged, missing and rolled-back state on one node: it never leads, says so, keeps what was damaged (S6)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.cluster import Cluster, eventually

pytestmark = pytest.mark.live
Lab = Callable[..., Cluster]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def one(cluster: Cluster, pattern: str) -> Path:
    found = sorted(cluster.state_dir(2).glob(pattern))
    assert found, (pattern, sorted(cluster.state_dir(2).rglob("*")))
    return found[-1]


def test_a_flipped_byte_in_each_file(lab: Lab) -> None:
    """Every file of the state directory in turn; after each the node is whole again, equal to the others."""
    cluster = lab(3)
    with cluster.client(1) as client:
        for number in range(30):
            client.put(f"f{number:02}", b"%d" % number * 300)
    code, answer, _ = cluster.ctl(1, "key", "rotate")
    assert code == 0, answer
    eventually("keyring saved", lambda: (cluster.state_dir(2) / "keyring").exists())
    rounds: list[dict[str, str]] = [
        {"store/gen-*/tree.db": "", "keyring": "is damaged and not used"},  # the log has the tree: rebuilt from it
        {"store/MARKER": "MARKER: checksum", "ringseq": "is damaged and not used"},
        {"store/gen-*/log/*.log": ".log: checksum", "store/CURRENT": ""},
    ]
    for number, files in enumerate(rounds):
        cluster.stop(2)
        with cluster.client(1) as client:
            client.put("meanwhile", b"%d" % number)
        for pattern in files:
            flip(one(cluster, pattern))
        known = len(cluster.log(2))
        cluster.start(2)
        cluster.together(1, 2, 3)
        cluster.writable(1, 2, 3)
        cluster.equal()
        with cluster.client(2) as client:
            assert client.cat("f07")["data"] == b"7" * 300
            assert client.cat("meanwhile")["data"] == b"%d" % number
        said = cluster.log(2)[known:]
        for pattern, words in files.items():
            assert words in said, (pattern, said)
        assert "Traceback" not in said
    assert (cluster.state_dir(2) / "ringseq.damaged").exists()
    assert (cluster.state_dir(2) / "keyring.damaged").exists()
    assert list((cluster.state_dir(2) / "store" / "discarded").glob("*/store/log/*.log"))


def test_lost_and_rolled_back_state_never_leads(lab: Lab) -> None:
    """All stop; one node's store is older or gone. With one good node it waits to be caught up, and what was
    acknowledged is there; a node whose whole state directory is gone rejoins after a rotation too."""
    cluster = lab(3)
    with cluster.client(1) as client:
        client.put("old", b"1")
    cluster.stop(2)
    store = cluster.state_dir(2) / "store"
    copy = Path(cluster.lab.directory) / "copy"
    shutil.copytree(store, copy)
    cluster.start(2)
    cluster.whole()
    assert cluster.ctl(1, "key", "rotate")[0] == 0
    with cluster.client(1) as client:
        client.put("new", b"2")
    # Nodes 1 and 2 are enough to acknowledge it: were it on their disks only, it would be lost with both.
    eventually("on node 3's disk", lambda: 3 in cluster.status(1)["store"]["durable_on"])
    cluster.kill(1, 2, 3)

    shutil.rmtree(store)
    shutil.copytree(copy, store)  # an older backup put back, without its marker's later promise
    cluster.start(2, 3)
    cluster.together(2, 3)
    cluster.writable(2, 3)
    with cluster.client(2) as client:
        assert client.cat("new", linearizable=True)["data"] == b"2"
    cluster.equal(2, 3)

    # Two of three have lost what they knew, so nobody can tell that node 3 has it all: wait, and say for whom.
    cluster.stop(2)
    shutil.rmtree(cluster.state_dir(2))
    cluster.start(2)
    cluster.together(2, 3)
    store_now = eventually("quorate", lambda: (now := cluster.status(3))["quorum"]["quorate"] and now["store"])
    assert not store_now["writable"] and store_now["reason"]
    code, answer, _ = cluster.ctl(3, "fs", "put", "x", stdin=b"x")
    assert (code, answer["error"]["code"]) == (4, "NO_QUORUM")
    cluster.start(1)
    cluster.whole()
    cluster.equal()
    with cluster.client(2) as client:
        assert client.cat("new", linearizable=True)["data"] == b"2"
