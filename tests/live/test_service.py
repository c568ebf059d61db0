"""One daemon as a service: what it tells systemd, whom it lets do what, where its socket may be, what it may ask of
the kernel (DESIGN X3, parts 5 and 6)."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clusterd.client import Client, Denied
from clusterd.lab import actions, files
from clusterd.lab.layout import Lab
from clusterd.lab.ports import free_base
from tests.live.cluster import ROOT, Cluster, eventually

pytestmark = pytest.mark.live
Make = Callable[..., Cluster]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")
NOBODY = 65534


def as_nobody(*limits: str) -> tuple[list[str], dict[str, str]]:
    """How to run this project's python as an ordinary user: the start of a command line, and its environment."""
    packages = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(packages), "HOME": "/nonexistent"}
    for python in (sys.executable, "/usr/bin/python3"):  # the first may be in a home directory that is closed
        user = f'exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups prlimit {" ".join(limits)} {python} "$@"'
        command = ["sh", "-c", user, "python"]
        trial = [*command, "-c", "import clusterd.daemon, encodings"]
        if subprocess.run(trial, env=environment, cwd="/", capture_output=True, check=False).returncode == 0:
            return command, environment
    pytest.skip("this checkout or its python cannot be read by an ordinary user")


class Alone:
    """A single-node cluster's daemon, started by hand; `said` is what it told systemd so far."""

    def __init__(self, lab: Lab, notify: socket.socket) -> None:
        self.lab, self._notify = lab, notify
        self.said: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def directory(self) -> Path:
        return Path(self.lab.node_dir(1))

    def command(self, *more: str) -> list[str]:
        return [*actions.daemon_command(self.lab, 1)[:-1], *more]  # without --lab

    def start(self, *more: str) -> None:
        path = "@" + self._notify.getsockname()[1:].decode()  # as systemd writes the abstract namespace
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "600000"}
        with (self.directory / "clusterd.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(*more), stderr=log, env=environment, cwd=self.directory)

    def told(self, line: str) -> bool:
        """Whether systemd was told this line."""
        while True:
            try:
                self.said += self._notify.recv(65536).decode().splitlines()
            except BlockingIOError:
                return line in self.said

    def client(self) -> Client:
        return Client(self.lab.socket(1))

    @property
    def log(self) -> str:
        return (self.directory / "clusterd.log").read_text()


@contextmanager
def alone(directory: Path, *settings: str) -> Iterator[Alone]:
    with free_base(None, 1, 1, set()) as base, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        shape = {"base": base, "links": 1, "votes": [1], "set": ["system.sched_rr=no", *settings], "nodes": 1}
        lab = Lab("alone", str(directory), shape)
        files.write(lab)
        notify.bind(f"\0clusterd-live-{os.getpid()}")
        notify.setblocking(False)
        daemon = Alone(lab, notify)
        try:
            yield daemon
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait()


def test_what_systemd_is_told_and_who_is_refused(tmp_path: Path) -> None:
    """READY, WATCHDOG, RELOADING and READY again, STOPPING; a second daemon on the same state or socket is refused in
    one line; cuts are refused without --lab."""
    with alone(tmp_path / "d") as daemon:
        daemon.start()
        eventually("ready", lambda: daemon.told("READY=1"))
        eventually("watchdog", lambda: daemon.told("WATCHDOG=1"))
        eventually("status", lambda: daemon.told("STATUS=quorate, 1 of 1 nodes present"))
        assert daemon.process is not None
        with daemon.client() as client:
            client.put("a", b"x")
            with pytest.raises(Denied) as refused:
                client.set_cuts([])
            assert "--lab" in str(refused.value)

        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        for more, words in (
            (["--socket", str(tmp_path / "other.sock")], "another clusterd uses this store"),
            (["--state", str(tmp_path / "other")], "another process answers on"),
        ):
            second = subprocess.run(
                daemon.command(*more), env=environment, capture_output=True, text=True, timeout=20, check=False
            )
            assert second.returncode == 1
            (line,) = [text for text in second.stderr.splitlines() if " error " in text]
            assert words in line, line
            assert "Traceback" not in second.stderr
        with daemon.client() as client:
            assert client.cat("a")["data"] == b"x"

        daemon.told("")
        daemon.said.clear()
        daemon.process.send_signal(signal.SIGHUP)
        eventually("reloading", lambda: daemon.told("RELOADING=1"))
        eventually("and ready", lambda: daemon.told("READY=1"))
        assert daemon.said.index("RELOADING=1") < daemon.said.index("READY=1")
        assert any(re.fullmatch(r"MONOTONIC_USEC=\d+", line) for line in daemon.said)
        daemon.process.send_signal(signal.SIGTERM)
        eventually("stopping", lambda: daemon.told("STOPPING=1"))
        assert daemon.process.wait(10) == 0


def test_a_hung_daemon_stops_its_watchdog(tmp_path: Path) -> None:
    """The watchdog comes from the loop that does the work: a stopped process is silent and would be restarted."""
    with alone(tmp_path / "d") as daemon:
        daemon.start()
        eventually("watchdog", lambda: daemon.told("WATCHDOG=1"))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        daemon.told("")
        daemon.said.clear()
        time.sleep(0.5)  # over two intervals of 0.2 s
        assert not daemon.told("WATCHDOG=1")
        daemon.process.send_signal(signal.SIGCONT)
        eventually("again", lambda: daemon.told("WATCHDOG=1"))


@needs_root
def test_what_another_user_may(lab: Make, tmp_path: Path) -> None:
    """Everybody reads status, quorum and the names in the tree; only root, the daemon's user and its group read what is
    in files and change things; priv/ is root's and the daemon's alone (X3)."""
    cluster = lab(1)
    with cluster.client(1) as client:
        client.put("public", b"for all")
        for folder in ("priv", "nodes", "nodes/n1", "nodes/n1/priv"):
            client.mkdir(folder)
        client.put("priv/secret", b"for root")
        client.put("nodes/n1/priv/key", b"for root")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder != Path("/") and not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o011)
    for folder in (Path(cluster.lab.directory), Path(cluster.lab.node_dir(1))):
        folder.chmod(0o755)

    python, environment = as_nobody("--nofile=1024")

    def other(*words: str) -> int:
        command = [*python, "-m", "clusterd.cli.main", "--socket", cluster.lab.socket(1), *words, "--json"]
        done = subprocess.run(
            command, env=environment, cwd="/", capture_output=True, input=b"x", timeout=20, check=False
        )
        return done.returncode

    assert [other("status"), other("quorum"), other("fs", "stat", "public"), other("fs", "ls")] == [0] * 4
    assert other("fs", "cat", "public") == 8
    assert [other("fs", "put", "public"), other("reload"), other("key", "rotate"), other("expected", "1")] == [8] * 4
    assert [other("fs", "cat", "priv/secret"), other("fs", "cat", "nodes/n1/priv/key"), other("fs", "ls", "priv")] == [
        8
    ] * 3
    assert [other("fs", "rm", "public"), other("fs", "mkdir", "x"), other("fs", "mv", "public", "x")] == [8] * 3


def test_a_socket_deeper_than_the_kernel_takes(tmp_path: Path) -> None:
    """A clone in any directory: paths beyond 107 bytes work for the daemon and its clients (part 6)."""
    deep = tmp_path.joinpath(*(["a-directory-with-a-rather-long-name"] * 5))
    with alone(deep / "d") as daemon:
        assert len(daemon.lab.socket(1)) > 200
        daemon.start()
        eventually("writable", lambda: daemon.client().status()["store"]["writable"])
        with daemon.client() as client:
            client.put("a", b"x")
        assert daemon.process is not None
        daemon.process.terminate()
        assert daemon.process.wait(10) == 0


def test_host_names_as_addresses(tmp_path: Path) -> None:
    """A name that the host resolves is an address like any other; one that nothing resolves leaves that path out."""
    with alone(tmp_path / "d", "totem.interface.0.mcastport=0") as daemon:
        path = daemon.directory / "corosync.conf"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        text = re.sub(r"ring0_addr: \S+", "ring0_addr: localhost", path.read_text())
        path.write_text(text.replace("mcastport: 0", f"mcastport: {port}"))
        daemon.start()
        eventually("writable", lambda: daemon.client().status()["store"]["writable"])
        with daemon.client() as client:
            assert client.nodes()["nodes"][0]["addresses"] == ["localhost"]
        assert "localhost" not in daemon.log


@needs_root
def test_real_time_and_locked_memory(lab: Make) -> None:
    """Where the kernel permits it the daemon runs SCHED_RR with its memory locked, else it says why not."""
    cluster = lab(1, "system.sched_rr=yes")
    pid = cluster.pid(1)
    eventually("said", lambda: "real-time" in cluster.log(1) or "SCHED_RR" in cluster.log(1))
    granted = "scheduled as SCHED_RR" in cluster.log(1)
    assert granted == (os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR)
    locked = int(re.search(r"VmLck:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]
    assert ("memory locked" in cluster.log(1)) == (locked > 0)


@needs_root
def test_an_ordinary_user_with_a_small_memory_limit(tmp_path: Path) -> None:
    """Debian's default of 8 MiB locked memory: one plain line each, and nothing fails later (part 5)."""
    python, environment = as_nobody("--memlock=8388608", "--rtprio=0")
    name = f"live-nobody-{os.getpid()}"
    place = Path(f"/var/tmp/{name}")
    ctl = [*python, "-m", "clusterd.cli.main", "--lab", name]
    try:
        up = [*ctl, "lab", "up", "3", "--dir", str(place)]
        done = subprocess.run(up, cwd="/", env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        log = (place / "n1" / "clusterd.log").read_text()
        assert "memory not locked: the limit is 8192 KiB" in log
        assert "real-time scheduling not permitted" in log
        with Client(str(place / "n1" / "clusterd.sock")) as client:  # as root: may write to anybody's daemon
            for number in range(16):
                client.put(f"big{number}", os.urandom(900_000))
            assert client.status()["store"]["entries"] == 16
        limits = Path(f"/proc/{(place / 'n1' / 'pid').read_text().strip()}/limits").read_text()
        assert re.search(r"Max locked memory +8388608 ", limits)
        for node in (1, 2, 3):
            log = (place / f"n{node}" / "clusterd.log").read_text()
            assert "Traceback" not in log and " error " not in log
    finally:
        subprocess.run([*ctl, "lab", "down"], cwd="/", env=environment, capture_output=True, timeout=60, check=False)
    assert not place.exists()
