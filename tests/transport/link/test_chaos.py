"""Random faults on random clusters: bounds hold all the time, and a healed network heals every path."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.link.net import Net, address, config
from transport.ids import LinkId, NodeId


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    nodes=st.integers(2, 3),
    links=st.integers(1, 2),
    mode=st.sampled_from(["passive", "active", "rr"]),
    v6=st.booleans(),
)
def test_chaos_then_peace(seed: int, nodes: int, links: int, mode: str, v6: bool) -> None:
    """Cuts, loss, pauses, moving addresses, path MTUs and reconfiguration; then every path is up and measured."""
    net = Net(nodes, links, v6=v6, seed=seed, link_mode=mode)
    rng = net.random
    cuts: set[tuple[NodeId, NodeId, LinkId]] = set()
    noise = 0.0
    mtus: dict[tuple[NodeId, NodeId, LinkId], int] = {}
    net.lost = lambda sender, receiver, link: (sender, receiver, link) in cuts or rng.random() < noise
    net.mtu = lambda sender, receiver, link: mtus.get((sender, receiver, link), 9000)
    for _ in range(40):
        sender, receiver, link = rng.randint(1, nodes), rng.randint(1, nodes), rng.randrange(links)
        match rng.randrange(8):
            case 0 | 1:
                cuts.add((sender, receiver, link))
            case 2:
                cuts.clear()
            case 3:
                noise = rng.choice([0.0, 0.05, 0.5])
            case 4:
                net.paused ^= {sender}
            case 5:
                net.moved[sender, link] = address(rng.randint(50, 60), link, v6)
            case 6:
                mtus[sender, receiver, link] = rng.randint(1280, 9000)
            case 7:
                net.links[sender].refused(receiver, link, net.now, sure=rng.random() < 0.5)
                timing = {"ping_interval": rng.choice([0.05, 0.1, 0.5]), "ping_timeout": rng.choice([0.3, 1.0])}
                changed = config(sender, nodes, links, timing=timing, link_mode=mode)
                net.links[sender].reconfigure(changed, net.resolve, net.now)
        net.run(rng.choice([0.01, 0.2, 1.0]))
        for node in net.links:
            check(net, node)
    cuts.clear()
    noise = 0.0
    net.paused.clear()
    net.moved.clear()
    for node in net.links:
        net.links[node].reconfigure(config(node, nodes, links, link_mode=mode), net.resolve, net.now)
    net.run(75.0)  # the path MTU looks upwards every minute
    for node in net.links:
        check(net, node)
        assert net.links[node].reachable() == set(net.links) - {node}
        for row in net.links[node].rows():
            assert row.state == "up" and row.loss <= 0.01
            true = mtus.get((node, row.peer, row.link), 9000)
            assert row.mtu == true, (node, row)
            assert net.links[node].peer_at(row.link, net.at(row.peer, row.link)) == row.peer


def check(net: Net, node: NodeId) -> None:
    """What holds at any time: routes are up paths, reachable is who has one, budgets fit, deadlines exist."""
    links = net.links[node]
    rows = links.rows()
    assert links.reachable() == {row.peer for row in rows if row.state == "up"}
    for peer in net.links:
        up = {row.link for row in rows if row.peer == peer and row.state == "up"}
        assert {route[0] for route in links.route(peer, True)} == up
        assert {route[0] for route in links.route(peer, False)} <= up
        assert bool(links.route(peer, False)) == bool(up)
        assert all(route[2] - 33 >= links.cut_budget() for route in links.route(peer, False))
    assert links.cut_budget() <= links.frame_budget()
    assert links.next_timeout() is not None
