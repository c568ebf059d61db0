"""L3: a pause shorter than token - (rest + one rotation + 50 ms) forms no ring anew.

After a longer one the node is back without a restart, in a ring with all those that it was with before.
"""

from __future__ import annotations

from tests.sim.checkers.calm import Calm
from tests.sim.history import Process, Violation
from transport.ids import NodeId


def check(calm: Calm) -> int:
    """Raises Violation; returns how often it was judged."""
    judged = 0
    if not calm.tempo.lossless:
        return judged
    settled = calm.tempo.settled
    for node, begun, until in calm.history.pauses:
        short = until - begun < calm.tempo.harmless_pause
        last = until + (0.2 if short else settled)
        if not calm.quiet(begun - settled, last, {begun, until}):
            continue
        mine = [p for p in calm.history.processes if p.node == node and p.started < begun - settled]
        mine = [process for process in mine if process.ended is None or process.ended > last]
        others = calm.at_work(begun - settled, last)
        if not mine or not others:
            continue
        judged += 1
        if short:
            _nobody_was_expelled(calm, node, begun, until, [*mine, *others])
        else:
            _all_are_together(calm, node, begun, until, last, [*mine, *others])
    return judged


def _nobody_was_expelled(calm: Calm, node: NodeId, begun: float, until: float, processes: list[Process]) -> None:
    for process in processes:
        for one in calm.rings(process):
            if begun < one.at <= until + 0.2:
                text = f"node {node} stood still for {until - begun:.3f} s from {begun:.3f} s on, and node"
                text += f" {process.node} formed ring {one.change.ring_id} of {one.change.members}"
                raise Violation(one.at, "L3", text)


def _all_are_together(
    calm: Calm, node: NodeId, begun: float, until: float, last: float, processes: list[Process]
) -> None:
    before = calm.ring_at(processes[0], begun)
    for process in processes:
        change = calm.ring_at(process, last)
        if before is not None and (change is None or not {*before.members} <= {*change.members}):
            text = f"node {node} stood still from {begun:.3f} s to {until:.3f} s in a ring of {before.members}; at "
            text += f"{last:.3f} s node {process.node} is in one of {change.members if change else ()}"
            raise Violation(last, "L3", text)
