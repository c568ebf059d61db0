"""Real daemons under everything at once: python -m tests.torture [--minutes M] [--seed HEX] [--nodes N]

Starts a cluster of its own and, round after round, lets clients write, compare and set, remove and read through every
node while nodes are killed, stopped and terminated, links cut, disks filled, cluster keys rotated and configurations
reloaded. Meanwhile every node is asked whether it is quorate. After each round everything is healed, and it is checked
that

    all nodes become one quorate ring with equal trees          within a minute
    no two sides were ever quorate at one moment                by what they answered, and how long that was to hold
    one order of all operations on a key explains every answer  so no acknowledged write was lost, none done twice
    no daemon ended by itself or logged a traceback

As root the nodes have network namespaces, nft cuts and small disks of their own; else loopback and what a user may do.
The seed decides what is drawn, not how processes interleave: it repeats the kind of trouble, not the run. A failure
ends it with status 1 and leaves everything in one directory, which is named; else nothing is left behind. Ctrl-C ends
it in a few seconds with status 130.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.sim.checkers import linearizability
from tests.sim.history import ACKED, UNKNOWN, Call, History, Violation
from tests.torture import faults, place
from tests.torture.clients import PATIENCE, Writer, count
from tests.torture.faults import Broken, Faults
from tests.torture.place import Place
from tests.torture.verdicts import Board, Listener

ROUND = (12.0, 25.0)  # seconds of trouble
EACH = (0.2, 2.5)  # seconds between two faults
HEALED_WITHIN = 60.0
CLIENTS = 6
KEYS = 8
SETTINGS = ["system.sched_rr=no"]


class Torture:
    """One cluster, and everything that is done to it."""

    def __init__(self, where: Place, seed: int) -> None:
        self.place = where
        self.draw = random.Random(seed)
        self.board = Board()
        self.began = time.monotonic()
        self.story = (where.directory / "story.txt").open("w", encoding="utf-8", buffering=1)
        self.faults = Faults(where, self.board, self.draw, self.tell)
        self.calls: Counter[str] = Counter()
        self.rounds = 0
        self.longest_heal = 0.0
        self.largest = 0
        self.undecided = 0

    def tell(self, line: str) -> None:
        """Into the story of this run, which is kept when it fails."""
        with contextlib.suppress(ValueError):  # closed: a helper came back after the end
            self.story.write(f"{time.monotonic() - self.began:9.3f} {line}\n")

    def start(self) -> None:
        for node in self.place.ids:
            self.faults.boot(node)
        self._whole("after the start")
        self.listeners = [Listener(node, self.place.lab.socket(node), self.board) for node in self.place.ids]
        for listener in self.listeners:
            listener.start()

    def stop(self) -> None:
        for listener in getattr(self, "listeners", ()):
            listener.enough.set()
        self.story.close()

    def round(self, until: float) -> None:
        """Trouble for a while, then peace and judgement. Raises Broken, Violation."""
        self.rounds += 1
        self.tell(f"round {self.rounds}")
        folder = f"round{self.rounds}"
        with self.place.client(self.place.ids[0], 10.0) as client:
            client.mkdir(folder)
        keys = [f"{folder}/{number}" for number in range(KEYS)]
        enough = threading.Event()
        sockets = {node: self.place.lab.socket(node) for node in self.place.ids}
        lives = self.faults.lives
        writers = [
            Writer(number, self.draw.getrandbits(64), sockets, keys, enough, lambda node: lives[node])
            for number in range(CLIENTS)
        ]
        for writer in writers:
            writer.start()
        over = min(until, time.monotonic() + self.draw.uniform(*ROUND))
        try:
            while time.monotonic() < over:
                self.faults.step()
                time.sleep(self.draw.uniform(*EACH))
        finally:
            self.faults.heal()
            enough.set()
            for writer in writers:
                writer.join(4 * PATIENCE)
        self._whole(f"after round {self.rounds}")
        self._judge(folder, keys, writers)

    def _whole(self, when: str) -> None:
        began = time.monotonic()
        wrong = faults.whole(self.place, HEALED_WITHIN)
        self.faults.watch()
        if wrong:
            told = "; ".join(f"node {node}: {text}" if node else text for node, text in sorted(wrong.items()))
            raise Broken(f"{when} the cluster was not whole within {HEALED_WITHIN:g} s of peace: {told}")
        if self.rounds:
            self.longest_heal = max(self.longest_heal, time.monotonic() - began)

    def _judge(self, folder: str, keys: list[str], writers: list[Writer]) -> None:
        for writer in writers:
            if writer.is_alive():
                raise Broken(f"{writer.name} still waits for an answer {4 * PATIENCE:g} s after the end of the round")
            if writer.problem is not None:
                raise Broken(f"{writer.name}: {writer.problem!r}") from writer.problem
            if writer.odd:
                raise Broken(f"an answer nobody should be given: {writer.odd[0]}")
        calls = [call for writer in writers for call in writer.calls] + self._final_reads(keys)
        with (self.place.directory / f"{folder}.calls").open("w", encoding="utf-8") as file:
            for call in sorted(calls, key=lambda call: call.invoked):
                file.write(f"{call.invoked - self.began:9.3f} {call!r}\n")
        history = History(dict.fromkeys(self.place.ids, 1), calls)
        self.undecided += linearizability.check(history)
        self.calls += count(calls)
        if self.board.broken:
            raise Broken(self.board.broken[0])
        for node in self.place.ids:
            self.largest = max(self.largest, self.place.rss(node))
            if "Traceback" in self.place.log(node):
                raise Broken(f"node {node} logged a traceback: see {self.place.lab.log(node)}")
        (self.place.directory / f"{folder}.calls").unlink()

    def _final_reads(self, keys: list[str]) -> list[Call]:
        """Every key read once more, from every node: all that was acknowledged must be there."""
        reads = []
        for number, node in enumerate(self.place.ids):
            reader = Writer(
                CLIENTS + number, 0, {node: self.place.lab.socket(node)}, keys, threading.Event(), lambda n: 0
            )
            reads += [self._read_in_peace(reader, key, node) for key in keys]
            reader.close()
        return reads

    @staticmethod
    def _read_in_peace(reader: Writer, key: str, node: int) -> Call:
        """Again until it is answered: on a busy machine the ring may still be lost for a moment."""
        deadline = time.monotonic() + HEALED_WITHIN
        while True:
            call = Call(b"", "read", key, node, 0, reader.number, time.monotonic())
            reader.ask(call, node)
            if call.outcome == ACKED:
                return call
            if time.monotonic() >= deadline:
                told = reader.odd or call.outcome
                raise Broken(f"{key} could not be read at node {node} for {HEALED_WITHIN:g} s in peace: {told}")

    def progress(self) -> str:
        """The totals in a line that fits a screen."""
        acked, unknown = self.calls[ACKED], self.calls[UNKNOWN]
        return f"round {self.rounds} held; {self.faults.done.total()} faults, {acked} acked, {unknown} unknown"

    def totals(self) -> str:
        """What was done and what came of it."""
        done = ", ".join(f"{number} {kind}" for kind, number in sorted(self.faults.done.items()))
        ended = ", ".join(f"{number} {outcome}" for outcome, number in sorted(self.calls.items()))
        told = [
            f"{self.rounds} rounds",
            f"faults: {done}",
            f"operations: {ended}",
            f"{self.board.promises} answers of quorate nodes compared",
            f"whole again after {self.longest_heal:.1f} s at most",
            f"largest daemon {self.largest >> 20} MiB",
        ]
        if self.undecided:
            told.append(f"{self.undecided} keys left undecided by the checker")
        return "; ".join(told)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (10)")
    parser.add_argument("--seed", type=lambda text: int(text, 16), help="what to draw (by default from the time)")
    parser.add_argument("--nodes", type=int, default=3, choices=range(2, 10), metavar="N", help="2 to 9 (3)")
    options = parser.parse_args()
    seed: int = options.seed if options.seed is not None else int(time.time()) & 0xFFFFFF
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: clean up
    directory = Path(tempfile.mkdtemp(prefix=f"{place.PREFIX}-{os.getpid()}-{seed:06x}-", dir="/var/tmp"))
    failed = True
    where = torture = None
    status = 1
    try:
        where = place.make(directory, options.nodes, 2, SETTINGS)
        print(f"seed {seed:06x}: {options.nodes} nodes for {options.minutes:g} minutes; {where.kind}", flush=True)
        torture = Torture(where, seed)
        torture.start()
        until = time.monotonic() + 60 * options.minutes
        while time.monotonic() < until:
            torture.round(until)
            left = max(0.0, until - time.monotonic())
            print(f"{left / 60:6.1f} min left: {torture.progress()}", flush=True)
        failed, status = False, 0
        print(f"all held for {options.minutes:g} minutes: {torture.totals()}")
    except KeyboardInterrupt:
        failed, status = False, 130
        print("stopped")
    except (Broken, Violation) as broken:
        print(f"FAILED: {broken}")
    except Exception:
        print("FAILED: the torture itself broke")
        traceback.print_exc()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # cleaning up takes a moment and must not be left half done
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if torture is not None:
            torture.stop()
        if where is not None:
            where.close(keep_state=failed)
        if failed:
            again = f"python -m tests.torture --seed {seed:x} --nodes {options.nodes}"
            print(f"logs, stores, configurations, the story and the operations are in {directory}\nagain: {again}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
