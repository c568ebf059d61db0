"""What sums up `make test`: nothing is left out without a word, and the last line is the count."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import all as everything
from tests.all import HISTORY, Phase


def outcome(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uid: int, *phases: Phase) -> list[str]:
    """The exit code and the lines of a run whose phases come to this."""
    run = {phase.name: [lambda phase=phase: phase] for phase in phases}
    monkeypatch.setattr(everything, "RUN", run)
    monkeypatch.setattr(everything, "ALWAYS", tuple(run))
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    code = everything.main([])
    return [str(code), *capsys.readouterr().out.strip().splitlines()]


def test_the_last_line_is_the_count_over_all_phases(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Passed, failed, skipped; a check counts nothing, a note is told in its phase's line."""
    phases = [
        Phase("types", True, counts=False),
        Phase("unit", True, passed=7, skipped=1),
        Phase("sim", False, passed=5, failed=2, note="7 new seeds, the first 001000"),
    ]
    told = outcome(monkeypatch, capsys, 0, *phases)
    assert told[0] == "1" and told[-1] == "12 passed, 2 failed, 1 skipped"
    assert told[-2].startswith("sim     FAILED") and told[-2].endswith(
        "2 failed, 0 skipped; 7 new seeds, the first 001000"
    )


def test_as_root_a_skipped_phase_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Others are told what stayed out, and pass."""
    assert outcome(monkeypatch, capsys, 1000, Phase("fuzz", True, skipped=1))[0] == "0"
    told = outcome(monkeypatch, capsys, 0, Phase("fuzz", True, skipped=1))
    assert told[0] == "1" and "as root nothing may be skipped" in told[1]
    assert outcome(monkeypatch, capsys, 0, Phase("unit", True, passed=1, skipped=1))[0] == "0"


def test_a_checkout_without_its_history_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The machine is not to blame; anything else that is skipped still is."""
    reason, report = f"this needs {HISTORY}", tmp_path / "report.xml"
    (tmp_path / "test_one.py").write_text(f"import pytest\ndef test_it():\n    pytest.skip({reason!r})\n")
    command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={tmp_path}", f"--junitxml={report}", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    everything.count(phase := Phase("live", True), report)
    assert (phase.skipped, phase.excused) == (1, 1)
    assert outcome(monkeypatch, capsys, 0, phase)[0] == "0"
    assert outcome(monkeypatch, capsys, 0, Phase("live", True, skipped=2, excused=1))[0] == "1"


def test_a_fuzzer_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Skipped, with the reason and what to do; never left out in silence."""
    (tmp_path / "atheris.py").write_text("raise ImportError('no wheel for this machine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    phase = everything.run_fuzz()
    assert (phase.ok, phase.skipped, phase.passed) == (True, 1, 0)
    told = capsys.readouterr().out
    assert "ImportError: no wheel for this machine" in told and "requirements/venv.sh fuzz" in told


def test_a_phase_that_breaks_off_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No result is no success."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    for run in (everything.run_simulator, everything.run_mutants, lambda: everything.run_pytest("unit", [])):
        phase = run()
        assert not phase.ok and phase.failed == 1 and phase.passed == 0


def test_a_phase_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A word that is no phase runs nothing."""
    assert everything.main(["uint"]) == 2
    assert "uint: no such phase; there are check, unit, sim, live" in capsys.readouterr().err
