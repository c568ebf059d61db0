"""What the torture's plans hold: the same for a seed, every kind soon, never everybody away for long."""

from __future__ import annotations

from random import Random

from tests.live.test_history import SECONDS, SEED
from tests.torture.plan import KINDS, TAKES_AWAY, Planner, Step, count
from tests.torture.run import ROUND


def rounds(seed: int, number: int, kinds: frozenset[str] = frozenset(KINDS)) -> list[list[Step]]:
    planner = Planner(Random(seed), [1, 2, 3, 4, 5], 2, kinds)
    return [planner.round(sum(ROUND) / 2) for _ in range(number)]


def test_the_same_seed_draws_the_same_plan() -> None:
    """A run is repeated by its seed, as far as real processes let it."""
    assert rounds(7, 3) == rounds(7, 3) != rounds(8, 3)


def test_every_kind_comes_before_any_comes_too_often() -> None:
    """A bag: of as many faults as it holds, each kind comes as often as it is in it."""
    steps = [step for steps in rounds(3, 9) for step in steps][: sum(KINDS.values())]
    done = count(steps)
    done["cut"] = min(done["cut"], KINDS["cut"])  # drawn also in place of what cannot be done
    assert {kind: number for kind, number in KINDS.items() if done[kind] < number} == {}


def test_a_node_is_never_taken_away_twice_at_once() -> None:
    """Who is killed is not stopped; the times are the plan's own."""
    for steps in rounds(5, 20):
        away: dict[int, float] = {}
        for step in (step for step in steps if step.kind in TAKES_AWAY):
            assert away.get(step.node, 0.0) <= step.at
            away[step.node] = step.at + step.lasts


def test_only_the_kinds_that_the_place_can_do_are_drawn() -> None:
    """On loopback nothing can be lost at random, nor slowed down."""
    kinds = frozenset(KINDS) - {"loss", "limit"}
    assert {step.kind for steps in rounds(1, 20, kinds) for step in steps} == kinds


def test_the_plan_of_the_live_test_holds_every_kind() -> None:
    """In half of the time that it has there is one of each."""
    planner = Planner(Random(SEED), [1, 2, 3, 4, 5], 2, frozenset(KINDS))
    steps, left = [], SECONDS / 2
    while left > 0:
        seconds = planner.seconds(ROUND)
        steps += [step for step in planner.round(seconds) if step.at < left]
        left -= seconds
    assert set(count(steps)) == set(KINDS)
