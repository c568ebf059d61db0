"""corosync.conf as text and as a tree of sections with line numbers.

Grammar and wording: corosync.conf(5) and the reference parser's behaviour (facts: votequorum.md section 10). Every
error of a file is found in one pass (the first hundred are told); a line that is wrong is left out and the rest is
read on.

A line with `{` anywhere opens a section, else one with `:` is a key, else one with `}` closes; `#` as the first
non-blank character makes a comment, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from transport.errors import ClusterError

MAX_LINE = 511  # bytes, the newline included
MAX_PATH = 253  # characters of section names and key, joined with dots
MAX_FILE = 256 * 1024
MAX_PROBLEMS = 100  # told of one file; the others are a number
_BLANK = b" \t\xa0"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with a file; prints as FILE:LINE: sentence."""

    line: int
    sentence: str

    def at(self, file: str) -> str:
        return f"{file}:{self.line}: {self.sentence}"


class Problems(list[Problem]):
    """The first MAX_PROBLEMS that were found. more: how many there were beyond these."""

    def __init__(self, found: Iterable[Problem] = ()) -> None:
        super().__init__()
        self.more = 0
        self.extend(found)

    @property
    def full(self) -> bool:
        return len(self) >= MAX_PROBLEMS

    def append(self, problem: Problem) -> None:
        if self.full:
            self.more += 1
        else:
            super().append(problem)

    def extend(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.append(problem)

    def lines(self, file: str) -> list[str]:
        """As people read them, in line order, each once."""
        told = sorted(set(self))
        return [problem.at(file) for problem in told] + (
            [Problem(told[-1].line, f"and {self.more} more").at(file)] if self.more else []
        )


class ConfigError(ClusterError):
    """A configuration that cannot be used; the problems found, in line order, of very many the first."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        found = problems if isinstance(problems, Problems) else Problems(problems)
        self.problems = sorted(set(found))
        self.lines = found.lines(file)
        super().__init__("\n".join(self.lines))


@dataclass(slots=True)
class Key:
    name: str
    value: str
    line: int


@dataclass(slots=True)
class Section:
    """A section, or the whole file (name "", line 0). line: of its opening; end: of its closing brace."""

    name: str
    line: int = 0
    end: int = 0
    keys: list[Key] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def named(self, name: str) -> list[Section]:
        """All subsections of that name, in file order; repeated ones stand for one (they merge) or for many."""
        return [s for s in self.sections if s.name == name]

    def walk(self, path: str = "") -> Iterator[tuple[str, Key]]:
        """Every key below, with the dotted path of its section."""
        for key in self.keys:
            yield path, key
        for section in self.sections:
            yield from section.walk(f"{path}.{section.name}" if path else section.name)


def parse(text: bytes, problems: list[Problem]) -> Section:
    """The tree of `text`; what is wrong is appended to `problems`. Raises nothing, whatever the bytes."""
    root = Section("")
    stack = [root]
    lengths = [0]  # of the dotted path of each section on the stack
    number = 0
    if len(text) > MAX_FILE:
        problems.append(Problem(1, f"File of {len(text)} bytes, at most {MAX_FILE} allowed"))
        return root
    lines = text.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    for number, raw in enumerate(lines, 1):
        if len(raw) + 1 > MAX_LINE:
            problems.append(Problem(number, "Line too long"))
            continue
        line = raw.removesuffix(b"\r").strip(_BLANK)
        if not line or line.startswith(b"#"):
            continue
        sentence = _line(line, number, stack, lengths)
        if sentence:
            problems.append(Problem(number, sentence))
    if len(stack) > 1:
        problems.append(Problem(max(number, 1), "Missing closing brace"))
    return root


def _line(line: bytes, number: int, stack: list[Section], lengths: list[int]) -> str | None:
    """Take one line in; what is wrong with it, if anything."""
    if b"{" in line:
        before, _, after = line.partition(b"{")
        name = _text(before.rstrip(_BLANK + b":{"))
        section = Section(name or "?", number)
        length = len(section.name) + (lengths[-1] + 1 if len(stack) > 1 else 0)
        if length <= MAX_PATH:  # so the tree is never deep
            stack[-1].sections.append(section)
        stack.append(section)  # also a wrong one: its closing brace will come
        lengths.append(length)
        if not name:
            return "Missing section name before opening bracket '{'"
        if after.strip(_BLANK):
            return "Extra characters after opening bracket '{'"
        if lengths[-1] > MAX_PATH:
            return "Start of section makes total cmap path too long"
        return None
    if b":" in line:
        before, _, after = line.partition(b":")
        name, value = _text(before.strip(_BLANK)), _text(after.strip(_BLANK))
        if not name:
            return "Key name can't be empty"
        if lengths[-1] + 1 + len(name) > MAX_PATH:
            return "New key makes total cmap path too long"
        stack[-1].keys.append(Key(name, value, number))
        return None
    if b"}" in line:
        if line != b"}":
            return "Extra characters before or after closing bracket '}'"
        if len(stack) == 1:
            return "Unexpected closing brace"
        stack.pop().end = number
        lengths.pop()
        return None
    return "Line is not opening or closing section or key value"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def write(root: Section) -> str:
    """The tree as text; parsing it gives an equal tree (line numbers apart)."""
    lines: list[str] = []

    def put(section: Section, indent: str) -> None:
        lines.extend(f"{indent}{key.name}: {key.value}".rstrip() for key in section.keys)
        for sub in section.sections:
            if lines and not indent:
                lines.append("")
            lines.append(f"{indent}{sub.name} {{")
            put(sub, indent + "  ")
            lines.append(f"{indent}}}")

    put(root, "")
    return "\n".join(lines) + "\n"
