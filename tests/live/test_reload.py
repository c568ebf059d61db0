"""Changing the configuration of a running cluster: SIGHUP, `clusterctl reload`, nodes that come and go (part 5)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterd.config import authkey
from clusterd.lab import process
from tests.live.cluster import ROOT, Cluster, eventually

pytestmark = pytest.mark.live
Lab = Callable[..., Cluster]


def edit(text: str, *changes: tuple[str, str]) -> str:
    """The text with each pattern replaced once, and the next version."""
    for pattern, by in changes:
        text, count = re.subn(pattern, by, text, count=1)
        assert count == 1, pattern
    version = int(re.search(r"config_version: (\d+)", text)[1])  # type: ignore[index]
    return text.replace(f"config_version: {version}", f"config_version: {version + 1}")


def version(cluster: Cluster, node: int) -> int:
    return int(cluster.status(node)["cluster"]["config_version"])


def daemon(*arguments: str, directory: Path | str) -> subprocess.CompletedProcess[str]:
    """clusterd in the foreground, until it ends by itself."""
    command = [sys.executable, "-m", "clusterd", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def check(cluster: Cluster, node: int) -> subprocess.CompletedProcess[str]:
    return daemon("--config", cluster.lab.config(node), "--node", f"n{node}", "--check", directory=ROOT)


@pytest.fixture(scope="module")
def reloaded_of_module(lab_of_module: Lab) -> Cluster:
    return lab_of_module(3, "totem.token=1000")


@pytest.fixture
def reloaded(reloaded_of_module: Cluster) -> Cluster:
    """Whole, with the configuration that the test before left, on all disks."""
    cluster = reloaded_of_module.mended()
    eventually("one configuration", lambda: len({cluster.config(node).read_text() for node in (1, 2, 3)}) == 1)
    return cluster


def test_a_wrong_file_changes_nothing(reloaded: Cluster) -> None:
    """Every error at once, with its line, exit 2; the daemon keeps what it has. What one member cannot take is
    refused for all, and it is named."""
    cluster = reloaded
    path = cluster.config(1)
    good, known = path.read_text(), version(cluster, 1)
    wrong = good.replace("transport: knet", "transport: pigeon").replace("quorum_votes: 1", "quorum_votes: many", 1)
    path.write_text(edit(wrong, ("secauth: on", "secauth: perhaps")))
    code, answer, stderr = cluster.ctl(1, "reload")
    assert (code, answer["error"]["code"]) == (2, "CONFIG")
    problems = answer["error"]["problems"]
    assert len(problems) == 3
    for problem in problems:
        assert re.match(rf"{re.escape(str(path))}:\d+: ", problem), problem
    assert stderr.count("\n") == 1
    checked = check(cluster, 1)
    assert checked.returncode == 2
    assert sorted(checked.stderr.splitlines()) == sorted(problems)
    os.kill(cluster.pid(1), signal.SIGHUP)
    eventually("said in the log", lambda: cluster.log(1).count("configuration not changed") >= 3)

    # Good here, but node 3 does not have its new address.
    path.write_text(edit(good, (re.escape(cluster.lab.addresses(3)[1]), "203.0.113.3")))
    code, answer, _ = cluster.ctl(1, "reload")
    refused = code, answer
    # A version that is not above the one in force.
    path.write_text(good.replace("secauth: on", "secauth: yes"))
    code, answer, _ = cluster.ctl(1, "reload")
    assert code == 2 and "config_version" in answer["error"]["problems"][0]
    # A cluster's name stays.
    path.write_text(edit(good, ("cluster_name: .*", "cluster_name: other")))
    assert cluster.ctl(1, "reload")[0] == 2
    for node in (1, 2, 3):
        assert version(cluster, node) == known
    assert cluster.config(2).read_text() == good
    path.write_text(good)
    code, answer = refused
    assert code == 2, answer
    assert "n3" in answer["error"]["problems"][0] and "203.0.113.3" in answer["error"]["problems"][0]


def test_who_was_down_gets_the_configuration_when_it_returns(reloaded: Cluster) -> None:
    """A member that missed a reload learns the configuration at the barrier; so does one of two after a full stop."""
    cluster = reloaded
    known = version(cluster, 1)
    cluster.stop(3)
    eventually("two left", lambda: cluster.members(1) == [1, 2])
    path = cluster.config(1)
    path.write_text(edit(path.read_text(), (r"token: \d+", "token: 1500")))
    assert cluster.ctl(1, "reload")[0] == 0
    assert "token: 1500" not in cluster.config(3).read_text()
    cluster.start(3)
    cluster.whole()
    eventually("the next version", lambda: version(cluster, 3) == known + 1)
    eventually("written to disk", lambda: cluster.config(3).read_text() == path.read_text())
    cluster.equal()


def test_values_change_live_on_all_nodes(reloaded: Cluster) -> None:
    """Token, priorities and votes by one command on one node, then by SIGHUP on another; nobody leaves the ring."""
    cluster = reloaded
    ring, known = cluster.ring(), version(cluster, 1)
    path = cluster.config(2)
    path.write_text(edit(path.read_text(), (r"token: \d+", "token: 2000")))
    assert check(cluster, 2).returncode == 0
    code, answer, _ = cluster.ctl(2, "reload")
    assert code == 0, answer
    assert answer["config_version"] == known + 1 and answer["needs_restart"] == []
    assert any("token" in line for line in answer["changed"])
    for node in (1, 2, 3):
        eventually("the next version", lambda node=node: version(cluster, node) == known + 1)
        assert 2.0 <= cluster.status(node)["ring"]["detection_s"] <= 2.3
        eventually("the file on disk", lambda node=node: "token: 2000" in cluster.config(node).read_text())

    path = cluster.config(3)
    text = edit(path.read_text(), ("linknumber: 1", "linknumber: 1\n        knet_link_priority: 9"))
    first, rest = text.split("nodeid: 2", 1)
    path.write_text(first + "nodeid: 2" + rest.replace("quorum_votes: 1", "quorum_votes: 2", 1))
    os.kill(cluster.pid(3), signal.SIGHUP)
    for node in (1, 2, 3):
        eventually("the next version", lambda node=node: version(cluster, node) == known + 2)
        eventually("four votes", lambda node=node: cluster.status(node)["quorum"]["votes"]["expected"] == 4)
        eventually(
            "data on link 1", lambda node=node: {r["link"] for r in cluster.links(node)["links"] if r["active"]} == {1}
        )
    quorum = cluster.status(1)["quorum"]
    assert quorum["votes"] == {"expected": 4, "highest": 4, "total": 4, "quorum": 3}
    assert [row["votes"] for row in cluster.status(1)["nodes"]] == [1, 2, 1]
    assert [cluster.ring(node) for node in (1, 2, 3)] == [ring] * 3
    code, answer, _ = cluster.ctl(1, "reload")
    assert (code, answer["changed"]) == (0, [])


def test_a_node_is_added_and_another_removed(lab: Lab) -> None:
    """The text is edited on one node and reloaded; the new daemon starts with an empty state directory and becomes a
    data member; a removed node ends, and stays out when started again (X2)."""
    cluster = lab(3)
    ring_members = [1, 2, 3, 4]
    with cluster.client(1) as client:
        client.put("a", b"x" * 300_000)
    home = Path(cluster.lab.directory) / "n4"
    (home / "state").mkdir(parents=True)
    shutil.copy(Path(cluster.lab.node_dir(1)) / "authkey", home / "authkey")
    secret = os.urandom(32)
    (home / "identity.key").write_bytes(secret)
    (home / "identity.key").chmod(0o600)
    addresses = [f"127.{cluster.lab.base}.{link}.4" for link in range(2)]
    block = "".join(f"        ring{link}_addr: {address}\n" for link, address in enumerate(addresses))
    node = (
        f"    node {{\n        nodeid: 4\n        name: n4\n        quorum_votes: 1\n{block}"
        f"        identity: {authkey.public_half(secret).hex()}\n    }}\n"
    )
    path = cluster.config(2)
    path.write_text(edit(path.read_text(), ("nodelist {\n", f"nodelist {{\n{node}")))
    code, answer, _ = cluster.ctl(2, "reload")
    assert code == 0, answer
    assert any("n4" in line and "added" in line for line in answer["changed"])
    # Quorum is as before until the new node joins (DESIGN 4, Q2).
    assert cluster.status(1)["quorum"]["votes"]["expected"] == 3

    (home / "corosync.conf").write_text(path.read_text())
    cluster.lab.ids.append(4)
    cluster.lab.votes.append(1)
    cluster.start(4)
    try:
        cluster.whole()
        for number in ring_members:
            assert cluster.status(number)["quorum"]["votes"]["expected"] == 4
        cluster.equal()
        # A data member: with it, two of the old three may go.
        with cluster.client(4) as client:
            assert 4 in client.put("b", b"from the new one")["durable_on"]
        cluster.kill(1)
        cluster.together(2, 3, 4)
        cluster.writable(2, 3, 4)

        # Remove the one that is down, then one that runs.
        text = path.read_text()
        without = re.sub(r"    node \{\n(?:(?!    \}).*\n)*?        nodeid: 1\n(?:(?!    \}).*\n)*    \}\n", "", text)
        assert without != text
        path.write_text(edit(without))
        code, answer, _ = cluster.ctl(2, "reload")
        assert code == 0, answer
        eventually("three expected", lambda: cluster.status(2)["quorum"]["votes"]["expected"] == 3)
        # Node 4 writes the version that node 2 asked for into its own file: edit that one.
        eventually("the file on disk", lambda: cluster.config(4).read_text() == cluster.config(2).read_text())
        text = cluster.config(4).read_text()
        without = re.sub(r"    node \{\n(?:(?!    \}).*\n)*?        nodeid: 3\n(?:(?!    \}).*\n)*    \}\n", "", text)
        cluster.config(4).write_text(edit(without))
        code, answer, _ = cluster.ctl(4, "reload")
        assert code == 0 and answer["changed"], answer
        eventually("node 3 ended", lambda: process.look(cluster.lab.node_dir(3)).pid is None)
        assert "removed from the cluster" in cluster.log(3)
        cluster.together(2, 4)
        cluster.writable(2, 4)
        with cluster.client(2) as client:
            client.put("c", b"two left")
        ring = cluster.ring(2)
        cluster.lab.ids[:] = [1, 2, 3, 4]
        cluster.start(1, 3)
        eventually("node 1 is told", lambda: "removed from the cluster on" in cluster.log(1))
        assert cluster.members(1) != cluster.members(2)
        assert cluster.ring(2) == ring
    finally:
        cluster.lab.ids[:] = [1, 2, 3, 4]
        cluster.kill(1, 3, 4)
