"""The arrows between the parts, and the purity of the cores.

import-linter checks the arrows between packages (pyproject.toml); these tests check what it cannot say: a core
takes bytes, entropy and the time from its caller (STYLE, "A pure core, a thin shell"), and what is heavy to import
stays out of the daemon (DESIGN 9).
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A module in this list reaches for the outside world, the clock or chance: such a thing is handed to a core.
IMPURE = frozenset(
    (
        *("asyncio", "concurrent", "fcntl", "multiprocessing", "os", "pty", "random", "sched", "secrets", "select"),
        *("selectors", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tempfile", "threading"),
        *("time", "urllib", "uuid", "uvloop"),
    )
)
HEAVY = ("typer", "rich", "click", "fastapi", "starlette", "uvicorn", "pyfuse3", "prometheus_client")
DAEMON = ("clusterd/__main__.py", "clusterd/daemon.py", "clusterd/node.py")
CORE_PACKAGES = ("transport", "quorum", "cfs")


def cores() -> list[Path]:
    """Every module outside io/ of the three packages, and what clusterd/node.py is made of."""
    found = [
        path
        for package in CORE_PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "io" not in path.relative_to(ROOT).parts
    ]
    node = ROOT / "clusterd" / "node.py"
    if node.exists():
        found += sorted(path for path in reached(node) if path.relative_to(ROOT).parts[0] == "clusterd")
    return found


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of every import anywhere in the file, those for type checking only left out."""
    tree = ast.parse(path.read_text(), str(path))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    names: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = list(path.relative_to(ROOT).parts[: -node.level]) if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            names += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
    return names


def file_of(name: str) -> Path | None:
    """The file of ours that a dotted name means; the last part may be a name inside the module."""
    parts = name.split(".")
    for count in (len(parts), len(parts) - 1):
        stem = ROOT.joinpath(*parts[:count]) if count else ROOT
        for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
            if count and candidate.exists():
                return candidate
    return None


def reached(start: Path) -> set[Path]:
    """The file and every file of ours it imports, directly or not."""
    seen: set[Path] = set()
    left = [start]
    while left:
        path = left.pop()
        if path in seen:
            continue
        seen.add(path)
        left += [found for _, name in imports(path) if (found := file_of(name)) is not None]
    return seen


@pytest.mark.parametrize("path", cores(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_core_imports_no_clock_chance_or_io(path: Path) -> None:
    """A core imports no asyncio, socket, os, random, threading or clock, and no io/ module (STYLE)."""
    bad = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for line, name in imports(path)
        if name.split(".")[0] in IMPURE or "io" in name.split(".")[1:-1]
    ]
    assert bad == []


@pytest.mark.parametrize("name", DAEMON)
def test_heavy_imports_stay_out_of_the_daemon(name: str) -> None:
    """typer, rich, FastAPI and pyfuse3 belong to other processes (DESIGN 9)."""
    start = ROOT / name
    if not start.exists():
        pytest.skip(f"{name} is not part of this tree")
    bad = [
        f"{path.relative_to(ROOT)}:{line}: {imported}"
        for path in sorted(reached(start))
        for line, imported in imports(path)
        if imported.split(".")[0] in HEAVY
    ]
    assert bad == []
