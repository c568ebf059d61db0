"""O1 to O6: the promises of extended virtual synchrony, E1 to E15, on what passed between each ring and its node.

The rules are those of tests/transport/totem/evs.py, which checks the ring alone; here they judge whole nodes.
"""

from __future__ import annotations

from tests.sim.history import History, Violation
from tests.transport.totem import evs


def check(history: History) -> int:
    """Raises Violation; returns the number of deliveries looked at. The run must have come to rest."""
    try:
        return evs.check([process.ring for process in history.processes])
    except evs.Violation as violation:
        promise, _, text = str(violation).partition(": ")
        at = max((event.at for process in history.processes for event in process.events), default=0.0)
        raise Violation(at, promise, text) from violation
