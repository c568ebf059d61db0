"""Runs the checks and tests of `make check` and `make test`, one phase after the other, and sums them up.

    python -m tests.all [check] [unit] [sim] [live] [mutants] [fuzz]

check is ruff, mypy and the layer arrows; unit is every test that starts no process, on two workers; sim is the whole
node under faults, on two: whatever failed once, then new seeds until 150 seconds are over and 150 count; live is the
tests with real processes, on two as well because daemons mostly wait for each other, and after them those that load the
machine and must have it alone; mutants are small changes of the product, each of which its checker must catch; fuzz
feeds every parser for half a minute. Without names: all. A later phase runs although an earlier one failed, so that one
run tells everything; the exit code is 0 only if all held. The last line is the count over all phases.

What cannot run on this machine is told as skipped, with the reason. As root that is a failure, except among the units,
and except for what is not the machine's fault: the version before this one is in the history of a whole clone only.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINT_IMPORTS = "from importlinter.cli import lint_imports_command; lint_imports_command()"
HISTORY = "git and a clone with its whole history"
"""In the reason of a test that is skipped for the want of it."""
CHECKS = {
    "lint": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "types": ["-m", "mypy", "--strict"],
    "layers": ["-c", LINT_IMPORTS],
}
PYTEST = {
    "unit": ["-n", "2", "--dist", "worksteal", "-m", "not live"],
    "live": ["-n", "2", "--dist", "loadfile", "-m", "live and not alone", "-rs"],
    "alone": ["-m", "live and alone", "-p", "no:xdist", "-rs"],
}
SIMULATOR = ["--known", "--seconds", "150", "--least", "150", "--jobs", "2", "--nice", "0"]
FUZZ_MINUTES = "0.5"
NOTHING_COLLECTED = 5


@dataclass
class Phase:
    """What became of one phase; counts stay zero for a check."""

    name: str
    ok: bool
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    excused: int = 0  # of these: for want of HISTORY
    counts: bool = True
    note: str = ""

    def __str__(self) -> str:
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped" if self.counts else ""
        told = "; ".join(filter(None, [counts, self.note]))
        return f"{self.name:8}{'ok' if self.ok else 'FAILED':8}{self.seconds:7.1f} s  {told}".rstrip()


def run_check(name: str, arguments: list[str]) -> Phase:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    ok = done.returncode == 0
    if not ok:
        print(f"--- {name}\n{done.stdout}{done.stderr}", flush=True)
    return Phase(name, ok, counts=False)


def run_pytest(name: str, arguments: list[str]) -> Phase:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *arguments, f"--junitxml={report}", "tests"]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        phase = Phase(name, code in (0, NOTHING_COLLECTED))
        if report.exists():
            count(phase, report)
    if not phase.ok and not phase.failed:
        phase.failed = 1
    return phase


def count(phase: Phase, report: Path) -> None:
    """Add what a report of pytest says."""
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped = int(suite.get("skipped", 0))
        phase.failed += bad
        phase.skipped += skipped
        phase.excused += sum(HISTORY in one.get("message", "") for one in suite.iter("skipped"))
        phase.passed += int(suite.get("tests", 0)) - bad - skipped


def run_simulator() -> Phase:
    """Each seed counts as a test; so does what is wrong with all of them together."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result"
        lines = Path(folder) / "lines"
        command = [sys.executable, "-m", "tests.sim.sweep", *SIMULATOR, f"--result={result}", f"--file={lines}"]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        made = json.loads(result.read_text()) if result.exists() else {"passed": 0, "failed": 1, "told": "it broke off"}
    failed = made["failed"] or int(code != 0)
    return Phase("sim", code == 0, passed=made["passed"], failed=failed, note=made["told"])


def run_mutants() -> Phase:
    code, text = _told([sys.executable, "-m", "tests.mutants", "--known"])
    found = re.search(r"^mutants: (\d+) of (\d+) caught", text, re.M)
    caught, all_ = (int(found[1]), int(found[2])) if found else (0, 1)
    return Phase("mutants", code == 0, passed=caught, failed=all_ - caught or int(code != 0))


def run_fuzz() -> Phase:
    """Without atheris this phase is skipped, and says so."""
    asked = subprocess.run([sys.executable, "-c", "import atheris"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        why = (asked.stderr.strip().splitlines() or ["it ends at once"])[-1]
        print(f"fuzz: skipped: atheris cannot be imported ({why}); requirements/venv.sh fuzz installs it", flush=True)
        return Phase("fuzz", True, skipped=1)
    code, text = _told([sys.executable, "-m", "tests.fuzz", "--minutes", FUZZ_MINUTES])
    found = re.search(r"^(\d+) targets", text, re.M)
    broken = len({line.split(":")[0] for line in text.splitlines() if ": broken by " in line}) or int(code != 0)
    return Phase("fuzz", code == 0, passed=max(0, (int(found[1]) if found else 0) - broken), failed=broken)


def _told(command: list[str]) -> tuple[int, str]:
    """Exit code and output of a command, which is printed as it comes."""
    lines = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


RUN: dict[str, list[Callable[[], Phase]]] = {
    "check": [partial(run_check, name, arguments) for name, arguments in CHECKS.items()],
    "unit": [partial(run_pytest, "unit", PYTEST["unit"])],
    "sim": [run_simulator],
    "live": [partial(run_pytest, name, PYTEST[name]) for name in ("live", "alone")],
    "mutants": [run_mutants],
    "fuzz": [run_fuzz],
}
ALWAYS = ("check", "unit", "sim", "live", "mutants", "fuzz")


def run_phase(name: str, root: bool) -> list[Phase]:
    """All steps of one phase, timed and judged. root: what is skipped counts as failed, except among the units."""
    phases = []
    for step in RUN[name]:
        started = time.monotonic()
        phase = step()
        phase.seconds = time.monotonic() - started
        if root and phase.skipped > phase.excused and name != "unit":
            phase.ok = False
            phase.note = "as root nothing may be skipped"
        phases.append(phase)
    return phases


def main(names: list[str]) -> int:
    if unknown := [name for name in names if name not in RUN]:
        print(f"{', '.join(unknown)}: no such phase; there are {', '.join(RUN)}", file=sys.stderr)
        return 2
    root = os.geteuid() == 0
    phases = [phase for name in names or ALWAYS for phase in run_phase(name, root)]
    print()
    for phase in phases:
        print(phase)
    if any(phase.counts for phase in phases):
        passed, failed, skipped = (sum(getattr(p, what) for p in phases) for what in ("passed", "failed", "skipped"))
        print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if all(phase.ok for phase in phases) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
