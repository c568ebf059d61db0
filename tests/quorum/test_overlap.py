"""Majorities of two configurations that follow each other: exactly when they must meet."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorum.overlap import MOST_SUMS, Electors, must_meet


def electors(*nodes: int, newcomer: int = 0, **votes: int) -> Electors:
    """One vote each, unless n4=3 says otherwise."""
    counts = {node: votes.get(f"n{node}", 1) for node in nodes}
    return of(counts, newcomer)


def of(counts: dict[int, int], newcomer: int = 0) -> Electors:
    total = sum(counts.values())
    return Electors(counts, total, newcomer, total - counts.get(newcomer, 0))


TABLE = [
    ("two of five away are removed", electors(1, 2, 3, 4, 5), electors(1, 2, 3), False),
    ("one of five", electors(1, 2, 3, 4, 5), electors(1, 2, 3, 4), True),
    ("then one of four", electors(1, 2, 3, 4), electors(1, 2, 3), True),
    ("two of four", electors(1, 2, 3, 4), electors(1, 2), True),
    ("two added to three", electors(1, 2, 3), electors(1, 2, 3, 4, 5), False),
    ("two added to four", electors(1, 2, 3, 4), electors(1, 2, 3, 4, 5, 6), True),
    ("one added", electors(1, 2, 3), electors(1, 2, 3, 4, newcomer=4), True),
    ("one more, the first not joined yet", electors(1, 2, 3, 4, newcomer=4), electors(1, 2, 3, 4, 5), False),
    ("one more, the first joined", electors(1, 2, 3, 4), electors(1, 2, 3, 4, 5, newcomer=5), True),
    ("one not joined yet is removed again", electors(1, 2, 3, 4, newcomer=4), electors(1, 2, 3), True),
    ("one for another, of three", electors(1, 2, 3), electors(1, 2, 4), False),
    ("one for another, of four", electors(1, 2, 3, 4), electors(1, 2, 3, 5), True),
    ("three votes for one", electors(1, 2, 3), electors(1, 2, 3, n3=3), False),
    ("two votes for one", electors(1, 2, 3), electors(1, 2, 3, n3=2), True),
    ("a node with two votes is removed", electors(1, 2, 3, 4, n4=2), electors(1, 2, 3), False),
    ("all change", electors(1, 2, 3), electors(4, 5, 6), False),
    ("nothing changes", electors(1, 2, 3), electors(1, 2, 3), True),
    ("half of four is enough", Electors(electors(1, 2, 3, 4).votes, 2), Electors(electors(1, 2, 3, 4).votes, 3), False),
]


@pytest.mark.parametrize(("old", "new", "meet"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_may_follow(old: Electors, new: Electors, meet: bool) -> None:
    """Q1 across a change: whoever is cut off in the middle of it runs the old configuration on."""
    assert must_meet(old, new) is meet
    assert must_meet(new, old) is meet


@st.composite
def drawn(draw: st.DrawFn) -> Electors:
    counts = draw(st.dictionaries(st.integers(1, 6), st.integers(0, 4), min_size=1))
    newcomer = draw(st.sampled_from([0, *(node for node, votes in counts.items() if votes == 1)]))
    made = of(counts, newcomer)
    expected = draw(st.one_of(st.none(), st.integers(1, 12)))
    return made if expected is None else Electors(counts, expected)


def quorate(electors: Electors, part: set[int]) -> bool:
    present = sum(votes for node, votes in electors.votes.items() if node in part)
    missing = electors.newcomer and electors.newcomer not in part
    return present >= (electors.expected_without if missing else electors.expected) // 2 + 1


@given(drawn(), drawn())
def test_as_trying_all_parts_says(old: Electors, new: Electors) -> None:
    """Exact: each way to part all nodes in two is tried."""
    nodes = sorted(old.votes.keys() | new.votes.keys())
    parted = any(
        quorate(old, {n for n, side in zip(nodes, sides, strict=True) if side})
        and quorate(new, {n for n, side in zip(nodes, sides, strict=True) if not side})
        for sides in product((True, False), repeat=len(nodes))
    )
    assert must_meet(old, new) is not parted


@given(st.dictionaries(st.integers(1, 9), st.integers(0, 500_000), min_size=1), st.integers(1, 9), st.booleans())
def test_a_vote_more_or_less_may_always_follow(counts: dict[int, int], node: int, more: bool) -> None:
    """Nobody is locked out of a repair: by single votes every configuration can be reached from every other."""
    other = {**counts, node: max(0, counts.get(node, 0) + (1 if more else -1))}
    assert must_meet(of(counts), of(other)) and must_meet(of(other), of(counts))


def test_many_unequal_votes_cost_little() -> None:
    """Bounded: with more sums than are followed the answer is the careful one."""
    counts = {node: 1 << node % 14 | node for node in range(1, 65)}
    assert sum(counts.values()) > MOST_SUMS
    assert not must_meet(of(counts), of({node: votes + node % 3 * 1000 for node, votes in counts.items()}))
