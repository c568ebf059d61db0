"""Which of the paths that are up is used: link_mode, priorities, and not a flapping one too soon (DESIGN 6)."""

from __future__ import annotations

import pytest

from tests.transport.link.net import Net, up_net


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
