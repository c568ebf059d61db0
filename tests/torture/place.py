"""Where the tortured daemons live: their files, their processes, their links and disks, all of them ours.

As root each node has a network namespace of its own with an interface to a switch per link, nft rules cut the links,
and its state lies on a small tmpfs. Else all are on loopback addresses, the daemons cut the links themselves (as in a
lab), and a limit on the size of files stands for a full disk.

Every daemon is our child: only what we started is ever signalled, and the kernel kills it should we be killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from clusterd.client import Client, ClientError
from clusterd.lab import actions, cuts, files, layout, ports
from clusterd.lab.layout import Lab

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "clusterd-torture"
DISK = "24m"
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

Way = tuple[int, int, int]  # from, to, link


def die_with_parent() -> None:
    """In the child, before it becomes a daemon."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Place:
    """Nodes 1..n on loopback addresses; see Wired for root's own."""

    kind = "loopback addresses; the daemons drop what is cut"

    def __init__(self, directory: Path, nodes: int, links: int, settings: list[str]) -> None:
        self.directory = directory
        self._made = contextlib.ExitStack()
        self.lab = self._lab({"base": 0, "nodes": nodes, "links": links, "votes": [1] * nodes, "set": settings})
        files.write(self.lab)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.cut: set[Way] = set()
        self._full: set[int] = set()
        self._log_began: dict[int, int] = {}  # size of the log when the daemon was started

    def _lab(self, shape: dict[str, Any]) -> Lab:
        base = self._made.enter_context(ports.free_base(None, shape["nodes"], shape["links"], set()))
        return Lab("torture", str(self.directory), {**shape, "base": base})

    @property
    def ids(self) -> list[int]:
        return self.lab.ids

    def client(self, node: int, timeout: float = 5.0) -> Client:
        return Client(self.lab.socket(node), timeout=timeout, name="torture")

    def log(self, node: int) -> str:
        path = Path(self.lab.log(node))
        return path.read_text(errors="replace") if path.exists() else ""

    def silent(self, node: int) -> bool:
        """Has the daemon logged nothing since it was started?"""
        path = Path(self.lab.log(node))
        return path.stat().st_size == self._log_began[node]

    # processes

    def start(self, node: int) -> None:
        """Start a daemon that does not run; it need not answer yet."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), cuts.ENVIRONMENT: self.lab.cuts_file}
        command = [*self._wrap(node), *actions.daemon_command(self.lab, node)]
        with Path(self.lab.log(node)).open("ab") as log:
            self._log_began[node] = log.seek(0, os.SEEK_END)
            self.processes[node] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.directory,
                preexec_fn=die_with_parent,
            )
        if node in self._full:
            self.fill(node)

    def _wrap(self, node: int) -> list[str]:
        return []

    def runs(self, node: int) -> bool:
        process = self.processes.get(node)
        return process is not None and process.poll() is None

    def send(self, node: int, number: signal.Signals) -> None:
        process = self.processes[node]
        if process.poll() is None:
            process.send_signal(number)

    def wait_end(self, node: int, seconds: float) -> int | None:
        """The exit status, None while it still runs."""
        try:
            return self.processes[node].wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    # links

    def set_cuts(self, ways: set[Way]) -> None:
        """Exactly these ways are cut from now on."""
        self.cut = set(ways)
        self._cut_now()

    def _cut_now(self) -> None:
        rows: list[Any] = [{"from": a, "to": b, "link": link} for a, b, link in sorted(self.cut)]
        layout.write_json(self.lab.cuts_file, rows)
        for node in self.ids:
            if self.runs(node):
                with contextlib.suppress(ClientError), self.client(node, 1.0) as client:
                    client.set_cuts(rows)

    # disks

    def fill(self, node: int) -> None:
        """The node's disk takes nothing more."""
        self._full.add(node)
        if self.runs(node):
            resource.prlimit(self.processes[node].pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def free(self, node: int) -> None:
        self._full.discard(node)
        if self.runs(node):
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(self.processes[node].pid, resource.RLIMIT_FSIZE, unlimited)

    def rss(self, node: int) -> int:
        """Bytes; 0 when it does not run."""
        with contextlib.suppress(OSError, KeyError):
            for line in Path(f"/proc/{self.processes[node].pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) << 10
        return 0

    # the end

    def close(self, keep_state: bool) -> None:
        """End every daemon of ours and undo what was made; the files stay, with the stores if keep_state."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
        for process in self.processes.values():
            process.wait()
        self._undo(keep_state)
        self._made.close()

    def _undo(self, keep_state: bool) -> None:
        pass


class Wired(Place):
    """Nodes 1..n, each in a network namespace: 10.77.LINK.NODE, a switch for each link. Needs root, ip and nft."""

    kind = "a network namespace each, veth to a switch per link, nft cuts, state on tmpfs"

    def _lab(self, shape: dict[str, Any]) -> Lab:
        remove_stale()
        self._spaces: list[str] = []
        self._mounts: list[Path] = []
        return _WiredLab("torture", str(self.directory), shape)

    def build(self) -> None:
        """Make namespaces, switches, cables and disks. Raises CalledProcessError."""
        switch = self._space(0)
        for link in range(self.lab.links):
            _ip("-n", switch, "link", "add", f"br{link}", "type", "bridge")
            _ip("-n", switch, "link", "set", f"br{link}", "up")
        for node in self.ids:
            space = self._space(node)
            for link, address in enumerate(self.lab.addresses(node)):
                port = f"p{link}n{node}"
                end = ["type", "veth", "peer", "name", f"eth{link}", "netns", space]
                _ip("link", "add", port, "netns", switch, *end)
                _ip("-n", switch, "link", "set", port, "master", f"br{link}", "up")
                _ip("-n", space, "addr", "add", f"{address}/24", "dev", f"eth{link}")
                _ip("-n", space, "link", "set", f"eth{link}", "up")
            state = Path(self.lab.node_dir(node)) / "state"
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "none", state], check=True)
            self._mounts.append(state)

    def _space(self, number: int) -> str:
        name = f"{PREFIX}-{os.getpid()}-{number}"
        _ip("netns", "add", name)
        self._spaces.append(name)
        _ip("-n", name, "link", "set", "lo", "up")
        return name

    def _wrap(self, node: int) -> list[str]:
        return ["ip", "netns", "exec", self._spaces[node]]

    def _cut_now(self) -> None:
        for node in self.ids:
            rules = ["add table inet torture", "delete table inet torture"]
            gone = sorted((source, link) for source, to, link in self.cut if to == node)
            if gone:
                drops = [f'iifname "eth{k}" ip saddr {self.lab.addresses(a)[k]} drop' for a, k in gone]
                chain = "type filter hook input priority 0; " + "; ".join(drops)
                rules.append("table inet torture { chain cut { " + chain + "; }; }")
            text = "".join(f"{rule}\n" for rule in rules)
            command = ["ip", "netns", "exec", self._spaces[node], "nft", "-f", "-"]
            subprocess.run(command, input=text, text=True, check=True, capture_output=True)

    def fill(self, node: int) -> None:
        with contextlib.suppress(OSError), self._ballast(node).open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * size)

    def free(self, node: int) -> None:
        self._ballast(node).unlink(missing_ok=True)

    def _ballast(self, node: int) -> Path:
        return Path(self.lab.node_dir(node)) / "state" / "ballast"

    def _undo(self, keep_state: bool) -> None:
        for state in self._mounts:
            if keep_state:
                ignored = shutil.ignore_patterns("ballast")
                shutil.copytree(state, state.with_name("state.kept"), ignore=ignored, dirs_exist_ok=True)
            subprocess.run(["umount", "-l", state], check=False)
        for name in self._spaces:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


class _WiredLab(Lab):
    def addresses(self, ident: int) -> list[str]:
        return [f"10.77.{link}.{ident}" for link in range(self.links)]


def remove_stale() -> None:
    """Namespaces and disks of a torture that was killed itself: their name has its pid, and nobody has that now."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for name in (line.split()[0] for line in listed.splitlines() if line.startswith(f"{PREFIX}-")):
        if _dead(name):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    for line in Path("/proc/mounts").read_text().splitlines():
        mount = line.split()[1]
        if mount.startswith(f"/var/tmp/{PREFIX}-") and _dead(mount.split("/")[3]):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)


def _dead(name: str) -> bool:
    pid = name.removeprefix(f"{PREFIX}-").partition("-")[0]
    return pid.isdigit() and not Path(f"/proc/{pid}").exists()


def why_not_wired() -> str:
    """Why the nodes cannot have networks of their own, "" when they can."""
    if os.geteuid() != 0:
        return "not root"
    for tool in ("ip", "nft", "mount"):
        if shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            return f"{tool} is missing"
    probe = f"{PREFIX}-{os.getpid()}-probe"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return "the kernel lets nobody make network namespaces here"
    subprocess.run(["ip", "netns", "del", probe], capture_output=True, check=False)
    return ""


def make(directory: Path, nodes: int, links: int, settings: list[str]) -> Place:
    """The best place this user can have; nothing runs in it yet."""
    reason = why_not_wired()
    if reason:
        place = Place(directory, nodes, links, settings)
        place.kind += f" ({reason})"
        return place
    wired = Wired(directory, nodes, links, settings)
    try:
        wired.build()
    except BaseException:
        wired.close(keep_state=False)
        raise
    return wired


def until(deadline: float, done: Any) -> bool:
    """Wait until `done()` is true; False at the deadline (time.monotonic). A ClientError is not yet."""
    while True:
        with contextlib.suppress(ClientError):
            if done():
                return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
