"""Every fuzz target with a few random inputs, and with its whole corpus, without atheris: what once broke a target is
in there (`broke-...`), so a crash that was found stays found."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import CORPUS, NAMES, load

TARGETS = load()
MOST_FILES, MOST_BYTES, IN_ALL = 60, 4096, 500_000


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.binary(max_size=200))
def test_any_input_is_survived(name: str, data: bytes) -> None:
    """Nothing a peer, a client or a damaged file can say makes a core raise (X1, CONTRACT of every core)."""
    TARGETS[name](data)


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_corpus_is_survived(name: str) -> None:
    """Each input that fuzzing found worth keeping; the rows of docs/bugs.md tell what the broken ones did."""
    files = sorted((CORPUS / name).iterdir())
    assert files
    for file in files:
        try:
            TARGETS[name](file.read_bytes())
        except Exception as error:
            raise AssertionError(f"{file.relative_to(CORPUS)}: {error!r}") from error


def test_the_corpus_stays_small() -> None:
    """It is committed: some tens of small files for a target, no file of any other name."""
    sizes = {file: file.stat().st_size for file in CORPUS.glob("*/*")}
    assert {file.parent.name for file in sizes} == set(NAMES)
    assert max(sizes.values()) <= MOST_BYTES
    assert sum(sizes.values()) < IN_ALL
    assert all(len(list((CORPUS / name).iterdir())) <= MOST_FILES for name in NAMES)
