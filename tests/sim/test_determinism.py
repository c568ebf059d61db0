"""A seed is the whole run: the same trace, byte for byte, in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.sim.cases import FIRST
from tests.sim.clock import Clock
from tests.sim.plan import Plan, draw

ROOT = Path(__file__).resolve().parents[2]
# Writes every datagram and every line of a run, not only what they come to in the fingerprint.
WRITE = """
import sys
from tests.sim import run
from tests.sim.trace import Trace

class Whole(Trace):
    def datagram(self, data):
        out.write(len(data).to_bytes(2, "big") + data)
        super().datagram(data)

    def line(self, now, node, text):
        out.write(f"{now!r} {node} {text}\\n".encode())
        super().line(now, node, text)

run.Trace = Whole
with open(sys.argv[1], "wb") as out:
    run.run_seed(int(sys.argv[2]), int(sys.argv[3]), frozenset(map(int, sys.argv[4:])))
"""
CASES: dict[str, tuple[int, Callable[[Plan], bool]]] = {
    "alone": (1, lambda plan: True),
    "a device": (2, lambda plan: plan.settings.quorum.device),
    "an administrator": (3, lambda plan: bool(plan.actions)),
    "strangers": (4, lambda plan: any(fault.kind in ("replay", "copy", "flood") for fault in plan.faults)),
    "five nodes": (5, lambda plan: True),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_seed_gives_the_same_trace_in_any_process(case: str, tmp_path: Path) -> None:
    """Every byte that is sent and every line, whatever the hash seed, and whoever is watched (STYLE, "Tests")."""
    nodes, fits = CASES[case]
    seed = next(seed for seed in count(FIRST) if fits(draw(seed, nodes)[0]))
    whole, printed = [], []
    for hash_seed, watched in (("1", ()), ("2", ("1", "2"))):
        file = tmp_path / hash_seed
        done = subprocess.run(
            [sys.executable, "-c", WRITE, str(file), str(seed), str(nodes), *watched],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        whole.append(file.read_bytes())
        printed.append(done.stdout)
    assert len(whole[0]) > (100_000 if nodes > 1 else 1000)
    place = next((at for at, (one, other) in enumerate(zip(*whole, strict=False)) if one != other), -1)
    assert whole[0] == whole[1], f"seed {seed:06x}: they differ from byte {place} on"
    assert not printed[0] and printed[1]


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
