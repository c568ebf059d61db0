"""Fuzzes every decoder and every core: python -m tests.fuzz [--minutes M] [TARGET ...]

The targets take their share of the time in turn, guided by coverage (atheris), each in a process of its own. What was
found to lead somewhere new is kept in .fuzz/corpus/TARGET, outside git, and the next run begins there. An input that
makes a target raise, takes ten seconds or a gigabyte is left in .fuzz/found and named; the exit code is 1 then. Such an
input becomes a test as a file below tests/fuzz/inputs/TARGET, together with its fix.

Where atheris cannot be imported (it has wheels for x86-64 only) the targets get random bytes instead, which is said.
Afterwards the property tests of the whole suite run with 100 times their examples, unless targets were named.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".fuzz"
INPUTS = Path(__file__).resolve().parent / "inputs"
GRACE = 600.0  # seconds a worker may take beyond its time on a busy machine: imports, one slow input
_FIGURES = re.compile(r"cov: (\d+).*corp: (\d+)")
_EXECUTED = re.compile(r"number_of_executed_units:\s*(\d+)")


def guided() -> str:
    """Why coverage cannot guide, "" when it can."""
    done = subprocess.run([sys.executable, "-c", "import atheris"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it ends at once"])[-1]


def by_coverage(name: str, seconds: int) -> bool:
    """One target in a worker; False when an input broke it."""
    corpus, found = PLACE / "corpus" / name, PLACE / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for file in sorted((INPUTS / name).glob("*")):
        (corpus / file.name).write_bytes(file.read_bytes())
    before = set(found.iterdir())
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(corpus), str(found), str(seconds)]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds + GRACE,
            check=False,
        )
        text, ok = done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired as late:
        text, ok = (late.stdout or b"").decode(errors="replace") if isinstance(late.stdout, bytes) else "", False
        print(f"{name}: did not end {GRACE:g} s after its time")
    figures, executed = _FIGURES.findall(text), _EXECUTED.findall(text)
    covered, kept = figures[-1] if figures else ("0", "0")
    print(f"{name:14}{executed[-1] if executed else '?':>9} inputs  {covered:>6} branches  {kept:>5} kept", flush=True)
    if not ok:
        print(text[-4000:])
        for file in sorted(set(found.iterdir()) - before):
            print(f"{name}: broken by {file}")
    return ok


def at_random(name: str, seconds: int) -> bool:
    """One target with random inputs in this process; False when one broke it."""
    draw = random.Random()
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = draw.randbytes(draw.choice((10, 40, 200, 1000)))
        count += 1
        try:
            TARGETS[name](data)
        except Exception as error:
            file = PLACE / "found" / f"{name}-{data[:8].hex()}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            print(f"{name}: broken by {file}: {error!r}")
            return False
    print(f"{name:14}{count:>9} inputs", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together (5)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all without")
    options = parser.parse_args()
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {', '.join(unknown)}: there are {', '.join(TARGETS)}")
    names = options.targets or list(TARGETS)
    seconds = max(1, round(60 * options.minutes / len(names)))
    reason = guided()
    if reason:
        print(f"atheris is not here ({reason}): random inputs, not guided by coverage")
    print(f"{len(names)} targets, {seconds} s each", flush=True)
    run = at_random if reason else by_coverage
    held = [run(name, seconds) for name in names]  # all of them, also after one broke
    ok = all(held)
    if not options.targets:
        print("the property tests with 100 times the examples", flush=True)
        command = [sys.executable, "-m", "pytest", "-n", "2", "-m", "not live", "--ignore=tests/sim", "-k", "not swarm"]
        long = {**os.environ, "HYPOTHESIS_PROFILE": "long"}
        ok &= subprocess.run([*command, "--timeout", "7200", "tests"], cwd=ROOT, env=long, check=False).returncode == 0
    return 0 if ok else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
