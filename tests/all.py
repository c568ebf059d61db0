"""Runs the checks and tests of `make check` and `make test`, one phase after the other, and sums them up.

    python -m tests.all [check] [unit] [live] [history]

check is ruff, mypy and the layer arrows; unit is every test that starts no process, on two workers; live is every test
that does, also on two workers, because daemons mostly wait for each other; history is the one that loads the machine
and must have it alone. A later phase runs although an earlier one failed, so that one run tells everything; the exit
code is 0 only if all held. The last line is the count over all phases.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
CHECKS = {
    "lint": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "types": ["-m", "mypy", "--strict"],
    "layers": ["-c", LINT_IMPORTS],
}
PYTEST = {
    "unit": ["-n", "2", "--dist", "worksteal", "-m", "not live"],
    "live": ["-n", "2", "--dist", "loadfile", "-m", "live and not alone"],
    "history": ["-m", "live and alone", "-p", "no:xdist", "-rs"],
}
NOTHING_COLLECTED = 5


@dataclass
class Phase:
    """What became of one phase; counts stay zero for a check."""

    name: str
    ok: bool
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0


def run_check(name: str, arguments: list[str]) -> Phase:
    started = time.monotonic()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    ok = done.returncode == 0
    if not ok:
        print(f"--- {name}\n{done.stdout}{done.stderr}", flush=True)
    return Phase(name, ok, time.monotonic() - started)


def run_pytest(name: str, arguments: list[str]) -> Phase:
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *arguments, f"--junitxml={report}", "tests"]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        phase = Phase(name, code in (0, NOTHING_COLLECTED), time.monotonic() - started)
        if report.exists():
            for suite in ElementTree.parse(report).getroot().iter("testsuite"):
                bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
                skipped = int(suite.get("skipped", 0))
                phase.failed += bad
                phase.skipped += skipped
                phase.passed += int(suite.get("tests", 0)) - bad - skipped
    return phase


def main(names: list[str]) -> int:
    phases: list[Phase] = []
    for name in names or ["check", *PYTEST]:
        if name == "check":
            phases += [run_check(check, arguments) for check, arguments in CHECKS.items()]
        elif name in PYTEST:
            phases.append(run_pytest(name, PYTEST[name]))
        else:
            print(f"{name}: no such phase; there are check, {', '.join(PYTEST)}", file=sys.stderr)
            return 2
    print()
    for phase in phases:
        counts = (
            f"{phase.passed} passed, {phase.failed} failed, {phase.skipped} skipped" if phase.name in PYTEST else ""
        )
        print(f"{phase.name:8}{'ok' if phase.ok else 'FAILED':8}{phase.seconds:7.1f} s  {counts}")
    if any(phase.name in PYTEST for phase in phases):
        passed, failed, skipped = (sum(getattr(p, what) for p in phases) for what in ("passed", "failed", "skipped"))
        print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if all(phase.ok for phase in phases) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
