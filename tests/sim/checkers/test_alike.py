"""S4: the same revision is the same tree. Right histories are taken, wrong ones found."""

from __future__ import annotations

from tests.sim.checkers import alike
from tests.sim.histories import RINGS, broken, history_of, stores
from tests.sim.history import (
    StoreSample,
)


def test_two_trees_at_one_revision_are_caught() -> None:
    """S4: the same revision, the same digest."""
    history = history_of()
    history.samples = [StoreSample(1.0, 1, 0, 4, b"x"), StoreSample(2.0, 2, 0, 4, b"x")]
    alike.check_digests(history)
    history.samples.append(StoreSample(3.0, 3, -1, 0, b""))  # a new disk says nothing
    alike.check_digests(history)
    history.samples.append(StoreSample(3.0, 3, 0, 4, b"y"))
    assert broken(alike.check_digests, history) == "S4"


def test_a_revision_that_power_took_from_all_is_used_again() -> None:
    """S4 with `durability: memory`: of one epoch still all show the same, and on a disk nothing is used again."""
    history = history_of()
    history.in_memory, history.power_losses = True, [2.0]
    history.samples = [StoreSample(1.0, 1, 0, 5, b"x", RINGS[0]), StoreSample(3.0, 2, 1, 5, b"y", RINGS[1])]
    alike.check_digests(history)
    history.in_memory = False
    assert broken(alike.check_digests, history) == "S4"
    history.in_memory = True
    history.samples.append(StoreSample(2.5, 3, 1, 5, b"z", RINGS[0]))
    assert broken(alike.check_digests, history) == "S4"


def test_stores_that_end_apart_are_caught() -> None:
    """S4: after everything healed all nodes hold one tree."""
    history = history_of()
    history.final = stores({})
    alike.check_digests(history)
    history.final[1].revision = 8
    assert broken(alike.check_digests, history) == "S4"
