"""The documentation tells the truth where a machine can judge it: links, file names, commands."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from clusterd.cli.grammar import GROUP_WORDS
from clusterd.cli.parse import UsageProblem, parse

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("transport", "quorum", "cfs", "clusterd")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
OUTSIDE_LINK = re.compile(r"^[a-z]+:")


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, made of the text: small letters, `-` for blanks, no other signs."""
    found = set()
    for line in page.read_text().splitlines():
        if match := re.match(r"#+ +(.*)", line):
            plain = re.sub(r"[^\w\- ]", "", match[1].lower())
            found.add(plain.replace(" ", "-"))
    return frozenset(found)


def commands(text: str) -> list[str]:
    """What stands after `clusterctl` in code: fenced lines, and `spans`."""
    code = [line for block in re.findall(r"^```.*?\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()]
    code += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    found = []
    for line in code:
        plain = re.split(r"\s{2,}|\s#|\s&&\s|[|>;]|\$\(", line.strip())
        found += [match[1] for part in plain if (match := re.match(r"(?:\S*/)?clusterctl\s+(\S.*)", part.strip()))]
    return found


def problem_with(command: str) -> str | None:
    """Why the grammar does not take this command; words in capitals stand for values."""
    words = shlex.split(command.replace("...", ""))
    if len(words) == 1 and (words[0] in GROUP_WORDS or words[0].startswith("--")):
        return None
    values = {"N": "1", "S": "1", "R": "1", "ID": "0" * 32, "A": "1", "B": "2", "FILE": "-", "K": "0", "L": "2"}
    try:
        parse([values.get(word, word) for word in words])
    except UsageProblem as problem:
        # A command named without its arguments is a name, not an example.
        return None if " is missing (" in str(problem) else str(problem)
    return None


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_relative_links_resolve(page: Path) -> None:
    """Every relative link of a page names a file, and a heading of it if it names one."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if OUTSIDE_LINK.match(target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_named_files_exist(page: Path) -> None:
    """A path below one of our directories that a page names in backticks is there."""
    below = (*PACKAGES, "tests", "docs", "bench", "requirements", "systemd")
    spans = re.findall(r"`((?:" + "|".join(below) + r")/[\w./-]+)(?:::\w+)?`", page.read_text())
    assert [span for span in spans if not (ROOT / span).exists()] == []


def test_architecture_names_every_module() -> None:
    """ARCHITECTURE.md has a line for each module of the four packages, and for none that is gone."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"`((?:" + "|".join(PACKAGES) + r")/[\w/]+\.py)`", text))
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert sorted(there - named) == []
    assert sorted(named - there) == []


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_exist(page: Path) -> None:
    """Every `clusterctl ...` a page shows is one the command line takes."""
    problems = {command: problem for command in commands(page.read_text()) if (problem := problem_with(command))}
    assert problems == {}


def test_targets_of_make_exist() -> None:
    """Every `make TARGET` shown is one of the Makefile's."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    shown = {target for page in PAGES for target in re.findall(r"`make ([a-z]+)", page.read_text())}
    assert shown <= targets
