"""What TAB offers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clusterd.cli.complete import FILES, candidates
from clusterd.cli.main import main
from clusterd.client import Client
from clusterd.lab import layout
from tests.clusterd.conftest import Served


@pytest.fixture
def offers(capsys: pytest.CaptureFixture[str]):
    def ask(*words: str) -> list[str]:
        assert candidates(list(words)) == 0
        return capsys.readouterr().out.split()

    return ask


def test_commands_and_their_groups(offers):
    """The first word, and the second of a group."""
    assert {"status", "fs", "lab", "key", "wait-quorum"} <= set(offers(""))
    assert offers("st") == ["status"]
    assert offers("fs", "c") == ["cas", "cat"]
    assert offers("--json", "key", "") == ["rotate"]


def test_options_of_the_command_and_general_ones(offers):
    """Only those that fit."""
    assert offers("fs", "cas", "--r") == ["--revision"]
    assert "--one-way" in offers("lab", "cut", "1", "2", "--")
    assert "--one-way" not in offers("status", "--")
    assert "--socket" in offers("status", "--")


def test_lab_nodes_and_names(offers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """From the lab's own file; no daemon is asked."""
    monkeypatch.setattr(layout, "root", lambda: str(tmp_path))
    (tmp_path / "demo").mkdir()
    shape = {"base": 77, "nodes": 2, "links": 2, "votes": [1, 1], "set": []}
    layout.write_json(f"{tmp_path}/demo/lab.json", shape)
    assert offers("--lab", "") == ["demo"]
    assert offers("--lab", "demo", "--node", "") == ["1", "2", "n1", "n2"]
    assert offers("--lab", "demo", "lab", "stop", "") == ["1", "2", "all", "n1", "n2"]
    assert offers("--lab", "demo", "lab", "kill", "1", "n") == ["n1", "n2"]
    assert offers("--lab", "none", "lab", "kill", "") == []


def test_paths_of_the_tree(offers, node: Served, monkeypatch: pytest.MonkeyPatch):
    """Directories end with a slash, to go on."""
    monkeypatch.setenv("CLUSTERD_SOCKET", node.path)
    with Client(node.path) as client:
        client.mkdir("etc/network", parents=True)
        client.put("etc/hosts", b"")
    assert offers("fs", "cat", "") == ["etc/"]
    assert offers("fs", "cat", "etc/h") == ["etc/hosts"]
    assert offers("fs", "cat", "etc/hosts", "") == []


def test_names_that_could_do_harm_are_not_offered(offers, node: Served, monkeypatch: pytest.MonkeyPatch):
    """Control characters would be commands to the terminal, a line break two words."""
    monkeypatch.setenv("CLUSTERD_SOCKET", node.path)
    with Client(node.path) as client:
        for name in ("good", "a\x1b[2J", "b\nc"):
            client.put(name, b"")
    assert offers("fs", "cat", "") == ["good"]


@pytest.mark.parametrize("line", ["fs put a ", "--socket ", "lab up --dir ", "fs cas a --revision 1 x"])
def test_local_files_are_the_shells_business(line: str, capsys: pytest.CaptureFixture[str]):
    """Told by the exit status; elsewhere no file is offered."""
    assert candidates(line.split(" ")) == FILES
    assert capsys.readouterr().out == ""
    assert candidates(["status", ""]) == candidates(["lab", "up", "--links", ""]) == 0


BASH = """
clusterctl() { "$PYTHON" -m clusterd.cli "$@"; }
eval "$(clusterctl completion bash)"
compopt() { :; }
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _clusterctl; printf '%s\\n' "${COMPREPLY[@]}"; }
ask clusterctl fs cat 'dir/a\\ f'
ask clusterctl fs cat '"dir/a f'
ask clusterctl fs cat d
"""


def test_bash_quotes_what_has_to_be_quoted(node: Served):
    """A name with a blank or a dollar is one word, also when it was typed in part."""
    with Client(node.path) as client:
        client.mkdir("dir")
        client.put("dir/a file$", b"")
    done = subprocess.run(
        ["bash", "-c", BASH],
        env={**os.environ, "PYTHON": sys.executable, "CLUSTERD_SOCKET": node.path},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["dir/a\\ file\\$", "dir/a file$", "dir/"]
    assert done.stderr == ""


def test_no_daemon_offers_nothing_and_says_nothing(offers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """TAB never prints an error."""
    monkeypatch.setenv("CLUSTERD_SOCKET", str(tmp_path / "none"))
    assert offers("fs", "cat", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_script_is_accepted_by_its_shell(shell: str, capsys: pytest.CaptureFixture[str]):
    """Syntax, checked by the shell itself where it is installed."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "clusterctl --complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, capture_output=True)


def test_an_unknown_shell_is_a_usage_error():
    """Exit 2."""
    assert main(["completion", "tcsh"]) == 2
