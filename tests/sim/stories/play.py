"""Plays stories without pytest: for whoever must know, in a plain process, whether a promise is broken.

    python -m tests.sim.stories.play [NAME ...] [--trace IDS]      no name: all

run_story(NAME) gives the first broken promise, or None. Names are those of the test functions.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import inspect
import linecache
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.sim.history import Violation
from tests.sim.stories.language import Story
from tests.sim.trace import Print
from transport.ids import NodeId

Teller = Callable[[Story], None]


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
    teller, story = stories()[name], Story(name, watched, echo)
    collecting = gc.isenabled()
    gc.disable()  # a run keeps nearly all it makes until its end: looking through it meanwhile finds nothing
    try:
        teller(story)
        story.over()
    except Violation as violation:
        return violation
    except Exception as error:  # whatever a node raises is a failure of its own: no input may make it
        at = story.play.stage.clock.now if story.play is not None else 0.0
        if isinstance(error, AssertionError) and (line := _line_of(error, teller)):
            return Violation(at, "story", f"not so: {line}; {story.play}")
        return Violation(at, "no exception", "".join(traceback.format_exception(error)).rstrip())
    finally:
        if collecting:
            gc.enable()
    return None


def _line_of(error: AssertionError, teller: Teller) -> str:
    """The assertion that failed, if it stands in the story itself."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename != inspect.getsourcefile(teller):
        return ""
    return linecache.getline(last.filename, last.lineno or 0).strip()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.stories.play", description="Stories of the simulator.")
    parser.add_argument("names", nargs="*", help="stories; none: all")
    parser.add_argument("--trace", default="", help="ids of nodes whose lines are shown, like 1,3")
    parsed = parser.parse_args(arguments)
    known = stories()
    if missing := [name for name in parsed.names if name not in known]:
        parser.error(f"no such story: {', '.join(missing)}; there are {', '.join(known)}")
    watched = frozenset(int(part) for part in parsed.trace.split(",") if part)
    failed = 0
    for name in parsed.names or known:
        started = time.process_time()
        broken = run_story(name, watched)
        failed += broken is not None
        print(f"{'ok' if broken is None else 'FAILED':7}{time.process_time() - started:6.2f} s  {name}", flush=True)
        if broken is not None:
            print(f"       at {broken.at:.3f} s: {broken}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
