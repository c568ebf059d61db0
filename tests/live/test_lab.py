"""The lab and the demo with real daemons, through the command line as people and scripts use it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clusterd.lab import layout

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]


class Ctl:
    """clusterctl on one lab."""

    def __init__(self, name: str) -> None:
        self.name = name

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "clusterd.cli", "--lab", self.name, *map(str, words)]

    def run(self, *words: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self.command(*words), input=stdin, capture_output=True, cwd=ROOT, timeout=120)

    def ok(self, *words: object, stdin: bytes = b"") -> Any:
        done = self.run(*words, "--json", stdin=stdin)
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert done.stdout.count(b"\n") == 1
        return json.loads(done.stdout)

    def fails(self, status: int, *words: object) -> Any:
        done = self.run(*words, "--json")
        assert done.returncode == status, (done.stdout, done.stderr)
        assert done.stderr.count(b"\n") == 1
        return json.loads(done.stdout)["error"]

    def at(self, node: int, *words: object, stdin: bytes = b"") -> Any:
        return self.ok("--node", node, *words, stdin=stdin)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ctl]:
    """Three daemons in a directory far too deep for a socket's path; the tests leave them whole."""
    deep = tmp_path_factory.mktemp("lab").joinpath(*["a-directory-with-a-rather-long-name"] * 4) / "lab"
    ctl = Ctl(f"test-{os.getpid()}")
    try:
        status = ctl.ok("lab", "up", "--dir", deep, "--set", "totem.token=800", "--timeout", 60)
        assert status["dir"] == str(deep)
        yield ctl
    finally:
        ctl.run("lab", "down")
    assert not deep.exists()
    assert ctl.fails(7, "lab", "status")["code"] == "NOT_FOUND"


def test_up_returns_when_all_are_members_quorate_and_synced(lab: Ctl):
    """And `lab status` has the promised fields."""
    found = lab.ok("lab", "status")
    assert set(found) == {"lab", "dir", "base", "links", "nodes", "cuts"}
    assert (found["lab"], found["links"], found["cuts"]) == (lab.name, 2, [])
    for ident, row in enumerate(found["nodes"], 1):
        assert (row["id"], row["name"], row["state"], row["exit"]) == (ident, f"n{ident}", "running", None)
        assert row["addresses"] == [f"127.{found['base']}.{link}.{ident}" for link in (0, 1)]
        assert Path(row["config"]).parent.joinpath("pid").read_text() == f"{row['pid']}\n"
        assert Path(row["log"]).exists()
        assert Path(row["socket"]).is_socket()
        status = lab.at(ident, "status")
        assert status["node"]["pid"] == row["pid"]
        assert (status["ring"]["members"], status["quorum"]["quorate"]) == ([1, 2, 3], True)
        assert (status["store"]["state"], status["store"]["writable"]) == ("synced", True)


def test_up_again_is_fine_with_the_same_shape_only(lab: Ctl):
    """Already up with the same shape: 0; other: 6."""
    before = lab.ok("lab", "status")
    assert lab.ok("lab", "up", "--set", "totem.token=800") == before
    assert lab.fails(6, "lab", "up")["code"] == "CONFLICT"
    assert lab.fails(6, "lab", "up", 5, "--set", "totem.token=800")["code"] == "CONFLICT"


def test_kill_and_start(lab: Ctl):
    """A killed node is stopped: commands to it are 3; it returns with the state it had, and start waits for that."""
    pid = lab.ok("lab", "status")["nodes"][1]["pid"]
    written = lab.at(1, "fs", "put", "kept", stdin=b"before the kill")
    (record,) = lab.ok("lab", "kill", 2)["nodes"]
    assert (record["id"], record["pid"]) == (2, pid)
    error = lab.fails(3, "--node", 2, "status")
    assert (error["code"], error["node"], error["hint"]) == ("NO_DAEMON", 2, f"clusterctl --lab {lab.name} lab start 2")
    row = lab.ok("lab", "status")["nodes"][1]
    assert (row["state"], row["pid"], row["exit"]) == ("stopped", None, 137)
    lab.ok("lab", "start", 2)
    status = lab.at(2, "status")
    assert (status["ring"]["members"], status["store"]["state"]) == ([1, 2, 3], "synced")
    assert status["store"]["revision"] >= written["revision"]
    assert lab.at(2, "fs", "cat", "kept")["data"] == "before the kill"


def test_pause_and_resume(lab: Ctl):
    """A paused node answers nobody, at once; again: 0."""
    lab.ok("lab", "pause", "n3")
    lab.ok("lab", "pause", 3)
    assert lab.ok("lab", "status")["nodes"][2]["state"] == "paused"
    assert lab.fails(3, "--node", 3, "quorum")["hint"] == f"clusterctl --lab {lab.name} lab resume 3"
    lab.ok("lab", "resume", 3)
    lab.ok("lab", "resume", 3)
    assert lab.at(3, "wait-quorum", "--timeout", 20)["quorate"] is True


def test_a_cut_is_in_force_on_return_and_survives_a_restart(lab: Ctl):
    """Node 3 alone: not quorate there, a write refused within a second; started again it stays alone."""
    found = lab.ok("lab", "cut", "1,2", 3)
    assert found["cuts"] == sorted(
        ({"from": a, "to": b, "link": k} for a, b in ((1, 3), (2, 3), (3, 1), (3, 2)) for k in (0, 1)),
        key=lambda row: (row["from"], row["to"], row["link"]),
    )
    deadline = time.monotonic() + 20
    while lab.run("--node", 3, "quorum").returncode != 4:
        assert time.monotonic() < deadline
    began = time.monotonic()
    assert lab.fails(4, "--node", 3, "fs", "put", "x")["code"] == "NO_QUORUM"
    assert time.monotonic() - began < 5  # the refusal takes milliseconds, the interpreter the rest
    lab.ok("lab", "kill", 3)
    lab.ok("lab", "start", 3)
    assert lab.at(3, "status")["ring"]["members"] == [3]
    assert lab.ok("lab", "heal")["cuts"] == []
    assert lab.at(3, "wait-quorum", "--timeout", 20)["members"] == [1, 2, 3]


def test_one_link_cut_moves_traffic_to_the_other(lab: Ctl):
    """`links` says which way data goes and why a path is down."""
    lab.ok("lab", "cut", 1, 2, "--link", 0)
    deadline = time.monotonic() + 20
    while True:
        rows = {(row["peer"], row["link"]): row for row in lab.at(1, "links")["links"]}
        if rows[2, 0]["state"] == "down" and rows[2, 1]["active"]:
            break
        assert time.monotonic() < deadline
    assert rows[2, 0]["reason"]
    assert lab.at(1, "quorum")["members"] == [1, 2, 3]
    lab.ok("lab", "heal", 1, 2)


def test_stop_is_a_clean_leave(lab: Ctl):
    """Exit status 0, and the others know at once."""
    lab.ok("lab", "stop", 3)
    assert lab.ok("lab", "status")["nodes"][2]["exit"] == 0
    assert lab.at(1, "quorum")["members"] == [1, 2]
    lab.ok("lab", "start", 3)


@pytest.mark.parametrize(
    "words, status",
    [
        (("lab", "kill", 4), 7),
        (("lab", "cut", 1, 1), 2),
        (("lab", "cut", 1, 2, "--link", 2), 7),
        (("lab", "heal", 1, 9), 7),
        (("--node", "n7", "status"), 7),
        (("lab", "up", 2, "--votes", "1"), 2),
        (("lab", "up", "--set", "nonsense"), 2),
    ],
)
def test_what_there_is_not(lab: Ctl, words: tuple[object, ...], status: int):
    """NOT_FOUND for nodes and links, USAGE for the rest."""
    lab.fails(status, *words)


def test_people_see_tables(lab: Ctl):
    """The same without --json."""
    out = lab.run("lab", "status").stdout.decode()
    assert f"Lab {lab.name}: 3 nodes, 2 links" in out
    assert out.count("running") == 3
    assert "Quorate:          Yes" in lab.run("--node", 1, "status").stdout.decode()


def test_a_wrong_setting_is_2_with_file_and_line_and_leaves_no_lab(tmp_path: Path):
    """USAGE, CONFIG: wrong option, wrong configuration. The command can be mended and typed again."""
    ctl = Ctl(f"test-bad-{os.getpid()}")
    error = ctl.fails(2, "lab", "up", "2", "--dir", tmp_path / "lab", "--set", "totem.link_mode=sideways")
    assert (error["code"], error["node"]) == ("CONFIG", 1)
    assert any(f"{tmp_path}/lab/n1/corosync.conf:" in line and "sideways" in line for line in error["problems"])
    assert not (tmp_path / "lab").exists()
    assert ctl.fails(7, "lab", "status")["code"] == "NOT_FOUND"


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path):
    """--dir below a file: 1, and nothing is left."""
    (tmp_path / "file").touch()
    ctl = Ctl(f"test-dir-{os.getpid()}")
    assert "cannot be made" in ctl.fails(1, "lab", "up", "--dir", tmp_path / "file" / "lab")["message"]
    assert not Path(layout.home(ctl.name) + ".lock").exists()


def test_addresses_in_use_are_not_taken(tmp_path: Path):
    """--base that somebody uses: a conflict before anything is made."""
    ctl = Ctl(f"test-base-{os.getpid()}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as used:
        used.bind(("127.253.0.1", 5405))
        assert ctl.fails(6, "lab", "up", "--base", 253, "--dir", tmp_path / "lab")["code"] == "CONFLICT"
    assert not (tmp_path / "lab").exists()
    assert not Path(layout.home(ctl.name) + ".lock").exists()


def test_the_demo_holds_and_cleans_up():
    """`make demo`: every step ok, exit 0, nothing left."""
    done = subprocess.run(
        [sys.executable, "-m", "clusterd.cli.demo"], capture_output=True, text=True, cwd=ROOT, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok ") == 7
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "every step held" in done.stdout


def test_an_interrupted_demo_cleans_up():
    """Ctrl-C in the middle: no daemon and no directory stays."""
    demo = subprocess.Popen([sys.executable, "-m", "clusterd.cli.demo"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert demo.stdout is not None
    while " 2. " not in demo.stdout.readline():
        assert demo.poll() is None
    demo.send_signal(signal.SIGINT)
    out, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, out
    assert f"demo-{demo.pid}" not in layout.names()
    assert not Path(layout.home(f"demo-{demo.pid}")).exists()
