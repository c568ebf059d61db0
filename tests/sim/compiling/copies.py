"""The compiled copy that fits these sources: found, or made, or said why there is none.

A copy is a directory below PLACE, named by the state of the sources, so it is made once for each. A process that begins
there (`python -m tests.sim.worker`) runs it. Nothing of it is ever committed.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from tests.sim.compiling.build import compiler
from tests.sim.compiling.sources import ROOT, key

PLACE = ROOT / ".sim" / "compiled"
KEPT = 3  # copies: those used last
LOCK = "lock"
MAKING = "making-"
AGAIN = "to see all that was said, and the sources that it speaks of: python -m tests.sim.compiling.build DIRECTORY"
COMMAND = [sys.executable, "-m", "tests.sim.compiling.build"]

Say = Callable[[str], None]


def lacking() -> str:
    """What a copy cannot be made without and is not here; "" when all is."""
    if shutil.which(compiler()) is None:
        return f"there is no C compiler ({compiler()}; apt install gcc)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "Python's C headers are not here (apt install python3-dev)"
    missing = [name for name in ("mypyc", "setuptools") if find_spec(name) is None]
    return f"{missing[0]} is not installed (requirements/venv.sh dev)" if missing else ""


def present() -> Path | None:
    """The copy for these sources, if it was made already."""
    copy = PLACE / key()
    return copy if copy.is_dir() else None


def ready(say: Say = print) -> Path | None:
    """The copy for these sources, made now if need be; None, and a line that says why, where it cannot be."""
    copy = present()
    if copy is None:
        if why := lacking():
            say(f"not compiled: {why}; pure Python runs instead, with the same result")
            return None
        with _turn(say):
            copy = present() or _made(say)  # somebody else may have made it meanwhile
    if copy is not None:
        copy.touch()
    return copy


@contextmanager
def _turn(say: Say) -> Iterator[None]:
    """One process compiles at a time: two would make the same twice. The lock goes with the process that has it."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is compiling; this one waits for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _made(say: Say) -> Path | None:
    for left in PLACE.glob(f"{MAKING}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    say("compiling these sources, once ...")
    started = time.monotonic()
    folder = Path(mkdtemp(prefix=MAKING, dir=PLACE))
    name = key()
    try:
        done = subprocess.run(
            [*COMMAND, str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            lines = [line for line in done.stdout.splitlines() if "warning:" not in line]
            say("\n".join(["could not be compiled; pure Python runs instead:", *lines[-12:], AGAIN]))
            return None
        if name != key():
            say("not compiled: the sources changed meanwhile; pure Python runs instead, and the next run tries again")
            return None
        _forget_old()
        say(f"compiled in {time.monotonic() - started:.0f} s")
        return folder.rename(PLACE / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _forget_old() -> None:
    """Make room for one more."""
    copies = [each for each in PLACE.iterdir() if each.name != LOCK and not each.name.startswith(MAKING)]
    for each in sorted(copies, key=lambda each: each.stat().st_mtime, reverse=True)[KEPT - 1 :]:
        shutil.rmtree(each, ignore_errors=True)
