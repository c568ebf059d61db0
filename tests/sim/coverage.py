"""Which lines of ring, quorum, store and node the runs executed: no code lands there that the simulator has not run.

A line trace over the product's pure code alone. A function is traced until all its lines were seen, so that most of a
run goes at nearly full speed. Lines outside of functions run at import and are not counted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WANTED = (
    "transport/totem",
    "transport/sync.py",
    "transport/groups.py",
    "transport/endpoint.py",
    "quorum",
    "cfs",
    "clusterd/node.py",
    "clusterd/reconfigure.py",
    "clusterd/rotation.py",
)


def files() -> list[Path]:
    """The files that are looked at: all of WANTED but what does input and output."""
    found: list[Path] = []
    for name in WANTED:
        path = ROOT / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [path for path in found if "io" not in path.parts and path.name != "__init__.py"]


def functions(code: CodeType, name: str = "") -> Iterator[tuple[str, CodeType]]:
    """Each function in compiled code with its qualified name; lambdas and comprehensions belong to theirs."""
    for constant in code.co_consts:
        if not isinstance(constant, CodeType):
            continue
        inner = f"{name}.{constant.co_name}" if name else constant.co_name
        is_class = not constant.co_flags & 0x2  # CO_NEWLOCALS: set for functions only
        if not is_class and not constant.co_name.startswith("<"):
            yield inner, constant
        yield from functions(constant, inner)


def lines_of(code: CodeType) -> set[int]:
    """The lines with something to run, those of lambdas and comprehensions inside included, without the def's own."""
    found = {line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno}
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and constant.co_name.startswith("<"):
            found |= lines_of(constant)
    return found


class Coverage:
    """Lines by file, relative to the repository: `wanted` there are, `seen` ran while the trace was on."""

    def __init__(self) -> None:
        self.wanted: dict[str, set[int]] = {}
        self.seen: dict[str, set[int]] = {}
        self.functions: dict[str, dict[str, set[int]]] = {}
        for path in files():
            name = str(path.relative_to(ROOT))
            whole = compile(path.read_text(), str(path), "exec")
            self.functions[name] = {inner: lines_of(code) for inner, code in functions(whole)}
            self.wanted[name] = set().union(*self.functions[name].values())
            self.seen[name] = set()
        self._names = {str(ROOT / name): name for name in self.wanted}
        self._left: dict[CodeType, set[int]] = {}

    def __enter__(self) -> Coverage:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        left = self._left.get(code)
        if left is None:
            name = self._names.get(code.co_filename)
            left = self._left[code] = set() if name is None else lines_of(code) - self.seen[name]
        if not left:
            return None
        seen = self.seen[self._names[code.co_filename]]

        def line(frame: FrameType, event: str, _: Any) -> Any:
            if event == "line":
                number = frame.f_lineno
                seen.add(number)
                left.discard(number)
            return line

        return line

    def never(self, name: str) -> dict[str, list[int]]:
        """Lines of a file that never ran, by function."""
        missing = self.wanted[name] - self.seen[name]
        return {inner: sorted(lines & missing) for inner, lines in self.functions[name].items() if lines & missing}

    def unentered(self) -> list[str]:
        """Functions of which not one line ran, as `file function`."""
        return [
            f"{name} {inner}"
            for name, inside in sorted(self.functions.items())
            for inner, lines in inside.items()
            if lines and not lines & self.seen[name]
        ]

    def report(self) -> list[str]:
        """A line for each file with its share, then what never ran in it."""
        told = []
        for name, wanted in sorted(self.wanted.items()):
            if not wanted:
                continue
            told.append(f"{100 * len(wanted & self.seen[name]) / len(wanted):5.1f} %  {name}")
            told += [f"           {inner}: {', '.join(map(str, rows))}" for inner, rows in self.never(name).items()]
        whole = sum(len(wanted) for wanted in self.wanted.values())
        ran = sum(len(wanted & self.seen[name]) for name, wanted in self.wanted.items())
        told.append(f"{100 * ran / whole:5.1f} %  of {whole} lines")
        return told
