"""The grammar of the command line contract."""

from __future__ import annotations

from typing import Any

import pytest

from clusterd.cli.grammar import BY_WORDS, COMMANDS, GLOBAL_OPTIONS, GROUP_WORDS
from clusterd.cli.help import page
from clusterd.cli.parse import UsageProblem, parse


@pytest.mark.parametrize(
    "line, words, values",
    [
        ("status", "status", {}),
        ("--json status", "status", {}),
        ("--lab demo --node 2 fs ls", "fs ls", {"PATH": None, "recursive": None}),
        ("fs --json put a/b", "fs put", {"PATH": "a/b", "FILE": None, "timeout": 10.0, "id": None}),
        ("fs put a/b - --timeout 3", "fs put", {"PATH": "a/b", "FILE": "-", "timeout": 3.0, "id": None}),
        ("fs put --timeout=0.5 a/b file", "fs put", {"PATH": "a/b", "FILE": "file", "timeout": 0.5, "id": None}),
        ("fs put -- -odd --json", "fs put", {"PATH": "-odd", "FILE": "--json", "timeout": 10.0, "id": None}),
        ("fs cas p --revision 0 f", "fs cas", {"PATH": "p", "FILE": "f", "revision": 0, "timeout": 10.0, "id": None}),
        ("fs ls x -R", "fs ls", {"PATH": "x", "recursive": True}),
        ("fs rm x -r", "fs rm", {"PATH": "x", "recursive": True, "timeout": 10.0, "id": None}),
        ("fs watch --from 7", "fs watch", {"PATH": None, "from": 7}),
        ("wait-quorum --timeout 2.5", "wait-quorum", {"timeout": 2.5}),
        ("key rotate", "key rotate", {}),
        ("events --follow", "events", {"follow": True}),
        ("lab kill 1 n2", "lab kill", {"N": ["1", "n2"]}),
        ("lab cut 1 2,3 --link 1 --one-way", "lab cut", {"A": "1", "B": "2,3", "link": 1, "one-way": True}),
        ("lab heal", "lab heal", {"A": None, "B": None, "link": None, "one-way": None}),
        ("lab down --keep", "lab down", {"keep": True}),
        (
            "lab up 5 --links 3 --base 90 --dir d --votes 1,1,1,1,2 --set a.b=c --set d.e=f --no-wait --timeout 9",
            "lab up",
            {
                "N": 5,
                "links": 3,
                "base": 90,
                "dir": "d",
                "votes": [1, 1, 1, 1, 2],
                "set": ["a.b=c", "d.e=f"],
                "no-wait": True,
                "timeout": 9.0,
            },
        ),
        (
            "lab up",
            "lab up",
            {
                "N": None,
                "links": 2,
                "base": None,
                "dir": None,
                "votes": None,
                "set": None,
                "no-wait": None,
                "timeout": 30.0,
            },
        ),
    ],
)
def test_command_lines_of_the_contract(line: str, words: str, values: dict[str, Any]):
    """Every command of the page, with options before and after."""
    parsed = parse(line.split())
    assert parsed.command is not None
    assert parsed.command.words == words
    assert parsed.values == values


@pytest.mark.parametrize(
    "line, message",
    [
        ("", "which command?"),
        ("fs", "fs: which command?"),
        ("stauts", "no such command: stauts (did you mean status?)"),
        ("fs pit a", "no such command: fs pit (did you mean put?)"),
        ("status --jsn", "no such option: --jsn (did you mean --json?)"),
        ("status now", "status: one argument too many: 'now'"),
        ("status --json=yes", "--json takes no value"),
        ("fs put", "fs put: PATH is missing"),
        ("fs cas a", "fs cas: --revision is missing"),
        ("fs put a --timeout", "--timeout needs a value: S"),
        ("fs put a --timeout soon", "--timeout: 'soon' is not possible here: a number is needed"),
        ("fs put a --timeout 0", "--timeout: '0' is not possible here: seconds above 0"),
        ("fs put a --timeout nan", "--timeout: 'nan' is not possible here: seconds above 0"),
        ("expected 0", "N: '0' is not possible here: a whole number from 1"),
        ("expected 2.5", "N: '2.5' is not possible here"),
        ("lab up 33", "N: '33' is not possible here: a whole number from 1 to 32"),
        ("lab up --links 9", "--links: '9' is not possible here: a whole number from 1 to 8"),
        ("lab up --votes 1,x", "--votes: '1,x' is not possible here"),
        ("lab kill", "lab kill: N is missing"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(line: str, message: str):
    """Exit 2; the sentence names the word, the hint where to look."""
    with pytest.raises(UsageProblem) as caught:
        parse(line.split())
    assert str(caught.value).startswith(message)
    assert caught.value.hint.startswith("clusterctl ")


@pytest.mark.parametrize("topic", [(), *((group,) for group in GROUP_WORDS), *BY_WORDS])
def test_every_page_of_help_fits_a_screen(topic: tuple[str, ...]):
    """80 by 24, with the prompt."""
    lines = page(topic).splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80


def test_help_of_everything_names_every_command():
    """Nothing is hidden but inside its group."""
    text = page(()) + "".join(page((group,)) for group in GROUP_WORDS)
    for command in COMMANDS:
        assert command.words in text, command.words


def test_help_is_found_wherever_it_is_asked_for():
    """`clusterctl lab up --help`, `clusterctl --help lab up`."""
    assert parse(["lab", "up", "--help"]).topic == ("lab", "up")
    assert parse(["--help", "lab", "up"]).topic == ("lab", "up")
    assert parse(["-h"]).topic == ()


def test_no_command_option_hides_a_general_one():
    """General options are taken out first."""
    general = {option.name for option in GLOBAL_OPTIONS}
    for command in COMMANDS:
        assert not general & {option.name for option in command.options}, command.words
