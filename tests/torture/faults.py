"""Carries out a plan's steps on real processes, and undoes them in time; at the end of a round everything is undone."""

from __future__ import annotations

import re
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from clusterd.client import ClientError
from tests.torture.moments import clock
from tests.torture.place import Place
from tests.torture.plan import Step
from tests.torture.verdicts import Board

LEAVE = 10.0  # seconds a clean leave may take
CHANGE = 12.0  # seconds an administrator waits
_VERSION = re.compile(r"config_version:\s*(\d+)")


class Broken(Exception):  # noqa: N818  what broke is the name
    """A process did what none may do."""


class Faults:
    """Keeps what is under way. `log(line)` is told each of them.

    paused: node, from and to (see moments.clock) of each stop.  done: how many of each kind took effect.
    """

    def __init__(self, place: Place, board: Board, log: Callable[[str], None]) -> None:
        self._place, self._board, self._log = place, board, log
        self._under_way: list[tuple[Step, Callable[[], None]]] = []
        self._away: set[int] = set()  # nodes ended, stopped, or with a full disk
        self._helpers: list[threading.Thread] = []
        self.lives: Counter[int] = Counter()
        self.paused: list[tuple[int, float, float]] = []
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    @property
    def under_way(self) -> list[str]:
        return [step.kind for step, _ in list(self._under_way)]

    def boot(self, node: int) -> None:
        self.lives[node] += 1
        self._place.start(node)
        self._board.began(node)

    def watch(self) -> None:
        """Raises Broken when a daemon is gone that nobody ended."""
        for node in self._place.ids:
            if node not in self._away and not self._place.runs(node):
                status = self._place.wait_end(node, 0.0)
                raise Broken(f"node {node} ended by itself with status {status}: see {self._place.lab.log(node)}")

    def carry_out(self, step: Step) -> None:
        """Begin one. Raises Broken."""
        self._log(str(step))
        match step.kind:
            case "kill":
                undo = self._kill(step.node)
            case "leave":
                undo = self._leave(step.node)
            case "stop":
                undo = self._stop(step.node)
            case "disk":
                undo = self._fill(step.node)
            case "rotate":
                self._helped(step, self._rotate)
                return
            case "reload":
                self._helped(step, lambda node: self._reload(node, step.amount))
                return
            case _:
                self._place.obstruct(step)

                def undo() -> None:
                    self._place.clear(step)

        self.done[step.kind] += 1
        self._under_way.append((step, undo))

    def end(self, step: Step) -> None:
        """Undo one, if it is under way."""
        for entry in [entry for entry in self._under_way if entry[0] is step]:
            self._under_way.remove(entry)
            self._log(f"over: {step}")
            entry[1]()

    def heal(self) -> None:
        """Undo everything, and wait for helpers; every node runs and every link works."""
        for step, _ in list(self._under_way):
            self.end(step)
        for helper in self._helpers:
            helper.join(2 * CHANGE * len(self._place.ids))
        self._helpers.clear()

    # processes and their disks

    def _start(self, node: int) -> None:
        self.boot(node)
        self._away.discard(node)

    def _kill(self, node: int) -> Callable[[], None]:
        self._away.add(node)
        self._board.ending(node)
        self._place.send(node, signal.SIGKILL)
        self._place.wait_end(node, LEAVE)
        return lambda: self._start(node)

    def _leave(self, node: int) -> Callable[[], None]:
        self._away.add(node)
        self._board.ending(node)
        self._place.send(node, signal.SIGTERM)
        status = self._place.wait_end(node, LEAVE)
        unborn = status == -signal.SIGTERM and self._place.silent(node)  # the interpreter was still starting
        if status != 0 and not unborn:
            raise Broken(f"node {node} did not leave cleanly within {LEAVE:g} s of SIGTERM: status {status}")
        return lambda: self._start(node)

    def _stop(self, node: int) -> Callable[[], None]:
        self._away.add(node)
        began = clock()
        self._place.send(node, signal.SIGSTOP)

        def go_on() -> None:
            self._place.send(node, signal.SIGCONT)
            self.paused.append((node, began, clock()))
            self._away.discard(node)

        return go_on

    def _fill(self, node: int) -> Callable[[], None]:
        self._away.add(node)
        self._place.fill(node)

        def free() -> None:
            self._place.free(node)
            self._away.discard(node)

        return free

    # changes an administrator makes; they may be refused, and take seconds, so others make them

    def _helped(self, step: Step, change: Callable[[int], None]) -> None:
        """Asked of the step's node, and of the others in turn while nobody does it."""
        first = self._place.ids.index(step.node)
        nodes = self._place.ids[first:] + self._place.ids[:first]

        def run() -> None:
            for node in nodes:
                try:
                    change(node)
                except ClientError as error:
                    self._log(f"{step}: node {node}: {error.code}: {error.message}")
                    continue
                self._log(f"done: {step}: node {node}")
                self.done[step.kind] += 1
                return
            self.refused[step.kind] += 1

        helper = threading.Thread(target=run, daemon=True)
        helper.start()
        self._helpers = [h for h in self._helpers if h.is_alive()] + [helper]

    def _rotate(self, node: int) -> None:
        with self._place.client(node) as client:
            client.rotate_key(timeout=CHANGE)

    def _reload(self, node: int, token: int) -> None:
        newest = max((Path(self._place.lab.config(n)).read_text() for n in self._place.ids), key=version_of)
        text = _VERSION.sub(f"config_version: {version_of(newest) + 1}", newest)
        text = re.sub(r"\n\s*token:.*", "", text).replace("totem {", f"totem {{\n    token: {token}", 1)
        Path(self._place.lab.config(node)).write_text(text)
        with self._place.client(node) as client:
            client.reload(timeout=CHANGE)


def version_of(text: str) -> int:
    """The config_version of a corosync.conf."""
    found = _VERSION.search(text)
    return int(found[1]) if found else 0
