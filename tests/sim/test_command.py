"""The command line of the simulator: what it prints, in which order, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sim import __main__ as command
from tests.sim import shrink, stored
from tests.sim.history import Violation
from tests.sim.plan import Plan
from tests.sim.report import Report


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_the_seed_and_what_it_draws_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Before the run: who crashes the simulator finds the seed above. With 0x or without, the same run."""
    assert command.main(["--seed", "0x1003", "--nodes", "1"]) == 0
    first = lines_of(capsys)
    assert re.match(r"seed 001003: 1 node, \d links?, (netmtu \d+, )?MTU .* operations/s on .*; faults: ", first[0])
    assert first[1].strip()[0].isdigit()  # the story
    assert command.main(["--seed", "1003", "--nodes", "1", "--trace", "1"]) == 0
    traced = lines_of(capsys)
    assert traced[0] == first[0]
    assert next(line for line in first if "trace " in line).split()[-1] in "".join(traced)
    assert sum("node 1" in line for line in traced) > 10


def test_a_stored_plan_runs_as_its_seed_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--store writes it and runs nothing; --plan runs it."""
    file = tmp_path / "kept.json"
    assert command.main(["--seed", "1003", "--nodes", "1", "--store", str(file)]) == 0
    assert lines_of(capsys) == []
    assert command.main(["--plan", str(file)]) == 0
    told = lines_of(capsys)
    assert told[0].startswith("plan kept: 1 node,")
    assert command.main(["--seed", "1003", "--nodes", "1"]) == 0
    fingerprint = next(line for line in told if line.startswith("  ok:")).split()[-1]
    assert fingerprint in capsys.readouterr().out


def test_a_plan_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file and the place in it, exit code 2."""
    file = tmp_path / "bad.json"
    file.write_text('{"plan": {}}')
    assert command.main(["--plan", str(file)]) == 2
    assert "bad.json: plan: seed, nodes" in capsys.readouterr().err
    assert command.main(["--plan", str(tmp_path / "none.json")]) == 2


@pytest.mark.parametrize(
    "words",
    [["--seed", "xyz"], ["--runs", "0"], ["--plan", "a", "--seed", "1"], ["--shrink"], ["--store", "a"], ["--seed=-5"]],
)
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    """Nothing is run."""
    with pytest.raises(SystemExit) as refused:
        command.main(words)
    assert refused.value.code == 2


def test_a_failure_is_told_with_its_replay_and_made_smaller(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Among many seeds at once; a single one only when asked to, so that a replay is quick."""

    def fails(plan: Plan, *rest: object, **options: object) -> Report:
        bad = plan.seed == 0x1003
        return Report(plan.seed, len(plan.nodes), Violation(4.0, "S3", "node 1 lost it") if bad else None, wall=0.1)

    for module in (command, shrink):
        monkeypatch.setattr(module, "run_plan", fails)
    monkeypatch.setattr(command, "held", lambda report: "ok")
    monkeypatch.setattr(shrink, "FOUND", tmp_path)
    assert command.main(["--seed", "1003", "--runs", "2"]) == 1
    told = lines_of(capsys)
    assert "seed 001003 failed at 4.000 s: S3: node 1 lost it" in told
    assert "replay: python -m tests.sim --seed 001003 --trace 1" in told
    assert "making it smaller, for at most 120 s ..." in told
    assert stored.load(tmp_path / "s3-001003.json").promise == "S3"
    assert command.main(["--seed", "1003"]) == 1
    assert "making it smaller" not in capsys.readouterr().out
    assert command.main(["--shrink", "1003", "--seconds", "5"]) == 1
    assert "making it smaller, for at most 5 s ..." in lines_of(capsys)
    assert command.main(["--shrink", "0x1004"]) == 0
    assert "it holds: there is nothing to make smaller" in lines_of(capsys)
