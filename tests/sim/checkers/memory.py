"""S4: a tree in memory that differs from the others' is found while the cluster runs, and that node is resynced.

The simulator flips a bit in one node's memory once everything else is well, and lets somebody write.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.sim.history import Violation
from transport.ids import NodeId

COMPARED_WITHIN = 7.0  # seconds in which trees are compared (cfs/comparing.py), and one that differs is replaced


def check(at: float, rotten: NodeId, resynced: Sequence[NodeId]) -> None:
    """resynced: the nodes that took the state from another since a bit flipped at `rotten`. Raises Violation."""
    if list(resynced) != [rotten]:
        who = f"of nodes {list(resynced)}" if resynced else "of nobody"
        raise Violation(at, "S4", f"a bit flipped in the memory of node {rotten}, and the store {who} was replaced")
