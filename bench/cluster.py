"""Three daemons on loopback for one suite: started, watched, and gone afterwards whatever happens.

Files and addresses are those of `clusterctl lab`; the processes are our children, so that none outlives us.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.channel import Channel, Lost
from clusterd.client import Client, ClientError
from clusterd.lab import actions, files, layout
from clusterd.lab.layout import Lab
from clusterd.lab.ports import free_base

ROOT = Path(__file__).resolve().parent.parent
_PATIENCE = 30.0  # seconds for a cluster to form
_LEAVE = 5.0  # seconds for a clean leave
_DIE_WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"]  # util-linux; execs, so the pid stays


class Trouble(Exception):  # noqa: N818
    """The cluster is not as the measurement needs it."""


class Cluster:
    """A context manager; inside, all nodes are one quorate cluster with a writable store.

    measured: with the benchmark's agent in each (bench/member.py). directory: where the nodes' directories go.
    """

    def __init__(self, directory: Path, settings: Iterable[str] = (), nodes: int = 3, measured: bool = False) -> None:
        self._parent = directory
        self._settings = list(settings)
        self._size = nodes
        self._measured = measured
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.channels: dict[int, Channel] = {}
        self.lab: Lab

    def __enter__(self) -> Self:
        place = tempfile.mkdtemp(prefix="clusterd-bench-", dir=self._parent)
        taken = {lab.base for lab in map(layout.load, layout.names()) if lab is not None}
        try:
            with free_base(None, self._size, 2, taken) as base:
                votes = [1] * self._size
                shape = {"base": base, "nodes": self._size, "links": 2, "votes": votes, "set": self._settings}
                self.lab = Lab("bench", place, shape)
                files.write(self.lab)
                Path(place, "wakes").mkdir()
                for ident in self.ids:
                    self.start(ident)
                self.whole()
            if self._measured:
                self.together("join", 10.0, members=self.ids)
        except BaseException:
            self._end(place)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(self.lab.directory)

    def _end(self, place: str) -> None:
        held = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it
        try:
            for process in self._processes.values():
                process.terminate()
            give_up = time.monotonic() + _LEAVE
            for process in self._processes.values():
                try:
                    process.wait(max(0.01, give_up - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            for channel in self.channels.values():
                channel.close()
            shutil.rmtree(place, ignore_errors=True)
        finally:
            signal.signal(signal.SIGINT, held)

    # -- nodes -----------------------------------------------------------------------------------------------

    @property
    def ids(self) -> list[int]:
        return self.lab.ids

    def pid(self, ident: int) -> int:
        return self._processes[ident].pid

    def start(self, ident: int) -> None:
        """Start a node that does not run."""
        command = actions.daemon_command(self.lab, ident)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        passed: tuple[int, ...] = ()
        with contextlib.ExitStack() as after:
            if self._measured:
                ours, theirs = socket.socketpair()
                after.callback(theirs.close)
                self.channels[ident] = Channel(ours, ident)
                passed = (theirs.fileno(),)
                environment |= {"BENCH_CHANNEL": str(passed[0]), "BENCH_WAKES": f"{self.lab.directory}/wakes"}
                command[command.index("clusterd", 1)] = "bench.member"
            log = after.enter_context(Path(self.lab.log(ident)).open("ab"))
            self._processes[ident] = subprocess.Popen(
                [*_DIE_WITH_US, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=passed,
                start_new_session=True,  # Ctrl-C is ours to handle
            )

    def kill(self, ident: int) -> None:
        """SIGKILL; returns at once."""
        self._processes[ident].kill()

    def revive(self, ident: int) -> None:
        """Start a killed node again and wait until all is as before."""
        self._processes[ident].wait()
        self.start(ident)
        self.whole()

    def whole(self) -> None:
        """Wait until all nodes are one quorate cluster and writable. Raises Trouble."""
        give_up = time.monotonic() + _PATIENCE
        for ident in self.ids:
            while lacking := self._lacks(ident):
                status = self._processes[ident].poll()
                if status is not None:
                    text = Path(self.lab.log(ident)).read_text(encoding="utf-8", errors="replace")
                    raise Trouble(f"node {ident} ended with status {status}; its last words:\n{text[-1500:]}")
                if time.monotonic() > give_up:
                    raise Trouble(f"not one cluster after {_PATIENCE:g} s: {lacking}")
                time.sleep(0.02)

    def _lacks(self, ident: int) -> str:
        try:
            with self.client(ident) as client:
                status = client.status()
        except ClientError as error:
            return f"node {ident}: {error}"
        if status["ring"]["members"] != self.ids or status["ring"]["phase"] != "operational":
            return f"node {ident} sees {status['ring']['members']}"
        if not (status["quorum"]["quorate"] and status["store"]["writable"]):
            return f"node {ident} is not writable: {status['store']['reason']}"
        return ""

    def client(self, ident: int) -> Client:
        return Client(self.lab.socket(ident), timeout=2.0, name="bench")

    def ring(self) -> str | None:
        """The id of node 1's ring."""
        with self.client(1) as client:
            return client.status()["ring"]["id"]

    # -- faults ----------------------------------------------------------------------------------------------

    def cut(self, pairs: Iterable[tuple[int, int]], links: Iterable[int]) -> None:
        """Cut these links both ways between these nodes, and heal all others: as `lab cut`. In force on return."""
        links = list(links)
        rows: list[Any] = [
            {"from": source, "to": target, "link": link}
            for a, b in pairs
            for source, target in ((a, b), (b, a))
            for link in links
        ]
        for ident in self.ids:
            with self.client(ident) as client:
                client.set_cuts(rows)

    # -- agents ----------------------------------------------------------------------------------------------

    def ask(self, operation: str, **arguments: Any) -> None:
        """The same question to every agent."""
        for channel in self.channels.values():
            channel.ask(operation, **arguments)

    def answers(self, timeout: float) -> dict[int, dict[str, Any]]:
        """Every agent's answer, by node. Raises Trouble."""
        try:
            return {ident: channel.answer(timeout) for ident, channel in self.channels.items()}
        except Lost as error:
            raise Trouble(str(error)) from error

    def together(self, operation: str, timeout: float, **arguments: Any) -> dict[int, dict[str, Any]]:
        """Ask all and wait for all. Raises Trouble."""
        self.ask(operation, **arguments)
        return self.answers(timeout)
