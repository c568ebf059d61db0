"""The command line of the benchmark: one clear line and exit status 2 for what cannot be run."""

from pathlib import Path

import pytest

from bench.arguments import SUITES, parse


def test_without_arguments_everything_runs() -> None:
    """All suites, and at least 10,000 samples for a latency."""
    options = parse([])
    assert options.suites == SUITES
    assert options.samples >= 10_000
    assert options.runs == 10


def test_suites_run_once_and_in_their_order() -> None:
    """Any order and repetition on the command line."""
    assert parse(["idle", "latency", "idle"]).suites == ("latency", "idle")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["latnecy"], "there is no suite 'latnecy'"),
        (["--samples", "0"], "not at least 1"),
        (["--seconds", "-1"], "not above 0"),
        (["--minutes", "nan"], "not above 0"),
        (["--set", "token=5"], "SECTION.KEY=VALUE"),
        (["--set", "totem.token"], "SECTION.KEY=VALUE"),
        (["--dir", "/nowhere/at/all"], "not a directory"),
        (["--json", "/nowhere/at/all.json"], "does not exist"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Bad input: one clear line, exit 2."""
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_settings_and_places_are_handed_on(tmp_path: Path) -> None:
    """--set may be repeated; --json is a file to be."""
    out = tmp_path / "out.json"
    given = ["--set", "totem.token=1000", "--set", "quorum.two_node=0", "--dir", str(tmp_path), "--json", str(out)]
    options = parse(given)
    assert options.settings == ("totem.token=1000", "quorum.two_node=0")
    assert (options.directory, options.json) == (tmp_path, out)
