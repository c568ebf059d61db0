"""Which runs are made compiled, which in pure Python, and which in both; two that are to be one must be.

What pure Python says is what counts. A failure of a compiled run is told only as pure Python shows it; where the two
differ, that is a failure of its own: compiled code took something else for true than the interpreter does, be it an
error of the compiler or a type that is not what the source says.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from tests.sim.cases import Case
from tests.sim.history import Violation
from tests.sim.plan import Plan
from tests.sim.report import Report
from tests.sim.runs import SAME

CHECKED = 32  # of so many seeds one is run in both ways though nothing failed
Run = Callable[[Case], Report]


def fits(plan: Plan) -> bool:
    """Can it be run compiled? Not where a machine is put back to a snapshot: that is a deep copy of its disk, with what
    was under way, and perhaps of a whole node. Compiled objects cannot be copied so."""
    return not any(fault.kind == "snapshot" for fault in plan.faults)


class Both:
    """Runs cases, by two functions that run one each; counts what it did. Several threads may use it.

    every: of so many seeds one is run in both ways though nothing failed; so is every stored plan.
    """

    def __init__(self, every: int = CHECKED) -> None:
        self._every = every
        self.did: Counter[str] = Counter()
        self._turn = threading.Lock()

    def run(self, case: Case, compiled: Run, pure: Run) -> Report:
        if not fits(case.plan()):
            self._count("pure")
            return pure(case)
        self._count("compiled")
        report = compiled(case)
        if report.failure is None and case.seed % self._every:
            return report
        self._count("both")
        judged = agreed(report, pure(case))
        if judged.failure is not None and judged.failure.promise == SAME:
            self._count("differ")
        return judged

    def _count(self, what: str) -> None:
        with self._turn:
            self.did[what] += 1

    def __str__(self) -> str:
        did = self.did
        same = f"{did['both']} of them in pure Python too, {did['differ']} not the same"
        return f"{did['compiled']} runs compiled, {same}; {did['pure']} in pure Python only"


def agreed(compiled: Report, pure: Report) -> Report:
    """What pure Python came to. Where that is no failure and the compiled run is another one, that is the failure."""
    different = difference(compiled, pure)
    if not different:
        return pure
    if pure.failure is not None:
        return replace(pure, details=f"{different}\n{pure.details}")
    at = 0.0 if compiled.failure is None else compiled.failure.at
    return replace(pure, failure=Violation(at, SAME, different), details=compiled.details)


def difference(compiled: Report, pure: Report) -> str:
    """In a sentence; "" where there is none."""
    one, other = _told(compiled), _told(pure)
    if one == other:
        names = sorted({*compiled.counts, *pure.counts})
        counts = [name for name in names if compiled.counts.get(name) != pure.counts.get(name)]
        if not counts:
            return ""
        one, other = (", ".join(f"{name} {report.counts.get(name)}" for name in counts) for report in (compiled, pure))
    return f"compiled: {one}; in pure Python: {other}"


def _told(report: Report) -> str:
    failure = report.failure
    return f"trace {report.fingerprint}, " + ("all held" if failure is None else f"{failure} at {failure.at:.6f} s")
