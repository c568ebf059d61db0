"""Starts one daemon of a lab and remembers how it ended. Run as a script, with nothing but the standard library:

    python -I -S keeper.py DIR COMMAND...

It is the daemon's parent, because only a parent learns an exit status, and it outlives the command that started it.
Writes DIR/run.json {"pid", "start", "keeper", "log": size of the log before} and DIR/pid, tells the pid on its standard
output, waits, then writes DIR/exit.json {"pid", "exit"}: the status, or 128 + the signal as shells count.
DIR/clusterd.log takes all output.
"""

from __future__ import annotations

import json
import os
import sys


def keep(directory: str, command: list[str]) -> None:
    """Start, tell, wait, write down."""
    log = os.open(f"{directory}/clusterd.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    before = os.fstat(log).st_size
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    pid = os.posix_spawn(
        command[0],
        command,
        dict(os.environ),
        file_actions=[(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
    )
    run = {"pid": pid, "start": start_time(pid), "keeper": os.getpid(), "log": before}
    _write(f"{directory}/run.json", json.dumps(run))
    _write(f"{directory}/pid", f"{pid}\n")
    sys.stdout.write(f"{pid}\n")
    sys.stdout.flush()
    os.dup2(null, 1)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    _write(f"{directory}/exit.json", json.dumps({"pid": pid, "exit": code if code >= 0 else 128 - code}))
    if _read(f"{directory}/pid") == f"{pid}\n":
        os.unlink(f"{directory}/pid")


def start_time(pid: int) -> int | None:
    """Clock ticks after boot when the process began; with the pid it names one process for ever."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _write(path: str, text: str) -> None:
    fresh = f"{path}.new"
    with open(fresh, "w", encoding="ascii") as file:
        file.write(text)
    os.replace(fresh, path)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


if __name__ == "__main__":
    keep(sys.argv[1], sys.argv[2:])
