"""Plays stories without pytest: for whoever must know, in a plain process, whether a promise is broken.

    python -m tests.sim.stories.play [NAME ...] [--whole] [--trace IDS]      no name: all

run_story(NAME) gives the first broken promise, or None. Names are those of the test functions.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
from pathlib import Path

from tests.sim.history import Violation
from tests.sim.stories.branches import WHOLE
from tests.sim.stories.story import Story, Teller
from tests.sim.trace import Print
from transport.ids import NodeId


def stories() -> dict[str, Teller]:
    """Every story there is, by name, in the order of files and lines."""
    found: dict[str, Teller] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.sim.stories.{path.stem}")
        found |= {name: function for name, function in vars(module).items() if _is_story(name, function)}
    return found


def _is_story(name: str, function: object) -> bool:
    return name.startswith("test_") and callable(function) and [*inspect.signature(function).parameters] == ["story"]


def run_story(name: str, watched: frozenset[NodeId] = frozenset(), echo: Print = print) -> Violation | None:
    """Play one story to its end or to the first broken promise. Raises KeyError for a name that no story has."""
    return Story(name, watched, echo).tell(stories()[name])


def cpu_seconds() -> float:
    """Of this process and of all branches that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.stories.play", description="Stories of the simulator.")
    parser.add_argument("names", nargs="*", help="stories; none: all")
    parser.add_argument("--trace", default="", help="ids of nodes whose lines are shown, like 1,3")
    parser.add_argument("--whole", action="store_true", help="every step of the enumerated ones, not a sample")
    parsed = parser.parse_args(arguments)
    if parsed.whole:
        os.environ[WHOLE] = "1"
    known = stories()
    if missing := [name for name in parsed.names if name not in known]:
        parser.error(f"no such story: {', '.join(missing)}; there are {', '.join(known)}")
    watched = frozenset(int(part) for part in parsed.trace.split(",") if part)
    failed = 0
    for name in parsed.names or known:
        started = cpu_seconds()
        story = Story(name, watched)
        broken = story.tell(known[name])
        failed += broken is not None
        tried = ", ".join(map(str, story.fork.counts))
        seconds = cpu_seconds() - started
        print(
            f"{'ok' if broken is None else 'FAILED':7}{seconds:6.2f} s  {name}{': ' * bool(tried)}{tried}", flush=True
        )
        if broken is not None:
            print(f"       at {broken.at:.3f} s: {broken}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
