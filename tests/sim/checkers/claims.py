"""S6, and what S1 rests on: a node says "on disk up to here" only of what is on its disk.

So a store that is rotten, put back, empty or behind counts for nothing before it has been filled again, whatever it
takes itself for. Judged at every claim that a node hands to its ring, against the disk as it is (tests/sim/storage.py).
"""

from __future__ import annotations

from tests.sim.history import Violation
from transport.ids import NodeId


def check_claim(now: float, node: NodeId, claimed: int, on_disk: int) -> None:
    """claimed: the log index.  on_disk: the last one with which the whole log before it is on the disk of `node`."""
    if claimed > on_disk:
        text = f"node {node} claims to have the log up to {claimed} on disk, it has it up to {on_disk}"
        raise Violation(now, "S6", text)
