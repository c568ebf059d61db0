"""python -m tests.fuzz itself: what it does when an input breaks a target."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BROKEN = """
import sys
from pathlib import Path
from tests.fuzz import __main__ as command, targets

def groups(data):
    if data[:1] == b"c" and data[1:2] == b"u":
        raise ValueError("broken on purpose")

targets.NAMES = command.NAMES = {"groups": "services"}
targets.load = lambda: targets.TARGETS.update(groups=groups)
targets.CORPUS = command.CORPUS = Path(sys.argv[1]) / "seeds"
(command.CORPUS / "groups").mkdir(parents=True)
(command.CORPUS / "groups" / "one").write_bytes(bytes.fromhex(sys.argv[2]))
sys.exit(command.main(["--minutes", "0.01"], Path(sys.argv[1])))
"""


def _run(place: Path, seed: bytes) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BROKEN, str(place), seed.hex()]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_an_input_that_breaks_a_target_is_printed_and_kept(tmp_path: Path) -> None:
    """The exit code is 1, the input stands in the output and in a file."""
    done = _run(tmp_path, b"cus")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "groups: broken by" in done.stdout and b"cu".hex() in done.stdout
    assert "broken on purpose" in done.stdout
    (found,) = (tmp_path / "found").iterdir()
    assert found.read_bytes().startswith(b"cu")


def test_a_run_that_breaks_nothing(tmp_path: Path) -> None:
    """The exit code is 0, and a short run leaves nothing behind."""
    done = _run(tmp_path, b"x")
    if done.returncode and "broken on purpose" in done.stdout:  # a second is enough for the fuzzer to find it
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list((tmp_path / "found").iterdir())
    assert not (tmp_path / "corpus").exists()
