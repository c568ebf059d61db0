"""Mutants of the whole node, of changes of the configuration and of key rotations: Q3, X2, and that all agree."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

NODE = "clusterd/node.py"
RECONFIGURE = "clusterd/reconfigure.py"
CHANGES = ("A1", "A2", "A3", "A4")  # tests/sim/checkers/administration.py
GROUPS = ("G1", "G2", "G3", "G4", "G5", "G6")  # tests/sim/checkers/groups.py

MUTANTS = [
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
    ),
    Mutant(
        "change-by-a-majority",
        RECONFIGURE,
        "        if len(change.agreed) == len(change.members):\n",
        "        if 2 * len(change.agreed) > len(change.members):\n",
        CHANGES,
        "A changed configuration is in force when most members agreed, though one may still say no.",
        within=100,
    ),
    Mutant(
        "change-at-its-proposal",
        RECONFIGURE,
        "        self._change = change\n        self._answer(change)\n",
        "        self._change = change\n"
        "        self._events.append(Apply(kind, body, sender))\n"
        "        self._answer(change)\n",
        CHANGES,
        "A changed configuration is in force when it is proposed.",
        within=60,
    ),
    Mutant(
        "no-by-the-last-ignored",
        RECONFIGURE,
        "        if reasons:\n"
        "            self._change = None\n"
        '            self._conclude(change, [f"{self._name_of(sender)}: {reason}" for reason in reasons])\n'
        "            return\n",
        "",
        CHANGES,
        "A member's no counts as a yes.",
        within=100,
    ),
]
