"""The verdict as a lease (DESIGN Q4): t_excl 0.6 s, so a yes lasts 0.48 s from t0."""

from __future__ import annotations

import math

import pytest

from quorum.lease import Lease
from tests.quorum.world import World, options_of
from transport.ids import RingId


def lease_of(beats: dict[int, float], needed: int, own: int = 1, everyone: bool = False) -> Lease:
    lease = Lease(0.6)
    lease.demand(own, dict.fromkeys((2, 3, 4, 5), 1), needed, everyone)
    for peer, sent_at in beats.items():
        lease.beat(peer, sent_at)
    return lease


@pytest.mark.parametrize(
    ("needed", "everyone", "t0"),
    [
        (1, False, math.inf),  # nobody else needed: no end
        (2, False, 9.0),  # the newest beat suffices
        (3, False, 8.0),
        (4, False, 7.0),
        (5, False, 6.0),  # all votes needed: the oldest
        (2, True, 6.0),  # a special rule: all members, whatever the threshold
    ],
)
def test_t0_is_the_newest_time_that_keeps_the_verdict(needed: int, everyone: bool, t0: float) -> None:
    lease = lease_of({2: 9.0, 3: 8.0, 4: 7.0, 5: 6.0}, needed, everyone=everyone)
    assert lease.until(10.0) == pytest.approx(t0 + 0.48)


def test_too_few_heard_is_no_lease() -> None:
    assert lease_of({2: 9.0}, needed=3).until(10.0) == -math.inf


def test_older_beat_does_not_shorten() -> None:
    lease = lease_of({2: 9.0}, needed=2)
    lease.beat(2, 8.0)
    assert lease.until(9.1) == pytest.approx(9.48)


def test_cut_off_node_says_no_before_it_can_be_excluded() -> None:
    """Q4: nothing heard: the yes ends 0.48 s after the newest beat was sent, by a Verdict event."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    core = world.nodes[1]
    assert core.next_timeout() == pytest.approx(0.48)
    assert core.lease_left(0.08) == pytest.approx(0.4)
    assert core.quorate(0.47)
    assert not core.quorate(0.48)
    world.pass_time(0.5, beating=False)
    assert not world.last(1).quorate
    assert world.last(1).reason == "lease expired: nothing heard from n2, n3 for 0.5 s"
    assert core.next_timeout() is None
    assert core.lease_left(0.5) == 0.0


def test_lapsed_verdict_returns_with_the_beats() -> None:
    """Q4: a Verdict event again when it returns; one member of three suffices."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.pass_time(0.5, beating=False)
    core = world.nodes[1]
    core.beat((3,), 0.4, 0.5)
    assert core.quorate(0.5)
    verdict = core.next_event()
    assert verdict is not None
    assert core.lease_left(0.5) == pytest.approx(0.38)


def test_process_that_slept_is_not_quorate_when_it_wakes() -> None:
    """Q4: quorate(now) is no even before the timer has run, and echoes of what was sent before do not help."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    core = world.nodes[1]
    assert not core.quorate(5.0)
    core.handle_timeout(5.0)
    core.beat((2,), 0.3, 5.0)
    assert not core.quorate(5.0)


def test_beats_extend_without_events() -> None:
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.pass_time(3.0)
    assert world.quorate(1)
    assert len(world.verdicts[1]) == 1


@pytest.mark.parametrize("n", [1, 2])
def test_alone_needs_nobody(n: int) -> None:
    """Nobody else needed (alone, or two_node): t0 = now; no timer."""
    world = World(options_of(n, two_node=n == 2))
    world.ring(*range(1, n + 1))
    world.ring(1)
    assert world.nodes[1].next_timeout() is None
    assert world.nodes[1].quorate(1000.0)
    assert world.nodes[1].lease_left(1000.0) == pytest.approx(0.48)


def test_beats_of_an_older_ring_never_count() -> None:
    """sync_init clears them; a verdict without beats of its ring is told as not confirmed."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.ring(1, 2, beats=False)
    assert not world.last(1).quorate
    assert world.last(1).reason == "not confirmed yet: nothing heard from n2 in ring 1.2"
    world.beats(1, 2)
    assert world.quorate(1)


def test_tie_breakers_yes_needs_all_members() -> None:
    """For a yes by auto_tie_breaker all members' beats."""
    world = World(options_of(6, auto_tie_breaker="lowest"))
    world.ring(1, 2, 3, 4, 5, 6)
    world.ring(1, 2, 3)
    core = world.nodes[1]
    core.beat((2,), 0.4, 0.4)
    core.handle_timeout(0.48)
    assert not core.quorate(0.48)


def test_old_verdict_stands_in_the_barrier_while_its_lease_lasts() -> None:
    """The verdict is told only at activate; the old yes is not prolonged by the new ring's beats."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    core = world.nodes[1]
    core.sync_init((1, 2), RingId(7, 1), (1, 2), 0.1)
    core.beat((2,), 0.1, 0.1)
    assert core.quorate(0.4)
    assert core.next_timeout() == pytest.approx(0.48)
    core.handle_timeout(0.48)
    assert not core.quorate(0.48)
    verdict = core.next_event()
    assert verdict is not None
    core.beat((2,), 0.4, 0.5)
    assert core.next_event() is None


def test_one_verdict_for_each_activate() -> None:
    """One Verdict event per activate, also when nothing changed; none in between."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    world.form(1, 2, 3)
    assert len(world.verdicts[1]) == 1
    world.activate(1, 2, 3)
    assert [v.quorate for v in world.verdicts[1]] == [True, True]
    assert world.last(1).ring_id == RingId(2, 1)
