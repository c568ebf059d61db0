"""A story that is told once for every step of a stretch of it, with something else gone wrong each time.

    with s.each_loss(sample=60):
        s.kill(3); s.settled([1, 2])
    s.formed()

The stretch is played once to count its steps. Then it is played again, and at each chosen step the process is copied
(fork): the copy lets that step go wrong, leaves the stretch and tells the rest of the story to its end with all
checkers, while the original waits, notes what came of it, and goes on. So every branch starts from the very same state
at no cost, and nothing of one branch can be seen in another. A copy never returns to its caller: it says what it came
to through a pipe, and ends.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from random import Random
from types import TracebackType
from typing import NoReturn, Self

from clusterd.node import Node
from tests.sim.history import Violation
from tests.sim.stories.wire import Message
from transport.ids import NodeId

WAYS = (
    "killed before",
    "killed after",
    "without power before",
    "without power after",
)  # how a node may die at an input
CPU = 60  # seconds after which a branch counts as one that never ends; the slowest takes a hundredth
PAIRS_WHOLE = 20  # times as many pairs where every step is tried
WHOLE = "STORIES_WHOLE"  # set in the environment: every step, not a sample


class Left(Exception):  # noqa: N818  not an error: a branch leaves the stretch
    """Raised between two events of a branch's run."""


@dataclass(frozen=True, slots=True)
class Count:
    """Of one stretch: how many ways of going wrong it has, and how many were tried."""

    what: str
    tried: int
    possible: int

    def __str__(self) -> str:
        return f"{self.tried} of {self.possible} {self.what}"


@dataclass(slots=True)
class Told:
    """What a copy says at its end. broken: time, promise and text.  ways: of a copy that only counted."""

    broken: tuple[float, str, str] | None = None
    ways: list[int] = field(default_factory=list)

    def check(self) -> None:
        """Raises what the copy found broken."""
        if self.broken is not None:
            raise Violation(*self.broken)


class Fork:
    """What the branches of one story share. is_copy: this process is a branch, and ends with `tell`."""

    def __init__(self) -> None:
        self.is_copy = False
        self.why = ""  # in a copy: what went wrong in it
        self.counts: list[Count] = []
        self._pipe = -1

    def copy(self) -> Told | None:
        """None: this is the copy. Else what the copy told, once it ended."""
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            os.close(reads)
            self.is_copy, self._pipe = True, writes
            resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU + 1))
            return None
        os.close(writes)
        with open(reads, "rb") as pipe:  # noqa: PTH123  a descriptor
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        if told:
            return Told(**json.loads(told))
        return Told((0.0, "no exception", f"a branch died, or never came to an end: status {status}"))

    def tell(self, told: Told) -> NoReturn:
        """The end of a copy."""
        data = json.dumps(asdict(told)).encode()
        while data:
            data = data[os.write(self._pipe, data) :]
        os._exit(0)

    def tell_end(self, broken: Violation | None) -> NoReturn:
        """A branch's story has been told."""
        if broken is None:
            self.tell(Told())
        self.tell(Told((broken.at, broken.promise, f"{broken.text} [{self.why or 'while the steps were counted'}]")))


class Stretch:
    """One `with` block. sample: how many branches at most, evenly over all that can go wrong at any step.

    pairs: so many further branches in which a later step goes wrong too.
    """

    def __init__(self, fork: Fork, name: str, what: str, sample: int, pairs: int = 0) -> None:
        self._fork = fork
        self._random = Random(f"{name} {what}")
        self._what = what
        self._sample = sample
        self._pairs = pairs
        self._steps = 0
        self._ways: list[int] = []  # of each step, in how many ways it may go wrong
        self._chosen: dict[int, list[tuple[int, int]]] = {}  # step -> (way, steps until the second one, 0: none)
        self._counting = False
        self._second = 0
        self.left = False  # this copy has had its trouble, and leaves
        self.inside = False

    def __enter__(self) -> Self:
        counted = self._fork.copy() if not self._fork.is_copy else Told()
        self.inside = True
        if counted is None:
            self._counting = True
        else:
            counted.check()
            self._choose(counted.ways)
        return self

    def _choose(self, ways: list[int]) -> None:
        """Evenly over all steps, and the pairs among them by a Random of this stretch's own."""
        every = [(step, way) for step, count in enumerate(ways) for way in range(count)]
        whole = bool(os.environ.get(WHOLE))
        wanted = len(every) if whole else min(self._sample, len(every))
        singles = [every[len(every) * k // wanted] for k in range(wanted)]
        for step, way in singles:
            self._chosen.setdefault(step, []).append((way, 0))
        pairs = (self._pairs * PAIRS_WHOLE if whole else self._pairs) if every else 0
        again = [self._random.choice(every) for _ in range(pairs)]
        for step, way in again:
            self._chosen.setdefault(step, []).append((way, self._random.randint(1, max(1, len(ways) - step))))
        self._fork.counts.append(Count(self._what, len(singles), len(every)))
        if again:
            self._fork.counts.append(Count(f"pairs of {self._what}", len(again), len(every) ** 2 // 2))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.inside = False
        if self._counting:
            if isinstance(error, Violation):
                self._fork.tell_end(error)
            if error is None:
                self._fork.tell(Told(ways=self._ways))
        return isinstance(error, Left)

    def step(self, ways: int, text: Callable[[int], str]) -> int | None:
        """The next step; how it goes wrong in this process, None: it does not."""
        if not self.inside or (self.left and self._second <= 0):
            return None
        number, self._steps = self._steps, self._steps + 1
        if self._counting:
            self._ways.append(ways)
            return None
        if self._fork.is_copy:
            self._second -= 1
            if self._second == 0 and ways:
                self._fork.why += f", and {text(0)}"
                return 0
            return None
        for way, second in self._chosen.get(number, ()):
            told = self._fork.copy()
            if told is None:
                self._fork.why = text(way)
                self._second, self.left = second, True
                return way
            if told.broken is not None and text(way) not in told.broken[2]:
                told.broken = (*told.broken[:2], f"{told.broken[2]} [{text(way)}]")
            told.check()
        return None

    def amend(self, ways: int) -> None:
        """The last step turned out to have so many ways."""
        if self._counting and self.inside:
            self._ways[-1] = ways

    def check(self) -> None:
        """Between two events: raises Left once this copy has had all of its trouble."""
        if self.left and self.inside and self._second <= 0:
            raise Left


def lose_each(stretch: Stretch, at: Callable[[], float]) -> Callable[[Message], bool]:
    """For Wire.hear: each ring message is a step that may be lost."""

    def hear(message: Message) -> bool:
        return stretch.step(1, lambda _: f"lost at {at():.6f} s: {message}") is None

    return hear


class Crashes:
    """At each input of each process some node may die: it or another one, before or after, by SIGKILL or by power."""

    def __init__(
        self,
        stretch: Stretch,
        at: Callable[[], float],
        running: Callable[[], list[NodeId]],
        crash: Callable[[NodeId, bool], None],
        soon: Callable[[Callable[[], None]], None],
    ) -> None:
        """running: who could die.  crash(node, power): it dies now.  soon: do it once the present event is over."""
        self._stretch = stretch
        self._at = at
        self._running = running
        self._crash = crash
        self._soon = soon
        self._heard = 0

    def hear(self, message: Message) -> bool:
        """For Wire.hear: what a process received matters only if its ring was given something."""
        self._heard += 1
        return True

    def tap(self, node: NodeId, running: Node) -> None:
        """A process runs: what is put into it is seen from now on."""
        for name in ("receive", "disk_answered", "file_written"):
            self._wrap(node, running, name)

    def _wrap(self, node: NodeId, running: Node, name: str) -> None:
        original = getattr(running, name)

        def tapped(*arguments: object) -> None:
            nodes = self._running()

            def text(way: int) -> str:
                return f"node {nodes[way // 4]} died at {self._at():.6f} s, {WAYS[way % 4]} {name} at node {node}"

            way = self._stretch.step(4 * len(nodes), text)
            if way is None:
                before = self._heard
                original(*arguments)
                if name == "receive" and self._heard == before:
                    self._stretch.amend(0)
                return
            victim, power, after = nodes[way // 4], way % 4 >= 2, bool(way % 2)
            if not after:
                self._crash(victim, power)
            if after or victim != node:
                original(*arguments)
            if after:
                self._soon(lambda: self._crash(victim, power))

        setattr(running, name, tapped)
