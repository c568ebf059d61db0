"""A story as a whole: its cluster, the telling of it, and the first promise that was broken on the way."""

from __future__ import annotations

import gc
import inspect
import linecache
import traceback
from collections.abc import Callable
from typing import Any

from quorum.options import QuorumOptions
from tests.sim.history import Violation
from tests.sim.stories.branches import Fork
from tests.sim.stories.language import Play
from tests.sim.stories.stage import Stage, plan_of
from tests.sim.trace import Print
from transport.ids import NodeId


class Story:
    """What a story is given: call it once for its cluster."""

    def __init__(self, name: str, watched: frozenset[NodeId] = frozenset(), echo: Print = print) -> None:
        self.name = name
        self.play: Play | None = None
        self.fork = Fork()
        self._watched = watched
        self._echo = echo

    def __call__(
        self,
        nodes: int,
        *,
        votes: dict[NodeId, int] | None = None,
        links: int = 1,
        administered: tuple[str, ...] = (),
        **quorum: Any,
    ) -> Play:
        """A cluster of `nodes` machines, all off. votes: of those that have not one.  quorum: of QuorumOptions.

        administered: what an operator will do in it ("set-expected", "remove", ...): the checkers must know.
        """
        assert self.play is None, "one story, one cluster"
        all_votes = {node: (votes or {}).get(node, 1) for node in range(1, nodes + 1)}
        plan = plan_of(self.name, all_votes, QuorumOptions(votes=all_votes, **quorum), links, administered)
        self.play = Play(Stage(plan, self._watched, self._echo), self.fork)
        self.play.stage.workload.stop()
        return self.play

    def over(self) -> None:
        """The story has been told."""
        if self.play is not None:
            self.play.over()

    def tell(self, teller: Teller) -> Violation | None:
        """Tell all of it: the first broken promise, or None. In a copy (branches.py) this does not return."""
        collecting = gc.isenabled()
        gc.disable()  # a run keeps nearly all it makes until its end: looking through it meanwhile finds nothing
        try:
            broken = self._told(teller)
        finally:
            if collecting:
                gc.enable()
        if self.fork.is_copy:
            self.fork.tell_end(broken)
        return broken

    def _told(self, teller: Teller) -> Violation | None:
        try:
            teller(self)
            self.over()
        except Violation as violation:
            return violation
        except Exception as error:  # whatever a node raises is a failure of its own: no input may make it
            at = self.play.stage.clock.now if self.play is not None else 0.0
            if isinstance(error, AssertionError) and (line := _line_of(error, teller)):
                found = f" ({' '.join(str(error).split())})" if str(error) else ""  # pytest tells the values
                return Violation(at, "story", f"not so: {line}{found}; {self.play}")
            return Violation(at, "no exception", "".join(traceback.format_exception(error)).rstrip())
        return None


Teller = Callable[[Story], None]


def _line_of(error: AssertionError, teller: Teller) -> str:
    """The assertion that failed, if it stands in the story itself."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename != inspect.getsourcefile(teller):
        return ""
    return linecache.getline(last.filename, last.lineno or 0).strip()
