"""Where the tortured daemons live: their files, their processes, their links and disks, all of them ours.

Here all are on loopback addresses, the daemons cut the links themselves (as in a lab), and a limit on the size of files
stands for a full disk. For root tests/torture/wired.py gives them networks and disks of their own.

Every daemon is our child: only what we started is ever signalled, and the kernel kills it should we be killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

from clusterd.client import Client, ClientError
from clusterd.lab import actions, cuts, files, layout, ports
from clusterd.lab.layout import Lab
from tests.torture.plan import KINDS, SHAPING, Step, Way

ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """In the child, before it becomes a daemon."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Place:
    """Nodes 1..n on loopback addresses."""

    kind = "loopback addresses; the daemons drop what is cut"
    can: frozenset[str] = frozenset(KINDS) - SHAPING

    def __init__(self, directory: Path, nodes: int, links: int, settings: list[str]) -> None:
        self.directory = directory
        self._made = contextlib.ExitStack()
        self.lab = self._lab({"base": 0, "nodes": nodes, "links": links, "votes": [1] * nodes, "set": settings})
        files.write(self.lab)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.obstacles: list[Step] = []
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
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, cuts.ENVIRONMENT: self.lab.cuts_file}
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

    def obstruct(self, step: Step) -> None:
        """Drop some or all of what goes the step's ways, from now on."""
        self.obstacles.append(step)
        self._obstruct_now()

    def clear(self, step: Step) -> None:
        """That again no longer."""
        self.obstacles.remove(step)
        self._obstruct_now()

    def _obstruct_now(self) -> None:
        ways: set[Way] = {way for step in self.obstacles for way in step.ways}
        rows: list[Any] = [{"from": a, "to": b, "link": link} for a, b, link in sorted(ways)]
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
