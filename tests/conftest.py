"""For all tests: hypothesis draws the same examples on every run, and many more of them under `make fuzz`; how many
steps the enumerated stories tried is told at the end."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.sim.stories.counts import Counts

settings.register_profile("steady", derandomize=True, deadline=None, database=None)
settings.register_profile(
    "long", max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the process that reports, not a worker
        config.pluginmanager.register(Counts(), "stories")
