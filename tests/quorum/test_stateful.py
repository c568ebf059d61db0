"""Votequorum by rules in any order: joins, leaves, splits, merges, restarts, every option, operators, devices,
configurations, time. After each input every number, verdict, message and saved state is compared with the model's
(tests/quorum/model.py, by tests/sim/checkers/verdicts.py), and what operators may ask with facts/votequorum.md 5.4."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from quorum.events import SavedState
from quorum.options import MAX_VOTES, QuorumOptions, check
from quorum.votequorum import Votequorum
from tests.quorum.model import ModelNode
from tests.quorum.world import World, with_nodes
from tests.sim.checkers.verdicts import Follower, Verdicts
from transport.core import SilentLog
from transport.errors import Refused
from transport.ids import NodeId, RingId

MOST = 7
DOWN = 0
NODES = st.integers(1, MOST)
PLACES = st.lists(st.integers(0, 3), min_size=MOST, max_size=MOST)
"""Node i (from 1) goes to ring PLACES[i - 1]; 0 is down."""
SPECIAL = ("two_node", "last_man_standing", "auto_tie_breaker", "allow_downscale", "expected_votes_tracking", "device")


class Followed(World):
    """A world in which each process is followed by its model."""

    def __init__(self, options: QuorumOptions) -> None:
        self.judge = Verdicts(lambda: self.now)
        self.followers: dict[NodeId, Follower] = {}
        super().__init__(options)

    def start(self, node: NodeId, options: QuorumOptions | None = None) -> Votequorum:
        saved, chosen = self.saved.get(node, SavedState()), options or self.options
        made = self.nodes[node] = Votequorum(node, chosen, saved, lambda n: f"n{n}", SilentLog())
        self.followers[node] = self.judge.follow(node, made, chosen, saved)
        self.verdicts[node], self.rings[node] = [], ()
        self._events(node)
        return made

    def model(self, node: NodeId) -> ModelNode:
        return self.followers[node].model

    def ring_id(self, node: NodeId) -> RingId:
        return self.nodes[node].view().verdict.ring_id


THEMES: dict[str, dict[str, Any]] = {
    "none": {},
    "two_node": {"two_node": True},
    "wait_for_all": {"wait_for_all": True},
    "last_man_standing": {"last_man_standing": True},
    "auto_tie_breaker": {"auto_tie_breaker": "lowest", "wait_for_all": True},
    "both": {"auto_tie_breaker": "lowest", "last_man_standing": True, "wait_for_all": True},
    "allow_downscale": {"allow_downscale": True, "expected_votes": 2},
    "expected_votes_tracking": {"expected_votes_tracking": True},
    "device": {"device": True},
    "master_wins": {"device": True, "master_wins": True},
}
"""Options that are always on in one of the machines below, with any others that go with them."""
OTHERS: dict[str, Any] = {
    "wait_for_all": True,
    "last_man_standing": True,
    "expected_votes_tracking": True,
    "expected_votes": 3,
}


@st.composite
def options(draw: st.DrawFn, theme: str) -> QuorumOptions:
    """Any set that `check` accepts and that has the options of the theme."""
    n = 2 if theme == "two_node" else draw(st.sampled_from([2, 3, 4, 5, MOST]))
    heavy = theme not in ("last_man_standing", "both") and draw(st.sampled_from([False, False, True]))
    votes = {i: draw(st.integers(1, 3)) if heavy else 1 for i in range(1, n + 1)}
    wanted = dict(THEMES[theme])
    if "device" in wanted:
        wanted["device_votes"] = draw(st.integers(1, 3))
    if "auto_tie_breaker" in wanted:
        listed = (tuple(votes), tuple(reversed(votes)))
        wanted["auto_tie_breaker"] = draw(st.sampled_from(["lowest", "highest", *listed]))
    made = QuorumOptions(votes=votes, **wanted)
    for key in draw(st.lists(st.sampled_from(sorted(OTHERS)), max_size=2, unique=True)):
        new = replace(made, **({} if key in wanted else {key: OTHERS[key]}))
        made = made if check(new) else new
    assert not check(made)
    return made


class Quorum(RuleBasedStateMachine):
    """Rings as the rules make them; the models are asked by tests/sim/checkers/verdicts.py at every single call."""

    theme = "none"

    @initialize(data=st.data(), where=PLACES)
    def begin(self, data: st.DataObject, where: list[int]) -> None:
        chosen = data.draw(options(self.theme))
        self.world = Followed(chosen)
        self.up = set(chosen.votes)
        self.rings: list[tuple[NodeId, ...]] = []
        self.plain = not any(getattr(chosen, key) for key in SPECIAL)
        self.plain &= chosen.expected_votes == 0 or chosen.expected_votes >= sum(chosen.votes.values())
        self.formed([1] * MOST if where[0] else where, activate=True)

    # -- members ---------------------------------------------------------------------------------------------

    def formed(self, where: list[int], activate: bool) -> None:
        listed = sorted(self.world.options.votes)
        for node in listed:
            if where[node - 1] == DOWN:
                self.up.discard(node)
                self.world.rings[node] = ()
            elif node not in self.up:
                self.up.add(node)
                self.world.start(node)
        rings = [tuple(n for n in listed if where[n - 1] == label) for label in (1, 2, 3)]
        self.rings = []
        for ring in filter(None, rings):
            self.world.form(*ring)
            if activate:
                self.world.activate(*ring)
                self.rings.append(ring)

    @rule(where=PLACES)
    def split_and_merge(self, where: list[int]) -> None:
        self.formed(where, activate=True)

    @rule(where=PLACES)
    def interrupted(self, where: list[int]) -> None:
        """Rings that end before their barrier is passed."""
        self.formed(where, activate=False)

    @rule(node=NODES)
    def alone_or_back(self, node: NodeId) -> None:
        """One node is cut off from its ring, or all come together again."""
        node = self.in_a_ring(node)
        ring = next((ring for ring in self.rings if node in ring and len(ring) > 1), ())
        listed = self.world.options.votes
        self.formed([2 if n == node and ring else 1 if n in listed else 0 for n in range(1, MOST + 1)], activate=True)

    @rule(node=NODES)
    def leaves(self, node: NodeId) -> None:
        """A clean leave: told in order, and then the others go on without it."""
        if not (node := self.in_a_ring(node)):
            return
        ring = next(ring for ring in self.rings if node in ring)
        self.world.nodes[node].leave()
        self.world.deliver()
        self.world.nodes[node].left()
        self.up.discard(node)
        self.world.rings[node] = ()
        self.rings.remove(ring)
        rest = tuple(n for n in ring if n != node)
        if rest:
            self.world.ring(*rest)
            self.rings.append(rest)

    @rule(seconds=st.sampled_from([0.3, 3.0, 10.3, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    # -- operators -------------------------------------------------------------------------------------------

    def in_a_ring(self, number: int) -> NodeId:
        """One of the nodes that are in a ring, 0 when none is."""
        members = sorted(n for ring in self.rings for n in ring)
        return members[number % len(members)] if members else 0

    def done(self, node: NodeId, ask: Any, allowed: bool) -> None:
        """`ask` is refused exactly when it is not `allowed`."""
        try:
            ask()
        except Refused:
            assert not allowed
        else:
            assert allowed
            self.plain = False
        self.world.deliver()

    def needed(self, model: ModelNode, expected: int, total: int) -> int:
        if model.options.two_node and len(model.in_state_member()) + model.cast <= 2:
            return 1
        return max(expected, total) // 2 + 1

    @rule(node=NODES, value=st.integers(1, 10))
    def set_expected(self, node: NodeId, value: int) -> None:
        """5.4: not below the votes present, and no quorate cluster loses its quorum by it."""
        if node := self.in_a_ring(node):
            model = self.world.model(node)
            allowed = value >= model.total and (
                not model.quorate or self.needed(model, value, model.total) <= model.total
            )
            allowed = allowed and not (model.tracking and value < model.tracked)
            self.done(node, lambda: self.world.nodes[node].set_expected(value), allowed)

    @rule(node=NODES, other=NODES, value=st.integers(0, 4))
    def set_votes(self, node: NodeId, other: NodeId, value: int) -> None:
        """5.4: of a node that is known, and the threshold then is between half of the votes and all."""
        if node := self.in_a_ring(node):
            model = self.world.model(node)
            votes = {n: model.table[n].votes for n in model.in_state_member()}
            if other in votes:
                votes[other] = value
            total = sum(votes.values()) + (model.device_votes if model.cast else 0)
            allowed = other in model.table and total <= MAX_VOTES
            allowed = allowed and total // 2 <= self.needed(model, model.most_expected(), total) <= total
            self.done(node, lambda: self.world.nodes[node].set_votes(other, value), allowed)

    @rule(node=NODES)
    def cancel_waiting(self, node: NodeId) -> None:
        if node := self.in_a_ring(node):
            model = self.world.model(node)
            self.done(node, self.world.nodes[node].cancel_wait_for_all, model.wfa_on or model.wfa)

    # -- the device ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.options.device)
    @rule(
        node=NODES,
        casts=st.sampled_from([True, True, False]),
        alive=st.sampled_from([True, True, False]),
        stale=st.sampled_from([False, False, True]),
        votes=st.none() | st.integers(0, 3),
    )
    def device_says(self, node: NodeId, casts: bool, alive: bool, stale: bool, votes: int | None) -> None:
        """A poll, sometimes with a vote for a ring that is no more: refused."""
        if not (node := self.in_a_ring(node)):
            return
        ring = RingId(1, 9, 9) if stale else self.world.followers[node]._ring
        told: dict[str, Any] = {"registered": True, "alive": alive, "cast": casts, "name": "Qdevice", "ring_id": ring}
        master = self.world.options.master_wins
        try:
            self.world.nodes[node].set_device(**told, now=self.world.now, master_wins=master, votes=votes)
        except Refused:
            assert stale and casts
        else:
            assert not (stale and casts)
        self.world.deliver()

    # -- configurations --------------------------------------------------------------------------------------

    def agreed(self, new: QuorumOptions) -> None:
        """All that are up are one ring, it is quorate, and no member objects: then the new configuration is theirs."""
        if check(new) or len(self.rings) != 1 or set(self.rings[0]) != self.up:
            return
        nodes = [self.world.nodes[node] for node in self.rings[0]]
        if any(self.world.model(node).quorate for node in self.rings[0]) and not any(n.objection(new) for n in nodes):
            self.world.reconfigure(new, *self.rings[0])
            if self.plain:
                assert any(self.world.model(node).quorate for node in self.rings[0]), "objection() let it pass"

    @rule()
    def add_a_node(self) -> None:
        free = [n for n in range(1, MOST + 1) if n not in self.world.options.votes]
        if free:
            self.agreed(with_nodes(self.world.options, free[0]))

    @rule(node=NODES)
    def remove_a_node(self, node: NodeId) -> None:
        """One that is down, as delnode asks for."""
        votes = dict(self.world.options.votes)
        if votes.pop(node, None) is not None and node not in self.up and votes:
            self.agreed(replace(self.world.options, votes=votes))

    @rule(node=NODES, votes=st.integers(0, 3))
    def other_votes(self, node: NodeId, votes: int) -> None:
        if node in self.world.options.votes:
            self.plain = False  # while members change their own votes one after the other
            self.agreed(replace(self.world.options, votes={**self.world.options.votes, node: votes}))

    # -- always ----------------------------------------------------------------------------------------------

    @invariant()
    def every_barrier_is_told_alike(self) -> None:
        """What the models say of a ring's members is what `status` says there."""
        for ring in self.rings:
            for node in ring:
                verdict = self.world.nodes[node].view().verdict
                ours = (verdict.expected, verdict.highest_expected, verdict.total, verdict.quorum)
                assert ours == self.world.model(node).numbers()[:4], f"node {node} of {ring}"

    @invariant()
    def one_component(self) -> None:
        """Q1, as scoped: while nothing that it leaves out was used."""
        if getattr(self, "plain", False):
            assert sum(any(self.world.quorate(node) for node in ring) for ring in self.rings) <= 1


STEADY = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # what fails is short enough, and shrinking takes minutes
)


@pytest.mark.parametrize("theme", THEMES)
def test_any_history_is_counted_as_the_model_counts_it(theme: str) -> None:
    """Q2, and Q1 where it is promised."""
    machine = type(f"Quorum_{theme}", (Quorum,), {"theme": theme})
    run_state_machine_as_test(machine, settings=STEADY)
