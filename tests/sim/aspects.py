"""Chance by name: each aspect of a run has a Random of its own; what one of them draws leaves the others alone."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from math import log
from random import Random


def aspect(seed: int, name: str) -> Random:
    """The Random that draws one aspect of a run, equal in every process."""
    return Random(f"{seed:x} {name}")


def pick(seed: int, name: str, weights: Mapping[str, float]) -> str:
    """One of `weights`, each as often as it weighs. Every candidate draws a lot of its own and the best wins: one more
    candidate, or another weight, changes only those picks that it wins or loses."""

    def lot(candidate: str) -> float:
        drawn = blake2b(f"{seed:x} {name} {candidate}".encode(), digest_size=8).digest()
        return -log((int.from_bytes(drawn, "big") + 1) / 2**64) / weights[candidate]

    return min(weights, key=lambda candidate: (lot(candidate), candidate))
