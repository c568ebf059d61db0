"""The checker of a bit flipped in memory wants that node resynced, and no other."""

from __future__ import annotations

import pytest

from tests.sim.checkers.memory import check
from tests.sim.history import Violation


def test_the_right_node_was_resynced() -> None:
    check(1.0, 3, [3])


@pytest.mark.parametrize(("resynced", "text"), [([], "of nobody"), ([1], r"of nodes \[1\]"), ([1, 3], r"\[1, 3\]")])
def test_nobody_or_somebody_else_was(resynced: list[int], text: str) -> None:
    """S4."""
    with pytest.raises(Violation, match=text) as found:
        check(1.0, 3, resynced)
    assert found.value.promise == "S4"
