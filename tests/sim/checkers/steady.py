"""L4: once the network has kept its shape for a while nobody forms a ring anew, and all members of a ring are in it.

That holds for every shape: one in which some cannot hear each other, too.
"""

from __future__ import annotations

from itertools import pairwise

from tests.sim.checkers.calm import Calm
from tests.sim.history import Process, Violation

# These leave the network in one shape from their beginning to their end, and whoever is there at work.
STEADY = ("partition", "partial", "one-way", "link-down", "kill", "leave", "blank", "rot", "power", "pause")


def check(calm: Calm) -> int:
    """Raises Violation; returns how often it was judged."""
    judged = 0
    if not calm.tempo.lossless:
        return judged
    rough = [trouble for trouble in calm.troubles if trouble.kind not in STEADY]
    for begun, until in pairwise(calm.points):
        whole = not any(t.at < until and t.until > begun for t in calm.troubles)
        first = begun + (calm.tempo.settled if whole else calm.tempo.shaped)
        if until - first < 0.2 or any(t.at <= until and t.until >= begun for t in rough):
            continue
        judged += 1
        there = calm.at_work(begun, until - 1e-9)
        for process in there:
            for one in calm.rings(process):
                if first < one.at < until:
                    text = f"nothing has changed since {begun:.3f} s, and node {process.node} formed ring "
                    text += f"{one.change.ring_id} of {one.change.members} at {one.at:.3f} s"
                    raise Violation(one.at, "L4", text)
        _rings_are_whole(calm, first, there)
    return judged


def _rings_are_whole(calm: Calm, moment: float, processes: list[Process]) -> None:
    where = {process.node: calm.ring_at(process, moment) for process in processes}
    for node, change in sorted(where.items()):
        for member in change.members if change is not None else ():
            theirs = where.get(member)
            if change is not None and (theirs is None or theirs.ring_id != change.ring_id):
                found = f"in {theirs.ring_id}" if theirs is not None else "not there"
                text = f"node {node} stays in ring {change.ring_id} of {change.members}, node {member} is {found}"
                raise Violation(moment, "L4", text)
