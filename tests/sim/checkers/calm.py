"""What lies between the events of a run: where nothing happened, and which rings there were.

L2, L3 and L4 promise something about times at which one thing happens and nothing else. A moment is judged only if
nothing else happened around it: no fault began, ended or lasted, no process started or ended, no configuration came
into force. Their checkers are departures.py, pauses.py and steady.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from tests.sim.history import Configured, History, Process
from transport.events import ConfigurationChange

_SETTLED = 2.0  # seconds until the ring has its shape, as for L1; more where the token is slow
_SHAPED = 4.0  # the same where some cannot hear each other: who may be with whom is found out step by step
KILLED = 0.3  # seconds beyond the token timeout
LEFT = 0.1
ROUNDS = 6  # of a token until a ring is formed anew: a goodbye, the joins, two of the commit token, two of recovery
CLOCKS = 1.006  # no two clocks differ more in rate
# These concern the quorum device: no ring hangs on it. (One may hang on a disk: a new process reserves ring numbers.)
ASIDE = ("device-cut", "device-down")


@dataclass(frozen=True, slots=True)
class Tempo:
    """Times of one run, in seconds.  token: as configured; least: an administrator may lower it to that.

    slowness: how many times longer than by default a failure takes to be noticed.  rotation: of the token, at most.
    lossless: the network loses nothing by itself; otherwise none of the three is judged.
    """

    token: float
    least: float
    slowness: float
    rotation: float
    lossless: bool

    @property
    def harmless_pause(self) -> float:
        """Shorter than this a pause expels nobody: the token rests an eighth of its timeout at most."""
        return max(0.0, (self.least - (self.token / 8 + self.rotation + 0.05)) / CLOCKS)

    @property
    def settled(self) -> float:
        """Within this the ring has its shape: who comes while one is formed comes with the next, both by the wire."""
        return max(_SETTLED * self.slowness, (2 * ROUNDS + 1) * self.rotation * CLOCKS)

    @property
    def shaped(self) -> float:
        """The same where some cannot hear each other."""
        return max(_SHAPED * self.slowness, self.settled)

    @property
    def left(self) -> float:
        """Within this a node that said goodbye is out: by the speed of the wire, where that takes longer than LEFT."""
        return max(LEFT, ROUNDS * self.rotation) * CLOCKS

    @property
    def detected(self) -> float:
        """Within this a killed node is out; the same."""
        return (self.token + max(KILLED, ROUNDS * self.rotation)) * CLOCKS


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the plan did to the cluster from `at` to `until`."""

    kind: str
    at: float
    until: float


class Calm:
    """The moments of one run, and what was between them.

    changes: moments at which something else changed. end: of the run.
    """

    def __init__(
        self, history: History, troubles: Iterable[Trouble], changes: Iterable[float], tempo: Tempo, end: float
    ) -> None:
        self.history = history
        self.tempo = tempo
        self.end = end
        self.troubles = [trouble for trouble in troubles if trouble.kind not in ASIDE]
        points = {*changes, end} | {moment for t in self.troubles for moment in (t.at, t.until)}
        for process in history.processes:
            points |= {process.started} | ({process.ended} if process.ended is not None else set())
            points |= {process.leaving} if process.leaving is not None else set()
        for _, begin, stop in history.pauses:
            points |= {begin, stop}
        self.points = sorted(points)
        self._rings = {id(process): _rings(process) for process in history.processes}

    def quiet(self, first: float, last: float, but: set[float]) -> bool:
        """Nothing happened from `first` to `last`, and nothing lasted, but what began at one of the moments `but`."""
        if first < 0 or last > self.end:
            return False
        if any(first <= point <= last and point not in but for point in self.points):
            return False
        return not any(t.at <= last and t.until >= first and t.at not in but for t in self.troubles)

    def at_work(self, first: float, last: float) -> list[Process]:
        """Processes that ran, and were not stopped, all the time."""
        return [
            process
            for process in self.history.processes
            if process.started <= first
            and (process.ended is None or process.ended > last)
            and not any(n == process.node and a < last and b > first for n, a, b in self.history.pauses)
        ]

    def rings(self, process: Process) -> list[Configured]:
        """Every regular configuration that it installed."""
        return self._rings[id(process)]

    def ring_at(self, process: Process, moment: float) -> ConfigurationChange | None:
        """The one it was in at that moment; None before its first."""
        rings = self.rings(process)
        place = bisect_right(rings, moment, key=lambda one: one.at)
        return rings[place - 1].change if place else None


def _rings(process: Process) -> list[Configured]:
    return [event for event in process.events if isinstance(event, Configured) and event.change.regular]
