"""Many seeds in worker processes: python -m tests.sim.sweep --first HEX --count N [--jobs 2] [--nice 19]

Each run leaves a line of JSON in a file of its own commit and first seed, so a sweep that was broken off goes on where
it stopped; --record adds what came of it to docs/seeds-run.md. The exit code is 0 only if every run held every promise
and the runs as a whole left nothing out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.sim import ledger, pool, shrink
from tests.sim.cases import ROOT, Case, clean, commit, first_seed, known, seed_of, state
from tests.sim.compiling import copies
from tests.sim.compiling.both import Both
from tests.sim.report import Report
from tests.sim.runs import SAME, Sums, failure_lines, from_line, to_line

PLACE = ROOT / ".sim"
PROGRESS = 10.0  # seconds between two lines of it
LATE = 3  # times the --seconds: then a sweep ends even if too few count
ELSEWHERE = ("an end", SAME)  # failures that are none in this process, or take it with them
MANY = 10  # failures: more of them need no more time


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim.sweep",
        description="Runs many seeds of the simulator in worker processes, and says what came of them.",
        epilog="Interrupted, it goes on where it stopped when it is called again with the same words.",
    )
    add = parser.add_argument
    add("--first", type=seed_of, metavar="HEX", help="the first seed; without it, where `make test` begins")
    add("--count", type=int, metavar="N", help="how many seeds; without it, as many as --seconds gives time for")
    add("--jobs", type=int, default=2, metavar="N", help="worker processes at a time (%(default)s)")
    add("--nice", type=int, default=19, metavar="N", help="how much they stand back for others, 0 to 19 (%(default)s)")
    add("--known", action="store_true", help="first all stored plans and all seeds that ever failed")
    add("--seconds", type=float, metavar="S", help="begin no more runs after that, but see --least")
    add("--least", type=int, default=0, metavar="N", help="up to three times as long, until N passed and count")
    add(
        "--shrink",
        type=float,
        default=shrink.SECONDS,
        metavar="S",
        help="seconds to make the failures smaller, all together (%(default)g; 0: none)",
    )
    add(
        "--compiled",
        action="store_true",
        help="run a compiled copy (made once for these sources, if there is a compiler)",
    )
    add("--record", action="store_true", help="add a row to docs/seeds-run.md; needs a checkout without changes")
    add("--file", type=Path, metavar="FILE", help="where the lines go (below .sim, by commit and first seed)")
    add("--result", type=Path, metavar="FILE", help="write there, as JSON, how many passed and failed")
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = options()
    asked = parser.parse_args(arguments)
    if asked.count is None and asked.seconds is None:
        parser.error("say how much: --count, --seconds or both")
    if asked.record and (asked.count is None or asked.known or asked.seconds is not None):
        parser.error("--record is for whole ranges: --first and --count, without --known and --seconds")
    if asked.record and not (commit() and clean()):
        parser.error("--record needs a checkout without changes: commit first, or use a clone")
    copy = copies.ready() if asked.compiled else None
    first = first_seed() if asked.first is None else asked.first
    where = "" if commit() and not clean() else state()[:12]
    file = asked.file or PLACE / f"{where or 'changed'}-{first:06x}.jsonl"
    if not where and asked.file is None:
        file.unlink(missing_ok=True)  # another tree's runs say nothing of this one
    sweep = Sweep(file, first)
    print(
        f"sources {where or state()[:12] + ' and changes'}; first seed {first:06x}; lines in {_shown(file)}", flush=True
    )
    sweep.run(asked, copy)
    return sweep.end(asked)


class Sweep:
    """Runs and what came of them so far."""

    def __init__(self, file: Path, first: int) -> None:
        self.first = first
        self.sums = Sums()
        self.done: set[str] = set()
        self.broken: list[tuple[Case, Report]] = []
        self.both = Both()
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            self._read()

    def _read(self) -> None:
        """What an earlier call did; a last line that was cut off is run again."""
        whole = []
        for line in self._file.read_text().splitlines():
            try:
                made = json.loads(line)
            except ValueError:
                break
            whole.append(line)
            report = from_line(made["report"])
            self._take(Case(report.seed, file=Path(made["file"]) if made["file"] else None), report)
        self._file.write_text("".join(f"{line}\n" for line in whole))

    def _take(self, case: Case, report: Report) -> None:
        self.done.add(str(case))
        self.sums.add(report)
        if report.failure is not None:
            self.broken.append((case, report))

    def run(self, asked: argparse.Namespace, copy: Path | None = None) -> None:
        """copy: where the compiled one is."""
        started = told = time.monotonic()

        def enough() -> bool:
            if asked.seconds is None:
                return False
            seconds = time.monotonic() - started
            wanting = self.sums.counted() < asked.least and len(self.broken) < MANY
            return bool(seconds > asked.seconds * (LATE if wanting else 1))

        def cases() -> Iterator[Case]:
            for case in known() if asked.known else []:
                if str(case) not in self.done:
                    yield case
            number = 0
            while (asked.count is None or number < asked.count) and not enough():
                case = Case(self.first + number)
                number += 1
                if str(case) not in self.done:
                    yield case

        with self._file.open("a") as lines:
            for case, report in pool.run(cases(), asked.jobs, asked.nice, both=self.both, copy=copy):
                self._take(case, report)
                line = {"file": str(case.file or ""), "report": to_line(report)}
                lines.write(json.dumps(line) + "\n")
                lines.flush()
                if report.failure is not None:
                    print("\n".join(failure_lines(report, case)), flush=True)
                if time.monotonic() - told >= PROGRESS:
                    told = time.monotonic()
                    print(self.progress(asked.count, told - started), flush=True)

    def progress(self, count: int | None, seconds: float) -> str:
        runs = f"{len(self.sums.reports)}{f' of {count}' if count else ''} runs"
        virtual = self.sums.total("seconds") / 3600
        return (
            f"{seconds:7.0f} s: {runs}, {self.sums.counted()} count, {len(self.broken)} failed; {virtual:.2f} virtual h"
        )

    def end(self, asked: argparse.Namespace) -> int:
        """The summary; 0 when nothing is wrong."""
        sums = self.sums
        old = {case.name for case in known()}
        new = [report for report in sums.reports if report.name not in old]
        problems = sums.problems()
        if sums.counted() < asked.least:
            problems.append(f"only {sums.counted()} seeds passed and count, {asked.least} are needed")
        if self.both.did:
            print(self.both)
        print(sums)
        print(sums.effects())
        print(sums.judged())
        new_ones = f"{len(new)} new seeds, the first {self.first:06x}"
        print(f"{len(sums.reports)} runs, {new_ones}; {len(self.broken)} failed")
        for case, report in self.broken:
            assert report.failure is not None
            print(f"{case}: {report.failure}")
        for problem in problems:
            print(f"simulator: {problem}")
        if asked.record:
            ledger.record(state()[:12], self.first, asked.count, sums.reports)
        if asked.result:
            failed = len(self.broken) or (1 if problems else 0)
            passed = len(sums.reports) - len(self.broken)
            asked.result.write_text(json.dumps({"passed": passed, "failed": failed, "told": new_ones}))
        if self.broken and asked.shrink > 0:
            self._shrink(asked.shrink)
        return 1 if problems else 0

    def _shrink(self, seconds: float) -> None:
        """Each failure of a seed that shows in this process, in that time for all; a stored plan is small already."""
        ends = time.monotonic() + seconds
        own = [(case, report) for case, report in self.broken if case.file is None]
        here = [(c, r) for c, r in own if r.failure is not None and r.failure.promise not in ELSEWHERE]
        for at, (case, report) in enumerate(here):
            shrink.tell(case.plan(), report, case.name, max(0.0, ends - time.monotonic()) / (len(here) - at))


def _shown(file: Path) -> str:
    return os.path.relpath(file, ROOT) if file.is_relative_to(ROOT) else str(file)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
