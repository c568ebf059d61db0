"""What the torture takes for two quorate sides, and what for one that nodes leave and join."""

from __future__ import annotations

from tests.torture.verdicts import Board, Promise


def board_of(*promises: Promise) -> Board:
    board = Board()
    for node in (1, 2, 3):
        board.began(node)
    for promise in promises:
        board.add(board.life(promise.node), promise)
    return board


def test_a_node_left_out_that_still_trusts_its_verdict_is_seen() -> None:
    """Q4: who is left out has stopped trusting its verdict before the others go on."""
    left_out = Promise(1, (1, 2, 3), "1.802", 10.0, 10.5)
    assert board_of(left_out, Promise(3, (2, 3), "2.803", 10.4, 10.9)).broken
    assert not board_of(left_out, Promise(3, (2, 3), "2.803", 10.6, 10.9)).broken


def test_two_rings_side_by_side_are_seen() -> None:
    """Q1: at most one component is quorate."""
    assert board_of(Promise(1, (1,), "1.9", 1.0, 2.0), Promise(3, (2, 3), "2.9", 1.5, 2.0)).broken


def test_a_node_that_joins_is_of_one_side_with_those_it_joins() -> None:
    """The newer ring has the older one's node in it: it goes along."""
    assert not board_of(Promise(1, (1, 2), "1.801", 1.0, 1.5), Promise(3, (1, 2, 3), "1.802", 1.2, 1.9)).broken


def test_what_a_process_promised_ends_with_it() -> None:
    """A clean leave lets the others go on at once; an answer given on the way out counts for nothing."""
    board = board_of(Promise(1, (1, 2, 3), "1.802", 10.0, 10.5))
    board.ending(1)
    board.add(board.life(1), Promise(1, (1, 2, 3), "1.802", 10.0, 10.5))
    board.add(board.life(3), Promise(3, (2, 3), "2.803", 10.1, 10.9))
    assert not board.broken
