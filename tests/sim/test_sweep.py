"""Sweeps: no case is lost whatever becomes of a worker; what was done is not done again; the page counts honestly."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import chain, pairwise, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.sim import cases, ledger, pool, sweep
from tests.sim.cases import Case, seed_of
from tests.sim.history import Violation
from tests.sim.report import ENOUGH, Report
from tests.sim.run import run_seed
from tests.sim.runs import from_line, to_line
from tests.sim.worker import case_line, case_of

# Answers like a worker, but seed 3 ends the process, seed 5 never ends, and seed 7 fails.
FAKE = """
import json, sys, time
for line in sys.stdin:
    seed = int(line.split()[1], 16)
    if seed == 3:
        sys.exit("killed by seed 3")
    if seed == 5:
        time.sleep(600)
    failure = {"at": 1.5, "promise": "S3", "text": "broken"} if seed == 7 else None
    counts = {"nodes": 3, "seconds": 20.0, "faults": 4, "acked": 60}
    said = dict(seed=seed, title="", nodes=3, failure=failure, details="", counts=counts, fingerprint="", wall=1.0)
    print(json.dumps(said), flush=True)
"""
COMMAND = [sys.executable, "-I", "-S", "-c", FAKE]


def test_a_worker_that_ends_or_hangs_fails_its_case_and_no_other() -> None:
    """A crash or hang of a worker is told as failure of that seed; all others are run."""
    got = dict(pool.run((Case(seed) for seed in range(10)), 2, patience=5.0, command=COMMAND, lot=4))
    assert sorted(case.seed for case in got) == list(range(10))
    failed = {case.seed: report.failure for case, report in got.items() if report.failure is not None}
    assert sorted(failed) == [3, 5, 7]
    assert failed[3].text == "the process ended with exit status 1" and failed[3].promise == "an end"
    assert failed[5].text == "no answer within 5 s"
    assert (failed[7].promise, failed[7].at) == ("S3", 1.5)
    assert "killed by seed 3" in got[Case(3)].details


def test_who_takes_the_answers_may_stop() -> None:
    """Cases are taken one by one: a caller that has seen enough leaves the rest."""
    given: list[int] = []

    def some() -> Iterator[Case]:
        for seed in range(100, 200):
            given.append(seed)
            yield Case(seed)

    for _ in pool.run(some(), 2, command=COMMAND):
        break
    assert len(given) <= 3


def test_a_report_and_a_case_survive_their_lines() -> None:
    """What a worker says is what it found."""
    failure = Violation(3.25, "E7", "node 2 lost a message")
    report = Report(0x1F, 5, failure, "a traceback", {"acked": 3.0}, "12-ab", 1.5, title="x")
    again = from_line(json.loads(json.dumps(to_line(report))))
    assert repr(again) == repr(report)
    assert again.failure is not None and again.failure.promise == "E7" and again.failure.at == 3.25
    for case in (Case(0x1F), Case(0x1F, 5), Case(file=Path("/a b/c.json"))):
        assert case_of(case_line(case)) == case


def swept(monkeypatch: pytest.MonkeyPatch, file: Path, *words: str) -> int:
    monkeypatch.setattr(pool, "COMMAND", [*COMMAND[:-1], FAKE.replace("== 5", "== 0x5000")])
    return sweep.main(["--first", "0x0", "--file", str(file), "--nice", "0", "--jobs", "1", "--shrink", "0", *words])


def test_a_sweep_that_was_broken_off_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The lines of an earlier call are taken as they are; one that was cut off in the middle is run again."""
    file = tmp_path / "lines"
    assert swept(monkeypatch, file, "--count", "3") == 0
    first = file.read_text()
    file.write_text(first[: first.rindex('"counts"')])
    assert swept(monkeypatch, file, "--count", "4") == 1  # seed 3
    lines = [json.loads(line)["report"] for line in file.read_text().splitlines()]
    assert [line["seed"] for line in lines] == [0, 1, 2, 3]
    assert file.read_text().splitlines()[:2] == first.splitlines()[:2]
    told = capsys.readouterr().out
    assert "seed 000003 failed at 0.000 s: an end: the process ended with exit status 1" in told
    assert "4 runs, 4 new seeds, the first 000000; 1 failed" in told


@pytest.mark.parametrize("now, passed", [(100.0, 9), (200.0, 0)])
def test_a_sweep_with_a_time_goes_on_until_enough_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, now: float, passed: int
) -> None:
    """With --seconds and --least: past its time it goes on until enough count, but not for three times as long."""
    result = tmp_path / "result"
    times = chain([0.0], repeat(now))
    monkeypatch.setattr(sweep, "time", SimpleNamespace(monotonic=lambda: next(times)))
    code = swept(monkeypatch, tmp_path / "lines", "--seconds", "60", "--least", "9", "--result", str(result))
    told = json.loads(result.read_text())
    assert told["passed"] == passed and told["failed"] == (2 if passed else 1)  # seeds 3 and 7; or: too few
    assert code == 1


def counted(seed: int, **other: float) -> Report:
    return Report(seed, 3, counts={**ENOUGH, "seconds": 18.0, **other})


def test_the_page_counts_what_held_and_did_real_work() -> None:
    """A failure, or a run that did too little, is told in the row and is not in the total."""
    reports = [counted(16), counted(17, acked=3), counted(18), counted(19)]
    reports[3].failure = Violation(1.0, "S3", "broken")
    row = ledger.row_of("abcdef123456", 16, 4, reports, [])
    assert (row.run, row.counted, row.failed, row.honest) == (4, 2, 1, True)
    assert row.hours == pytest.approx(4 * 18 / 3600)
    page = ledger.with_row("# Seeds\n\n| a |\n|---|\n\nTotal: 0 seeds.\n", row)
    assert ledger.rows(page)[0].first == 16 and str(ledger.rows(page)[0]) == str(row)
    assert page.endswith("\n\nTotal: 2 seeds passed and count, 1 failed, 0.02 hours of virtual time.\n")
    assert page.count("Total:") == 1


def test_a_range_counts_once_and_whole() -> None:
    """A row that overlaps one of the total, or that was not run to its end, stays outside."""
    first = ledger.row_of("abcdef123456", 0, 3, [counted(seed) for seed in range(3)], [])
    again = ledger.row_of("bbcdef123456", 2, 3, [counted(seed) for seed in range(2, 5)], [first])
    cut = ledger.row_of("bbcdef123456", 10, 3, [counted(10), counted(11)], [first])
    twice = ledger.row_of("bbcdef123456", 10, 3, [counted(10), counted(11), counted(11)], [first])
    beside = ledger.row_of("bbcdef123456", 3, 1, [counted(3)], [first, again])
    assert [row.honest for row in (first, again, cut, twice, beside)] == [True, False, False, False, True]
    assert ledger.total([first, again, beside]).startswith("Total: 4 seeds passed")


def test_the_kept_page_adds_up() -> None:
    """docs/seeds-run.md: its last line is the sum of its honest rows, and no two of them share a seed."""
    text = ledger.PAGE.read_text()
    found = ledger.rows(text)
    assert len(found) == sum(line.startswith("| ") and "`" not in line for line in text.splitlines()) - 1
    assert text.splitlines()[-1] == ledger.total(found)
    honest = sorted((row.first, row.last) for row in found if row.honest)
    assert all(before[1] < after[0] for before, after in pairwise(honest))


def test_a_seed_is_written_with_0x_or_without() -> None:
    """As a failure line prints it, or as Python writes it; nothing negative."""
    assert seed_of("0x1f") == seed_of("1f") == seed_of("00001F") == 31
    with pytest.raises(ValueError, match="not negative"):
        seed_of("-1")


def test_each_commit_begins_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first new seed is made of the commit; the same commit, the same seed; without git, of the sources."""
    monkeypatch.setattr(cases, "commit", lambda: "0123456789abcdef" * 2 + "01234567")
    assert cases.first_seed() == 0x0123456000
    monkeypatch.setattr(cases, "commit", lambda: "")
    without = cases.first_seed()
    assert without == cases.first_seed() and without % 0x1000 == 0


def test_a_worker_runs_a_seed_as_this_process_does() -> None:
    """The same trace, byte for byte."""
    (answer,) = pool.run(iter([Case(0x1000, 1)]), 1)
    assert answer[1].fingerprint == run_seed(0x1000, 1).fingerprint


def test_every_failure_is_made_smaller_within_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a seed that shows here; what one leaves of its share is for those behind it."""
    told: list[tuple[str, float]] = []
    clock = iter((0.0, 0.0, 10.0, 90.0))
    monkeypatch.setattr("tests.sim.sweep.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("tests.sim.shrink.tell", lambda plan, report, name, seconds: told.append((name, seconds)))
    done = sweep.Sweep.__new__(sweep.Sweep)
    broken = {1: "S1", 2: "an end", 3: "Q4", 4: "L1"}
    done.broken = [(Case(seed), Report(seed, 3, Violation(1.0, promise, "x"))) for seed, promise in broken.items()]
    done.broken.append((Case(file=Path("known.json")), Report(5, 3, Violation(1.0, "S1", "x"))))
    done._shrink(120.0)
    assert told == [("000001", 40.0), ("000003", 55.0), ("000004", 30.0)]
