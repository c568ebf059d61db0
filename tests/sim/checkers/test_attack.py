"""The checker of X1 tells each way in which strangers could get the better of a node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.sim.checkers.attack import Look, check_alone, check_answers, check_strangers, check_tables
from tests.sim.history import Violation
from transport.ids import RingId

BEFORE = Look(2.0, 1, 1, RingId(4, 1, 7), {"replayed": 3, "malformed": 0}, 10)
AFTER = replace(BEFORE, at=12.0, dropped={"replayed": 40, "malformed": 3}, lines=14)


def test_nothing_is_said_when_all_was_refused() -> None:
    check_alone(BEFORE, AFTER, 40)
    check_tables(1.0, 1, [("sessions", 20, 20)])
    check_answers(1.0, [])
    check_strangers(1.0, "another", {1, 2}, (1, 2))


@pytest.mark.parametrize(
    ("after", "arrived", "text"),
    [
        (replace(AFTER, ring=RingId(8, 1, 7)), 0, "formed again"),
        (replace(AFTER, process=2), 0, "ended"),
        (AFTER, 41, "given 41 packets by strangers, and counted 40 as refused"),
        (replace(AFTER, lines=18), 40, "logged 8 lines in 10.0 s"),
    ],
)
def test_what_strangers_brought_about_is_told(after: Look, arrived: int, text: str) -> None:
    """X1: the ring stands, every packet of theirs is refused and counted, the log stays quiet."""
    with pytest.raises(Violation, match=text) as found:
        check_alone(BEFORE, after, arrived)
    assert found.value.promise == "X1"


def test_a_table_above_its_bound_is_told() -> None:
    with pytest.raises(Violation, match="node 3 keeps 21 sessions, at most 20 allowed"):
        check_tables(1.0, 3, [("sender keys", 4, 8), ("sessions", 21, 20)])


def test_an_answer_larger_than_the_question_is_told() -> None:
    with pytest.raises(Violation, match="sent more bytes to the stranger"):
        check_answers(1.0, [(2, "10.0.66.1")])


def test_a_member_of_ours_in_another_cluster_is_told() -> None:
    with pytest.raises(Violation, match=r"members of ours, \[3\]"):
        check_strangers(1.0, "another", {1, 2, 3}, (1, 2))
