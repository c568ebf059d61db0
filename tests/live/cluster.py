"""Labs of real daemons for tests: one `Cluster` per test, driven through the product's own client and command line.

Waits are on conditions with a deadline; a wait that ends without its condition fails with what was seen last.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from clusterd.client import Client, ClientError
from clusterd.lab import actions, layout, process, waiting
from clusterd.lab.layout import Lab

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0  # seconds; a wait for what normally takes one or two
Row = dict[str, Any]
_numbers = itertools.count()  # of labs this process made: several makers may be at work


def eventually(what: str, seen: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """Wait until `seen()` is true, and return it. A ClientError counts as not yet."""
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            last = seen()
            if last:
                return last
        except ClientError as error:
            last = error
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}; last seen: {last!r}"
        time.sleep(0.02)


def no_progress() -> waiting.Progress:
    return waiting.Progress(lambda what: None)


def deadline(timeout: float = PATIENCE) -> float:
    return time.monotonic() + timeout


def clusterctl(*words: str, stdin: bytes = b"", timeout: float = 60.0) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "clusterd.cli.main", *words]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, timeout=timeout, check=False)


class Cluster:
    """One lab. Nodes are 1..N; every method returns when what it says has happened."""

    def __init__(self, name: str, lab: Lab) -> None:
        self.name, self.lab = name, lab

    @classmethod
    def up(
        cls, name: str, directory: Path, nodes: int = 3, links: int = 2, *settings: str, votes: Any = None
    ) -> Cluster:
        settings = ("system.sched_rr=no", *settings)
        until = deadline(40.0)
        lab = actions.up(name, nodes, links, None, str(directory), votes, list(settings), until, no_progress())
        cluster = cls(name, lab)
        waiting.whole(lab, until, no_progress())
        return cluster

    # what it says

    def client(self, node: int, timeout: float = 5.0) -> Client:
        return Client(self.lab.socket(node), timeout=timeout, name="live test")

    def status(self, node: int) -> Any:
        with self.client(node) as client:
            return client.status()

    def members(self, node: int) -> list[int]:
        return list(self.status(node)["ring"]["members"])

    def links(self, node: int) -> Any:
        with self.client(node) as client:
            return client.links()

    def dropped(self, node: int) -> dict[str, int]:
        return dict(self.links(node)["dropped"])

    def ring(self, node: int = 1) -> str:
        return str(self.status(node)["ring"]["id"])

    def log(self, node: int) -> str:
        return Path(self.lab.log(node)).read_text(errors="replace")

    def pid(self, node: int) -> int:
        pid = process.look(self.lab.node_dir(node)).pid
        assert pid is not None
        return pid

    def exit_status(self, node: int) -> int | None:
        return process.look(self.lab.node_dir(node)).exit

    def state_dir(self, node: int) -> Path:
        return Path(self.lab.node_dir(node)) / "state"

    def config(self, node: int) -> Path:
        return Path(self.lab.config(node))

    def ctl(self, node: int, *words: str, stdin: bytes = b"") -> tuple[int, Row, str]:
        """clusterctl with --json: (exit status, the object, stderr)."""
        done = clusterctl("--socket", self.lab.socket(node), *words, "--json", stdin=stdin)
        text = done.stdout.decode()
        return done.returncode, json.loads(text) if text.strip() else {}, done.stderr.decode()

    # what is done to it

    def kill(self, *nodes: int) -> float:
        """SIGKILL; Unix time just before the first."""
        return float(actions.kill(self.lab, list(nodes))[0]["time"])

    def stop(self, *nodes: int) -> float:
        return float(actions.stop(self.lab, list(nodes))[0]["time"])

    def pause(self, *nodes: int) -> None:
        actions.pause(self.lab, list(nodes))

    def resume(self, *nodes: int) -> None:
        actions.resume(self.lab, list(nodes))

    def start(self, *nodes: int) -> None:
        """Start them; each answers, nothing more."""
        actions.start(self.lab, list(nodes), deadline(), no_progress())

    def whole(self, timeout: float = PATIENCE) -> None:
        """All nodes are members of one ring, quorate, synced, writable."""
        waiting.whole(self.lab, deadline(timeout), no_progress())

    def mended(self) -> Cluster:
        """Whatever a test left: nothing is cut, nobody is paused, all run and are one."""
        actions.heal(self.lab, None, None, None, False)
        self.resume(*(node for node in self.lab.ids if process.look(self.lab.node_dir(node)).state == "paused"))
        self.start(*self.lab.ids)
        self.whole()
        return self

    def together(self, *nodes: int, timeout: float = PATIENCE) -> None:
        """Exactly these are members of one ring, by the word of each of them."""
        eventually(
            f"one ring of {nodes}",
            lambda: (
                len({self.ring_of(node, nodes) for node in nodes} - {""}) == 1
                and all(self.ring_of(node, nodes) for node in nodes)
            ),
            timeout,
        )

    def ring_of(self, node: int, wanted: tuple[int, ...]) -> str:
        ring = self.status(node)["ring"]
        return str(ring["id"]) if ring["phase"] == "operational" and ring["members"] == sorted(wanted) else ""

    def writable(self, *nodes: int, timeout: float = PATIENCE) -> None:
        for node in nodes:
            eventually(f"node {node} writable", lambda node=node: self.status(node)["store"]["writable"], timeout)

    def cut(self, first: str, second: str, link: int | None = None, one_way: bool = False) -> None:
        actions.cut(self.lab, first, second, link, one_way)

    def heal(self) -> None:
        actions.heal(self.lab, None, None, None, False)

    def equal(self, *nodes: int, timeout: float = PATIENCE) -> tuple[int, str]:
        """All at one revision with one digest, which is returned."""

        def trees() -> set[tuple[int, str]]:
            stores = [self.status(node)["store"] for node in nodes or self.lab.ids]
            return {(store["revision"], store["digest"]) for store in stores}

        found: set[tuple[int, str]] = eventually("equal trees", lambda: len(t := trees()) == 1 and t, timeout)
        return found.pop()

    def verdict_without(self, gone: int, *nodes: int) -> Verdicts:
        """Begin to listen for each node's first verdict that has not `gone` among its members."""
        return Verdicts([self.lab.socket(node) for node in nodes], gone)

    def down(self) -> None:
        actions.down(self.name, keep=False)


class Verdicts:
    """Listens on several nodes from the moment it is made."""

    def __init__(self, paths: list[str], gone: int) -> None:
        self._gone = gone
        self._seen: dict[str, tuple[float, Row]] = {}
        self._problems: list[str] = []
        self._threads: list[threading.Thread] = []
        for path in paths:
            begun = threading.Event()
            thread = threading.Thread(target=self._listen, args=(path, begun), daemon=True)
            thread.start()
            assert begun.wait(PATIENCE)
            self._threads.append(thread)

    def _listen(self, path: str, begun: threading.Event) -> None:
        try:
            for verdict in Client(path, name="live test").watch_quorum():
                begun.set()
                if self._gone not in verdict["members"]:
                    self._seen[path] = time.time(), dict(verdict)
                    return
        except ClientError as error:
            self._problems.append(error.message)
        finally:
            begun.set()

    def wait(self) -> list[tuple[float, Row]]:
        """(Unix time, verdict) of each node, in order."""
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not self._problems and len(self._seen) == len(self._threads), (self._problems, self._seen)
        return list(self._seen.values())


class Writer(threading.Thread):
    """Puts one small file after another through one node until told to stop, and keeps what was acknowledged."""

    def __init__(self, cluster: Cluster, node: int, folder: str) -> None:
        super().__init__(daemon=True)
        self._client = cluster.client(node)
        self._folder = folder
        self._enough = threading.Event()
        self.acknowledged: dict[str, bytes] = {}
        self.written = 0
        self.problems: list[ClientError] = []
        self.gap = 0.0
        self._client.mkdir(folder, parents=True)

    def __enter__(self) -> Writer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join(PATIENCE)
        self._client.close()

    def more(self, count: int) -> None:
        """Wait for so many acknowledgements from now on."""
        goal = self.written + count
        eventually(f"{count} writes more", lambda: self.written >= goal or self.problems)

    def run(self) -> None:
        number, last = 0, time.monotonic()
        while not self._enough.is_set():
            path, data = f"{self._folder}/{number % 200:03d}", b"%d" % number
            try:
                self._client.put(path, data)
            except ClientError as error:
                self.problems.append(error)
                if len(self.problems) > 100:
                    return
                continue
            self.acknowledged[path] = data
            self.gap = max(self.gap, (now := time.monotonic()) - last)
            last = now
            number = self.written = number + 1


def check_written(cluster: Cluster, node: int, written: dict[str, bytes]) -> None:
    """Every acknowledged file is there, with the last acknowledged content."""
    with cluster.client(node) as client:
        for path, data in written.items():
            assert client.cat(path)["data"] == data, path


@contextlib.contextmanager
def labs(directory: Path) -> Iterator[Callable[..., Cluster]]:
    """A maker of clusters that are taken down at the end, also half-made ones."""
    names: list[str] = []

    def make(nodes: int = 3, *settings: str, links: int = 2, votes: list[int] | None = None) -> Cluster:
        name = f"live-{os.getpid()}-{next(_numbers)}"
        names.append(name)
        return Cluster.up(name, directory / f"lab{len(names)}", nodes, links, *settings, votes=votes)

    try:
        yield make
    finally:
        for name in names:
            if layout.load(name) is not None:
                actions.down(name, keep=False)
