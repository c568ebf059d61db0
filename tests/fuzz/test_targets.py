"""Every fuzz target with a few random inputs, and with each input that once broke it (tests/fuzz/inputs)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

INPUTS = Path(__file__).resolve().parent / "inputs"
FOUND = sorted((file.parent.name, file.name) for file in INPUTS.glob("*/*"))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=200))
def test_any_input_is_survived(name: str, data: bytes) -> None:
    """Nothing a peer, a client or a damaged file can say makes a core raise (X1, CONTRACT of every core)."""
    TARGETS[name](data)


@pytest.mark.parametrize(("name", "file"), FOUND)
def test_what_once_broke_it_does_no_more(name: str, file: str) -> None:
    """Inputs that fuzzing found; the rows of docs/bugs.md tell what they did."""
    TARGETS[name]((INPUTS / name / file).read_bytes())
