"""Which files a run of the simulator loads, and what names their state."""

from __future__ import annotations

import ast
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
START = "tests/sim/worker.py"
BUILT_BY = ("tests/sim/compiling/build.py", "tests/sim/compiling/rewrite.py")


def sources(root: Path = ROOT) -> list[str]:
    """All files of this repository that START imports, and what they import, by name, relative to it."""
    found: set[Path] = set()
    left = [root / START]
    while left:
        file = left.pop()
        if file not in found and file.is_file():
            found.add(file)
            left += [each for name in _imported(ast.parse(file.read_bytes())) for each in _files_of(root, name)]
    return sorted(str(file.relative_to(root)) for file in found)


def key(root: Path = ROOT) -> str:
    """Differs when a copy compiled before is not to be used: other sources, another way to compile, another Python."""
    made = hashlib.sha256(f"{sys.version} {sysconfig.get_config_var('EXT_SUFFIX')} {_mypyc()}".encode())
    for name in (*sources(root), *BUILT_BY):
        made.update(f"\0{name}\0".encode() + (root / name).read_bytes())
    return made.hexdigest()[:16]


def _mypyc() -> str:
    try:
        return version("mypy")  # they come together
    except PackageNotFoundError:
        return ""


def _imported(tree: ast.Module) -> Iterator[str]:
    """Names of modules, and of what may be one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)


def _files_of(root: Path, name: str) -> Iterator[Path]:
    """Where this module is, if it is one of ours, and the packages that it is in."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        yield root.joinpath(*parts[:count], "__init__.py")
    yield root.joinpath(*parts).with_suffix(".py")
