"""An upgrade: daemons, state, configuration and clients of the version before, with those of this one."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cfs.io.discarded import discarded
from clusterd import __version__
from clusterd.client import Client, ClientError, OutcomeUnknown
from clusterd.control.shapes import Quorum
from clusterd.lab import actions, layout
from tests.all import HISTORY
from tests.live.cluster import Cluster, Writer, check_written, clusterctl, eventually
from tests.live.former import COMMIT, MARK, Former

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Former:
    try:
        return Former(tmp_path_factory.mktemp("former"))
    except LookupError as error:
        pytest.skip(
            f"the sources of the version before ({COMMIT[:12]}) are not here: this needs {HISTORY} "
            f"(`git fetch --unshallow` makes one of a shallow clone): {error}"
        )


@pytest.fixture
def cluster(former: Former, tmp_path: Path) -> Iterator[Cluster]:
    """Three daemons of the version before."""
    name = f"former-{os.getpid()}"
    try:
        yield former.up(name, tmp_path / "lab")
    finally:
        if layout.load(name) is not None:
            actions.down(name, keep=False)


def upgrade(former: Former, cluster: Cluster, node: int) -> None:
    """A clean stop, and this version on the same state."""
    cluster.stop(node)
    cluster.start(node)
    assert not former.runs(cluster, node)


def no_damage_seen(cluster: Cluster) -> None:
    """Each store was read as it lay there: a format that is not understood counts as damage, which is mended from a log
    that reaches back far enough, or from others, so that the files alone do not show it."""
    for node in (1, 2, 3):
        assert [one for one in discarded(cluster.state_dir(node) / "store") if one.kind == "damaged"] == [], node


class Witness(threading.Thread):
    """Listens to the verdicts of one node, from its present one on, until that node is stopped."""

    def __init__(self, cluster: Cluster, node: int) -> None:
        super().__init__(daemon=True)
        self._stream = Client(cluster.lab.socket(node), name="witness").watch_quorum()
        self.verdicts = [self._told(next(self._stream))]
        self.start()

    def run(self) -> None:
        try:
            for verdict in self._stream:
                self.verdicts.append(self._told(verdict))
        except ClientError:
            pass  # its node was stopped, as the next one or at the end

    def saw(self, node: int) -> None:
        """Wait until it was told of a ring without this node and then of all again, and never of a lost quorum."""
        members = eventually("both changes", lambda: self._with_and_without(node))
        assert all(quorate for quorate, _ in self.verdicts), (members, self.verdicts)

    def _with_and_without(self, node: int) -> list[list[int]]:
        members = [members for _, members in self.verdicts]
        gone = any(node not in those for those in members)
        return members if gone and members[-1] == [1, 2, 3] else []

    @staticmethod
    def _told(verdict: Quorum) -> tuple[bool, list[int]]:
        return verdict["quorate"], list(verdict["members"])


def test_the_daemons_of_before_are_those_of_before(former: Former, cluster: Cluster) -> None:
    """Or all of this would show nothing: each says so itself, and none of this version does."""
    assert [cluster.status(node)["node"]["version"] for node in (1, 2, 3)] == [MARK] * 3
    assert former.clusterctl("--version")[1] == {"version": MARK}
    upgrade(former, cluster, 2)
    assert [cluster.status(node)["node"]["version"] for node in (1, 2, 3)] == [MARK, __version__, MARK]
    assert json.loads(clusterctl("--version", "--json").stdout) == {"version": __version__}


def test_node_by_node_no_quorum_and_no_write_is_lost(former: Former, cluster: Cluster) -> None:
    """Each is stopped cleanly and started as this version, while a client writes at another one: the two that stay are
    quorate all the time, and no write is refused or lost."""
    written: dict[str, bytes] = {}
    for node in (1, 2, 3):
        stay = [other for other in (1, 2, 3) if other != node]
        witnesses = [Witness(cluster, other) for other in stay]
        with Writer(cluster, stay[0], f"while-{node}") as writer:
            writer.more(10)
            upgrade(former, cluster, node)
            writer.more(10)
            cluster.whole()
            writer.more(10)
        assert writer.problems == []
        written |= writer.acknowledged
        for witness in witnesses:
            witness.saw(node)
    cluster.equal()
    for node in (1, 2, 3):
        check_written(cluster, node, written)
    no_damage_seen(cluster)


@pytest.mark.parametrize(("upgraded", "rotates"), [((1,), 1), ((1, 2), 3)])
def test_a_ring_of_both_does_all_that_a_ring_does(
    former: Former, cluster: Cluster, upgraded: tuple[int, ...], rotates: int
) -> None:
    """Writes at each node; a new configuration, asked of one of this version and of one of the other; a new cluster
    key."""
    for node in upgraded:
        upgrade(former, cluster, node)
        cluster.whole()
    for node in (1, 2, 3):
        with cluster.client(node) as client:
            client.put(f"from-{node}", b"%d" % node)
    for asked, token in ((1, 2900), (3, 2800)):
        change_token(cluster, asked, token)
    status, answer, stderr = cluster.ctl(rotates, "key", "rotate")
    assert status == 0, (answer, stderr)
    cluster.equal()
    for node in (1, 2, 3):
        with cluster.client(node) as client:
            assert [client.cat(f"from-{other}")["data"] for other in (1, 2, 3)] == [b"1", b"2", b"3"]


def change_token(cluster: Cluster, asked: int, token: int) -> None:
    """By `reload` at one node, and it is in the file of each."""
    path = cluster.config(asked)
    text = re.sub(r"token: \d+", f"token: {token}", path.read_text())
    version = int(re.findall(r"config_version: (\d+)", text)[0])
    path.write_text(text.replace(f"config_version: {version}", f"config_version: {version + 1}"))
    status, answer, stderr = cluster.ctl(asked, "reload")
    assert status == 0, (answer, stderr)
    for node in (1, 2, 3):
        file = cluster.config(node)
        eventually(f"the file of node {node}", lambda file=file: f"token: {token}" in file.read_text())


def test_clients_of_each_with_daemons_of_the_other(former: Former, cluster: Cluster) -> None:
    """The socket's protocol is the same: node 1 is of this version, node 2 of the one before."""
    upgrade(former, cluster, 1)
    cluster.whole()
    for command in (("status",), ("quorum",), ("nodes",), ("links",), ("fs", "ls")):
        status, ours, stderr = cluster.ctl(2, *command)
        assert status == 0, (command, stderr)
        status, theirs, stderr = former.clusterctl("--socket", cluster.lab.socket(1), *command)
        assert status == 0, (command, stderr)
        assert theirs.keys() <= ours.keys() or theirs.keys() >= ours.keys()
    status, _, stderr = former.clusterctl("--socket", cluster.lab.socket(1), "fs", "put", "theirs", stdin=b"old")
    assert status == 0, stderr
    with cluster.client(1) as new, cluster.client(2) as old:
        assert old.cat("theirs", linearizable=True)["data"] == b"old"
        known = old.status()["store"]["revision"]
        new.put("ours", b"new")
        assert next(old.watch(revision=known))["path"] == "ours"


def test_all_stopped_and_started_as_the_other_version(former: Former, cluster: Cluster) -> None:
    """Nothing but the files goes from one version to the other, and back: the same nodes, configuration, identities and
    files, and rings are numbered on."""
    with cluster.client(1) as client:
        client.put("old", b"by the one before")
    kept, ring = what_stays(cluster), ring_number(cluster)

    def start_former(*nodes: int) -> None:
        for node in nodes:
            former.start(cluster, node)

    for start, is_former, name in ((cluster.start, False, "new"), (start_former, True, "back")):
        cluster.stop(1, 2, 3)
        start(1, 2, 3)
        cluster.whole()
        assert [former.runs(cluster, node) for node in (1, 2, 3)] == [is_former] * 3
        assert what_stays(cluster) == kept
        assert ring_number(cluster) > ring
        ring = ring_number(cluster)
        with cluster.client(2) as client:
            client.put(name, b"by the next")
    cluster.equal()
    for node in (1, 2, 3):
        check_written(cluster, node, {"old": b"by the one before", "new": b"by the next", "back": b"by the next"})
    no_damage_seen(cluster)


def what_stays(cluster: Cluster) -> list[tuple[int, str, bytes, bytes]]:
    """Of each node: id and name by its own word, its configuration and its cluster key."""
    found = []
    for node in (1, 2, 3):
        said = cluster.status(node)["node"]
        key = (Path(cluster.lab.node_dir(node)) / "authkey").read_bytes()
        found.append((said["id"], said["name"], cluster.config(node).read_bytes(), key))
    return found


def ring_number(cluster: Cluster) -> int:
    """The number of its ring, which no two rings share, not those before a restart either."""
    return int(cluster.ring().split(".")[1], 16)


def test_node_by_node_back_to_the_version_before(former: Former, cluster: Cluster) -> None:
    """What this version wrote the one before reads: an administrator who is not content goes back the same way."""
    for node in (1, 2, 3):
        upgrade(former, cluster, node)
        cluster.whole()
    written: dict[str, bytes] = {}
    for node in (1, 2, 3):
        other = node % 3 + 1
        witness = Witness(cluster, other)
        with Writer(cluster, other, f"while-{node}") as writer:
            writer.more(10)
            cluster.stop(node)
            former.start(cluster, node)
            writer.more(10)
            cluster.whole()
        assert writer.problems == []
        written |= writer.acknowledged
        witness.saw(node)
    cluster.equal()
    for node in (1, 2, 3):
        check_written(cluster, node, written)
    no_damage_seen(cluster)


def test_the_state_of_daemons_that_were_killed(former: Former, cluster: Cluster) -> None:
    """All are killed under writes, and start as this version, which reads the log: what was acknowledged is there."""
    with Writer(cluster, 1, "a") as writer:
        writer.more(30)
        cluster.kill(1, 2, 3)
        kept = dict(writer.acknowledged)
    assert all(isinstance(error, OutcomeUnknown) for error in writer.problems[:1])
    cluster.start(1, 2, 3)
    cluster.whole()
    assert [former.runs(cluster, node) for node in (1, 2, 3)] == [False, False, False]
    cluster.equal()
    with cluster.client(3) as client:
        for path, data in kept.items():
            assert int(client.cat(path)["data"]) >= int(data)  # one write may have been under way, never answered
    no_damage_seen(cluster)
