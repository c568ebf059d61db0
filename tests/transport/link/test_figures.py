"""What paths cost, and the figures an administrator reads of them: latency, jitter, loss, counters (CLI.md, links)."""

from __future__ import annotations

import pytest

from tests.transport.link.net import Net, up_net
from transport.link.rows import shown


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
