"""Every command against a served node: its JSON, its exit status, its one line on stderr."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cfs import errors as cfs
from clusterd.cli.main import main
from clusterd.client import Client
from clusterd.control.errors import ConfigRefused
from clusterd.control.operations import OPERATIONS
from clusterd.lab import layout
from tests.clusterd.conftest import Served
from tests.clusterd.fake import UNKNOWN
from transport import errors


class Run:
    """What one command line gave."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        """The one object on the one line."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        return json.loads(self.out)


Ctl = Callable[..., Run]


@pytest.fixture
def ctl(node: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ctl:
    """Run clusterctl against the served node: `ctl("fs", "put", "a", stdin=b"...")`."""
    monkeypatch.setenv("CLUSTERD_SOCKET", node.path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*words: str, stdin: bytes = b"") -> Run:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        status = main(list(words))
        out, err = capsys.readouterr()
        return Run(status, out, err)

    return run


def shaped(operation: str, answer: Any) -> None:
    """The answer has exactly the promised names and types."""
    OPERATIONS[operation].answer.validate_json(json.dumps(answer), strict=True, extra="forbid")


@pytest.mark.parametrize(
    "line, operation",
    [
        ("status", "status"),
        ("quorum", "quorum"),
        ("wait-quorum", "quorum"),
        ("wait-quorum --timeout 5", "quorum"),
        ("nodes", "nodes"),
        ("links", "links"),
        ("expected 2", "quorum"),
        ("reload", "reload"),
        ("key rotate", "key_rotate"),
        ("fs put new Makefile", "fs_put"),
        ("fs cas new --revision 0 Makefile", "fs_cas"),
        ("fs stat dir/file", "fs_stat"),
        ("fs stat /", "fs_stat"),
        ("fs rm dir -r", "fs_rm"),
        ("fs mkdir dir/sub", "fs_mkdir"),
        ("fs mv dir/file dir/moved", "fs_mv"),
        ("fs discarded", "fs_discarded"),
        ("fs outcome " + "0" * 32, "fs_outcome"),
    ],
)
def test_json_has_the_promised_shape(ctl: Ctl, line: str, operation: str, monkeypatch: pytest.MonkeyPatch):
    """Exactly one object on one line of stdout, nothing on stderr, exit 0."""
    monkeypatch.chdir(Path(__file__).parents[3])
    assert ctl("fs", "mkdir", "dir").status == 0
    assert ctl("fs", "put", "dir/file", stdin=b"hello").status == 0
    run = ctl(*line.split(), "--json")
    assert (run.status, run.err) == (0, "")
    shaped(operation, run.json)


def test_cat_as_json_is_text_or_base64(ctl: Ctl):
    """ "encoding": "utf-8|base64"."""
    ctl("fs", "put", "text", stdin="grüß dich\n".encode())
    ctl("fs", "put", "bytes", stdin=b"\xff\x00")
    text, binary = ctl("fs", "cat", "text", "--json").json, ctl("fs", "cat", "/bytes", "--json").json
    assert set(text) == {"path", "revision", "size", "mtime", "encoding", "data"}
    assert (text["path"], text["encoding"], text["data"]) == ("text", "utf-8", "grüß dich\n")
    assert (binary["encoding"], binary["data"], binary["size"]) == ("base64", "/wA=", 2)


def test_cat_prints_raw_bytes(node: Served, tmp_path: Path):
    """Nothing added, nothing decoded: through a real pipe."""
    data = bytes(range(256))
    (tmp_path / "in").write_bytes(data)
    command = [sys.executable, "-m", "clusterd.cli", "--socket", node.path, "fs"]
    subprocess.run([*command, "put", "x", str(tmp_path / "in")], check=True, capture_output=True)
    assert subprocess.run([*command, "cat", "x"], check=True, capture_output=True).stdout == data


def test_ls_lists_sorted_and_recursive_when_asked(ctl: Ctl):
    """{"path":"","revision":42,"entries":[...]}, sorted by path."""
    ctl("fs", "mkdir", "b/c", "-p")
    ctl("fs", "put", "a", stdin=b"x")
    listing = ctl("fs", "ls", "--json").json
    assert set(listing) == {"path", "revision", "entries"}
    assert [entry["path"] for entry in listing["entries"]] == ["a", "b"]
    everything = ctl("fs", "ls", "-R", "--json").json["entries"]
    assert [(entry["path"], entry["type"]) for entry in everything] == [("a", "file"), ("b", "dir"), ("b/c", "dir")]
    for entry in everything:
        shaped("fs_stat", entry)


def test_quorum_answers_by_exit_status(ctl: Ctl, node: Served):
    """0 quorate, 4 not; the object is printed either way."""
    node.backend.quorate = False
    run = ctl("quorum", "--json")
    assert run.status == 4
    assert run.json["quorate"] is False
    assert run.err == "clusterctl: not quorate: 2 of 3 votes needed, 3 present\n"
    assert ctl("status", "--json").status == 0


@pytest.mark.parametrize(
    "error, status, code",
    [
        (errors.Refused("the message"), 1, "FAILED"),
        (errors.BadArgument("the message"), 2, "USAGE"),
        (ConfigRefused("the message", ("f:3: bad", "f:4: worse")), 2, "CONFIG"),
        (errors.NoQuorum("the message"), 4, "NO_QUORUM"),
        (UNKNOWN, 5, "OUTCOME_UNKNOWN"),
        (cfs.Exists("the message"), 6, "CONFLICT"),
        (cfs.NoSuchEntry("the message"), 7, "NOT_FOUND"),
        (cfs.Denied("the message"), 8, "DENIED"),
        (errors.TooLarge("the message"), 9, "LIMIT"),
    ],
)
def test_failures_by_the_table_of_exit_statuses(ctl: Ctl, node: Served, error: Exception, status: int, code: str):
    """The error object on stdout with --json, one line on stderr always, and the status of its code."""
    node.backend.fail = error
    run = ctl("fs", "put", "a", "--json")
    told = run.json["error"]
    assert (run.status, told["code"], told["message"], told["node"]) == (status, code, str(error), 1)
    assert isinstance(told["hint"], str)
    assert run.err.count("\n") == 1
    assert run.err.startswith("clusterctl: ")
    node.backend.fail = error
    plain = ctl("fs", "put", "a")
    assert (plain.status, plain.out, plain.err) == (status, "", run.err)


def test_all_problems_of_a_configuration_are_in_the_line(ctl: Ctl, node: Served):
    """`reload`: 2 (why, with lines)."""
    node.backend.fail = ConfigRefused("corosync.conf cannot be applied", ("f:3: bad", "f:4: worse"))
    run = ctl("reload", "--json")
    assert run.json["error"]["problems"] == ["f:3: bad", "f:4: worse"]
    assert "f:3: bad; f:4: worse" in run.err


def test_a_lost_compare_and_set_tells_the_revision(ctl: Ctl):
    """CONFLICT (+"current_revision")."""
    ctl("fs", "put", "a", stdin=b"1")
    run = ctl("fs", "cas", "a", "--revision", "0", "--json", stdin=b"2")
    assert (run.status, run.json["error"]["current_revision"]) == (6, 1)
    assert ctl("fs", "cas", "a", "--revision", "1", stdin=b"2").status == 0


def test_a_write_that_hangs_ends_with_5_in_time(ctl: Ctl, node: Served):
    """All writes: [--timeout S], then exit 5."""
    node.backend.hang = True
    began = time.monotonic()
    run = ctl("fs", "put", "a", "--timeout", "0.1", "--json")
    assert (run.status, run.json["error"]["code"]) == (5, "OUTCOME_UNKNOWN")
    assert run.json["error"]["operation_id"].endswith("-1f3a")
    assert time.monotonic() - began < 5


def test_a_write_is_repeated_under_its_id(ctl: Ctl, node: Served):
    """Exit 5 tells an id; the same command with it is the same operation, done at most once (S3)."""
    node.backend.fail = UNKNOWN
    error = ctl("fs", "put", "a", "--json", stdin=b"x").json["error"]
    assert f"fs outcome {error['operation_id']}" in error["hint"]
    for _ in range(2):
        run = ctl("fs", "put", "a", "--id", error["operation_id"], "--json", stdin=b"x")
        assert (run.status, run.json["revision"]) == (0, 1)
    ctl("fs", "mkdir", "d", "--id", "1" * 32)
    ctl("fs", "mv", "a", "d/a", "--id", "2" * 32)
    ctl("fs", "rm", "d", "-r", "--id", "3" * 32)
    ctl("fs", "cas", "b", "--revision", "0", "--id", "4" * 32)
    assert node.backend.calls[-4:] == ["1" * 32, "2" * 32, "3" * 32, "4" * 32]
    assert ctl("fs", "put", "a", "--id", "that one").status == 2


@pytest.mark.parametrize("line", ["status", "quorum", "quorum --watch", "fs watch", "events --follow", "fs put a"])
def test_nobody_on_the_socket_is_3(ctl: Ctl, tmp_path: Path, line: str):
    """NO_DAEMON: nobody answers on the socket."""
    run = ctl("--socket", str(tmp_path / "none"), *line.split(), "--json")
    assert (run.status, run.json["error"]["code"], run.json["error"]["node"]) == (3, "NO_DAEMON", None)


@pytest.mark.parametrize("line", ["frobnicate", "fs", "status --wrong", "--socket s --node 1 status", "--lab x status"])
def test_usage_is_2(ctl: Ctl, line: str):
    """Wrong option: an error object too."""
    run = ctl(*line.split(), "--json")
    assert (run.status, run.json["error"]["code"]) == (2, "USAGE")
    assert run.err.count("\n") == 1


def test_a_file_that_cannot_be_read_changes_nothing(ctl: Ctl, node: Served, tmp_path: Path):
    """The local file is read before anything is sent."""
    run = ctl("fs", "put", "a", str(tmp_path / "nothing"))
    assert run.status == 1
    assert "No such file" in run.err
    assert node.backend.calls == []


def test_wait_quorum_gives_up_with_124(ctl: Ctl, node: Served, tmp_path: Path):
    """A waiting command's --timeout passed; no daemon and no quorum are waited for alike."""
    node.backend.quorate = False
    run = ctl("wait-quorum", "--timeout", "0.2", "--json")
    assert (run.status, run.json["error"]["code"]) == (124, "TIMEOUT")
    assert "3 present" in run.err
    run = ctl("--socket", str(tmp_path / "none"), "wait-quorum", "--timeout", "0.2")
    assert run.status == 124
    assert "no daemon answers" in run.err


def test_wait_quorum_waits_for_a_daemon_to_appear(ctl: Ctl, serve: Callable[..., Served], tmp_path: Path):
    """Waits also for a daemon to appear, then for its quorum."""

    def appear() -> None:
        served = serve("later.sock")
        served.do(lambda: served.backend.set_quorate(False))
        time.sleep(0.1)
        served.do(lambda: served.backend.set_quorate(True))

    later = threading.Timer(0.2, appear)
    later.start()
    run = ctl("--socket", str(tmp_path / "later.sock"), "wait-quorum", "--timeout", "20", "--json")
    later.join()
    assert run.status == 0
    assert run.json["quorate"] is True


class Stream:
    """A streaming command in a process of its own."""

    def __init__(self, node: Served, *words: str) -> None:
        command = [sys.executable, "-m", "clusterd.cli", "--socket", node.path, *words, "--json"]
        # As a shell starts a background job: SIGINT ignored.
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )

    def line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.mark.live
def test_quorum_watch_is_a_line_now_and_one_per_change_until_sigint(node: Served):
    """Flushed line by line; SIGINT: exit 0, also as a background job of a shell."""
    stream = Stream(node, "quorum", "--watch")
    assert stream.line()["quorate"] is True
    node.do(lambda: node.backend.set_quorate(False))
    verdict = stream.line()
    assert verdict["quorate"] is False
    shaped("quorum", verdict)
    assert stream.interrupt() == 0


@pytest.mark.live
def test_fs_watch_and_events_stream_lines(node: Served):
    """{"revision","op","path","to","writer"} and {"time","node_id","type","message","data"}."""
    watch, events = Stream(node, "fs", "watch", "--from", "0"), Stream(node, "events", "--follow")
    with Client(node.path) as client:
        client.put("a", b"")
        client.move("a", "b")
    for expected in ("put", "mv"):
        change = watch.line()
        shaped("fs_watch", change)
        assert change["op"] == expected
    deadline = time.monotonic() + 10
    while not node.do(lambda: len(node.backend.event_watchers)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    node.do(lambda: node.backend.happen("node 2 left"))
    event = events.line()
    shaped("events", event)
    assert event["message"] == "node 2 left"
    assert (watch.interrupt(), events.interrupt()) == (0, 0)


@pytest.mark.live
def test_a_stream_whose_daemon_goes_ends_with_3(serve: Callable[..., Served]):
    """Nobody answers any more: whoever asks "are we quorate?" must hear of it."""
    served = serve()
    stream = Stream(served, "quorum", "--watch")
    stream.line()
    served.stop()
    out, err = stream.process.communicate(timeout=20)
    assert stream.process.returncode == 3
    assert json.loads(out)["error"]["code"] == "NO_DAEMON"
    assert err.count("\n") == 1


def test_version_and_help(ctl: Ctl):
    """--version, --help."""
    assert ctl("--version").out == "clusterctl 0.1.0\n"
    assert ctl("--version", "--json").json == {"version": "0.1.0"}
    assert ctl("fs", "put", "--help").out.startswith("clusterctl fs put PATH [FILE]")


def test_a_bare_command_shows_help_and_is_a_usage_error(ctl: Ctl):
    """What can be typed, and one line that something is missing."""
    run = ctl("lab")
    assert run.status == 2
    assert "lab up" in run.out
    assert run.err.count("\n") == 1


def test_the_error_codes_of_the_client_are_those_of_the_contract():
    """One table on each side of the socket."""
    from clusterd.client import errors as client_errors
    from clusterd.control.codes import EXIT_STATUS

    kinds = [kind for kind in vars(client_errors).values() if isinstance(kind, type)]
    codes = {kind.code for kind in kinds if issubclass(kind, client_errors.ClientError)}
    assert codes == set(EXIT_STATUS)


LOADED = "import sys\nfrom clusterd.cli.main import main\nmain(sys.argv[1:])\nprint(*sys.modules, file=sys.stderr)"
HEAVY = {"asyncio", "uvloop", "pydantic", "typer", "click", "structlog", "cryptography", "cffi", "cfs", "quorum"}
HEAVY |= {
    "logging",
    "ssl",
    "concurrent",
    "subprocess",
    "tempfile",
    "shutil",
    "pathlib",
    "argparse",
    "importlib.metadata",
}
RARELY = {"rich._emoji_codes", "rich.pretty", "rich.progress", "rich.live", "rich.traceback", "rich.syntax"}


@pytest.mark.parametrize(
    "line, unwanted",
    [
        ("status --json", HEAVY | {"rich", "dataclasses", "inspect"}),
        ("quorum", HEAVY | {"rich", "dataclasses", "inspect"}),
        ("fs put a Makefile", HEAVY | {"rich", "dataclasses", "inspect"}),
        ("status", HEAVY | RARELY),
        ("links", HEAVY | RARELY),
        ("--help", HEAVY | {"rich", "msgpack", "socket", "json"}),
        ("nonsense", HEAVY | {"rich"}),
    ],
)
def test_what_is_loaded(node: Served, line: str, unwanted: set[str]):
    """`clusterctl status` is done in 150 ms: heavy modules stay out of the fast path, rich comes for tables only."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", LOADED, "--socket", node.path, *line.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert not set(done.stderr.split()) & unwanted


def test_who_has_a_lab_is_told_of_node(ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`clusterctl lab up`, then `clusterctl status`: the first mistake of everybody."""
    monkeypatch.delenv("CLUSTERD_SOCKET")
    monkeypatch.delenv("CLUSTERD_LAB", raising=False)
    monkeypatch.setattr("clusterd.cli.context.DEFAULT_SOCKET", str(tmp_path / "none"))
    monkeypatch.setattr(layout, "root", lambda: str(tmp_path))
    assert "--node" not in ctl("status").err
    (tmp_path / "default").mkdir()
    layout.write_json(f"{tmp_path}/default/lab.json", {"base": 77, "nodes": 2, "links": 2, "votes": [1, 1], "set": []})
    assert "For the lab add --node 1" in ctl("status").err


@pytest.mark.live
def test_a_write_that_is_interrupted_says_how_to_ask_for_it(node: Served):
    """S3: every write ends with an id to ask about, this one too."""
    node.backend.hang = True
    write = subprocess.Popen(
        [sys.executable, "-m", "clusterd.cli", "--socket", node.path, "fs", "put", "a", "/dev/null"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored by what a shell starts with `&`
    )
    while not node.backend.calls:
        assert write.poll() is None
        time.sleep(0.01)
    write.send_signal(signal.SIGINT)
    _, said = write.communicate(timeout=20)
    assert write.returncode == 130
    assert f"fs outcome {node.backend.calls[0]}" in said
