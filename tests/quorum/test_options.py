"""Which combinations are configuration errors (votequorum.md 4.8), all named at once."""

from __future__ import annotations

from typing import Any

import pytest

from quorum.options import MAX_VOTES, QuorumOptions, check
from tests.quorum.world import options_of

THREE = {1: 1, 2: 1, 3: 1}
FOUR = {**THREE, 4: 1}


@pytest.mark.parametrize(
    ("kwargs", "keys"),
    [
        ({"votes": {}}, [""]),
        ({"votes": {1: 0}}, [""]),
        ({"votes": {0: 1}}, [""]),
        ({"votes": dict.fromkeys(range(1, 66), 1)}, [""]),
        ({"votes": {1: MAX_VOTES, 2: 1}}, ["expected_votes"]),
        ({"votes": THREE, "expected_votes": MAX_VOTES + 1}, ["expected_votes"]),
        ({"votes": THREE, "expected_votes": 6}, ["expected_votes"]),
        ({"votes": FOUR, "expected_votes": 9, "auto_tie_breaker": "lowest"}, ["expected_votes"]),
        ({"votes": THREE, "expected_votes": 4, "wait_for_all": True}, ["expected_votes"]),
        ({"votes": {1: 1, 2: 1}, "expected_votes": 20, "two_node": True}, ["expected_votes"]),
        ({"votes": {1: 1, 2: 1}, "device": True, "expected_votes": 9, "device_votes": 1}, ["expected_votes"]),
        ({"votes": THREE, "two_node": True}, ["two_node"]),
        ({"votes": {1: 1}, "two_node": True}, ["two_node"]),
        ({"votes": {1: 1, 2: 1}, "two_node": True, "device": True}, ["two_node"]),
        ({"votes": {1: 1, 2: 1}, "two_node": True, "auto_tie_breaker": "lowest"}, ["two_node"]),
        ({"votes": THREE, "auto_tie_breaker": "lowest"}, ["auto_tie_breaker"]),
        ({"votes": THREE, "auto_tie_breaker": "lowest", "last_man_standing": True}, ["auto_tie_breaker"]),
        ({"votes": FOUR, "auto_tie_breaker": "middle"}, ["auto_tie_breaker_node"]),
        ({"votes": FOUR, "auto_tie_breaker": (1, 70000)}, ["auto_tie_breaker_node"]),
        ({"votes": FOUR, "device": True, "last_man_standing": True}, ["last_man_standing"]),
        ({"votes": FOUR, "device": True, "auto_tie_breaker": "lowest"}, ["auto_tie_breaker"]),
        ({"votes": FOUR, "device": True, "allow_downscale": True}, ["allow_downscale"]),
        ({"votes": FOUR, "device": True, "expected_votes": 5}, ["device"]),
        ({"votes": {1: 2, 2: 1}, "device": True}, ["device"]),
        ({"votes": {1: 1, 2: 1}, "device": True, "expected_votes": 3, "device_votes": 2}, ["device"]),
        ({"votes": {1: 2, 2: 1}, "last_man_standing": True}, ["last_man_standing"]),
        ({"votes": THREE, "two_node": True, "auto_tie_breaker": "x"}, ["two_node", "auto_tie_breaker_node"]),
    ],
)
def test_refused(kwargs: dict[str, Any], keys: list[str]) -> None:
    """4.8: every invalid combination is refused with the key that is at fault."""
    found = [key for key, sentence in check(QuorumOptions(**kwargs)) if sentence]
    assert set(keys) <= set(found)
    assert found


@pytest.mark.parametrize(
    "kwargs",
    [
        {"votes": THREE},
        {"votes": THREE, "expected_votes": 5},
        {"votes": FOUR, "expected_votes": 8, "auto_tie_breaker": "lowest"},
        {"votes": {1: 1, 2: 1}, "expected_votes": 3, "two_node": True, "wait_for_all": False},
        {"votes": {1: 1, 2: 1}, "two_node": True},
        {"votes": {1: 1, 2: 1}, "two_node": True, "wait_for_all": False},
        {"votes": THREE, "auto_tie_breaker": "highest", "wait_for_all": True},
        {"votes": FOUR, "auto_tie_breaker": (3, 1), "last_man_standing": True},
        {"votes": THREE, "auto_tie_breaker": "lowest", "wait_for_all": True, "last_man_standing": True},
        {"votes": THREE, "device": True},
        {"votes": {1: 1, 2: 1}, "device": True, "master_wins": True},
        {"votes": {1: 300, 2: 300}},
        {"votes": {1: 1, 2: 0}},
        {"votes": FOUR, "allow_downscale": True, "expected_votes": 2},
        {"votes": {}, "expected_votes": 3},
    ],
)
def test_accepted(kwargs: dict[str, Any]) -> None:
    assert check(QuorumOptions(**kwargs)) == []


def test_everything_wrong_is_named_at_once() -> None:
    """One round of corrections is enough (CLI: config errors, all of them)."""
    options = options_of(3, two_node=True, device=True, auto_tie_breaker="middle", last_man_standing=True)
    assert len(check(options)) >= 6


def test_expected_votes_by_default() -> None:
    """4.1, 4.7: the sum of quorum_votes and the device's, which by default has one fewer than there are nodes."""
    assert options_of(3).configured_expected == 3
    assert options_of(3, device=True).configured_expected == 5
    assert options_of(3, expected_votes=7).configured_expected == 7


def test_two_node_implies_wait_for_all_unless_given() -> None:
    """4.2."""
    assert options_of(2, two_node=True).waits_for_all
    assert not options_of(2, two_node=True, wait_for_all=False).waits_for_all
