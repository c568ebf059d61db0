"""A failure is made small: what it does not need goes, what it needs stays, and it is the same failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clusterd.node import Node
from tests.sim import shrink, stored, telling
from tests.sim.history import Violation
from tests.sim.plan import Plan, draw
from tests.sim.report import Report
from tests.sim.run import run_plan
from tests.sim.shrink import kind_of
from tests.sim.smaller import LINKS_IN_OTHER, LINKS_IN_WHERE, PASSES, sound
from tests.sim.troubles import WARM, Fault

Needs = Callable[[Plan], bool]


def small_of(plan: Plan, needs: Needs, promise: str = "S3") -> shrink.Small:
    """What shrinking comes to when a run breaks `promise` exactly if its plan `needs`."""

    def run(candidate: Plan) -> Report:
        assert sound(candidate)
        failure = Violation(candidate.faults_end, promise, "broken") if needs(candidate) else None
        return Report(candidate.seed, len(candidate.nodes), failure)

    return shrink.shrink(plan, run(plan), run, lambda: False)


def with_fault(kind: str, at_least: int = 5) -> Plan:
    """A drawn plan of some size with such a fault among at least three others."""
    plans = (draw(seed)[0] for seed in range(3000))
    return next(
        plan
        for plan in plans
        if len(plan.nodes) >= at_least and len(plan.faults) > 3 and kind in [fault.kind for fault in plan.faults]
    )


def test_only_the_fault_that_matters_stays() -> None:
    """Of many faults, actions, nodes and settings one pause is left, and everything else is plain."""
    plan = replace(with_fault("pause"), retire_after=0.5)
    small = small_of(plan, lambda plan: any(fault.kind == "pause" for fault in plan.faults))
    assert small.whole
    assert [fault.kind for fault in small.plan.faults] == ["pause"]
    assert small.plan.nodes == (1,) and small.plan.actions == () and len(small.plan.links) == 1
    assert small.plan.rate == 1.0 and small.plan.keys == 1 and small.plan.conditions.loss == 0.0
    assert small.plan.settings.quorum.votes == {1: 1} and small.plan.settings.totem == {}
    assert small.plan.retire_after == 30.0
    fault = small.plan.faults[0]
    assert fault.at == pytest.approx(WARM) and fault.until - fault.at < 0.1
    assert small.plan.faults_end < fault.until + 2.0


def test_what_only_happens_together_stays_together() -> None:
    """Two faults, three nodes and a load: no single one may go, all else may."""
    plan = with_fault("partition")
    plan = replace(plan, faults=(*plan.faults, Fault("kill", 8.0, 9.0, (2,), number=50)), rate=40.0)

    def needs(plan: Plan) -> bool:
        return {"partition", "kill"} <= {f.kind for f in plan.faults} and len(plan.nodes) >= 3 and plan.rate > 9

    small = small_of(plan, needs)
    assert sorted(fault.kind for fault in small.plan.faults) == ["kill", "partition"]
    assert len(small.plan.nodes) == 3 and 9 < small.plan.rate < 20


def test_the_same_failure_becomes_the_same_plan() -> None:
    """Nothing but the plan decides what is tried."""

    def needs(plan: Plan) -> bool:
        return plan.luck % 3 == 2 or len(plan.faults) > 5

    plan = with_fault("clog")
    assert repr(small_of(plan, needs)) == repr(small_of(plan, needs))


def test_another_failure_is_not_taken_for_this_one() -> None:
    """A smaller plan that breaks another promise is left alone; of exceptions, one raised elsewhere."""
    plan = with_fault("kill")

    def run(candidate: Plan) -> Report:
        return Report(candidate.seed, 1, Violation(1.0, "S3" if candidate == plan else "E7", "broken"))

    small = shrink.shrink(plan, run(plan), run, lambda: False)
    assert small.plan == plan and small.kept == 0 and small.runs > 20
    ours = '  File "a.py", line 1, in one\n  File "b.py", line 2, in two\nKeyError: 5'
    theirs = ours.replace("two", "three")
    failure = Violation(1.0, "no exception", "KeyError: 5")
    assert kind_of(Report(1, 1, failure, ours)) == ("no exception", "KeyError", "two")
    assert kind_of(Report(1, 1, failure, ours)) != kind_of(Report(1, 1, failure, theirs))


def test_the_time_is_bounded() -> None:
    """When it is over, the smallest plan so far is what there is."""
    plan, left = with_fault("pause"), 5

    def over() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    def run(candidate: Plan) -> Report:
        return Report(candidate.seed, 1, Violation(20.0, "S3", "broken"))

    small = shrink.shrink(plan, run(plan), run, over)
    assert not small.whole and 0 < small.runs <= 6 and len(repr(small.plan)) < len(repr(plan))


def test_every_smaller_plan_could_have_been_drawn() -> None:
    """Faults befall nodes and links that are there, nodes count from 1 on, every one has votes and a clock."""
    for seed in range(100):
        plan = draw(seed)[0]
        for candidate in (smaller for step in PASSES for smaller in step(plan) if sound(smaller)):
            nodes = set(candidate.nodes)
            assert sorted(nodes) == list(range(1, len(nodes) + 1))
            assert set(candidate.votes) == set(candidate.settings.quorum.votes) == nodes
            assert {*nodes, *candidate.spares} <= set(candidate.skew)
            for fault in candidate.faults:
                assert {*fault.where} <= (set(candidate.links) if fault.kind in LINKS_IN_WHERE else nodes), fault
                assert {*fault.other} <= (set(candidate.links) if fault.kind in LINKS_IN_OTHER else nodes), fault
                assert WARM <= fault.at < fault.until <= candidate.faults_end


def test_a_mutant_of_the_product_is_shrunk_told_and_stored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way with real nodes: where a clean leave raises, one clean leave is left, in a file that shows it."""

    def raises(node: Node, now: float) -> None:
        raise KeyError("nobody")

    monkeypatch.setattr(Node, "leave", raises)
    faults = (
        Fault("pause", 2.6, 2.8, (1,)),
        Fault("leave", 2.9, 3.4, (1, 2), number=1),
        Fault("kill", 3.5, 4.0, (2,), number=2),
    )
    plan = replace(draw(0x1000, 2)[0], faults=faults, faults_end=4.5, actions=())
    report = run_plan(plan)
    file = shrink.tell(plan, report, report.name, 60.0, tmp_path)
    kept = stored.load(file)
    assert [fault.kind for fault in kept.plan.faults] == ["leave"]
    assert kept.plan.nodes == (1,) and kept.plan.faults[0].where == (1,)
    assert file.name == "no-exception-001000.json" and kept.found == "no exception: KeyError: 'nobody'"
    assert shrink.tell(kept.plan, report, file.stem, 0.0, tmp_path) == file
    again = run_plan(kept.plan)
    assert kind_of(again) == kind_of(report) == ("no exception", "KeyError", "raises")
    story = capsys.readouterr().out
    assert "nothing smaller fails" in story
    assert "node 1: clean leave, and started again at the end" in story
    assert "BROKEN no exception: KeyError: 'nobody'" in story


def test_faults_are_told_in_words() -> None:
    """A story names who, what and until when; a kind that has no words yet is told by its name."""
    for plan, _ in map(draw, range(100)):
        assert all(telling.worded(fault) for fault in plan.faults)
    assert telling.worded(Fault("one-way", 1.0, 2.0, (1,), (3,))) == "what node 1 sends does not reach node 3"
    assert telling.worded(Fault("address-gone", 1.0, 2.0, (2,), (1,))) == "node 2 has no address on link 1 any more"
    assert telling.worded(Fault("power", 1.0, 2.0, (1, 2, 3))).startswith("nodes 1, 2 and 3: the power is gone")
    assert telling.worded(Fault("eclipse", 1.0, 2.0, (1, 2))) == "eclipse [1, 2]"
