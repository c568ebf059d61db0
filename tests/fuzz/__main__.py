"""Fuzzes every decoder and every core: python -m tests.fuzz [--minutes M] [--properties] [TARGET ...]

M minutes altogether, beside a few seconds of imports: the targets share it, two at a time, guided by coverage
(atheris), each in a process of its own. Each begins from tests/fuzz/corpus/TARGET. Given ten seconds or more for each,
what leads somewhere new is kept in .fuzz/corpus/TARGET, outside git, and the next such run begins there too.

An input that makes a target raise, takes ten seconds or a gigabyte is left in .fuzz/found and printed; the exit code is
1 then. Such an input goes to tests/fuzz/corpus/TARGET/broke-..., where it is a test from then on, with its fix.

Where atheris cannot be imported (it has wheels for x86-64 only) the targets get their corpus and random bytes instead,
which is said. --properties: afterwards the property tests of the whole suite, with 100 times their examples.
"""

from __future__ import annotations

import argparse
import multiprocessing.connection
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.fuzz import worker
from tests.fuzz.targets import CORPUS, NAMES, TARGETS

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 2
LONG = 10  # seconds for a target from which on its finds are kept for the next run
GRACE = 600.0  # seconds a target may take beyond its time on a busy machine: one slow input
PRINTED = 1000  # bytes of a broken input
_FIGURES = re.compile(r"cov: (\d+).*corp: (\d+)")
_EXECUTED = re.compile(r"number_of_executed_units:\s*(\d+)")


@dataclass
class Running:
    """One target under way."""

    name: str
    process: BaseProcess
    until: float


class Fuzzing:
    """A run over some targets. place: where work and finds are kept; work that is not kept goes into `scratch`."""

    def __init__(self, place: Path, scratch: Path, seconds: int) -> None:
        self.found = place / "found"
        self.found.mkdir(parents=True, exist_ok=True)
        self._place, self._scratch, self._seconds = place, scratch, seconds
        self._known = set(self.found.iterdir())
        self.held = True

    def by_coverage(self, names: list[str]) -> None:
        waiting, running = list(names), list[Running]()
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.append(self._started(waiting.pop(0)))
            now = time.monotonic()
            patience = max(0.0, min(each.until for each in running) - now)
            multiprocessing.connection.wait([each.process.sentinel for each in running], patience)
            for each in list(running):
                late = each.process.is_alive() and time.monotonic() > each.until
                if late:
                    print(f"{each.name}: did not end {GRACE:g} s after its time")
                    each.process.kill()
                if late or not each.process.is_alive():
                    each.process.join()
                    running.remove(each)
                    self._ended(each.name, each.process.exitcode == 0)

    def _started(self, name: str) -> Running:
        work = (self._place / "corpus" if self._seconds >= LONG else self._scratch) / name
        corpus = CORPUS / name
        for folder in (work, corpus):
            folder.mkdir(parents=True, exist_ok=True)
        found = f"{self.found}/{name}-"
        process = worker.start(TARGETS[name], self._seconds, work, corpus, found, self._said(name))
        return Running(name, process, time.monotonic() + self._seconds + GRACE)

    def _said(self, name: str) -> Path:
        return self._scratch / f"{name}.log"

    def _ended(self, name: str, held: bool) -> None:
        text = self._said(name).read_text(errors="replace")
        figures, executed = _FIGURES.findall(text), _EXECUTED.findall(text)
        covered, kept = figures[-1] if figures else ("?", "?")
        count = executed[-1] if executed else "?"
        print(f"{name:14}{count:>9} inputs  {covered:>6} branches  {kept:>5} kept", flush=True)
        if not held:
            print(text[-4000:])
            self._broken(name)

    def _broken(self, name: str) -> None:
        self.held = False
        for file in sorted(set(self.found.iterdir()) - self._known):
            data = file.read_bytes()
            self._known.add(file)
            print(f"{name}: broken by {file}: {len(data)} bytes, {data[:PRINTED].hex()}", flush=True)

    def at_random(self, names: list[str]) -> None:
        """In this process, one after the other."""
        for name in names:
            draw = random.Random()
            until, count = time.monotonic() + self._seconds, 0
            given = [file.read_bytes() for file in sorted((CORPUS / name).glob("*"))]
            while given or time.monotonic() < until:
                data = given.pop() if given else draw.randbytes(draw.choice((10, 40, 200, 1000)))
                count += 1
                try:
                    TARGETS[name](data)
                except Exception as error:
                    (self.found / f"{name}-{data[:8].hex()}").write_bytes(data)
                    print(f"{name}: {error!r}")
                    self._broken(name)
                    break
            print(f"{name:14}{count:>9} inputs", flush=True)


def properties() -> bool:
    """The property tests of the whole suite, long."""
    print("the property tests with 100 times the examples", flush=True)
    command = [sys.executable, "-m", "pytest", "-n", "2", "-m", "not live", "--ignore=tests/sim", "-k", "not swarm"]
    long = {**os.environ, "HYPOTHESIS_PROFILE": "long"}
    return subprocess.run([*command, "--timeout", "7200", "tests"], cwd=ROOT, env=long, check=False).returncode == 0


def main(arguments: list[str], place: Path = ROOT / ".fuzz") -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together (5)")
    parser.add_argument("--properties", action="store_true", help="then the property tests, long")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}; all without")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.targets if name not in NAMES]
    if unknown:
        parser.error(f"no target {', '.join(unknown)}: there are {', '.join(NAMES)}")
    names = options.targets or list(NAMES)
    reason = worker.load()
    share = 60 * options.minutes / len(names) * (1 if reason else min(AT_ONCE, len(names)))
    seconds = max(1, int(share))
    if reason:
        print(f"atheris is not here ({reason}): random inputs, not guided by coverage")
    print(f"{len(names)} targets, {seconds} s each", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        run = Fuzzing(place, Path(scratch), seconds)
        (run.at_random if reason else run.by_coverage)(names)
    held = run.held
    if options.properties:
        held &= properties()
    return 0 if held else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
