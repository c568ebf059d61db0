"""Mutants of the whole node, of changes of the configuration and of key rotations: Q3, X2, and that all agree."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

NODE = "clusterd/node.py"
RECONFIGURE = "clusterd/reconfigure.py"
CHANGES = ("A1", "A2", "A3", "A4")  # tests/sim/checkers/administration.py
GROUPS = ("G1", "G2", "G3", "G4", "G5", "G6")  # tests/sim/checkers/groups.py

MUTANTS: list[Mutant] = [
    Mutant(
        "messages-before-the-barrier",
        NODE,
        "        elif self.sync.done:\n            self._route(delivery, now)\n",
        "        elif channel:\n            self._route(delivery, now)\n",
        ("Q3", *GROUPS, "no exception"),
        "Messages of a configuration are given out before its verdict.",
    ),
    Mutant(
        "barrier-without-the-last",
        "transport/sync.py",
        "        if len(self._received) < len(self._members):\n",
        "        if len(self._received) < max(1, len(self._members) - 1):\n",
        ("Q1", "Q2", "Q3", "L1", *GROUPS),
        "The barrier is passed before the last member said its votes.",
        also=(
            (
                "transport/sync.py",
                "for m in self._members if name in self._received[m]}",
                "for m in self._members if name in self._received.get(m, {})}",
            ),
        ),
    ),
    Mutant(
        "removal-ends-no-session",
        NODE,
        "            self.endpoint.security.remove(node, date, initiator, now)\n",
        "",
        ("X2", "L1", "A1", "A2", "A3", "A4", "no exception"),
        "Who was removed from the configuration is not told to be removed by the layer that holds the keys.",
        within=60,
        where=lambda plan: any("remove" in action.kind for action in plan.actions),
    ),
]
