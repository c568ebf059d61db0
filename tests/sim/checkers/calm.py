"""What is promised about time where one thing happens and nothing else: L2, L3 and L4.

A moment is judged only if nothing else happened around it: no fault began, ended or lasted, no process started or
ended, no configuration came into force. L4 is judged while the network keeps one shape, whatever that is.

    L2   a killed node is out of every membership within token + 300 ms, one that leaves within 100 ms
    L3   a pause shorter than token - (rest + one rotation + 50 ms) forms no ring anew; after a longer one the node is
         back, without a restart
    L4   once the network has kept its shape for a while, nobody forms a ring anew, and all members of a ring are in it
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from tests.sim.history import Configured, History, Process, Violation
from transport.events import ConfigurationChange
from transport.ids import NodeId

SETTLED = 2.0  # seconds until the ring has its shape, as for L1; more where the token is slow
SHAPED = 4.0  # the same where some cannot hear each other: who may be with whom is found out step by step
KILLED = 0.3  # seconds beyond the token timeout
LEFT = 0.1
ROUNDS = 6  # of a token that a leave takes: the goodbye, the joins, two of the commit token, two of recovery
CLOCKS = 1.006  # no two clocks differ more in rate
# These leave the network in one shape from their beginning to their end, and whoever is there at work.
STEADY = ("partition", "partial", "one-way", "link-down", "kill", "leave", "blank", "rot", "power", "pause")
# These concern the quorum device: no ring hangs on it. (One may hang on a disk: a new process reserves ring numbers.)
ASIDE = ("device-cut", "device-down")


@dataclass(frozen=True, slots=True)
class Tempo:
    """Times of one run, in seconds.  token: as configured; least: an administrator may lower it to that.

    slowness: how many times longer than by default a failure takes to be noticed.  rotation: of the token, at most.
    lossless: the network loses nothing by itself.
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
    def left(self) -> float:
        """Within this a node that said goodbye is out: by the speed of the wire, where that takes longer than LEFT."""
        return max(LEFT, ROUNDS * self.rotation) * CLOCKS

    @property
    def detected(self) -> float:
        """Within this a killed node is out."""
        return (self.token + KILLED) * CLOCKS


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the plan did to the cluster from `at` to `until`."""

    kind: str
    at: float
    until: float


def check(
    history: History, troubles: Iterable[Trouble], changes: Iterable[float], tempo: Tempo, end: float
) -> Counter[str]:
    """Raises Violation; returns how often each promise was judged. changes: moments at which something else changed.

    end: of the run.
    """
    judge = _Judge(history, list(troubles), set(changes), tempo, end)
    if tempo.lossless:
        judge.killed_and_left()
        judge.pauses()
        judge.steady_networks()
    return judge.judged


class _Judge:
    def __init__(
        self, history: History, troubles: list[Trouble], changes: set[float], tempo: Tempo, end: float
    ) -> None:
        self.judged: Counter[str] = Counter()
        self._history = history
        self._tempo = tempo
        self._end = end
        self._troubles = [trouble for trouble in troubles if trouble.kind not in ASIDE]
        points = changes | {end} | {moment for t in self._troubles for moment in (t.at, t.until)}
        for process in history.processes:
            points |= {process.started} | ({process.ended} if process.ended is not None else set())
            points |= {process.leaving} if process.leaving is not None else set()
        for _, begin, stop in history.pauses:
            points |= {begin, stop}
        self._points = sorted(points)
        self._rings = {id(process): _rings(process) for process in history.processes}

    def _quiet(self, first: float, last: float, but: set[float]) -> bool:
        """Nothing happened from `first` to `last`, and nothing lasted, but what began at one of the moments `but`."""
        if first < 0 or last > self._end:
            return False
        if any(first <= point <= last and point not in but for point in self._points):
            return False
        return not any(t.at <= last and t.until >= first and t.at not in but for t in self._troubles)

    def _at_work(self, first: float, last: float) -> list[Process]:
        """Processes that ran, and were not stopped, all the time."""
        return [
            process
            for process in self._history.processes
            if process.started <= first
            and (process.ended is None or process.ended > last)
            and not any(n == process.node and a < last and b > first for n, a, b in self._history.pauses)
        ]

    def _ring_at(self, process: Process, moment: float) -> ConfigurationChange | None:
        rings = self._rings[id(process)]
        place = bisect_right(rings, moment, key=lambda one: one.at)
        return rings[place - 1].change if place else None

    def killed_and_left(self) -> None:
        """L2."""
        settled = SETTLED * self._tempo.slowness
        for gone in self._history.processes:
            if gone.ended is None or (gone.left and gone.leaving is None):
                continue
            begun = gone.leaving if gone.left and gone.leaving is not None else gone.ended
            within = self._tempo.left if gone.left else self._tempo.detected
            if not self._quiet(begun - settled, begun + within, {begun, gone.ended}):
                continue
            for other in self._at_work(begun - settled, begun + within):
                before, after = self._ring_at(other, begun), self._ring_at(other, begun + within)
                if before is None or after is None or gone.node not in before.members:
                    continue
                self.judged["L2"] += 1
                if gone.node in after.members:
                    what = "said goodbye" if gone.left else "was killed"
                    text = f"node {gone.node} {what} at {begun:.3f} s and is in ring {after.ring_id} of node "
                    raise Violation(begun + within, "L2", f"{text}{other.node} {within * 1000:.0f} ms later")

    def pauses(self) -> None:
        """L3."""
        settled = SETTLED * self._tempo.slowness
        for node, begun, until in self._history.pauses:
            short = until - begun < self._tempo.harmless_pause
            last = until + (0.2 if short else settled)
            if not self._quiet(begun - settled, last, {begun, until}):
                continue
            mine = [p for p in self._history.processes if p.node == node and p.started < begun - settled]
            mine = [process for process in mine if process.ended is None or process.ended > last]
            others = self._at_work(begun - settled, last)
            if not mine or not others:
                continue
            self.judged["L3"] += 1
            if short:
                self._nobody_was_expelled(node, begun, until, [*mine, *others])
            else:
                self._all_are_together(node, begun, until, last, [*mine, *others])

    def _nobody_was_expelled(self, node: NodeId, begun: float, until: float, processes: list[Process]) -> None:
        for process in processes:
            for one in self._rings[id(process)]:
                if begun < one.at <= until + 0.2:
                    text = f"node {node} stood still for {until - begun:.3f} s from {begun:.3f} s on, and node"
                    text += f" {process.node} formed ring {one.change.ring_id} of {one.change.members}"
                    raise Violation(one.at, "L3", text)

    def _all_are_together(
        self, node: NodeId, begun: float, until: float, last: float, processes: list[Process]
    ) -> None:
        before = self._ring_at(processes[0], begun)
        for process in processes:
            change = self._ring_at(process, last)
            if before is not None and (change is None or not {*before.members} <= {*change.members}):
                text = f"node {node} stood still from {begun:.3f} s to {until:.3f} s in a ring of {before.members}; at "
                text += f"{last:.3f} s node {process.node} is in one of {change.members if change else ()}"
                raise Violation(last, "L3", text)

    def steady_networks(self) -> None:
        """L4."""
        rough = [trouble for trouble in self._troubles if trouble.kind not in STEADY]
        for begun, until in pairwise(self._points):
            whole = not any(t.at < until and t.until > begun for t in self._troubles)
            first = begun + (SETTLED if whole else SHAPED) * self._tempo.slowness
            if until - first < 0.2 or any(t.at <= until and t.until >= begun for t in rough):
                continue
            self.judged["L4"] += 1
            there = self._at_work(begun, until - 1e-9)
            for process in there:
                for one in self._rings[id(process)]:
                    if first < one.at < until:
                        text = f"nothing has changed since {begun:.3f} s, and node {process.node} formed ring "
                        text += f"{one.change.ring_id} of {one.change.members} at {one.at:.3f} s"
                        raise Violation(one.at, "L4", text)
            self._rings_are_whole(first, there)

    def _rings_are_whole(self, moment: float, processes: list[Process]) -> None:
        where = {process.node: self._ring_at(process, moment) for process in processes}
        for node, change in sorted(where.items()):
            for member in change.members if change is not None else ():
                theirs = where.get(member)
                if change is not None and (theirs is None or theirs.ring_id != change.ring_id):
                    found = f"in {theirs.ring_id}" if theirs is not None else "not there"
                    text = f"node {node} stays in ring {change.ring_id} of {change.members}, node {member} is {found}"
                    raise Violation(moment, "L4", text)


def _rings(process: Process) -> list[Configured]:
    return [event for event in process.events if isinstance(event, Configured) and event.change.regular]
