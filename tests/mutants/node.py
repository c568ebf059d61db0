"""Mutants of the whole node, of changes of the configuration and of key rotations: Q3, X2, and that all agree."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

NODE = "clusterd/node.py"
RECONFIGURE = "clusterd/reconfigure.py"
CHANGES = ("A1", "A2", "A3", "A4")  # tests/sim/checkers/administration.py
GROUPS = ("G1", "G2", "G3", "G4", "G5", "G6")  # tests/sim/checkers/groups.py

MUTANTS: list[Mutant] = []
