"""`make demo`: a real three-node cluster in front of the user, step by step, each with its time.

    python -m clusterd.cli.demo [--keep]

Exit 0 only if every step held. Cleans up however it ends; --keep leaves a cluster that went well running.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.status import Status as Spinner
from rich.text import Text

from clusterd.client import Client, ClientError, NoQuorum
from clusterd.lab import actions, waiting
from clusterd.lab.layout import Lab

if TYPE_CHECKING:
    from clusterd.control.shapes import Quorum, Status

_PATIENCE = 30.0  # seconds a step may take
_AT_ONCE = 1.0  # seconds within which a write without quorum is refused (CLI contract)
_TRAFFIC = 1.0  # seconds of writes before and after link 0 is cut
_WIDTH = 80


class Broken(Exception):  # noqa: N818
    """A step did not hold; the text says what was seen."""


class Demo:
    """One run. Each step is a method; it returns the sentences that say what was seen."""

    def __init__(self, name: str, console: Console) -> None:
        self.name = name
        self._console = console
        self._spinner: Spinner | None = None
        self.lab: Lab

    def run(self) -> None:
        """All steps in order. Raises Broken, ClientError."""
        steps: list[tuple[str, Callable[[], list[str]]]] = [
            ("start three daemons: a ring forms, quorum is reached", self._start),
            ("write a file on node 1, read it on node 3", self._write_and_read),
            ("kill node 2 with SIGKILL: quorum stays", self._kill_one),
            ("write again, with node 2 dead", self._write_again),
            ("kill node 3: writes are refused at once, reads go on", self._kill_another),
            ("start both again: three equal trees", self._restart),
            ("cut link 0 under traffic: it goes on over link 1", self._cut_link),
        ]
        for number, (title, step) in enumerate(steps, 1):
            began = time.monotonic()
            try:
                with self._console.status(title) as self._spinner:
                    seen = step()
            except (Broken, ClientError):
                self._line(number, title, time.monotonic() - began, held=False)
                raise
            self._line(number, title, time.monotonic() - began, held=True)
            for sentence in seen:
                self._console.print(Text(f"     {sentence}", "dim"))

    def _line(self, number: int, title: str, seconds: float, held: bool) -> None:
        mark = Text(" ok " if held else "FAIL", "bold green" if held else "bold red")
        text = Text.assemble(mark, f" {number}. {title}")
        text.append(f"{seconds:.2f} s".rjust(max(1, _WIDTH - 1 - len(text))))
        self._console.print(text)

    # the steps

    def _start(self) -> list[str]:
        deadline = time.monotonic() + _PATIENCE
        self.lab = actions.up(self.name, 3, 2, None, None, None, [], deadline, self._progress())
        waiting.whole(self.lab, deadline, self._progress())
        status = self._status(1)
        base = f"127.{self.lab.base}.LINK.NODE"
        members = ", ".join(str(node) for node in status["ring"]["members"])
        return [f"ring {status['ring']['id']} of nodes {members} on {base}, encrypted", status["quorum"]["reason"]]

    def _write_and_read(self) -> list[str]:
        text = b"hello from node 1"
        with self._client(1) as client:
            client.mkdir("demo", parents=True)
            began = time.monotonic()
            written = client.put("demo/greeting", text)
            took = time.monotonic() - began
        with self._client(3) as client:
            found = client.cat("demo/greeting", linearizable=True)
        _check(found["data"] == text, f"node 3 read {found['data']!r}")
        where = ", ".join(str(node) for node in written["durable_on"])
        return [
            f"written in {took * 1000:.1f} ms, on disk on nodes {where}, revision {written['revision']}",
            f"node 3 reads: {found['data'].decode()}",
        ]

    def _kill_one(self) -> list[str]:
        noticed = self._kill(2, survivors=[1, 3], quorate=True)
        return [f"nodes 1 and 3 noticed after {noticed:.2f} s and stay quorate", self._status(1)["quorum"]["reason"]]

    def _write_again(self) -> list[str]:
        with self._client(1) as client:
            written = client.put("demo/greeting", b"node 2 is away")
        with self._client(3) as client:
            found = client.cat("demo/greeting", linearizable=True)
        _check(found["data"] == b"node 2 is away", f"node 3 read {found['data']!r}")
        return [f"revision {written['revision']}, and node 3 reads it: {found['data'].decode()}"]

    def _kill_another(self) -> list[str]:
        noticed = self._kill(3, survivors=[1], quorate=False)
        with self._client(1) as client:
            began = time.monotonic()
            try:
                client.put("demo/greeting", b"must not be written")
            except NoQuorum as refusal:
                took = time.monotonic() - began
                message = refusal.message
            else:
                raise Broken("a write was taken without quorum")
            found = client.cat("demo/greeting")
        _check(took < _AT_ONCE, f"the refusal took {took:.2f} s")
        _check(found["data"] == b"node 2 is away", f"node 1 read {found['data']!r}")
        return [
            f"node 1 noticed after {noticed:.2f} s; a write is refused in {took * 1000:.1f} ms:",
            f"  {message}"[: _WIDTH - 6],
            f"a read still says: {found['data'].decode()}",
        ]

    def _restart(self) -> list[str]:
        deadline = time.monotonic() + _PATIENCE
        actions.start(self.lab, [2, 3], deadline, self._progress())
        waiting.whole(self.lab, deadline, self._progress())
        while True:
            stores = [self._status(node)["store"] for node in self.lab.ids]
            trees = {(store["revision"], store["digest"]) for store in stores}
            if len(trees) == 1:
                break
            _check(time.monotonic() < deadline, f"the trees differ: {sorted(trees)}")
            time.sleep(0.05)
        ((revision, digest),) = trees
        return [f"all three at revision {revision}, digest {digest[:16]}..."]

    def _cut_link(self) -> list[str]:
        with _Writer(self.lab.socket(1)) as writer:
            time.sleep(_TRAFFIC)
            before = writer.written
            actions.cut(self.lab, "all", "all", 0, False)
            cut = time.monotonic()
            time.sleep(_TRAFFIC)
        _check(writer.problem is None, f"a write failed: {writer.problem}")
        _check(writer.last > cut and writer.written > before, "no write was acknowledged after the cut")
        active = {(row["peer"], row["link"]) for row in self._links() if row["active"]}
        _check(active == {(2, 1), (3, 1)}, f"data goes over (peer, link) {sorted(active)}")
        members = self._status(1)["ring"]["members"]
        _check(members == [1, 2, 3], f"the ring is {members}")
        actions.heal(self.lab, None, None, None, False)
        return [
            f"{writer.written} writes acknowledged, {writer.written - before} of them after the cut",
            f"longest gap between two: {writer.gap * 1000:.0f} ms; nobody left the ring",
        ]

    # what they use

    def _kill(self, victim: int, survivors: list[int], quorate: bool) -> float:
        """Seconds from the signal until every survivor has a verdict without the victim."""
        watchers = [_Watcher(self.lab.socket(node), victim) for node in survivors]
        for watcher in watchers:
            watcher.begin()
        killed = actions.kill(self.lab, [victim])[0]["time"]
        for node, watcher in zip(survivors, watchers, strict=True):
            verdict = watcher.wait(_PATIENCE)
            _check(verdict is not None, f"node {node} did not notice within {_PATIENCE:g} s")
            assert verdict is not None
            _check(verdict["quorate"] is quorate, f"node {node} says: {verdict['reason']}")
        return max(watcher.seen for watcher in watchers) - float(killed)

    def _client(self, node: int) -> Client:
        return Client(self.lab.socket(node), name="demo")

    def _status(self, node: int) -> Status:
        with self._client(node) as client:
            return client.status()

    def _links(self) -> list[dict[str, object]]:
        with self._client(1) as client:
            return [dict(row) for row in client.links()["links"]]

    def _progress(self) -> waiting.Progress:
        return waiting.Progress(lambda what: self._spinner.update(what[: _WIDTH - 4]) if self._spinner else None)


class _Watcher(threading.Thread):
    """Listens to one node's verdicts until one is without the victim."""

    def __init__(self, path: str, victim: int) -> None:
        super().__init__(daemon=True)
        self._client = Client(path, name="demo")
        self._victim = victim
        self._listening = threading.Event()
        self._noticed = threading.Event()
        self._verdict: Quorum | None = None
        self.seen = 0.0

    def begin(self) -> None:
        """Returns when the first verdict is in, so nothing is missed."""
        self.start()
        self._listening.wait(_PATIENCE)

    def run(self) -> None:
        with contextlib.suppress(ClientError):
            for verdict in self._client.watch_quorum():
                self._listening.set()
                if self._victim not in verdict["members"]:
                    self.seen = time.time()
                    self._verdict = verdict
                    break
        self._noticed.set()

    def wait(self, timeout: float) -> Quorum | None:
        self._noticed.wait(timeout)
        return self._verdict


class _Writer(threading.Thread):
    """Writes one small file again and again, and measures the longest time between two acknowledgements."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self._client = Client(path, name="demo")
        self._enough = threading.Event()
        self.written = 0
        self.gap = 0.0
        self.last = time.monotonic()
        self.problem: str | None = None

    def __enter__(self) -> _Writer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join(_PATIENCE)

    def run(self) -> None:
        with self._client as client:
            while not self._enough.is_set():
                try:
                    client.put("demo/traffic", b"%d" % self.written)
                except ClientError as error:
                    self.problem = error.message
                    return
                now = time.monotonic()
                if self.written:
                    self.gap = max(self.gap, now - self.last)
                self.last = now
                self.written += 1


def _check(held: bool, seen: str) -> None:
    if not held:
        raise Broken(seen)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main(argv: list[str] | None = None) -> int:
    """Run the demo. Returns 0 when every step held, 1 when not, 130 after Ctrl-C."""
    keep = "--keep" in (sys.argv[1:] if argv is None else argv)
    console = Console(width=_WIDTH, highlight=False)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    demo = Demo(f"demo-{os.getpid()}", console)
    console.print("[bold]clusterd[/bold]: three real daemons on this host, two links, one encrypted ring")
    began = time.monotonic()
    held = False
    try:
        demo.run()
        held = True
    except (Broken, ClientError) as error:
        console.print(Text(f"     {error}", "red"))
        _show_logs(console, demo, error)
    except KeyboardInterrupt:
        console.print("interrupted, cleaning up")
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a second Ctrl-C must not leave daemons behind
            signal.signal(number, signal.SIG_IGN)
        if not (held and keep):
            actions.down(demo.name, keep=False)
    console.print(f"{'every step held' if held else 'not every step held'}, {time.monotonic() - began:.1f} s in all")
    if held and keep:
        command = _clusterctl()
        console.print(f"It runs on. Look:  {command} --lab {demo.name} --node 1 status", soft_wrap=True)
        console.print(f"          End it:  {command} --lab {demo.name} lab down", soft_wrap=True)
    return 0 if held else 1


def _show_logs(console: Console, demo: Demo, error: Exception) -> None:
    """The end of the log of the node that did not start, or else of all nodes."""
    if isinstance(error, ClientError) and "log" in error.details:
        logs = {error.node: error.details["log"]}
    elif hasattr(demo, "lab"):
        logs = {node: waiting.last_lines(demo.lab.log(node))[-5:] for node in demo.lab.ids}
    else:
        logs = {}
    for node, lines in logs.items():
        for line in lines:
            console.print(Text(f"     n{node} | {line}", "dim"), soft_wrap=True)


def _clusterctl() -> str:
    """How to type the command here."""
    beside = Path(sys.executable).with_name("clusterctl")
    if not beside.exists():
        return f"{sys.executable} -m clusterd.cli"
    with contextlib.suppress(ValueError):
        return str(beside.relative_to(Path.cwd()))
    return str(beside)


if __name__ == "__main__":
    sys.exit(main())
