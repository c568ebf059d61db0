"""S1: the data set changes one node at a time."""

from __future__ import annotations

from tests.sim.checkers import dataset
from tests.sim.histories import broken, history_of
from tests.sim.history import History

Votes = tuple[tuple[int, int], ...]
THREE: Votes = ((1, 1), (2, 1), (3, 1))
FOUR: Votes = (*THREE, (4, 1))
FIVE: Votes = (*FOUR, (5, 1))


def with_sets(sets: dict[int, set[Votes]]) -> History:
    history = history_of()
    history.data_sets = sets
    return history


def test_one_node_comes_goes_or_has_another_vote() -> None:
    """Each is a change of its own."""
    assert dataset.check(with_sets({1: {THREE}, 2: {FOUR}, 3: {THREE}, 4: {((1, 2), (2, 1), (3, 1))}})) == 3


def test_two_nodes_at_once_are_caught() -> None:
    """A majority of three and one of five may have nobody in common."""
    assert broken(dataset.check, with_sets({1: {THREE}, 2: {FIVE}})) == "S1"
    assert broken(dataset.check, with_sets({1: {THREE}, 2: {THREE}})) == "S1"
    assert broken(dataset.check, with_sets({1: {FOUR}, 2: {(*THREE, (5, 1))}})) == "S1"


def test_histories_that_parted_have_each_their_own() -> None:
    """Under one number; and what came before the first set known is not judged."""
    other: Votes = THREE[:2]
    assert dataset.check(with_sets({4: {THREE}, 5: {FOUR, other}, 6: {FIVE, THREE}})) == 4
