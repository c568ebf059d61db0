"""Peers that move, and addresses, links and nodes that the configuration changes (knet.md section 16 point 7)."""

from __future__ import annotations

from tests.transport.link.net import Net, address, changes, config, up_net
from transport.events import PathChange
from transport.link.links import canonical
from transport.link.packets import Ping


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


def test_which_peer_an_address_belongs_to() -> None:
    """Socket errors name an address; port 0 stands for any port."""
    net = Net(nodes=3)
    assert net.links[1].peer_at(0, address(3, 0)) == 3
    assert net.links[1].peer_at(0, (address(3, 0)[0], 0)) == 3
    assert net.links[1].peer_at(1, address(3, 0)) is None
