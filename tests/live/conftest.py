"""For the live tests: a maker of labs that cleans up after itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.cluster import Cluster, labs


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """lab(nodes, *settings) starts a cluster of this test's own."""
    with labs(tmp_path) as make:
        yield make
