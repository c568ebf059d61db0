"""The checker of claims, and that the disk it asks is the one that is there after damage."""

from __future__ import annotations

import pytest

from tests.sim.checkers.claims import check_claim
from tests.sim.history import Violation


def test_a_claim_beyond_the_disk_is_caught() -> None:
    """S6: less than what is there may be claimed, more never."""
    check_claim(1.0, 1, 7, 7)
    check_claim(1.0, 1, 3, 7)
    with pytest.raises(Violation, match="node 1 claims"):
        check_claim(1.0, 1, 8, 7)
