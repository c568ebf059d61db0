"""One daemon of a lab as a process: is it there, which signal, how did it end. No supervisor: files and /proc.

A pid is believed only with the start time that was written down beside it, and signalled through a pidfd that was
opened before that check, so a recycled pid is never signalled.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Literal, NamedTuple

from clusterd.lab import layout
from clusterd.lab.keeper import start_time

State = Literal["running", "paused", "stopped", "failed"]
_ENDING = 1.0  # seconds the keeper has to write down how its daemon ended


class Process(NamedTuple):
    """pid: while it runs. exit: its status once it ended, 128 + signal when killed; None when not known."""

    state: State
    pid: int | None
    exit: int | None


def look(directory: str) -> Process:
    """What became of the daemon of a node's directory. Stopped: by the lab's own hand, or by itself with status 0."""
    run = layout.read_json(f"{directory}/run.json")
    if run is None:
        return Process("stopped", None, None)
    kind = _kind(run)
    if kind is not None:
        return Process("paused" if kind == "T" else "running", run["pid"], None)
    code = _exit(directory, run)
    wanted = layout.read_json(f"{directory}/ended.json") == run["pid"]
    return Process("stopped" if wanted or code == 0 else "failed", None, code)


def log_start(directory: str) -> int:
    """Where in its log the newest run of a node's daemon begins."""
    return int((layout.read_json(f"{directory}/run.json") or {}).get("log", 0))


def expect_end(directory: str, pid: int) -> None:
    """The lab itself is about to end this process: that is no failure."""
    layout.write_json(f"{directory}/ended.json", pid)


class Handle:
    """A running process, held so that it cannot be mistaken for another."""

    def __init__(self, directory: str) -> None:
        """Raises ProcessLookupError when it does not run."""
        run = layout.read_json(f"{directory}/run.json")
        if run is None:
            raise ProcessLookupError
        self.directory = directory
        self.pid: int = run["pid"]
        self._run: dict[str, int] = run
        self._descriptor = os.pidfd_open(self.pid)
        if _kind(run) is None:
            self.close()
            raise ProcessLookupError

    def send(self, number: signal.Signals) -> None:
        """Signal it; one that has just ended is no error."""
        try:
            signal.pidfd_send_signal(self._descriptor, number)
        except ProcessLookupError:
            return

    def wait_end(self, timeout: float) -> bool:
        """Whether it ended within so many seconds, and how was written down."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(timeout * 1000):
            return False
        _exit(self.directory, self._run)
        return True

    def wait_paused(self, paused: bool, timeout: float) -> bool:
        """Whether it stopped (or went on) within so many seconds."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            kind = _kind(self._run)
            if kind is None or (kind == "T") == paused:
                return True
            time.sleep(0.005)
        return False

    def close(self) -> None:
        os.close(self._descriptor)


def _kind(run: dict[str, int]) -> str | None:
    """The state letter of /proc, None when that very process is no more."""
    try:
        with open(f"/proc/{run['pid']}/stat", "rb") as file:
            letter = file.read().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return None
    if letter in ("Z", "X") or start_time(run["pid"]) != run["start"]:
        return None
    return letter


def _exit(directory: str, run: dict[str, int]) -> int | None:
    """The exit status as the keeper wrote it, a moment after the end; None when the keeper died before it could."""
    deadline = time.monotonic() + _ENDING
    while True:
        last = not os.path.exists(f"/proc/{run['keeper']}") or time.monotonic() >= deadline
        found = layout.read_json(f"{directory}/exit.json")
        if found is not None and found["pid"] == run["pid"]:
            return int(found["exit"])
        if last:
            return None
        time.sleep(0.005)
