"""What is done to the cluster while clients write, and how it is undone.

A fault is carried out, lasts a while and is undone; several may be under way at once, but never more processes are
down, stopped or without a disk than leave the cluster something to do. At the end of a round everything is undone.
"""

from __future__ import annotations

import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from clusterd.client import ClientError
from tests.torture.place import Place, Way, until
from tests.torture.verdicts import Board

LEAVE = 10.0  # seconds a clean leave may take
_VERSION = re.compile(r"config_version:\s*(\d+)")
_TOKENS = (600, 700, 900)  # milliseconds, what a reload sets
KINDS = {"kill": 4, "stop": 3, "terminate": 3, "cut": 4, "one way": 2, "split": 3, "disk": 2, "rotate": 2, "reload": 2}
"""How often each is drawn: SIGKILL, SIGSTOP, SIGTERM, a link, one direction of a link, two sides, a full disk, a new
cluster key, a changed configuration."""


class Broken(Exception):  # noqa: N818  what broke is the name
    """A process did what none may do."""


class Faults:
    """Draws faults, keeps what is under way. `log(line)` is told each of them."""

    def __init__(self, place: Place, board: Board, draw: random.Random, log: Callable[[str], None]) -> None:
        self._place, self._board, self._draw, self._log = place, board, draw, log
        self._undo: list[tuple[float, str, Callable[[], None]]] = []  # when, what, how
        self._away: set[int] = set()  # nodes ended, stopped, or with a full disk
        self._helpers: list[threading.Thread] = []
        self.lives: Counter[int] = Counter()
        self.done: Counter[str] = Counter()

    def boot(self, node: int) -> None:
        self.lives[node] += 1
        self._place.start(node)
        self._board.began(node)

    def step(self) -> None:
        """Undo what is over, check that nobody ended by itself, do one thing more."""
        self.watch()
        now = time.monotonic()
        for entry in [entry for entry in self._undo if entry[0] <= now]:
            self._take_back(entry)
        kind = self._draw.choices(list(KINDS), list(KINDS.values()))[0]
        getattr(self, "_" + kind.replace(" ", "_"))()

    def watch(self) -> None:
        """Raises Broken when a daemon is gone that nobody ended."""
        for node in self._place.ids:
            if node not in self._away and not self._place.runs(node):
                status = self._place.wait_end(node, 0.0)
                raise Broken(f"node {node} ended by itself with status {status}: see {self._place.lab.log(node)}")

    def heal(self) -> None:
        """Undo everything, and wait for helpers; every node runs and every link works."""
        for entry in sorted(self._undo, key=lambda entry: entry[0]):
            self._take_back(entry)
        for helper in self._helpers:
            helper.join(60.0)
        self._helpers.clear()

    def _take_back(self, entry: tuple[float, str, Callable[[], None]]) -> None:
        self._undo.remove(entry)
        self._log(entry[1])
        entry[2]()

    def _lasting(self, kind: str, what: str, least: float, most: float, undone: str, undo: Callable[[], None]) -> None:
        self.done[kind] += 1
        self._log(what)
        self._undo.append((time.monotonic() + self._draw.uniform(least, most), undone, undo))

    def _victim(self) -> int | None:
        """A node nothing is wrong with; None when as many are away as may be: all but one, now and then all."""
        free = [node for node in self._place.ids if node not in self._away]
        if len(free) <= (0 if self._draw.random() < 0.1 else 1):
            return None
        node = self._draw.choice(free)
        self._away.add(node)
        return node

    # processes

    def _start(self, node: int) -> None:
        self.boot(node)
        self._away.discard(node)

    def _kill(self) -> None:
        node = self._victim()
        if node is None:
            return
        self._board.ending(node)
        self._place.send(node, signal.SIGKILL)
        self._place.wait_end(node, LEAVE)
        self._lasting("kill", f"kill node {node}", 0.0, 6.0, f"start node {node}", lambda: self._start(node))

    def _terminate(self) -> None:
        node = self._victim()
        if node is None:
            return
        self._board.ending(node)
        self._log(f"terminate node {node}")
        self._place.send(node, signal.SIGTERM)
        status = self._place.wait_end(node, LEAVE)
        unborn = status == -signal.SIGTERM and self._place.silent(node)  # the interpreter was still starting
        if status != 0 and not unborn:
            raise Broken(f"node {node} did not leave cleanly within {LEAVE:g} s of SIGTERM: status {status}")
        self._lasting("terminate", f"node {node} left", 0.0, 4.0, f"start node {node}", lambda: self._start(node))

    def _stop(self) -> None:
        node = self._victim()
        if node is None:
            return

        def go_on() -> None:
            self._place.send(node, signal.SIGCONT)
            self._away.discard(node)

        self._place.send(node, signal.SIGSTOP)
        most = self._draw.choice((0.3, 1.5, 6.0))
        self._lasting("stop", f"stop node {node}", 0.05, most, f"go on node {node}", go_on)

    # links

    def _ways(self, kind: str, what: str, ways: set[Way]) -> None:
        self._place.set_cuts(self._place.cut | ways)
        self._lasting(
            kind, f"cut {what}", 0.2, 6.0, f"heal {what}", lambda: self._place.set_cuts(self._place.cut - ways)
        )

    def _pair(self) -> tuple[int, int, int]:
        first, second = self._draw.sample(self._place.ids, 2)
        return first, second, self._draw.randrange(self._place.lab.links)

    def _cut(self) -> None:
        first, second, link = self._pair()
        self._ways("cut", f"link {link} of {first} and {second}", {(first, second, link), (second, first, link)})

    def _one_way(self) -> None:
        first, second, link = self._pair()
        self._ways("one way", f"link {link} from {first} to {second}", {(first, second, link)})

    def _split(self) -> None:
        ids = self._place.ids
        side = set(self._draw.sample(ids, self._draw.randrange(1, len(ids))))
        links = range(self._place.lab.links)
        ways = {(a, b, k) for a in ids for b in ids for k in links if (a in side) != (b in side)}
        self._ways("split", f"{sorted(side)} from the others", ways)

    # disks

    def _disk(self) -> None:
        node = self._victim()
        if node is None:
            return

        def free() -> None:
            self._place.free(node)
            self._away.discard(node)

        self._place.fill(node)
        self._lasting("disk", f"fill the disk of node {node}", 0.5, 6.0, f"free the disk of node {node}", free)

    # changes an administrator makes; they may be refused, and take seconds, so others make them

    def _helped(self, kind: str, what: str, change: Callable[[], None]) -> None:
        def run() -> None:
            try:
                change()
                self._log(f"{what}: done")
                self.done[kind] += 1
            except ClientError as error:
                self._log(f"{what}: {error.code}: {error.message}")

        self._log(what)
        helper = threading.Thread(target=run, daemon=True)
        helper.start()
        self._helpers = [h for h in self._helpers if h.is_alive()] + [helper]

    def _rotate(self) -> None:
        node = self._draw.choice(self._place.ids)

        def change() -> None:
            with self._place.client(node) as client:
                client.rotate_key(timeout=12.0)

        self._helped("rotate", f"new cluster key by node {node}", change)

    def _reload(self) -> None:
        node, token = self._draw.choice(self._place.ids), self._draw.choice(_TOKENS)
        newest = max((Path(self._place.lab.config(n)).read_text() for n in self._place.ids), key=version_of)
        text = _VERSION.sub(f"config_version: {version_of(newest) + 1}", newest)
        text = re.sub(r"\n\s*token:.*", "", text).replace("totem {", f"totem {{\n    token: {token}", 1)

        def change() -> None:
            Path(self._place.lab.config(node)).write_text(text)
            with self._place.client(node) as client:
                client.reload(timeout=12.0)

        self._helped("reload", f"token {token} ms by a reload at node {node}", change)


def version_of(text: str) -> int:
    """The config_version of a corosync.conf."""
    found = _VERSION.search(text)
    return int(found[1]) if found else 0


def whole(place: Place, seconds: float) -> dict[int, str]:
    """Wait until all nodes are one quorate, writable ring with equal trees; what is wrong with whom, if not."""
    wrong: dict[int, str] = {}

    def all_well() -> bool:
        wrong.clear()
        seen = set()
        for node in place.ids:
            try:
                with place.client(node, 3.0) as client:
                    status = client.status()
            except ClientError as error:
                wrong[node] = error.message
                continue
            ring, store = status["ring"], status["store"]
            seen.add((ring["id"], store["revision"], store["digest"]))
            if not (ring["phase"] == "operational" and ring["members"] == place.ids and status["quorum"]["quorate"]):
                wrong[node] = f"ring {ring}, quorate {status['quorum']['quorate']}"
            elif not store["writable"] or store["state"] != "synced" or store["kind"] != "majority":
                wrong[node] = f"store {store}"
        if not wrong and len(seen) > 1:
            wrong[0] = f"trees or rings differ: {sorted(seen)}"
        return not wrong

    until(time.monotonic() + seconds, all_well)
    return wrong
