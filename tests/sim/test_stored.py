"""Plans as files: nothing is lost, nothing unknown is taken, what came later has its default."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.sim import stored
from tests.sim.cases import FIRST
from tests.sim.plan import draw
from tests.sim.run import run_plan, run_seed
from tests.sim.stored import NoPlan, Stored


def test_every_plan_that_seeds_draw_comes_back_the_same() -> None:
    """Settings, conditions, faults, actions, clocks: all of a plan is in its file, with the same types."""
    for seed in range(80):
        kept = Stored(replace(draw(seed)[0], luck=seed % 3), "a sentence", "S3")
        again = stored.read(kept.text())
        assert again == kept
        assert repr(again) == repr(kept)  # 1 is not 1.0


def test_a_stored_plan_runs_as_its_seed_did() -> None:
    """Byte for byte: the name of the run's Random is in the file too; another luck is another run."""
    plan = draw(FIRST, 1)[0]
    assert plan.faults
    again = stored.read(Stored(plan).text()).plan
    fingerprint = run_seed(FIRST, 1).fingerprint
    assert run_plan(again).fingerprint == fingerprint
    assert run_plan(replace(again, luck=1)).fingerprint != fingerprint


def test_a_field_that_came_later_has_its_default() -> None:
    """A plan that was stored before `luck` was there means what it meant then."""
    made = json.loads(Stored(draw(5)[0]).text())
    del made["plan"]["luck"]
    assert stored.read(json.dumps(made)).plan == draw(5)[0]


@pytest.mark.parametrize(
    "change, complaint",
    [
        (lambda plan: plan.update(color="red"), "plan: nobody knows color"),
        (lambda plan: plan["settings"].update(color="red"), "plan.settings: nobody knows color"),
        (lambda plan: plan.pop("rate"), "plan: rate is missing"),
        (lambda plan: plan.update(rate="fast"), "plan.rate: float expected, not 'fast'"),
        (lambda plan: plan.update(keys=True), "plan.keys: int expected, not 'True'"),
        (lambda plan: plan.update(nodes=[1, "2"]), "plan.nodes[1]: int expected, not '2'"),
        (lambda plan: plan.update(votes={"a": 1}), "plan.votes: numbers as keys expected"),
        (lambda plan: plan.update(faults={}), "plan.faults: a list expected"),
    ],
)
def test_what_is_no_plan_is_refused_and_the_place_named(change: object, complaint: str) -> None:
    """Unknown fields and other types are errors, not left out."""
    made = json.loads(Stored(draw(5)[0]).text())
    assert callable(change)
    change(made["plan"])
    with pytest.raises(NoPlan) as refused:
        stored.read(json.dumps(made))
    assert complaint in str(refused.value)


def test_what_is_no_json_is_refused() -> None:
    """A cut file is told as such."""
    with pytest.raises(NoPlan, match="not JSON"):
        stored.read(Stored(draw(5)[0]).text()[:-20])


def test_every_kept_plan_can_be_read() -> None:
    """Whoever changes a plan's fields keeps the stored ones readable."""
    for file in stored.stored_plans():
        kept = stored.load(file)
        assert kept.found and kept.promise
