"""The core against an independent model, and Q1, over random options, votes, partitions, restarts and orders."""

from __future__ import annotations

import ast
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorum.options import QuorumOptions, check
from tests.quorum.model import ModelNode
from tests.quorum.world import World, with_nodes
from transport.errors import Refused

MOST = 8
DOWN = 0
placements = st.lists(st.integers(0, 3), min_size=MOST, max_size=MOST)
"""Node i (from 1) is in ring placements[i - 1]; 0 is down."""


@st.composite
def options(draw: st.DrawFn, special: bool) -> QuorumOptions:
    """Any set that `check` accepts, without a device; `special` allows the options that Q1 leaves out."""
    n = draw(st.integers(1, MOST))
    heavy = draw(st.booleans())
    votes = {i: draw(st.integers(0, 3)) if heavy else 1 for i in range(1, n + 1)}
    given_: dict[str, Any] = {"votes": votes, "wait_for_all": draw(st.sampled_from([None, False, True]))}
    if special:
        ids = st.lists(st.integers(1, n), min_size=1, unique=True).map(tuple)
        given_["auto_tie_breaker"] = draw(st.one_of(st.sampled_from(["", "lowest", "highest"]), ids))
        given_["last_man_standing"] = draw(st.booleans())
        given_["expected_votes_tracking"] = draw(st.booleans())
        given_["two_node"] = n == 2 and draw(st.booleans())
        given_["expected_votes"] = draw(st.sampled_from([0, 0, 1, 3, 5]))
    made = QuorumOptions(**given_)
    for key in ("auto_tie_breaker", "last_man_standing", "two_node"):
        if check(made):
            made = replace(made, **{key: "" if key == "auto_tie_breaker" else False})
    return made if not check(made) else QuorumOptions(votes=dict.fromkeys(range(1, n + 1), 1))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("place"), placements),
        st.tuples(st.just("place"), placements),
        st.tuples(st.just("interrupted"), placements),
        st.tuples(st.just("expected"), st.tuples(st.integers(1, MOST), st.integers(1, 10))),
        st.tuples(st.just("window"), st.none()),
        st.tuples(st.just("add"), st.integers(1, 2)),
    ),
    min_size=1,
    max_size=10,
)


class Run:
    """A world, beside it one model for each node, told the same."""

    def __init__(self, chosen: QuorumOptions) -> None:
        self.world = World(chosen)
        self.models = {n: ModelNode(n, chosen) for n in self.world.nodes}
        self.up = set(self.world.nodes)
        self.rings: list[tuple[int, ...]] = []

    def place(self, where: list[int], activate: bool) -> None:
        listed = sorted(self.world.options.votes)
        rings = []
        for node in listed:
            if where[node - 1] == DOWN:
                self.up.discard(node)
            elif node not in self.up:
                self.up.add(node)
                self.world.start(node)
                tracked = self.models[node].tracked if node in self.models else 0
                self.models[node] = ModelNode(node, self.world.options, tracked)
        for label in (1, 2, 3):
            ring = tuple(n for n in listed if where[n - 1] == label)
            if ring:
                rings.append(ring)
        for ring in rings:
            self.world.form(*ring)
            for node in ring:
                self.models[node].sync_init(ring)
            if activate:
                self.world.activate(*ring)
                infos = {node: self.models[node].info() for node in ring}
                told = [(node, self.models[node].info()) for node in ring if self.models[node].activate(infos)]
                for teller, info in told:
                    for node in ring:
                        self.models[node].nodeinfo(teller, info)
                        self.models[node].recalculate(False)
        self.rings = rings if activate else []

    def set_expected(self, node: int, value: int) -> None:
        ring = next((r for r in self.rings if node in r), ())
        if not ring:
            return
        try:
            self.world.nodes[node].set_expected(value)
        except Refused:
            return
        self.world.deliver()
        for member in ring:
            self.models[member].set_expected(value)

    def window(self) -> None:
        self.world.pass_time(10.3)
        for node in self.up:
            self.models[node].window()

    def compare(self) -> None:
        for ring in self.rings:
            for node in ring:
                verdict = self.world.nodes[node].view().verdict
                ours = (verdict.expected, verdict.highest_expected, verdict.total, verdict.quorum, verdict.quorate)
                assert ours == self.models[node].numbers(), f"node {node} of {ring}"

    def quorate_rings(self) -> list[tuple[int, ...]]:
        return [ring for ring in self.rings if any(self.world.quorate(node) for node in ring)]


@given(options(special=True), steps)
def test_core_agrees_with_the_model(chosen: QuorumOptions, history: list[tuple[str, Any]]) -> None:
    """Section 13.1: every number and verdict, for all option sets, partitions, restarts, interrupted barriers."""
    run = Run(chosen)
    for what, argument in history:
        if what in ("place", "interrupted"):
            run.place(argument, activate=what == "place")
        elif what == "expected":
            run.set_expected(*argument)
        elif what == "window":
            run.window()
        run.compare()


@given(options(special=False), steps)
def test_never_two_quorate_components(chosen: QuorumOptions, history: list[tuple[str, Any]]) -> None:
    """Q1: without the special options at most one component is quorate; also while nodes are being added."""
    run = Run(chosen)
    for what, argument in history:
        if what in ("place", "interrupted"):
            run.place(argument, activate=what == "place")
        elif what == "add":
            add(run, argument)
        assert len(run.quorate_rings()) <= 1


def add(run: Run, count: int) -> None:
    """All that are up are one quorate ring and agree to list more nodes; who is down starts with the new list."""
    listed = len(run.world.options.votes)
    if len(run.rings) != 1 or set(run.rings[0]) != run.up or not run.quorate_rings() or listed + count > MOST:
        return
    new = with_nodes(run.world.options, *range(listed + 1, listed + count + 1))
    if run.world.nodes[run.rings[0][0]].objection(new):
        return
    run.world.reconfigure(new, *run.rings[0])
    assert run.quorate_rings(), "what objection() lets pass does not cost the quorum"


@pytest.mark.parametrize(("n", "count"), [(2, 1), (2, 2), (3, 1), (3, 2), (4, 1)])
def test_no_two_components_while_nodes_are_added(n: int, count: int) -> None:
    """Q1 with a node written into the list: every way to fall into two, and then every other way."""
    everybody = list(range(1, n + count + 1))
    halves = [(1, *rest) for rest in product((1, 2), repeat=len(everybody) - 1)]
    for first in halves:
        for second in halves:
            run = Run(QuorumOptions(votes=dict.fromkeys(range(1, n + 1), 1)))
            run.place([1] * MOST, activate=True)
            run.world.reconfigure(with_nodes(run.world.options, *everybody[n:]), *run.rings[0])
            for where in (first, second):
                run.place([*where, *[DOWN] * MOST], activate=True)
                assert len(run.quorate_rings()) <= 1, (first, second)


def test_the_model_shares_nothing_with_the_product_but_the_plain_fields_of_its_options() -> None:
    """Q2 is worth what the model is: no code of the product, also none by a property of the options."""
    tree = ast.parse((Path(__file__).parent / "model.py").read_text())
    imported = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] not in ("collections", "dataclasses")
        for alias in node.names
    }
    assert imported == {("__future__", "annotations"), ("quorum.options", "QuorumOptions")}
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))
    plain = {field.name for field in fields(QuorumOptions)}
    computed = {name for name in vars(QuorumOptions) if not name.startswith("_")} - plain
    asked = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert computed and not asked & computed
