"""Drawn situations around returns, copies and openings (S1, S4, S6); more with `python -m tests.cfs.episodes`."""

from __future__ import annotations

import pytest

from tests.cfs.episodes import run


@pytest.mark.parametrize("seed", range(1000, 1006))
def test_episodes(seed: int) -> None:
    """What was acknowledged stays, and every tree is the one that the log makes."""
    assert run(seed)["acknowledged"] > 0
