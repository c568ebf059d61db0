"""Runs cases in worker processes and loses none: a worker that ends or hangs is a failure of the case it had.

Each worker gets LOT cases, one at a time, and is then replaced by a fresh one: what a run leaves behind in memory does
not add up. Nothing here judges a run; where there is a compiled copy, tests/sim/compiling/both.py says which case is
run there.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from tests.sim.cases import ROOT, Case
from tests.sim.compiling.both import Both
from tests.sim.history import Violation
from tests.sim.report import Report
from tests.sim.runs import from_line
from tests.sim.worker import case_line

LOT = 25  # cases of one process
PATIENCE = 1800.0  # seconds by the clock for one case: its own bound on processor time comes long before
COMMAND = [sys.executable, "-m", "tests.sim.worker"]


class Gone(Exception):  # noqa: N818  the field's word
    """The worker is no more, or was ended; says why."""


class Worker:
    """One process."""

    def __init__(self, command: list[str], place: Path = ROOT) -> None:
        self._said: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  closed with the worker
        self._process = subprocess.Popen(
            command,
            cwd=place,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        self._rest = b""

    def run(self, case: Case, patience: float) -> Report:
        """Raises Gone."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(f"{case_line(case)}\n".encode())
            self._process.stdin.flush()
        except OSError:
            raise Gone(self._end()) from None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not ready.select(patience):
                    self._process.kill()
                    self._process.wait()
                    raise Gone(f"no answer within {patience:g} s")
                data = os.read(self._process.stdout.fileno(), 1 << 16)
                if not data:
                    raise Gone(self._end())
                self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return from_line(json.loads(line))

    def _end(self) -> str:
        code = self._process.wait()
        self._said.seek(0)
        last = self._said.read()[-2000:].strip()
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"the process ended with {how}" + (f"\n{last}" if last else "")

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()


class Seat:
    """One worker at a time, begun in `place`; after `lot` cases, or when it is gone, another. live: those that are."""

    def __init__(self, command: list[str], place: Path, patience: float, lot: int, live: set[Worker]) -> None:
        self._begin = partial(Worker, command, place)
        self._patience, self._lot = patience, lot
        self._live = live
        self._worker: Worker | None = None
        self._given = 0

    def run(self, case: Case) -> Report:
        if self._given >= self._lot:
            self.close()
        if self._worker is None:
            self._worker, self._given = self._begin(), 0
            self._live.add(self._worker)
        self._given += 1
        try:
            return self._worker.run(case, self._patience)
        except Gone as gone:
            self.close()
            return _lost(case, str(gone))

    def close(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self._live.discard(worker)
            worker.close()


def seat_in(place: Path, nice: int = 0) -> Seat:
    """For one case after the other."""
    return Seat([*COMMAND, str(nice)], place, PATIENCE, LOT, set())


@contextlib.contextmanager
def seated(
    nice: int = 0,
    both: Both | None = None,
    copy: Path | None = None,
    patience: float = PATIENCE,
    command: list[str] | None = None,
    lot: int = LOT,
    live: set[Worker] | None = None,
) -> Iterator[Callable[[Case], Report]]:
    """A function that runs one case. copy: where the compiled one is; then `both` says which case is run there."""
    command, live = command or [*COMMAND, str(nice)], set() if live is None else live
    with contextlib.closing(Seat(command, ROOT, patience, lot, live)) as pure:
        if copy is None or both is None:
            yield pure.run
            return
        with contextlib.closing(Seat(command, copy, patience, lot, live)) as compiled:
            yield lambda case: both.run(case, compiled.run, pure.run)


def run(
    cases: Iterator[Case],
    jobs: int,
    nice: int = 0,
    patience: float = PATIENCE,
    command: list[str] | None = None,
    lot: int = LOT,
    both: Both | None = None,
    copy: Path | None = None,
) -> Iterator[tuple[Case, Report]]:
    """Each case with its report, as they end. A case is taken only when there is a worker for it and what was answered
    before was looked at, so the caller may stop giving or taking them at any moment. both, copy: see `seated`."""
    answers: SimpleQueue[tuple[Case, Report] | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(jobs)
    turn = threading.Lock()
    closed = threading.Event()
    live: set[Worker] = set()

    def take() -> Case | None:
        room.acquire()
        with turn:
            return None if closed.is_set() else next(cases, None)

    def serve() -> None:
        try:
            with seated(nice, both, copy, patience, command, lot, live) as seat:
                while (case := take()) is not None:
                    answers.put((case, seat(case)))
        except BaseException as error:
            answers.put(error)
        finally:
            answers.put(None)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    left = len(threads)
    try:
        while left:
            answer = answers.get()
            if answer is None:
                left -= 1
            elif isinstance(answer, BaseException):
                raise answer
            else:
                yield answer
                room.release()
    finally:
        closed.set()
        for _ in threads:
            room.release()
        for worker in list(live):
            worker.kill()
        for thread in threads:
            thread.join()


def _lost(case: Case, why: str) -> Report:
    """The report of a case that took its process with it."""
    first, _, rest = why.partition("\n")
    plan = case.plan()
    return Report(plan.seed, len(plan.nodes), Violation(0.0, "an end", first), rest, title=case.title)
