"""What seeds draw: everything the configuration can say, and nothing it refuses; and the quorum device of a run."""

from __future__ import annotations

from random import Random

from quorum.options import QuorumOptions, check
from tests.sim.aspects import pick
from tests.sim.device import VALID, Arbiter
from tests.sim.plan import SIZES, draw
from tests.sim.settings import draw as draw_settings
from tests.sim.settings import draw_quorum, possible
from tests.sim.troubles import KINDS, draw_faults
from transport.ids import RingId

OLD, NEW = RingId(4, 1, 1), RingId(8, 2, 1)


def test_every_option_and_size_is_drawn() -> None:
    """Over many seeds nothing is left out, and every combination is one that the product accepts."""
    seen: set[str] = set()
    sizes: set[int] = set()
    for seed in range(2000):
        plan, _ = draw(seed)
        quorum = plan.settings.quorum
        assert not check(quorum) and possible(quorum)
        assert all(fault.at < fault.until for fault in plan.faults), f"{seed:x}"
        sizes.add(len(plan.nodes))
        seen |= {name for name in QuorumOptions.__slots__ if getattr(quorum, name)}
        seen |= {str(quorum.auto_tie_breaker) if isinstance(quorum.auto_tie_breaker, str) else "list"}
        seen |= {plan.settings.durability, plan.settings.link_mode}
    options = {"two_node", "wait_for_all", "last_man_standing", "allow_downscale", "expected_votes_tracking"}
    assert seen >= options | {"expected_votes", "device", "master_wins", "lowest", "highest", "list"}
    assert seen >= {"memory", "passive", "active", "rr"}
    assert sizes == set(SIZES)


def test_every_word_of_the_host_is_drawn() -> None:
    """A jumped clock, an address that is gone, a packet that is too big: now and then, over by the end of faults."""
    faults = [(fault, plan.faults_end) for plan, _ in map(draw, range(200)) for fault in plan.faults]
    told = [(fault, end) for fault, end in faults if fault.kind in ("clock-jump", "address-gone", "too-big")]
    assert {fault.kind for fault, _ in told} == {"clock-jump", "address-gone", "too-big"}
    assert all(fault.at < fault.until < end for fault, end in told)


def test_aspects_are_drawn_apart() -> None:
    """What one aspect draws leaves the others as they were: the same seed with other sizes has the same load."""
    three, _ = draw(7, 3)
    five, _ = draw(7, 5)
    assert (three.rate, three.keys, three.conditions) == (five.rate, five.keys, five.conditions)
    assert draw(7)[0] == draw(7)[0]


def test_a_kind_more_leaves_most_faults_alone() -> None:
    """The faults that the new kind does not take the place of keep kind, time and victims."""
    nodes, votes, kept, taken = (1, 2, 3, 4, 5), dict.fromkeys((1, 2, 3, 4, 5), 1), 0, 0
    for seed in range(100):
        before = draw_faults(seed, nodes, votes, (0, 1), 14.0, KINDS)
        after = {fault.number: fault for fault in draw_faults(seed, nodes, votes, (0, 1), 14.0, KINDS | {"new": 3})}
        for fault in before:
            if fault.number in after and after[fault.number].kind == fault.kind:
                kept += 1
                assert after[fault.number] == fault
            else:
                taken += 1
    assert kept > 10 * taken > 0


def test_kinds_are_picked_as_often_as_they_weigh() -> None:
    """Also where each candidate draws a lot of its own."""
    picked = [pick(seed, "x", {"a": 3, "b": 1}) for seed in range(4000)]
    assert 2850 < picked.count("a") < 3150


def test_votes_needed_follow_the_options() -> None:
    """Q1 as scoped in DESIGN 4: more than half where one component is promised."""
    random = Random(1)
    votes = dict.fromkeys((1, 2, 3, 4), 1)
    for _ in range(300):
        settings = draw_settings(random, random, votes, (0, 1))
        quorum = settings.quorum
        lowered = quorum.two_node or quorum.last_man_standing or quorum.auto_tie_breaker or quorum.device
        if not lowered and quorum.configured_expected >= 4:
            assert settings.votes_needed >= 3 and settings.one_component
        if quorum.auto_tie_breaker or quorum.last_man_standing:
            assert settings.votes_needed <= 2 and not settings.one_component
    assert all(not draw_quorum(random, votes).two_node for _ in range(100))


def test_the_arbiter_votes_for_one_partition_at_a_time() -> None:
    """Another ring gets the vote only when all who hold it for the old one have come along, or it has run out."""
    arbiter = Arbiter()
    assert arbiter.ask(1, OLD, 0.0) and arbiter.ask(2, OLD, 0.1)
    assert not arbiter.ask(3, NEW, 0.2)
    assert not arbiter.ask(2, NEW, 0.3)  # node 1 may still count it
    assert arbiter.ask(1, NEW, 0.4) and arbiter.ask(2, NEW, 0.4)
    assert not arbiter.ask(3, OLD, 0.5)
    assert arbiter.ask(3, OLD, 0.5 + 2 * VALID)


def test_the_arbiter_has_no_vote_for_who_was_removed() -> None:
    """By the newest configuration that it was told of; what the removed one still holds runs out first."""
    arbiter = Arbiter()
    arbiter.hear(1, (1, 2, 3))
    assert arbiter.ask(3, OLD, 0.0)
    arbiter.hear(2, (1, 2))
    arbiter.hear(1, (1, 2, 3))
    assert not arbiter.ask(3, OLD, 0.1)
    assert not arbiter.ask(1, NEW, 0.2)
    assert arbiter.ask(1, NEW, 2 * VALID)
