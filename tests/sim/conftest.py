"""How a simulated seed tells the session what it came to (tests/sim/totals.py sums up)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.sim.cluster import Report
from tests.sim.totals import KEY

RecordRun = Callable[[Report], None]


@pytest.fixture
def record_run(request: pytest.FixtureRequest) -> RecordRun:
    """Tell the session what a seed came to, also from another worker."""

    def record(report: Report) -> None:
        told = {"seed": report.seed, "nodes": report.nodes, "counts": report.counts, "wall": report.wall}
        told["failed"] = report.failure is not None
        request.node.user_properties.append((KEY, json.dumps(told)))

    return record
