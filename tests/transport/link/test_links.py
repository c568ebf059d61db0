"""Paths up and down, latency and loss, one-way cuts, hysteresis, policies, addresses (DESIGN 6; knet.md section 16)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.link.net import RING, Net, address, config
from transport.events import Beat, PathChange
from transport.ids import NO_RING
from transport.link.events import ReachabilityChange
from transport.link.links import canonical, shown
from transport.link.packets import Ping, Pong

INTERVAL, TIMEOUT = 0.100, 0.300  # LinkConfig's defaults


def up_net(nodes: int = 2, links: int = 1, **settings: object) -> Net:
    net = Net(nodes, links, **settings)  # type: ignore[arg-type]
    net.run(2.0)
    assert all(row.state == "up" for n in net.links for row in net.links[n].rows())
    return net


def changes(net: Net, node: int) -> list[tuple[int, int, bool]]:
    return [(e.peer, e.link, e.up) for _, e in net.told(node, PathChange)]  # type: ignore[union-attr]


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


# ---- figures


def test_latency_jitter_and_loss() -> None:
    """Round trip smoothed, RFC 3550 jitter, loss over the last 100 pings, p99 beside (CLI.md, links)."""
    net = Net()
    net.delay = 0.010
    net.run(2.0)
    row = net.row(1, 2, 0)
    assert row.latency_s == pytest.approx(0.021, abs=0.001) and row.latency_p99_s <= 0.0221
    assert 0 < row.jitter_s < 0.002 and row.loss == 0.0
    net.lost = lambda sender, receiver, link: sender == 1 and net.random.random() < 0.2
    net.run(12.0)
    assert 0.1 < net.row(2, 1, 0).loss < 0.6
    net.lost = lambda sender, receiver, link: False
    net.run(11.0)
    assert net.row(1, 2, 0).loss == 0.0


def test_loss_is_counted_from_when_the_path_came_up() -> None:
    """Pings to a node that was not there are no loss of the path: a figure an administrator would act on."""
    net = Net()
    net.paused = {2}
    net.run(3.05)
    assert net.row(1, 2, 0).loss == 1.0, "down, and nothing is answered"
    net.paused = set()
    net._flying.clear()  # what was sent before the peer was there
    for _ in range(100):
        net.run(0.02)
        assert net.row(1, 2, 0).state == "down" or net.row(1, 2, 0).loss == 0.0
    assert net.up(1, 2, 0)
    net.lost = lambda sender, receiver, link: True
    net.run(15.0)
    assert net.row(1, 2, 0).loss > 0.9, "a path that went down counts on"


def test_idle_paths_cost_few_messages() -> None:
    """Three nodes, two links: pings at the interval on the active path, half as often on the other, no probes."""
    net = up_net(nodes=3, links=2)
    net.run(5.0)
    before = net.sent
    net.run(10.0)
    assert (net.sent - before) / 10 / 3 <= 61
    assert {send.payload[0] for when, _, send in net.log if when > net.now - 10} == {1, 2}


def test_all_paths_tick_together() -> None:
    """A node wakes once for all its paths, not once for each."""
    net = up_net(nodes=4, links=2)
    start = net.now
    net.run(2.0)
    times = {round(when, 6) for when, node, send in net.log if node == 1 and when > start and send.payload[0] == 1}
    assert len(times) <= 21


def test_rows_show_addresses_and_counters() -> None:
    """What `clusterctl links` prints, sorted, with counters for what was sent and heard."""
    net = up_net(nodes=3, links=2)
    rows = net.links[2].rows()
    assert [(r.peer, r.link) for r in rows] == [(1, 0), (1, 1), (3, 0), (3, 1)]
    assert (rows[1].local, rows[1].remote, rows[1].name) == ("10.1.0.2:5406", "10.1.0.1:5406", "n1")
    assert rows[0].active and not rows[1].active
    assert rows[0].tx_packets > 20 and rows[0].rx_bytes > 20 * 42
    assert shown(("fd00::1", 5405)) == "[fd00::1]:5405"


# ---- policies


def test_passive_uses_the_highest_priority_then_the_lowest_link() -> None:
    """The higher number first, ties to the lower link (DESIGN 6)."""
    net = up_net(links=3, priorities={0: 1, 1: 9, 2: 9})
    assert [r[0] for r in net.links[1].route(2, False)] == [1]
    assert [r[0] for r in net.links[1].route(2, True)] == [1, 2, 0]


def test_active_uses_all_and_rr_the_next() -> None:
    """link_mode active: every path; rr: one after the other."""
    active, rr = up_net(links=3, link_mode="active"), up_net(links=3, link_mode="rr")
    assert [r[0] for r in active.links[1].route(2, False)] == [0, 1, 2]
    turns = [[r[0] for r in rr.links[1].route(2, False)] for _ in range(6)]
    assert sorted(turns[:3]) == [[0], [1], [2]] and turns[:3] == turns[3:]
    assert all(row.active for row in active.links[1].rows())


def test_the_first_path_is_used_at_once_and_a_better_first_up_too() -> None:
    """No hold-down for what never flapped."""
    net = Net(links=2, priorities={0: 5, 1: 1})
    net.lost = lambda sender, receiver, link: link == 0
    net.run(1.0)
    assert [r[0] for r in net.links[1].route(2, False)] == [1]
    net.lost = lambda sender, receiver, link: False
    net.run(0.5)
    assert [r[0] for r in net.links[1].route(2, False)] == [0]


def test_traffic_returns_to_a_flapping_path_later_each_time() -> None:
    """A path that flapped must stay up for a growing time, at most 5 s, before traffic switches back to it."""
    net = up_net(links=2)
    waits = []
    for _ in range(6):
        net.lost = lambda sender, receiver, link: link == 0
        net.run(1.0)
        assert [r[0] for r in net.links[1].route(2, False)] == [1]
        net.lost = lambda sender, receiver, link: False
        while not net.up(1, 2, 0):
            net.run(0.01)
        since = net.now
        while net.links[1].route(2, False)[0][0] != 0:
            net.run(0.05)
        waits.append(net.now - since)
    assert waits == pytest.approx([0.5, 1.0, 2.0, 4.0, 5.0, 5.0], abs=0.1)
    net.run(31.0)
    net.lost = lambda sender, receiver, link: link == 0
    net.run(1.0)
    net.lost = lambda sender, receiver, link: False
    net.run(1.2)
    assert net.links[1].route(2, False)[0][0] == 0, "a long time up, and it is trusted again"


def test_the_only_path_is_used_at_once_even_after_flapping() -> None:
    """The hold-down is about switching back, never about being reachable."""
    net = up_net()
    for _ in range(5):
        net.lost = lambda sender, receiver, link: True
        net.run(1.0)
        net.lost = lambda sender, receiver, link: False
        net.run(0.5)
        assert net.links[1].reachable() == {2} and len(net.links[1].route(2, False)) == 1


# ---- addresses and configuration


def test_a_peer_that_moved_is_followed_without_going_down() -> None:
    """A valid ping from another address, answered there: everything goes there now (knet.md section 16 point 7)."""
    net = up_net()
    net.moved[2, 0] = ("10.9.9.9", 7000)
    net.run(1.0)
    assert net.links[1].route(2, False)[0][1] == ("10.9.9.9", 7000)
    assert changes(net, 1) == [(2, 0, True)]
    del net.moved[2, 0]
    net.run(2.0)
    assert net.links[1].route(2, False)[0][1] == address(2, 0)
    assert changes(net, 1) == [(2, 0, True)], "and back, the configured address is retried"


def test_a_peer_seen_from_another_address_is_not_followed_while_its_own_answers() -> None:
    """A second IP as source does not move traffic away from a configured address that works."""
    net = up_net()
    for _ in range(20):
        net.run(0.1)
        net.links[1].receive(2, 0, ("10.9.9.9", 1), Ping(1, True).encode(), 42, net.now)
        assert net.links[1].route(2, False)[0][1] == address(2, 0)


def test_a_peer_behind_an_unknown_address_comes_up() -> None:
    """The configured address never answers (NAT): the address its pings come from does."""
    net = Net()
    net.moved[2, 0] = ("10.9.9.9", 7000)
    net.run(1.5)
    assert net.links[1].reachable() == {2} and net.links[2].reachable() == {1}


def test_links_come_and_go_live() -> None:
    """Links added and removed, addresses and priorities changed, without a change on the other paths."""
    net = up_net(links=2)
    before = len(changes(net, 1))
    net.resolve |= {(1, 2): address(1, 2), (2, 2): address(2, 2)}
    for node in (1, 2):
        net.links[node].reconfigure(config(node, 2, 3, priorities={2: 7}), net.resolve, net.now)
    net.run(1.0)
    assert [r[0] for r in net.links[1].route(2, False)] == [2]
    del net.resolve[1, 0], net.resolve[2, 0]
    for node in (1, 2):
        net.links[node].reconfigure(config(node, 2, 3), net.resolve, net.now)
    net.run(1.0)
    assert [r[0] for r in net.links[1].route(2, True)] == [1, 2]
    assert changes(net, 1)[before:] == [(2, 2, True), (2, 0, False)]
    assert net.told(1, PathChange)[-1][1].reason == "removed from the configuration"  # type: ignore[union-attr]


def test_a_new_address_is_used_once_it_answers() -> None:
    """An address change keeps the path up: the old one until the new one answers."""
    net = up_net()
    new = ("10.5.5.5", 5405)
    net.resolve[2, 0] = new
    for node in (1, 2):
        net.links[node].reconfigure(config(node, 2, 1), net.resolve, net.now)
    net.run(0.5)
    assert net.links[1].route(2, False)[0][1] == new and changes(net, 1) == [(2, 0, True)]


def test_timing_changes_live() -> None:
    """ping_timeout and ping_interval hold from the next ping on."""
    net = up_net()
    timing = {"ping_interval": 0.05, "ping_timeout": 0.1}
    for node in (1, 2):
        net.links[node].reconfigure(config(node, 2, 1, timing=timing), net.resolve, net.now)
    net.run(1.0)
    cut = net.now
    net.lost = lambda sender, receiver, link: True
    net.run(0.151)
    assert not net.up(1, 2, 0) and net.told(1, PathChange)[-1][0] > cut


def test_a_removed_node_is_unreachable_and_forgotten() -> None:
    """Taking a node out of the list closes its paths at once."""
    net = up_net(nodes=3)
    resolve = {key: where for key, where in net.resolve.items() if key[0] != 3}
    net.links[1].reconfigure(config(1, 2, 1), resolve, net.now)
    assert net.links[1].reachable() == {2} and [r.peer for r in net.links[1].rows()] == [2]
    net.links[1].heard(3, 0, address(3, 0), 100, net.now)
    net.links[1].receive(3, 0, address(3, 0), Ping(1, True).encode(), 42, net.now)
    assert net.links[1].stats.strays == 2


def test_a_link_this_node_cannot_use_is_disabled() -> None:
    """Our own address is gone: the paths of that link are disabled with the reason, the others go on."""
    net = up_net(links=2)
    net.links[1].set_local(0, "cannot use 10.0.0.1: not on this host", net.now)
    row = net.row(1, 2, 0)
    assert (row.state, row.reason) == ("disabled", "cannot use 10.0.0.1: not on this host")
    assert net.links[1].route(2, False)[0][0] == 1
    start = net.now
    net.run(1.0)
    assert all(send.link == 1 for when, node, send in net.log if node == 1 and when >= start)
    net.links[1].set_local(0, None, net.now)
    net.run(1.0)
    assert net.up(1, 2, 0)


def test_ipv6_paths() -> None:
    """IPv6 addresses compare equal however they were written."""
    net = up_net(links=2, v6=True)
    assert net.links[1].route(2, False)[0][1] == ("fd00::2", 5405)
    assert canonical(("FD00:0::0002", 1)) == ("fd00::2", 1) and canonical(("fe80::1%eth0", 1)) == ("fe80::1%eth0", 1)


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


def test_which_peer_an_address_belongs_to() -> None:
    """Socket errors name an address; port 0 stands for any port."""
    net = Net(nodes=3)
    assert net.links[1].peer_at(0, address(3, 0)) == 3
    assert net.links[1].peer_at(0, (address(3, 0)[0], 0)) == 3
    assert net.links[1].peer_at(1, address(3, 0)) is None


def test_a_new_session_is_pinged_at_once() -> None:
    """hurry() does not wait for the next tick."""
    net = up_net()
    net.run(0.05)
    before = net.sent
    net.links[1].hurry(2, net.now)
    net.run(0.001)
    assert net.sent > before
