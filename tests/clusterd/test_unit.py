"""The unit file: valid for systemd, hardened, and telling it what the daemon needs."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "clusterd.service"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    """The unit as installed: @BINDIR@ replaced by a directory that has the program."""
    bindir = tmp_path / "a directory" / "bin"
    bindir.mkdir(parents=True)
    (bindir / "clusterd").symlink_to(sys.executable)
    copy = tmp_path / "clusterd.service"
    copy.write_text(UNIT.read_text().replace("@BINDIR@", str(bindir)))
    return copy


@needs_systemd
def test_systemd_accepts_the_unit(rendered: Path):
    """`systemd-analyze verify` has nothing to say about it."""
    run = subprocess.run(["systemd-analyze", "verify", str(rendered)], capture_output=True, text=True, check=False)
    complaints = [line for line in run.stderr.splitlines() if "clusterd" in line]
    assert (run.returncode, complaints) == (0, [])


@needs_systemd
def test_exposure_is_at_most_3(rendered: Path):
    """The hardening promise, by systemd's own measure."""
    run = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(rendered)],
        capture_output=True,
        text=True,
        check=False,
    )
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", run.stdout)
    assert level and float(level[1]) <= 3.0, run.stdout[-400:] + run.stderr


def test_unit_never_passes_lab():
    """Only a daemon started with --lab accepts cuts; the unit file never passes it."""
    assert "--lab" not in UNIT.read_text()


def test_systemd_never_gives_up_on_it():
    """ "Disk full or read-only ... recovers by itself", also when it was so at start; a wrong configuration ends it."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert (unit["Service"]["Restart"], unit["Service"]["RestartPreventExitStatus"]) == ("on-failure", "2")
