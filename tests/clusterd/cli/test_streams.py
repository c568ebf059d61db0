"""Standard input, output and error as a shell may hand them over: full, closed, a pipe nobody reads, no letters."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from clusterd.cli.output import printable
from clusterd.client import Client
from tests.clusterd.conftest import Served

ROOT = Path(__file__).parents[3]


def shell(node: Served, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of bash; `$ctl` is clusterctl for the served node, `$?` of it is printed by the line itself."""
    ctl = shlex.join([sys.executable, "-m", "clusterd.cli", "--socket", node.path])
    return subprocess.run(
        ["bash", "-c", line.replace("$ctl", ctl)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("command", ["status", "status --json", "--help", "--version", "fs ls", "quorum"])
def test_a_full_disk_behind_stdout_is_one_line(node: Served, command: str):
    """stderr always has one line; exit 1: anything else, the message says."""
    done = shell(node, f"$ctl {command} >/dev/full")
    assert done.returncode == 1
    assert done.stderr == "clusterctl: standard output: No space left on device; the command itself was done\n"


@pytest.mark.parametrize("command", ["status", "quorum --json", "--help"])
def test_closed_streams_change_no_exit_status(node: Served, command: str):
    """Whoever wants no output gets none, and the answer by the exit status."""
    done = shell(node, f"$ctl {command} >&- 2>&- <&-; echo $?")
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_nothing_on_a_closed_stdin_is_no_empty_file(node: Served):
    """`fs put PATH` with stdin closed is a mistake, not an empty file."""
    done = shell(node, "$ctl fs put a <&-")
    assert done.returncode == 1
    assert done.stderr.startswith("clusterctl: standard input is closed")
    assert node.backend.calls == []


@pytest.mark.parametrize("command", ["status", "nodes", "quorum", "quorum --json"])
def test_a_reader_that_goes_does_not_turn_no_into_yes(node: Served, command: str):
    """`| head` may have enough: silence, and the exit status of the answer (4: not quorate)."""
    node.backend.quorate = False
    done = shell(node, f"$ctl {command} 2>/dev/null | true; echo ${{PIPESTATUS[0]}}")
    assert done.stdout == ("4\n" if "quorum" in command else "0\n")
    assert done.stderr == ""


@pytest.mark.parametrize("encoding", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"LANG": "nonsense"}])
def test_a_terminal_without_our_letters_is_no_crash(node: Served, encoding: dict[str, str]):
    """LANG=C and worse: what cannot be shown is escaped."""
    with Client(node.path) as client:
        client.put("grüß", b"")
    done = shell(node, "$ctl fs ls", **encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr" in done.stdout


@pytest.mark.parametrize(
    "command", ["fs ls", "fs stat '{}'", "fs mkdir '{}x'", "fs rm '{}'", "fs cat '{}/y'", "fs rm '{}/z'"]
)
def test_a_name_in_the_tree_cannot_command_the_terminal(node: Served, command: str):
    """Names are other people's: their control characters are shown as escapes; `--json` has them escaped anyway."""
    name = "a\x1b[2Jb\nc\x9bd"
    with Client(node.path) as client:
        client.put(name, b"")
    done = shell(node, "$ctl " + command.format(name))
    assert "\x1b" not in done.stdout + done.stderr
    assert "\x9b" not in done.stdout + done.stderr
    assert printable(name) in done.stdout + done.stderr


def test_the_environment_is_made_with_bytecode():
    """Who runs clusterctl may not be allowed to write it, and without it starting takes twice as long."""
    own = Path(sys.prefix) == ROOT / ".venv" and not (ROOT / ".venv").is_symlink()
    if not own or not os.access(ROOT / "clusterd", os.W_OK):
        pytest.skip("not run from this tree's own environment")
    subprocess.run([ROOT / "requirements" / "venv.sh", "dev"], check=True, capture_output=True)
    missing = [
        str(module)
        for package in ("clusterd", "cfs", "quorum", "transport")
        for module in (ROOT / package).rglob("*.py")
        if not Path(cache_from_source(str(module))).exists()
    ]
    assert missing == []
