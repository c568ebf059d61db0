"""For the live tests: a maker of labs that cleans up after itself, and one lab for tests that can share it."""

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


@pytest.fixture(scope="module")
def lab_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cluster]]:
    """As `lab`, for all tests of a file."""
    with labs(tmp_path_factory.mktemp("labs")) as make:
        yield make


@pytest.fixture(scope="module")
def three_of_module(lab_of_module: Callable[..., Cluster]) -> Cluster:
    return lab_of_module(3)


@pytest.fixture
def three(three_of_module: Cluster) -> Cluster:
    """A cluster of three that the tests of a file share: whole when each begins, with the files of those before."""
    return three_of_module.mended()
