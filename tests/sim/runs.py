"""Many runs: which seeds, and what they came to together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.sim.asked import LEAST, is_asked
from tests.sim.cases import Case
from tests.sim.effects import missing, told
from tests.sim.history import Violation
from tests.sim.report import ENOUGH, JUDGED, PROMISES, TOTALS, Report

SAME = "the same compiled"  # what a run breaks, in the place of a promise, that pure Python does otherwise
UNDECIDED = 3  # keys whose history may be too tangled for the search, over all runs


def failure_lines(report: Report, case: Case) -> list[str]:
    """What a reader needs: the sentence, and the command that shows it again."""
    assert report.failure is not None
    how = "--compiled" if report.failure.promise == SAME else f"--trace {','.join(map(str, named(report)))}"
    return [
        f"{case} failed at {report.failure.at:.3f} s: {report.failure}",
        f"replay: python -m tests.sim {case.option} {how}",
        *([report.details.rstrip()] if report.details else []),
    ]


def to_line(report: Report) -> dict[str, Any]:
    """A report as JSON can say it."""
    failure = report.failure
    broken = None if failure is None else {"at": failure.at, "promise": failure.promise, "text": failure.text}
    return {
        "seed": report.seed,
        "title": report.title,
        "nodes": report.nodes,
        "failure": broken,
        "details": report.details,
        "counted": report.failure is None and report.counted,
        "counts": report.counts,
        "fingerprint": report.fingerprint,
        "wall": report.wall,
    }


def from_line(line: dict[str, Any]) -> Report:
    """The report of which `to_line` made this."""
    failure = Violation(**line["failure"]) if line["failure"] else None
    rest = {name: line[name] for name in ("details", "counts", "fingerprint", "wall", "title")}
    return Report(line["seed"], line["nodes"], failure, **rest)


def named(report: Report) -> list[int]:
    """The nodes that the failure's sentence names, else all."""
    assert report.failure is not None
    words = report.failure.text.replace(",", " ").replace("/", " ").split()
    ids = {int(w) for before, w in pairwise(words) if before in ("node", "nodes", "and") and w.isdigit()}
    ids |= {int(w[1:]) for w in words if w[:1] == "n" and w[1:].isdigit()}
    within = sorted(i for i in ids if 1 <= i <= report.nodes)
    return within or list(range(1, report.nodes + 1))


def judgements(total: Callable[[str], float]) -> str:
    """total: a figure by its name."""
    return "judged: " + ", ".join(f"{name} {total(JUDGED + name):.0f}" for name in PROMISES)


@dataclass
class Sums:
    """Totals over runs."""

    reports: list[Report] = field(default_factory=list)

    def add(self, report: Report) -> None:
        self.reports.append(report)

    def total(self, name: str) -> float:
        return sum(report.counts.get(name, 0) for report in self.reports)

    def problems(self) -> list[str]:
        """Why these runs do not pass; what must have happened in one of them is asked for by tests/sim/asked.py."""
        found = [f"{len(failed)} of {len(self.reports)} seeds failed"] if (failed := self.failed()) else []
        if self.total("undecided") > UNDECIDED:
            found.append(f"{self.total('undecided'):.0f} keys were left without a verdict on linearizability")
        seeds = sum(1 for report in self.reports if not report.title)
        found += missing(self.total, seeds)
        never = [name for name in TOTALS if is_asked(name, seeds) and not self.total(name)]
        found += [f"no run had {name.replace('_', ' ')}" for name in never]
        never = [name for name in PROMISES if is_asked(name, seeds) and not self.total(JUDGED + name)]
        found += [f"{name} was judged in no run" for name in never]
        if seeds >= LEAST:
            large = [report for report in self.reports if report.nodes >= ENOUGH["nodes"]]  # smaller ones never count
            idle = [report.name for report in large if report.failure is None and not report.counted]
            if len(idle) > len(large) // 10:
                found.append(f"{len(idle)} seeds did less than {ENOUGH} and do not count: {' '.join(idle[:8])} ...")
        return found

    def failed(self) -> list[Report]:
        return [report for report in self.reports if report.failure is not None]

    def counted(self) -> int:
        """How many held and did enough work to say something."""
        return sum(1 for report in self.reports if report.failure is None and report.counted)

    def judged(self) -> str:
        """How often each promise was judged, in one line."""
        return judgements(self.total)

    def effects(self) -> str:
        """What the faults did, in one line."""
        return told(self.total)

    def __str__(self) -> str:
        seconds, wall = self.total("seconds"), sum(report.wall for report in self.reports)
        figures = ", ".join(f"{self.total(name):.0f} {name.replace('_', ' ')}" for name in TOTALS)
        speed = f"{seconds:.0f} virtual s in {wall:.0f} s ({seconds / wall if wall else 0:.0f}x)"
        done = f"{self.total('faults'):.0f} faults, {self.total('acked'):.0f} acknowledged writes"
        undecided = f"{self.total('undecided'):.0f} keys undecided"
        counted = f"{self.counted()} of {len(self.reports)} seeds passed and count"
        return f"simulator: {counted}; {speed}; {done}, {figures}, {undecided}"
