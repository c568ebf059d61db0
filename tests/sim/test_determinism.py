"""A seed is the whole run: the same trace, byte for byte, in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.sim.cases import FIRST
from tests.sim.clock import Clock
from tests.sim.cluster import run_seed

ROOT = Path(__file__).resolve().parents[2]
PRINT = "from tests.sim.cluster import run_seed; print(run_seed({seed}, 3).fingerprint)"


def test_the_same_seed_gives_the_same_trace_in_any_process() -> None:
    """Whatever the hash seed, and whoever is watched (STYLE, "Tests")."""
    seed = FIRST + 1
    prints = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", PRINT.format(seed=seed)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        prints.append(done.stdout.strip())
    lines: list[str] = []
    prints.append(run_seed(seed, 3, watched=frozenset({1, 2}), echo=lines.append).fingerprint)
    assert len(set(prints)) == 1 and prints[0]
    assert lines


def test_things_due_at_one_moment_happen_in_the_order_asked_for() -> None:
    """The clock decides ties by nothing that could differ."""
    clock = Clock()
    done: list[int] = []
    for number in range(10):
        clock.at(1.0, done.append, number)
    clock.at(0.5, lambda: clock.at(0.2, done.append, 99))  # in the past: now
    clock.run(2.0)
    assert done == [99, *range(10)]
    assert clock.now == 2.0
