"""Makes the compiled copy: python -m tests.sim.compiling.build DIRECTORY

The sources that a run of the simulator loads are copied; the cores among them and the busiest parts of the simulator
are rewritten (tests/sim/compiling/rewrite.py), turned into C by mypyc and compiled, two files at a time. Everything
else of the copy stays Python. A process that begins in the copy loads all of it from there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.sim.compiling.rewrite import rewritten
from tests.sim.compiling.sources import ROOT, sources

COMPILED = (
    "transport/*.py",
    "quorum/*.py",
    "cfs/*.py",
    "clusterd/build.py",
    "clusterd/changes.py",
    "clusterd/channels.py",
    "clusterd/configuring.py",
    "clusterd/handover.py",
    "clusterd/leaving.py",
    "clusterd/node.py",
    "clusterd/past.py",
    "clusterd/reconfigure.py",
    "clusterd/removals.py",
    "clusterd/rotation.py",
    "tests/quorum/model.py",
    "tests/sim/checkers/leases.py",
    "tests/sim/checkers/verdicts.py",
    "tests/sim/clock.py",
    "tests/sim/cluster.py",
    "tests/sim/groups.py",
    "tests/sim/host.py",
    "tests/sim/inbox.py",
    "tests/sim/local_socket.py",
    "tests/sim/lookout.py",
    "tests/sim/machine_clock.py",
    "tests/sim/network.py",
    "tests/sim/storage.py",
    "tests/sim/tap.py",
    "tests/sim/trace.py",
    "tests/sim/world.py",
)
"""Patterns; * goes through folders. Not tests/sim/disk.py and what it is made of: snapshots are deep copies of it."""
LEFT_OUT = (
    "*/__init__.py",
    "*/errors.py",  # an exception's class gains nothing
    "quorum/options.py",  # stored plans are read by its annotations; compiled, `Mapping[int, int]` is only Mapping
)
FLAGS = ("-O1", "-fPIC", "-fwrapv", "-DNDEBUG", "-w")  # -O2 takes twice as long to compile, and runs no faster
SETTINGS = """[mypy]
namespace_packages = True
explicit_package_bases = True
"""
ENTRY = "__attribute__((optimize(0))) "  # what runs once, at import, need not be fast, and is long


def main(folder: Path) -> None:
    """Make it there. Raises SystemExit where mypyc or the C compiler finds an error: it is told, and what was made so
    far stays for whoever looks."""
    files = sources()
    compiled = [name for name in files if is_compiled(name)]
    for name in files:
        text = (ROOT / name).read_text()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(rewritten(text) if name in compiled else text)
    (folder / "mypy.ini").write_text(SETTINGS)
    os.chdir(folder)
    with contextlib.redirect_stdout(sys.stderr):
        # By name: our own type check would else go through the checker's sources as well.
        mypycify = import_module("mypyc.build").mypycify
        made = mypycify(["--config-file=mypy.ini", *compiled], multi_file=True, target_dir="build")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for extension in made:
            _link(extension, list(pool.map(partial(_compile, include=extension.include_dirs), extension.sources)))
    shutil.rmtree("build")


def is_compiled(name: str) -> bool:
    """name: of a source, relative to the root."""
    return any(fnmatch(name, each) for each in COMPILED) and not any(fnmatch(name, each) for each in LEFT_OUT)


def compiler() -> str:
    """The C compiler's command."""
    return os.environ.get("CC", "cc")


def _compile(source: str, include: list[str]) -> str:
    path = Path(source)
    text = path.read_text()
    if "____top_level__(void) {" in text:
        path.write_text(_unhurried(text))
    made = str(path.with_suffix(".o"))
    places = [*include, "build", sysconfig.get_path("include"), sysconfig.get_path("platinclude")]
    _cc(*FLAGS, *(f"-I{each}" for each in places), "-c", source, "-o", made)
    return made


def _unhurried(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(
        ENTRY + line if line.startswith("char CPyDef_") and line.endswith("____top_level__(void) {") else line
        for line in lines
    )


def _link(extension: Any, objects: list[str]) -> None:
    path = Path(*extension.name.split(".")).with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
    _cc("-shared", *objects, "-o", str(path))


def _cc(*arguments: str) -> None:
    done = subprocess.run([compiler(), *arguments], check=False)
    if done.returncode != 0:
        raise SystemExit(f"{compiler()} ended with status {done.returncode}, asked for {arguments[-1]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
