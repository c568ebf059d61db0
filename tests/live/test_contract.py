"""The JSON contract of the command line, word for word against real daemons: names, types, order, exit statuses.

Written from the contract's page alone, not from the code. FLOAT is a JSON number with a point ("seconds are floats"),
INT one without; Maybe(X) is X or null ("unknown = null, never absent"). Fields may be added, so more keys are fine.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.cluster import Cluster, clusterctl, eventually, labs

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

FLOAT, INT, STR, BOOL = float, int, str, bool


class Maybe:
    def __init__(self, inner: Any) -> None:
        self.inner = inner


class Word:
    """One of some words."""

    def __init__(self, words: str) -> None:
        self.words = words.split("|")


RING = re.compile(r"[0-9]+\.[0-9a-f]+")
VOTES = {"expected": INT, "highest": INT, "total": INT, "quorum": INT}
QUORUM = {
    "time": FLOAT,
    "node_id": INT,
    "ring_id": Maybe(RING),
    "quorate": BOOL,
    "members": [INT],
    "votes": VOTES,
    "flags": [STR],
    "reason": STR,
}
NODE = {"id": INT, "name": STR, "votes": INT, "online": BOOL, "local": BOOL, "addresses": [STR], "lag": Maybe(INT)}
STORE = {
    "state": Word("synced|syncing|damaged|disk_error"),
    "writable": BOOL,
    "revision": INT,
    "digest": re.compile("[0-9a-f]+"),
    "entries": INT,
    "bytes": INT,
    "durable_revision": INT,
    "durable_on": [INT],
    "durability": Word("disk|memory"),
}
STATUS = {
    "contract": INT,
    "time": FLOAT,
    "node": {"id": INT, "name": STR, "pid": INT, "version": STR, "uptime_s": FLOAT},
    "cluster": {"name": STR, "config_version": INT, "transport": STR, "secure_auth": BOOL},
    "ring": {
        "id": Maybe(RING),
        "phase": Word("operational|gather|commit|recovery"),
        "members": [INT],
        "detection_s": Maybe(FLOAT),
    },
    "quorum": QUORUM,
    "nodes": [NODE],
    "store": STORE,
}
LINK = {
    "peer": INT,
    "name": STR,
    "link": INT,
    "local": STR,
    "remote": STR,
    "state": Word("up|down|disabled"),
    "active": BOOL,
    "priority": INT,
    "latency_s": Maybe(FLOAT),
    "jitter_s": Maybe(FLOAT),
    "loss": FLOAT,
    "mtu": Maybe(INT),
    "since": FLOAT,
    "reason": Maybe(STR),
    "tx_packets": INT,
    "rx_packets": INT,
    "tx_bytes": INT,
    "rx_bytes": INT,
}
LINKS = {
    "links": [LINK],
    "dropped": {"not_authentic": INT, "replayed": INT, "malformed": INT, "unknown_sender": INT},
}
RELOADED = {"config_version": INT, "changed": [STR], "needs_restart": [STR]}
WRITTEN = {"path": STR, "revision": INT, "size": INT, "durable_on": [INT]}
CHANGED = {"path": STR, "revision": INT}
ENTRY = {
    "path": STR,
    "type": Word("file|dir|link"),
    "size": INT,
    "revision": INT,
    "mtime": FLOAT,
    "writer": Maybe(INT),
}
LISTING = {"path": STR, "revision": INT, "entries": [ENTRY]}
FILE = {"path": STR, "revision": INT, "size": INT, "mtime": FLOAT, "encoding": Word("utf-8|base64"), "data": STR}
DISCARDED = {"discarded": [{"time": FLOAT, "id": STR, "revisions": [INT], "entries": INT, "file": STR}]}
SIGNALLED = {"nodes": [{"id": INT, "pid": Maybe(INT), "time": FLOAT}]}
LAB = {
    "lab": STR,
    "dir": STR,
    "base": INT,
    "links": INT,
    "nodes": [
        {
            "id": INT,
            "name": STR,
            "state": Word("running|paused|stopped|failed"),
            "pid": Maybe(INT),
            "exit": Maybe(INT),
            "socket": STR,
            "log": STR,
            "config": STR,
            "addresses": [STR],
        }
    ],
    "cuts": [{"from": INT, "to": INT, "link": INT}],
}
ERROR = {"error": {"code": STR, "message": STR, "hint": STR, "node": Maybe(INT)}}


def check(value: Any, shape: Any, where: str = "$") -> None:
    """Fails with the place where the value is not of the shape."""
    if isinstance(shape, Maybe):
        if value is not None:
            check(value, shape.inner, where)
    elif isinstance(shape, Word):
        assert value in shape.words, (where, value)
    elif isinstance(shape, re.Pattern):
        assert isinstance(value, str) and shape.fullmatch(value), (where, value)
    elif isinstance(shape, dict):
        assert isinstance(value, dict), (where, value)
        for key, inner in shape.items():
            assert key in value, f"{where}.{key} is absent"
            check(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), (where, value)
        for index, one in enumerate(value):
            check(one, shape[0], f"{where}[{index}]")
    else:
        assert type(value) is shape, (where, value, shape)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, two links; each test leaves them whole."""
    with labs(tmp_path_factory.mktemp("contract")) as make:
        yield make(3)


def ask(cluster: Cluster, line: str, shape: Any, status: int = 0, stdin: bytes = b"") -> Any:
    """One command at node 1: one object on one line of stdout; stderr has one line if it failed, else none."""
    done = clusterctl("--lab", cluster.name, "--node", "1", *line.split(), "--json", stdin=stdin)
    assert done.returncode == status, (line, done.stdout, done.stderr)
    assert done.stdout.count(b"\n") == 1 and done.stdout.endswith(b"\n")
    assert done.stderr.count(b"\n") == (0 if status == 0 else 1), done.stderr
    answer = json.loads(done.stdout)
    check(answer, shape)
    return answer


def lab(cluster: Cluster, line: str, shape: Any = LAB, status: int = 0) -> Any:
    done = clusterctl("--lab", cluster.name, "lab", *line.split(), "--json")
    assert done.returncode == status, (line, done.stdout, done.stderr)
    assert done.stderr.count(b"\n") == (0 if status == 0 else 1)
    answer = json.loads(done.stdout)
    check(answer, shape)
    return answer


def sorted_by(rows: list[Any], *keys: str) -> bool:
    order = [tuple(row[key] for key in keys) for row in rows]
    return order == sorted(order)


def test_looking(cluster: Cluster) -> None:
    """status, quorum, wait-quorum, nodes, links; lists sort by id; `time` is Unix time."""
    status = ask(cluster, "status", STATUS)
    assert status["contract"] == 1
    assert abs(status["time"] - time.time()) < 60
    assert (status["node"]["id"], status["node"]["name"], status["node"]["pid"]) == (1, "n1", cluster.pid(1))
    assert (status["cluster"]["transport"], status["cluster"]["secure_auth"]) == ("knet", True)
    assert status["ring"]["members"] == status["quorum"]["members"] == [1, 2, 3]
    assert status["quorum"]["flags"] == ["Quorate"]
    nodes = ask(cluster, "nodes", {"nodes": [NODE]})["nodes"]
    assert [row["id"] for row in nodes] == [row["id"] for row in status["nodes"]] == [1, 2, 3]
    assert [row["local"] for row in nodes] == [True, False, False]
    assert nodes[1]["addresses"] == cluster.lab.addresses(2)
    assert ask(cluster, "quorum", QUORUM)["quorate"] is True
    assert ask(cluster, "wait-quorum --timeout 20", QUORUM)["node_id"] == 1
    links = ask(cluster, "links", LINKS)["links"]
    assert sorted_by(links, "peer", "link")
    assert {(row["peer"], row["link"]) for row in links} == {(peer, link) for peer in (2, 3) for link in (0, 1)}
    first = links[0]
    assert first["local"] == f"{cluster.lab.addresses(1)[0]}:5405"
    assert first["remote"] == f"{cluster.lab.addresses(2)[0]}:5405"
    assert (first["state"], first["reason"], first["mtu"]) == ("up", None, 1500)
    assert 0 <= first["loss"] <= 1


def test_files(cluster: Cluster) -> None:
    """fs put, cas, cat, ls, stat, mkdir, mv, rm, discarded; a leading / is allowed; +1 per change; lists by path."""
    assert ask(cluster, "fs mkdir contract", CHANGED)["path"] == "contract"
    first = ask(cluster, "fs put /contract/b", WRITTEN, stdin=b"hello")
    assert (first["path"], first["size"]) == ("contract/b", 5)
    assert first["durable_on"] == sorted(first["durable_on"]) and len(first["durable_on"]) >= 2
    second = ask(cluster, "fs cas contract/a --revision 0", WRITTEN, stdin=b"\xff")
    assert second["revision"] == first["revision"] + 1
    lost = ask(cluster, "fs cas contract/a --revision 0", ERROR, 6)["error"]
    assert (lost["code"], lost["current_revision"], lost["node"]) == ("CONFLICT", second["revision"], 1)
    again = ask(cluster, f"fs cas contract/a --revision {second['revision']} -", WRITTEN, stdin=b"\xfe")
    text = ask(cluster, "fs cat contract/b --linearizable", FILE)
    assert (text["encoding"], text["data"], text["size"]) == ("utf-8", "hello", 5)
    assert ask(cluster, "fs cat contract/a", FILE)["encoding"] == "base64"
    entry = ask(cluster, "fs stat contract/b", ENTRY)
    assert (entry["path"], entry["type"], entry["revision"], entry["writer"]) == (
        "contract/b",
        "file",
        first["revision"],
        1,
    )
    everything = ask(cluster, "fs ls -R", LISTING)
    assert everything["path"] == "" and everything["revision"] == again["revision"]
    assert sorted_by(everything["entries"], "path")
    assert {"contract", "contract/a"} <= {row["path"] for row in everything["entries"]}
    assert ask(cluster, "fs mkdir contract/x/y -p", CHANGED)["path"] == "contract/x/y"
    assert ask(cluster, "fs mv contract/b contract/c", CHANGED)["path"] in ("contract/b", "contract/c")
    assert ask(cluster, "fs rm contract -r", CHANGED)["path"] == "contract"
    ask(cluster, "fs discarded", DISCARDED)


@pytest.mark.parametrize(
    "line, status, code",
    [
        ("fs cat none", 7, "NOT_FOUND"),
        ("fs put none/below", 7, "NOT_FOUND"),
        ("fs rm none", 7, "NOT_FOUND"),
        ("expected 0", 2, "USAGE"),
        ("fs cas x", 2, "USAGE"),
        ("status --bogus", 2, "USAGE"),
        ("fs put a /no/such/file", 1, "FAILED"),
        ("fs watch --from 999999999", 2, "USAGE"),
        ("wait-quorum --timeout nan", 2, "USAGE"),
    ],
)
def test_what_is_wrong(cluster: Cluster, line: str, status: int, code: str) -> None:
    """On failure stdout has the error object; stderr always has one line."""
    assert ask(cluster, line, ERROR, status)["error"]["code"] == code


def test_same_revision_is_same_digest(cluster: Cluster) -> None:
    """Same revision on two synced nodes <=> same digest."""
    ask(cluster, "fs put digest", WRITTEN, stdin=b"x")
    done = [cluster.ctl(node, "fs", "cat", "digest", "--linearizable") for node in (1, 2, 3)]
    assert [status for status, _, _ in done] == [0, 0, 0]
    stores = [cluster.status(node)["store"] for node in (1, 2, 3)]
    assert len({(store["revision"], store["digest"]) for store in stores}) == 1
    ask(cluster, "fs rm digest", CHANGED)
    assert cluster.status(1)["store"]["digest"] != stores[0]["digest"]


def test_changing_the_cluster(cluster: Cluster) -> None:
    """expected N prints `quorum`'s object after the change; reload and key rotate what changed, and 2 with lines."""
    assert ask(cluster, "expected 3", QUORUM)["votes"]["expected"] == 3
    config = cluster.config(1)
    before = config.read_text()
    config.write_text(before.replace("link_mode: passive", "link_mode: sideways"))
    refused = ask(cluster, "reload", ERROR, 2)["error"]
    assert refused["code"] == "CONFIG"
    assert any(re.search(r":\d+: .*sideways", line) for line in refused["problems"])
    config.write_text(before.replace("config_version: 1", "config_version: 2"))
    answer = ask(cluster, "reload", RELOADED)
    assert (answer["config_version"], answer["needs_restart"]) == (2, [])
    assert ask(cluster, "key rotate", RELOADED)["changed"]
    eventually("the file on disk", lambda: cluster.config(3).read_text() == config.read_text())


def test_the_lab(cluster: Cluster) -> None:
    """status, pause, resume, kill, stop, start, cut, heal: what each prints, and that again is fine."""
    found = lab(cluster, "status")
    assert (found["lab"], found["links"], found["cuts"]) == (cluster.name, 2, [])
    assert [row["name"] for row in found["nodes"]] == ["n1", "n2", "n3"]
    assert found["nodes"][2]["addresses"] == [f"127.{found['base']}.{link}.3" for link in (0, 1)]
    pid = cluster.pid(3)
    before = time.time()
    (signalled,) = lab(cluster, "pause 3", SIGNALLED)["nodes"]
    assert (signalled["id"], signalled["pid"]) == (3, pid) and before <= signalled["time"] <= time.time()
    assert lab(cluster, "pause n3", SIGNALLED)["nodes"][0]["pid"] == pid
    assert lab(cluster, "status")["nodes"][2]["state"] == "paused"
    assert lab(cluster, "resume 3", SIGNALLED)["nodes"][0]["pid"] == pid
    assert lab(cluster, "kill 3", SIGNALLED)["nodes"][0]["pid"] == pid
    assert lab(cluster, "kill 3", SIGNALLED)["nodes"][0]["id"] == 3
    (row,) = lab(cluster, "status")["nodes"][2:]
    assert (row["state"], row["pid"], row["exit"]) == ("stopped", None, 137)
    done = clusterctl("--lab", cluster.name, "--node", "3", "status", "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (3, "NO_DAEMON")
    assert lab(cluster, "start 3")["nodes"][2]["state"] == "running"
    assert cluster.members(3) == [1, 2, 3]
    lab(cluster, "stop 3", SIGNALLED)
    assert (lab(cluster, "status")["nodes"][2]["exit"]) == 0
    lab(cluster, "start 3")
    cuts = lab(cluster, "cut 1 3 --link 1 --one-way")["cuts"]
    assert cuts == [{"from": 1, "to": 3, "link": 1}]
    cuts = lab(cluster, "cut 2 3 --link 1")["cuts"]
    assert sorted_by(cuts, "from", "to", "link") and len(cuts) == 3
    assert lab(cluster, "heal 1 3 --link 1 --one-way")["cuts"] == [
        {"from": 2, "to": 3, "link": 1},
        {"from": 3, "to": 2, "link": 1},
    ]
    assert lab(cluster, "heal")["cuts"] == []
    lab(cluster, "kill 9", ERROR, 7)
    lab(cluster, "cut 1 1", ERROR, 2)
    lab(cluster, "up 2", ERROR, 6)


def test_without_quorum(cluster: Cluster) -> None:
    """quorum: 4; status: 0; a write is refused within 1 s and nothing happened; wait-quorum gives up with 124."""
    lab(cluster, "cut 1 all")
    try:
        gone = time.monotonic() + 20
        while cluster.status(1)["quorum"]["quorate"]:
            assert time.monotonic() < gone
            time.sleep(0.02)
        revision = ask(cluster, "status", STATUS)["store"]["revision"]
        assert ask(cluster, "quorum", QUORUM, 4)["quorate"] is False
        assert ask(cluster, "fs put refused", ERROR, 4)["error"]["code"] == "NO_QUORUM"
        assert ask(cluster, "fs ls", LISTING)["revision"] == revision
        assert ask(cluster, "wait-quorum --timeout 0.3", ERROR, 124)["error"]["code"] == "TIMEOUT"
        config = cluster.config(1)
        before = config.read_text()
        version = cluster.status(1)["cluster"]["config_version"]
        config.write_text(before.replace(f"config_version: {version}", f"config_version: {version + 1}"))
        assert ask(cluster, "reload", ERROR, 4)["error"]["code"] == "NO_QUORUM"
        config.write_text(before)
        assert ask(cluster, "key rotate", ERROR, 4)["error"]["code"] == "NO_QUORUM"
    finally:
        lab(cluster, "heal")
    ask(cluster, "wait-quorum --timeout 20", QUORUM)
