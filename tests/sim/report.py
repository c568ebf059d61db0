"""What a run came to: the promise that was broken, or how often each was judged, and what else was counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.sim.history import Violation

ENOUGH = {"nodes": 3, "seconds": 15.0, "faults": 3, "acked": 50}  # what a run must have done to count
JUDGED = "judged "  # begins the name of each figure that tells how often a promise was judged
# Each must have been judged in some of many runs (tests/sim/asked.py says how many), or its checker looks at nothing.
PROMISES = (
    "E1-E15",
    "E13-E14",
    "G1-G6",
    "A1",
    "A2",
    "A3",
    "A4",
    "Q1",
    "Q2",
    "Q3",
    "Q4",
    "Q4 on waking",
    "Q5",
    "S1",
    "S2",
    "S2 of moves",
    "S3",
    "S4",
    "S5",
    "S6",
    "data set",
    "once",
    "watch",
    "X1",
    "X1 of tables",
    "X2",
    "L1",
    "L2",
    "L3",
    "L4",
)
TOTALS = (
    "gathers",
    "recoveries_with_messages",
    "merges",
    "transfers",
    "tokens_lost",
    "refused_writes",
    "unknown_writes",
    "group_messages",
    "changes_applied",
    "changes_refused",
    "rotations",
    "removals",
    "replayed",
)


@dataclass(slots=True)
class Report:
    """What a run came to. failure: the promise that was broken, or what the node raised.  title: of a stored plan."""

    seed: int
    nodes: int
    failure: Violation | None = None
    details: str = ""
    counts: dict[str, float] = field(default_factory=dict)
    fingerprint: str = ""
    wall: float = 0.0
    title: str = ""

    @property
    def counted(self) -> bool:
        """Did it do enough work to say something?"""
        return all(self.counts.get(name, 0) >= least for name, least in ENOUGH.items())

    @property
    def name(self) -> str:
        return self.title or f"{self.seed:06x}"
