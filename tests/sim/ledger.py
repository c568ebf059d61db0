"""docs/seeds-run.md: how many seeds were run, at which commits, and what they found. A row a sweep, a total at the end.

A row counts towards the total when it is honest: a whole range was run at one commit, and no earlier row of the total
has any of its seeds. A seed that failed, or did too little to say something, never counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.sim.cases import ROOT
from tests.sim.report import Report

PAGE = ROOT / "docs" / "seeds-run.md"
_ROW = re.compile(
    r"\| `?([0-9a-f]{7,})`? \| ([0-9a-f]+) \| ([0-9a-f]+) \| (\d+) \| (\d+) \| (\d+) \| ([0-9.]+) \| (yes|no)"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A sweep. first, last: seeds.  run: of them.  counted: that passed and did enough.  hours: of virtual time."""

    commit: str
    first: int
    last: int
    run: int
    counted: int
    failed: int
    hours: float
    honest: bool

    def __str__(self) -> str:
        seeds = f"{self.first:06x} | {self.last:06x} | {self.run} | {self.counted} | {self.failed}"
        return f"| {self.commit} | {seeds} | {self.hours:.2f} | {'yes' if self.honest else 'no'} |"


def rows(text: str) -> list[Row]:
    """All rows of the page."""
    found = []
    for match in _ROW.finditer(text):
        commit, first, last, run, counted, failed, hours, honest = match.groups()
        numbers = (int(run), int(counted), int(failed), float(hours))
        found.append(Row(commit, int(first, 16), int(last, 16), *numbers, honest == "yes"))
    return found


def row_of(commit: str, first: int, count: int, reports: Sequence[Report], earlier: Sequence[Row]) -> Row:
    """The row of a sweep over `count` seeds from `first` on."""
    last = first + count - 1
    mine = [report for report in reports if not report.title and first <= report.seed <= last]
    apart = all(row.last < first or last < row.first for row in earlier if row.honest)
    return Row(
        commit,
        first,
        last,
        len(mine),
        sum(1 for report in mine if report.failure is None and report.counted),
        sum(1 for report in mine if report.failure is not None),
        sum(report.counts.get("seconds", 0.0) for report in mine) / 3600,
        apart and len({report.seed for report in mine}) == count,
    )


def total(found: Sequence[Row]) -> str:
    """The page's last line."""
    honest = [row for row in found if row.honest]
    counted, failed = sum(row.counted for row in honest), sum(row.failed for row in honest)
    hours = sum(row.hours for row in honest)
    return f"Total: {counted} seeds passed and count, {failed} failed, {hours:.2f} hours of virtual time."


def with_row(text: str, row: Row) -> str:
    """The page with one more row and its total."""
    body = re.sub(r"\n*^Total: .*\n*\Z", "\n", text, flags=re.M)
    body = body.rstrip("\n") + f"\n{row}\n"
    return f"{body}\n{total(rows(body))}\n"


def record(commit: str, first: int, count: int, reports: Sequence[Report], page: Path = PAGE) -> Row:
    """Add a row to the page."""
    text = page.read_text()
    row = row_of(commit, first, count, reports, rows(text))
    page.write_text(with_row(text, row))
    return row
