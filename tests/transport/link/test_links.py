"""Paths up and down: what proves that a path works, what that it does not, and what nobody can forge (knet.md)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.link.net import RING, Net, address, changes, up_net
from transport.events import Beat, PathChange
from transport.ids import NO_RING
from transport.link.events import ReachabilityChange
from transport.link.packets import Ping, Pong

INTERVAL, TIMEOUT = 0.100, 0.300  # LinkConfig's defaults


# ---- up


def test_a_path_comes_up_after_pong_count_pongs() -> None:
    """Up after pong_count pongs in a row, within a few ping intervals of the start."""
    net = Net()
    net.run(INTERVAL * 2.5)
    assert net.links[1].reachable() == {2} and net.links[2].reachable() == {1}
    pongs = [when for when, node, send in net.log if node == 2 and send.payload[0] == 2]
    assert len([when for when in pongs if when < net.told(1, PathChange)[0][0]]) == 2
    ((_, change),) = net.told(1, ReachabilityChange)
    assert change == ReachabilityChange(2, True, "answered", False, frozenset({2}))


def test_nothing_is_up_without_answers() -> None:
    """No pong, no path: route is empty, yet pings go on."""
    net = Net(links=2)
    net.lost = lambda sender, receiver, link: True
    net.run(30.0)
    assert net.links[1].route(2, False) == net.links[1].route(2, True) == []
    last = [when for when, node, _ in net.log if node == 1][-1]
    assert net.now - last <= 0.25 + 1e-6
    assert {row.state for row in net.links[1].rows()} == {"down"}


def test_a_pong_not_asked_for_or_answered_twice_is_counted_and_ignored() -> None:
    """Pongs are bound to pings on their way by id (knet.md section 4: a replayed one kept a link up)."""
    net = Net()
    links = net.links[1]
    net.start(1)
    ping = Ping(int.from_bytes(net.log[0][2].payload[2:10], "big"), False)
    for number in (ping.id + 99, ping.id, ping.id):
        links.receive(2, 0, address(2, 0), Pong(number, RING).encode(), 56, net.now + 0.001)
    assert links.stats.pongs_ignored == 2
    assert isinstance(links.next_event(), Beat) and links.next_event() is None


def test_a_pong_is_judged_by_our_own_stamp() -> None:
    """An answer read later than ping_timeout proves nothing, whenever it was written."""
    net = Net()
    links = net.links[1]
    net.start(1)
    number = int.from_bytes(net.log[0][2].payload[2:10], "big")
    links.receive(2, 0, address(2, 0), Pong(number, RING).encode(), 56, net.now + TIMEOUT + 0.01)
    assert links.stats.pongs_ignored == 1 and links.next_event() is None
    assert net.row(1, 2, 0).latency_s is None


def test_a_beat_names_the_ring_and_our_send_time() -> None:
    """A pong gives Beat with our send time of that ping; a node that stands for no ring gives none (Q4)."""
    net = up_net()
    (when, beat) = net.told(1, Beat)[-1]
    assert isinstance(beat, Beat) and beat.ring_id == RING and 0 < when - beat.sent_at < 0.001
    net.links[2].echo = lambda peer, now: NO_RING
    count = len(net.told(1, Beat))
    net.run(1.0)
    assert len(net.told(1, Beat)) <= count + 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), forth=st.floats(0, 1), back=st.floats(0, 1))
def test_random_loss_never_brings_a_path_up_without_pongs_both_ways(seed: int, forth: float, back: float) -> None:
    """Whenever a side is up, within the last timeout and interval a ping of it was answered: both ways worked."""
    net = Net(seed=seed)
    net.lost = lambda sender, receiver, link: net.random.random() < (forth if sender == 1 else back)
    for _ in range(60):
        net.run(0.05)
        for node in (1, 2):
            path = net.links[node]._paths[3 - node, 0]
            if path.up:
                assert net.now - path.answered <= TIMEOUT + 2 * INTERVAL and path.peer_hears
    if forth == 1.0 or back == 1.0:
        assert not net.told(1, PathChange) and not net.told(2, PathChange)


def test_a_new_session_is_pinged_at_once() -> None:
    """hurry() does not wait for the next tick."""
    net = up_net()
    net.run(0.05)
    before = net.sent
    net.links[1].hurry(2, net.now)
    net.run(0.001)
    assert net.sent > before


# ---- down


@pytest.mark.parametrize("link", [0, 1])
def test_a_silent_path_is_down_within_timeout_and_interval(link: int) -> None:
    """Down after ping_timeout without an answer, on the active path (0) and on the one in reserve (1)."""
    for phase in range(7):
        net = up_net(links=2)
        net.run(phase * 0.031)
        cut = net.now
        net.lost = lambda sender, receiver, k: k == link
        net.run(1.0)
        for node in (1, 2):
            ((when, change),) = [(w, e) for w, e in net.told(node, PathChange) if w > cut]
            assert (change.link, change.up) == (link, False)  # type: ignore[union-attr]
            assert when - cut <= TIMEOUT + INTERVAL + 0.001
            assert net.links[node].route(3 - node, False)[0][0] == 1 - link
        assert net.links[1].reachable() == {2}


def test_a_single_lost_ping_brings_nothing_down() -> None:
    """Several pings are in flight: one lost is no evidence, neither on the active path nor on the one in reserve."""
    net = up_net(links=2)
    for _ in range(20):
        dropped: set[tuple[int, int, int]] = set()

        def once(sender: int, receiver: int, link: int, dropped: set[tuple[int, int, int]] = dropped) -> bool:
            key = (sender, receiver, link)
            return key not in dropped and not dropped.add(key)

        net.lost = once
        net.run(0.5)
    assert all(up for _, _, up in changes(net, 1))


def test_one_way_loss_is_down_at_both_ends_and_named() -> None:
    """A ping says whether it hears us: the deaf direction is named (knet.md section 16 point 4)."""
    net = up_net()
    net.lost = lambda sender, receiver, link: sender == 1
    net.run(2.0)
    assert net.row(1, 2, 0).reason == "n2 does not hear us on link 0"
    assert not net.up(1, 2, 0) and not net.up(2, 1, 0)
    assert "n1" not in (net.row(2, 1, 0).reason or "")


def test_unreachable_is_told_when_the_last_path_is_down() -> None:
    """The reachability row and its evidence are told once all paths of a peer are down."""
    net = up_net(nodes=3, links=2)
    net.lost = lambda sender, receiver, link: 3 in (sender, receiver)
    net.run(1.0)
    (_, change) = net.told(1, ReachabilityChange)[-1]
    assert change == ReachabilityChange(3, False, "no answer for 0.3 s", False, frozenset({2}))
    assert net.links[1].reachable() == {2}


def test_a_refusal_confirmed_by_a_ping_is_down_soon() -> None:
    """ICMP is not authentic: the first refusal makes us ping; refused too and not answered, the path is down."""
    net = up_net()
    links = net.links[1]
    net.paused = {2}
    start = net.now
    links.refused(2, 0, net.now, "refused: nobody listens there")
    assert net.up(1, 2, 0)
    net.run(0.001)
    links.refused(2, 0, net.now, "refused: nobody listens there")
    net.run(0.05)
    (when, change) = net.told(1, ReachabilityChange)[-1]
    assert not net.up(1, 2, 0) and when - start < 0.03
    assert change == ReachabilityChange(2, False, "refused: nobody listens there", True, frozenset())


def test_a_refusal_on_one_path_asks_the_others_at_once() -> None:
    """A process that is gone is gone on all links: the path in reserve does not wait for its next ping."""
    net = up_net(links=2)
    net.run(0.01)
    before = net.sent
    net.links[1].refused(2, 0, net.now)
    net.run(0.0001)
    asked = [send.link for when, node, send in net.log[before:] if node == 1 and send.payload[0] == 1]
    assert asked == [0, 1]


def test_forged_refusals_do_not_bring_a_path_down() -> None:
    """Refusals while pings are answered are somebody's forgery."""
    net = up_net()
    for _ in range(100):
        net.links[1].refused(2, 0, net.now)
        net.run(0.01)
    assert all(up for _, _, up in changes(net, 1))


def test_a_flood_of_forged_refusals_cuts_no_path_and_costs_few_pings() -> None:
    """X1: whoever can send us ICMP, and knows no key, cannot cut us off, neither from a path that is up nor one that
    comes up; a refusal between a ping and its answer proves nothing."""
    net = Net()
    before = net.sent
    for _ in range(20_000):
        net.links[1].refused(2, 0, net.now)
        net.run(0.0001)
    assert [up for _, _, up in changes(net, 1)] == [True]
    assert net.sent - before < 600


def test_our_own_kernels_word_is_enough() -> None:
    """No route, or our address gone: down at once."""
    net = up_net()
    net.links[1].refused(2, 0, net.now, "unreachable: network is unreachable", sure=True)
    assert net.row(1, 2, 0).reason == "unreachable: network is unreachable"
    assert net.links[1].route(2, True) == []


def test_a_paused_node_does_not_call_its_paths_down_and_late_pongs_prove_nothing() -> None:
    """After a stop of our own nothing sent before proves anything: ask anew, judge the new pings only."""
    net = up_net()
    net.paused = {1}
    net.run(0.4)
    net.paused = set()
    net.run(0.01)
    assert changes(net, 1) == [(2, 0, True)]
    assert net.links[1].reachable() == {2}
    net.run(0.2)
    assert net.up(2, 1, 0), "the other side has its answers in a row from the pings that waited"
    net.paused = {1}
    net.run(5.0)
    net.lost = lambda sender, receiver, link: True
    net.paused = set()
    net.run(TIMEOUT + INTERVAL)
    assert not net.up(1, 2, 0), "what waited in the socket does not keep a path up"


# ---- what peers send


@given(st.binary(max_size=50))
def test_hostile_payloads_are_counted(payload: bytes) -> None:
    """Nothing a peer sends raises; what is no link message is counted."""
    net = Net()
    links = net.links[1]
    links.receive(2, 0, address(2, 0), payload, len(payload) + 32, net.now)
    links.receive(9, 5, address(2, 0), payload, len(payload) + 32, net.now)
    assert links.stats.strays == 1


def test_a_flood_of_pings_is_bounded() -> None:
    """Answers wait in a bounded queue."""
    net = Net()
    for number in range(5000):
        net.links[1].receive(2, 0, address(2, 0), Ping(number, True).encode(), 42, net.now)
    answers = 0
    while net.links[1].poll_transmit(net.now) is not None:
        answers += 1
    assert answers <= 1024 and net.links[1].stats.overflow >= 5000 - 1024
