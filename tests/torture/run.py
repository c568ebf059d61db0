"""One cluster, and rounds of trouble and peace: everything that is done to it, and what it is asked in between."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from clusterd.client import ClientError
from tests.sim.checkers import liveness
from tests.sim.history import ACKED, Call, Violation
from tests.torture import judges
from tests.torture.clients import PATIENT, Writer
from tests.torture.disks import Disks, Read
from tests.torture.faults import Broken, Faults
from tests.torture.judges import Judge, Round
from tests.torture.listeners import Listener, Watcher, ring_of
from tests.torture.moments import Pulse, clock, until
from tests.torture.place import Place
from tests.torture.plan import Planner, Step
from tests.torture.verdicts import Board

ROUND = (12.0, 25.0)  # seconds of trouble
PEACE = 8.0  # seconds that a round of trouble takes to be judged, by far
HEALED_WITHIN = 60.0
CLIENTS = 8
WATCHERS = 3
KEYS = 8


class Torture:
    """Start, rounds, stop."""

    def __init__(self, where: Place, seed: int) -> None:
        self.place = where
        self._planner = Planner(Random(seed), where.ids, where.lab.links, where.can)
        self._draw = Random(~seed)  # the clients' part
        self.board = Board()
        self.began = clock()
        self._story = (where.directory / "story.txt").open("w", encoding="utf-8", buffering=1)
        self.faults = Faults(where, self.board, self.tell)
        self.judge = Judge(where.ids, self.board)
        stores = {node: Path(where.lab.node_dir(node)) / "state" / "store" for node in where.ids}
        self._disks = Disks(stores)
        self.outcomes: Counter[tuple[str, str]] = Counter()  # kind of operation, how it ended
        self._aside: dict[int, int] = {}  # node -> how much it has set aside
        self.rounds = 0
        self.phase = "starting"
        self.longest_heal = 0.0
        self.largest = 0
        self.writers: list[Writer] = []
        sockets = {node: where.lab.socket(node) for node in where.ids}
        lives = self.faults.lives
        self._listeners = [
            Listener(node, path, self.board, lambda node=node: lives[node]) for node, path in sockets.items()
        ]
        self._pulse = Pulse()
        self._watchers = [Watcher(number, self._draw.getrandbits(64), sockets) for number in range(WATCHERS)]

    def tell(self, line: str) -> None:
        """Into the story of this run, which is kept when it fails."""
        with contextlib.suppress(ValueError):  # closed: a helper came back after the end
            self._story.write(f"{clock() - self.began:9.3f} {line}\n")

    def start(self) -> None:
        for node in self.place.ids:
            self.faults.boot(node)
        self._whole("after the start")
        for looks_on in (*self._listeners, *self._watchers, self._pulse):
            looks_on.start()

    def stop(self) -> None:
        for looks_on in (*self._listeners, *self._watchers, self._pulse):
            looks_on.enough.set()
        self._story.close()

    def round(self, end: float) -> None:
        """Trouble for a while, at the longest until `end`, then peace and judgement. Raises Broken, Violation."""
        self.rounds += 1
        seconds = self._planner.seconds(ROUND)
        steps = self._planner.round(seconds)
        self.tell(f"round {self.rounds} of {seconds:.1f} s, {len(steps)} faults")
        folder = f"round{self.rounds}"
        self._in_peace(f"{folder} made", lambda node: self._make(folder, node))
        keys = [f"{folder}/k{number}" for number in range(KEYS)]
        enough = threading.Event()
        self.writers = [self._client(number, folder, keys, enough) for number in range(CLIENTS)]
        for writer in self.writers:
            writer.start()
        self.phase = "trouble"
        try:
            self._trouble(steps, min(clock() + seconds, end))
            self.phase = "healing"
            self.faults.heal()
        finally:
            enough.set()
        for writer in self.writers:
            writer.join(4 * PATIENT)
        self._whole(f"after round {self.rounds}")
        self.phase = "judging"
        self._judge(folder, keys)
        self._in_peace(f"{folder} removed", lambda node: self._remove(folder, node))

    def _client(self, number: int, folder: str, keys: list[str], enough: threading.Event) -> Writer:
        sockets = {node: self.place.lab.socket(node) for node in self.place.ids}
        lives = self.faults.lives
        return Writer(number, self._draw.getrandbits(64), sockets, folder, keys, enough, lambda node: lives[node])

    def _trouble(self, steps: list[Step], end: float) -> None:
        """The plan, each step and its end in order; what is late comes late, but never before what precedes it."""
        began = clock()
        moments = [(step.at, True, step) for step in steps]
        moments += [(step.at + step.lasts, False, step) for step in steps]
        for at, begins, step in sorted(moments, key=lambda moment: moment[:2]):
            self._wait(min(began + at, end))
            if clock() >= end:
                return
            self.faults.watch()
            (self.faults.carry_out if begins else self.faults.end)(step)
        self._wait(end)

    @staticmethod
    def _wait(moment: float) -> None:
        time.sleep(max(0.0, moment - clock()))

    # peace

    def _whole(self, when: str) -> None:
        """L1: all nodes are one quorate, writable ring with equal trees, within a minute. Raises Violation."""
        began = clock()
        statuses: dict[int, Any] = {}

        def all_well() -> bool:
            self.faults.watch()
            statuses.clear()
            for node in self.place.ids:
                with self.place.client(node, 3.0) as client:
                    statuses[node] = client.status()
            try:
                self._check_whole(statuses)
            except Violation:
                return False
            return True

        well = until(began + HEALED_WITHIN, all_well)
        if not well:
            silent = [node for node in self.place.ids if node not in statuses]
            if silent:
                raise Violation(clock(), "L1", f"{when} node {silent[0]} did not answer for {HEALED_WITHIN:g} s")
            self._check_whole(statuses)
            raise Broken(f"{when} the cluster was whole only after {HEALED_WITHIN:g} s")
        if self.rounds:
            self.longest_heal = max(self.longest_heal, clock() - began)
            self.judge.counts["L1: whole again"] += 1

    def _check_whole(self, statuses: dict[int, Any]) -> None:
        """Raises Violation."""
        now = clock()
        conditions = [condition(node, status) for node, status in statuses.items()]
        liveness.check_ring(now, tuple(self.place.ids), conditions)
        liveness.check_store(now, conditions)
        narrow = [node for node, status in statuses.items() if status["store"]["kind"] != "majority"]
        if narrow:
            raise Violation(now, "L1", f"the store of node {narrow[0]} is not held by a majority")
        trees = {node: (status["store"]["revision"], status["store"]["digest"]) for node, status in statuses.items()}
        if len(set(trees.values())) > 1:
            raise Violation(now, "S4", f"nodes have different trees: {trees}")

    def _in_peace(self, what: str, done: Any) -> None:
        """Until it is done at some node: on a busy machine the ring may still be lost for a moment."""
        last: list[ClientError] = []

        def tried() -> bool:
            for node in self.place.ids:
                try:
                    done(node)
                    return True
                except ClientError as error:
                    last[:] = [error]
            return False

        if not until(clock() + HEALED_WITHIN, tried):
            raise Broken(f"{what}: not for {HEALED_WITHIN:g} s in peace: {last[0].message}")

    def _make(self, folder: str, node: int) -> None:
        with self.place.client(node) as client:
            client.mkdir(folder, parents=True)

    def _remove(self, folder: str, node: int) -> None:
        with self.place.client(node) as client:
            if any(entry["path"] == folder for entry in client.ls()["entries"]):
                client.remove(folder, recursive=True)

    # judgement

    def _judge(self, folder: str, keys: list[str]) -> None:
        for writer in self.writers:
            if writer.is_alive():
                raise Broken(f"{writer.name} still waits for an answer {4 * PATIENT:g} s after the end of the round")
            if writer.odd:
                raise Broken(f"an answer nobody should be given: {writer.odd[0]}")
        peaceful = self._client(CLIENTS, folder, keys, threading.Event())
        calls = [call for writer in self.writers for call in writer.calls] + self._last_calls(peaceful, folder, keys)
        calls.sort(key=lambda call: call.invoked)
        for looks_on in (*self.writers, *self._listeners, *self._watchers):
            if looks_on.problem is not None:
                raise Broken(f"{looks_on.name}: {looks_on.problem!r}") from looks_on.problem
        read = self._logs()
        stores = [self._store_of(node, judges.asked_of_all(calls)) for node in self.place.ids]
        told = {node: listener.take() for node, listener in zip(self.place.ids, self._listeners, strict=True)}
        seen = Round(
            calls,
            [ack for writer in (*self.writers, peaceful) for ack in writer.durable],
            [writer.shown for writer in self.writers],
            {node: verdicts for node, (verdicts, _, _) in told.items()},
            [sample for _, samples, _ in told.values() for sample in samples],
            [self._told_all(watcher) for watcher in self._watchers],
            [*self.faults.paused, *((0, since, to) for since, to in self._pulse.take())],
            {node: rings for node, (_, _, rings) in told.items()},
        )
        self.faults.paused.clear()
        kept = self._write_down(folder, seen, read)
        self.judge.check(seen, read, self._disks, stores)
        self._check_processes()
        for call in calls:
            self.outcomes[call.kind, call.outcome] += 1
        self.writers = []
        for path in kept:
            path.unlink()

    def _last_calls(self, client: Writer, folder: str, keys: list[str]) -> list[Call]:
        """L1: a write at each node is acknowledged. Every key is read once more, from every node: all that was
        acknowledged must be there."""
        writes = []
        for node in self.place.ids:
            writes.append(self._call_in_peace(client, "put", f"{folder}/last{node}", node))
            for key in keys:
                self._call_in_peace(client, "read", key, node)
        liveness.check_last_writes(clock(), writes)
        client.close()
        return client.calls

    @staticmethod
    def _call_in_peace(client: Writer, kind: str, key: str, node: int) -> Call:
        """Asked again until it is answered: on a busy machine the ring may still be lost for a moment."""
        deadline = clock() + HEALED_WITHIN
        while True:
            ident = client.new_id(node)
            if ident:
                call = client.begin(ident, kind, key, node, key.encode() if kind == "put" else None)
                client.ask(call, node, ident, PATIENT)
                if call.outcome == ACKED:
                    return call
            if clock() >= deadline:
                raise Broken(f"{kind} of {key} at node {node}: not for {HEALED_WITHIN:g} s in peace: {client.odd}")

    def _logs(self) -> Read:
        """What all logs had, once they are equally long: a member writes what it has not claimed a little later."""
        problem: list[str] = []
        read: list[Read] = []

        def alike() -> bool:
            try:
                ends = self._disks.ends()
                problem[:] = [f"they end at {ends}"]
                if len(set(ends.values())) == 1:
                    read.append(self._disks.follow())
            except (OSError, ValueError) as error:  # a daemon is just removing what it needs no longer
                problem[:] = [str(error)]
            return bool(read)

        if not until(clock() + HEALED_WITHIN, alike):
            raise Violation(clock(), "S1", f"the logs did not become alike within {HEALED_WITHIN:g} s: {problem[0]}")
        return read[0]

    def _store_of(self, node: int, calls: list[Call]) -> Any:
        with self.place.client(node, PATIENT) as client:
            return judges.store_of(node, client, calls)

    def _told_all(self, watcher: Watcher) -> list[Any]:
        """Its stream, once it has everything that is in the tree."""
        wanted = self._disks.state.revision
        if not until(clock() + HEALED_WITHIN, lambda: watcher.known >= wanted or watcher.problem):
            raise Violation(clock(), "watch", f"{watcher.name} was told up to {watcher.known} of {wanted} in peace")
        return watcher.take()

    def _check_processes(self) -> None:
        """Raises Broken for a daemon's own mistakes, Violation for what was set aside and is not there (S5)."""
        for node in self.place.ids:
            self.largest = max(self.largest, self.place.rss(node))
            if "Traceback" in self.place.log(node):
                raise Broken(f"node {node} logged a traceback: see {self.place.lab.log(node)}")
            with self.place.client(node, PATIENT) as client:
                bugs = client.status()["socket"]["bugs"]
                aside = client.discarded()["discarded"]
            if bugs:
                raise Broken(f"node {node} failed {bugs} operations by a mistake of its own")
            for row in aside:
                if not Path(row["file"]).exists():
                    raise Violation(clock(), "S5", f"node {node} lists {row['id']}, but there is no {row['file']}")
            self._aside[node] = len(aside)
        self.judge.counts["S5: set aside, listed and there"] = sum(self._aside.values())

    def _write_down(self, folder: str, seen: Round, read: Read) -> list[Path]:
        """The round's history, in files that are kept when it is found broken."""
        parts: dict[str, list[Any]] = {
            "calls": seen.calls,
            "durable": seen.durable,
            "samples": seen.samples,
            "verdicts": [(node, told) for node, events in seen.told.items() for told in events],
            "log": [*read.applied, *read.changes],
        }
        parts |= {f"watcher{number}": list(stream) for number, stream in enumerate(seen.watches)}
        written = []
        for name, rows in parts.items():
            path = self.place.directory / f"{folder}.{name}"
            path.write_text("".join(f"{row!r}\n" for row in rows), encoding="utf-8")
            written.append(path)
        return written


def condition(node: int, status: Any) -> liveness.Condition:
    """How a node stands, by its own word."""
    ring, store = status["ring"], status["store"]
    return liveness.Condition(
        node,
        ring["phase"],
        ring_of(ring["id"]),
        tuple(ring["members"]),
        status["quorum"]["quorate"],
        store["state"],
        store["writable"],
        store["reason"],
    )
