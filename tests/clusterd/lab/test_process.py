"""Processes without a supervisor: started, signalled, ended, never mistaken for another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusterd.client import Failed, NoDaemon
from clusterd.lab import actions, layout, process, waiting
from clusterd.lab.layout import Lab

pytestmark = pytest.mark.live

Make = Callable[[str], Lab]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A lab of one node whose daemon is a shell command."""
    monkeypatch.setattr(layout, "root", lambda: str(tmp_path))
    shape = {"base": 77, "nodes": 1, "links": 1, "votes": [1], "set": []}
    made: list[Lab] = []

    def start(command: str) -> Lab:
        (tmp_path / "one" / "n1").mkdir(parents=True, exist_ok=True)
        layout.write_json(f"{tmp_path}/one/lab.json", shape)
        monkeypatch.setattr(actions, "daemon_command", lambda *_: ["/bin/sh", "-c", command])
        lab = layout.need("one")
        actions._start(lab, [1])
        made.append(lab)
        return lab

    yield start
    for lab in made:
        actions.down(lab.name, keep=False)


def look(lab: Lab) -> process.Process:
    return process.look(lab.node_dir(1))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_running_node_has_its_pid_in_a_file(make: Make):
    """DIR/n<i>/pid."""
    lab = make("exec sleep 60")
    found = look(lab)
    assert (found.state, found.exit) == ("running", None)
    assert Path(lab.node_dir(1), "pid").read_text() == f"{found.pid}\n"


def test_kill_and_start_and_kill_again(make: Make):
    """SIGKILL; returns when it is gone; again: fine. The time is taken just before the signal."""
    lab = make("exec sleep 60")
    pid = look(lab).pid
    before = time.time()
    (record,) = actions.kill(lab, [1])
    assert (record["id"], record["pid"]) == (1, pid)
    assert before <= record["time"] <= time.time()
    assert look(lab) == process.Process("stopped", None, 137)
    assert not Path(lab.node_dir(1), "pid").exists()
    assert actions.kill(lab, [1])[0]["pid"] is None
    actions._start(lab, [1])
    assert look(lab).state == "running"
    assert look(lab).pid != pid


def test_stop_waits_for_the_end(make: Make):
    """A clean leave takes a moment; status 0 is remembered."""
    lab = make("trap 'sleep 0.3; exit 0' TERM; while :; do sleep 0.05; done")
    until(lambda: bool(look(lab).pid))
    time.sleep(0.2)  # the shell sets its trap
    actions.stop(lab, [1])
    assert look(lab) == process.Process("stopped", None, 0)


def test_a_daemon_that_ends_by_itself_has_failed_with_its_status(make: Make):
    """ "exit" is the status, or 128 + the signal as shells count."""
    lab = make("exit 3")
    until(lambda: look(lab).state != "running")
    assert look(lab) == process.Process("failed", None, 3)
    lab = make("exec sleep 60")
    pid = look(lab).pid
    assert pid is not None
    os.kill(pid, signal.SIGSEGV)
    until(lambda: look(lab).state != "running")
    assert look(lab) == process.Process("failed", None, 139)


def test_pause_and_resume(make: Make, monkeypatch: pytest.MonkeyPatch):
    """SIGSTOP and SIGCONT; again: fine; on a stopped node: exit 3."""
    monkeypatch.setattr(actions.cuts, "tell", lambda *_: None)
    lab = make("exec sleep 60")
    pid = look(lab).pid
    assert actions.pause(lab, [1])[0]["pid"] == pid
    assert look(lab) == process.Process("paused", pid, None)
    assert actions.pause(lab, [1])[0]["pid"] == pid
    with pytest.raises(NoDaemon, match="paused"):
        actions.start(lab, [1], 0.0, waiting.Progress(lambda _: None))
    assert actions.resume(lab, [1])[0]["pid"] == pid
    assert look(lab).state == "running"
    actions.pause(lab, [1])
    actions.kill(lab, [1])
    assert look(lab).state == "stopped"
    with pytest.raises(NoDaemon, match="does not run"):
        actions.pause(lab, [1])


def test_a_recycled_pid_is_never_signalled(make: Make):
    """The pid of a process that began at another time is somebody else's."""
    lab = make("exec sleep 60")
    actions.kill(lab, [1])
    with subprocess.Popen(["sleep", "60"]) as stranger:
        layout.write_json(f"{lab.node_dir(1)}/run.json", {"pid": stranger.pid, "start": 1, "keeper": 1})
        assert look(lab).pid is None
        assert actions.kill(lab, [1])[0]["pid"] is None
        assert actions.down(lab.name, keep=True)
        assert stranger.poll() is None
        stranger.kill()


def test_a_dead_keeper_leaves_the_exit_unknown(make: Make):
    """After a reboot, say: null, and no waiting for it."""
    lab = make("exec sleep 60")
    actions.kill(lab, [1])
    layout.write_json(f"{lab.node_dir(1)}/run.json", {"pid": 999_999_999, "start": 1, "keeper": 999_999_999})
    began = time.monotonic()
    assert look(lab) == process.Process("failed", None, None)
    assert time.monotonic() - began < 0.5


def test_down_kills_what_does_not_leave(make: Make, monkeypatch: pytest.MonkeyPatch):
    """Clean leave, SIGKILL after 5 s (here sooner), DIR removed unless --keep; 0 also when there is none."""
    monkeypatch.setattr(actions, "KILL_AFTER", 0.2)
    lab = make("trap '' TERM; while :; do sleep 0.05; done")
    time.sleep(0.2)  # the shell sets its trap
    assert actions.down("one", keep=True) is True
    assert look(lab).exit == 137
    assert actions.down("one", keep=False) is True
    assert not Path(lab.directory).exists()
    assert actions.down("one", keep=False) is False


def test_a_node_that_does_not_start_shows_its_log(make: Make):
    """Its status, where its log is, and the end of it."""
    lab = make("echo of the run before")
    until(lambda: look(lab).pid is None)
    lab = make("echo no such device; exit 1")
    with pytest.raises(Failed, match="node 1 ended with status 1") as caught:
        waiting.answering(lab, [1], time.monotonic() + 10, waiting.Progress(lambda _: None))
    assert caught.value.details["log"] == ["no such device"]


def test_the_keeper_outlives_the_command_and_is_light(make: Make):
    """Its own session, so Ctrl-C at the terminal is not for the nodes; nothing but the standard library."""
    lab = make("exec sleep 60")
    run = layout.read_json(f"{lab.node_dir(1)}/run.json")
    assert os.getsid(run["pid"]) == os.getsid(run["keeper"]) == run["keeper"] != os.getsid(0)
    from clusterd.lab import keeper

    loaded = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import runpy; runpy.run_path({keeper.__file__!r}); import sys; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"clusterd", "subprocess", "socket", "asyncio"} & set(loaded)
