"""The path MTU: searched, confirmed under traffic, given up within a second (knet.md sections 5 and 16 point 3)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.link.net import Net, config
from transport.ids import LinkId, NodeId
from transport.link.events import MtuChange
from transport.link.fragments import budget_of
from transport.link.mtu import PathMtu, headers, safe_size

CONFIRM_EVERY = 0.1


def mtu_of(net: Net, node: NodeId = 1, peer: NodeId = 2, link: LinkId = 0) -> int:
    return int(net.row(node, peer, link).mtu)


def flow(net: Net, seconds: float, step: float = 0.02) -> None:
    """Full-size datagrams on the path from 1 to 2, as its route says."""
    end = net.now + seconds
    while net.now < end - 1e-9:
        for link, _, payload in net.links[1].route(2, False):
            net.links[1].sent(2, link, payload, net.now)
        net.run(step)


def test_arithmetic_of_sizes() -> None:
    """IP packet size to UDP payload: 28 bytes for IPv4, 48 for IPv6; the safe sizes are 1200 and 1280."""
    assert (headers("10.0.0.1"), headers("fd00::1")) == (28, 48)
    assert (safe_size("10.0.0.1"), safe_size("fd00::1")) == (1200, 1280)
    assert PathMtu(("10.0.0.1", 1), 9000).payload == 1172
    assert PathMtu(("fd00::1", 1), 9000).payload == 1232
    assert budget_of(1472) == 1472 - 32 - 1


def test_the_start_is_safe_and_the_cap_is_tried_first() -> None:
    """A path is used with the safe size until a larger one was answered; on an open path the cap holds at once."""
    net = Net(mtu_cap=1500)
    net.run(0.5)
    assert mtu_of(net) == 1500
    first = net.told(1, MtuChange)[0][1]
    assert isinstance(first, MtuChange) and first.budget == net.links[1].frame_budget() == budget_of(1472)
    assert net.links[1].route(2, False)[0][2] == 1472


@settings(max_examples=25, deadline=None)
@given(true=st.integers(1280, 9000), v6=st.booleans(), back=st.integers(1280, 9000))
def test_the_search_finds_any_path_mtu_to_the_byte(true: int, v6: bool, back: int) -> None:
    """Black holes (nobody says a word) included, and each direction by itself."""
    net = Net(v6=v6)
    net.mtu = lambda sender, receiver, link: true if sender == 1 else back
    sizes = set()
    for _ in range(100):
        net.run(0.1)
        sizes.add(mtu_of(net))
    assert mtu_of(net) == true and mtu_of(net, 2, 1) == back
    assert max(sizes) == true, "never a size that was not answered"
    before = net.sent
    net.run(5.0)
    assert net.sent - before <= 202, "found: no more probes"


@settings(max_examples=6, deadline=None)
@given(true=st.integers(1280, 9000), seed=st.integers(0, 1000))
def test_the_search_converges_under_loss(true: int, seed: int) -> None:
    """Five per cent of everything lost: a probe is given up after three misses only."""
    net = Net(seed=seed)
    net.mtu = lambda sender, receiver, link: true
    net.lost = lambda sender, receiver, link: net.random.random() < 0.05
    net.run(90.0)
    assert mtu_of(net) <= true
    net.lost = lambda sender, receiver, link: False
    net.run(75.0)
    assert mtu_of(net) == true


@settings(max_examples=30, deadline=None)
@given(before=st.integers(1600, 9000), ratio=st.floats(0, 1), phase=st.floats(0, 0.2))
def test_a_drop_under_traffic_is_noticed_within_a_second(before: int, ratio: float, phase: float) -> None:
    """The path MTU falls, silently, while data flows: the safe size is in use in < 1 s, then what is left is found."""
    after = 1280 + int(ratio * (before - 1281))
    true = before
    net = Net()
    net.mtu = lambda sender, receiver, link: true
    net.run(10.0)
    assert mtu_of(net) == before
    flow(net, 1.0 + phase)
    assert mtu_of(net) == before
    true = after
    flow(net, 0.6)
    assert mtu_of(net) <= after
    assert net.links[1].route(2, False)[0][2] <= after - 28 and net.up(1, 2, 0)
    flow(net, 10.0)
    assert mtu_of(net) == after


def test_without_large_datagrams_nothing_is_confirmed() -> None:
    """Confirmation costs only where data above the safe size flows."""
    net = Net()
    net.run(2.0)
    start = net.now
    for _ in range(50):
        net.links[1].sent(2, 0, 1172, net.now)
        net.run(0.02)
    assert all(send.payload[0] in (1, 2) for when, _, send in net.log if when > start)
    flow(net, 1.0)
    probes = [send for when, node, send in net.log if node == 1 and when > start and send.payload[0] == 3]
    assert 5 <= len(probes) <= 12 and {send.pad_to for send in probes} == {8972}


def test_a_slow_ping_interval_does_not_slow_the_evidence() -> None:
    """With corosync-like pings of a second the drop is still noticed in < 1 s."""
    true = 9000
    net = Net(timing={"ping_interval": 1.0, "ping_timeout": 2.0})
    net.mtu = lambda sender, receiver, link: true
    net.run(10.0)
    flow(net, 1.0)
    true = 1500
    flow(net, 0.9)
    assert mtu_of(net) <= 1500


def test_loss_of_everything_is_not_evidence_about_size() -> None:
    """Probes missing together with the small pings say nothing about the path MTU."""
    net = Net()
    net.run(2.0)
    net.lost = lambda sender, receiver, link: int(net.now * 5) % 2 == 0  # 0.2 s of every 0.4 s
    flow(net, 3.0)
    assert mtu_of(net) == 9000


def test_our_own_kernels_emsgsize_falls_at_once() -> None:
    """The interface's MTU was lowered: the safe size at once, then the size the kernel named."""
    net = Net()
    net.run(2.0)
    net.mtu = lambda sender, receiver, link: 1500
    net.links[1].too_big(2, 0, 1500, net.now)
    assert mtu_of(net) == 1200
    net.run(0.2)
    assert mtu_of(net) == 1500


def test_an_icmp_message_only_makes_us_look() -> None:
    """A forged "too big" costs a probe, not the path MTU; a true one is believed after two more."""
    net = Net()
    net.run(2.0)
    for _ in range(50):
        net.links[1].too_big(2, 0, 1300, net.now, sure=False)
        net.run(0.05)
        assert mtu_of(net) == 9000
    net.run(1.0)
    net.mtu = lambda sender, receiver, link: 1500
    net.links[1].too_big(2, 0, 1500, net.now, sure=False)
    net.run(0.35)
    assert mtu_of(net) <= 1500


def test_a_flood_of_icmp_messages_costs_few_probes() -> None:
    """X1: whoever forges "too big" cannot make us send a probe for each."""
    net = Net()
    net.run(5.0)
    before = net.sent
    for _ in range(20_000):
        net.links[1].too_big(2, 0, 1300, net.now, sure=False)
        net.run(0.0001)
    assert net.sent - before < 300
    assert mtu_of(net) == 9000


def test_a_kernel_that_refuses_a_probe_ends_that_size() -> None:
    """EMSGSIZE for a probe above the interface's MTU: bounded search, no size tried one byte less, again and again."""
    net = Net(mtu_cap=9000)
    net.mtu = lambda sender, receiver, link: 1500
    real = net._carry

    def refusing(node: NodeId, send) -> None:  # type: ignore[no-untyped-def]
        real(node, send)
        if send.pad_to is not None and send.pad_to + 28 > 1500:
            net.links[node].too_big(send.peer, send.link, send.pad_to + 27, net.now)

    net._carry = refusing  # type: ignore[method-assign]
    net.run(3.0)
    assert mtu_of(net) == 1500
    assert len([1 for _, node, send in net.log if node == 1 and send.payload[0] == 3]) < 30


def test_a_path_that_takes_more_later_is_found_again() -> None:
    """Every minute one look upwards."""
    true = 1500
    net = Net()
    net.mtu = lambda sender, receiver, link: true
    net.run(20.0)
    true = 4000
    net.run(75.0)
    assert mtu_of(net) == 4000


def test_a_path_that_returns_starts_safe_and_tries_what_it_had() -> None:
    """Down and up: the safe size first, the old size with the first probe."""
    net = Net()
    net.mtu = lambda sender, receiver, link: 3210
    net.run(10.0)
    net.lost = lambda sender, receiver, link: True
    net.run(1.0)
    assert mtu_of(net) == 1200
    net.lost = lambda sender, receiver, link: False
    net.run(0.6)
    assert mtu_of(net) == 3210


def test_a_new_cap_holds_live() -> None:
    """mtu_cap changes without a restart, both ways."""
    net = Net()
    net.run(2.0)
    net.links[1].reconfigure(config(1, 2, 1, mtu_cap=1500), net.resolve, net.now)
    assert mtu_of(net) == 1500 and net.links[1].route(2, False)[0][2] == 1472
    net.links[1].reconfigure(config(1, 2, 1, mtu_cap=4000), net.resolve, net.now)
    net.run(1.0)
    assert mtu_of(net) == 4000


@pytest.mark.parametrize(
    ("mtus", "budget", "cut"),
    [
        ({2: 9000, 3: 9000, 4: 1500}, 9000, 1500),  # one peer more than a class below gets fragments
        ({2: 9000, 3: 1500, 4: 1500}, 1500, 1500),  # it is the rule, not the exception
        ({2: 1500, 3: 1500, 4: 1300}, 1300, 1300),  # not worth cutting
        ({2: 9000, 3: 8000, 4: 1500}, 8000, 1500),
    ],
)
def test_the_common_budget_has_at_most_two_classes(mtus: dict[int, int], budget: int, cut: int) -> None:
    """Frames are sized for most peers; the few far below get them cut (DESIGN 6)."""
    net = Net(nodes=4)
    net.mtu = lambda sender, receiver, link: mtus[receiver] if sender == 1 else 9000
    net.run(15.0)
    assert net.links[1].frame_budget() == budget_of(budget - 28)
    assert net.links[1].cut_budget() == budget_of(cut - 28)
    assert [r[2] for r in net.links[1].route(4, False)] == [mtus[4] - 28]


def test_the_budget_counts_only_paths_in_use() -> None:
    """A small path in reserve shrinks nothing; when traffic moves there, the budget follows."""
    net = Net(links=2)
    net.mtu = lambda sender, receiver, link: 9000 if link == 0 else 1400
    net.run(10.0)
    assert net.links[1].frame_budget() == budget_of(8972)
    net.lost = lambda sender, receiver, link: link == 0
    net.run(1.0)
    assert net.links[1].frame_budget() == budget_of(1372)
    assert net.told(1, MtuChange)[-1][1] == MtuChange(budget_of(1372))


def test_a_path_without_data_is_confirmed_once_a_minute() -> None:
    """A path in reserve that narrowed is known to have, before traffic moves there."""
    true = 9000
    net = Net()
    net.mtu = lambda sender, receiver, link: true
    net.run(5.0)
    true = 1500
    net.run(75.0)
    assert mtu_of(net) == 1500
