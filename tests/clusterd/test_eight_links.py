"""Whole nodes joined by eight links of different delay, in each link mode (part of DESIGN 6; knet.md section 16)."""

from __future__ import annotations

import pytest

from tests.clusterd.memory import DELAY, Memory, text_of
from transport.events import ConfigurationChange
from transport.groups import GroupMessage

GROUP = b"g"


class Links(Memory):
    """Link k takes 1 + 5 k times DELAY; the links in `dead` carry nothing."""

    def __init__(self, mode: str) -> None:
        self.dead: set[int] = set()
        text = text_of(3, links=8).replace(b"version: 2\n", b"version: 2\n link_mode: %s\n" % mode.encode())
        super().__init__(3, text)

    def _carry(self, sender: int, link: int, address: tuple[str, int], data: bytes) -> None:
        if link not in self.dead:
            self.at(self.now + 5 * link * DELAY, lambda: super(Links, self)._carry(sender, link, address, data))


@pytest.mark.parametrize("mode", ["passive", "active", "rr"])
def test_links_die_one_after_another_and_nobody_notices(mode: str) -> None:
    """Copies and overtaking over eight links, seven of which die under traffic: each message once, in one order, and
    the membership stays."""
    net = Links(mode)
    net.run(4.0)
    for number, host in net.hosts.items():
        host.node.groups.join(GROUP, number)
        net.give(number, lambda host=host: host.node.pump(net.now))  # type: ignore[misc]  # bound now
    net.run(0.5)
    begin = {number: len(host.events) for number, host in net.hosts.items()}
    sent = []
    for step in range(350):
        number = 1 + step % 3
        payload = b"%d" % step + bytes(step % 7 * 400)
        net.hosts[number].node.groups.mcast(GROUP, number, payload)
        net.give(number, lambda node=net.hosts[number].node: node.pump(net.now))  # type: ignore[misc]  # bound now
        sent.append(payload)
        if step % 50 == 0 and step:
            net.dead.add(step // 50 - 1)
        net.run(0.01)
    net.dead = set(range(7))
    net.run(2.0)
    for number, host in net.hosts.items():
        events = host.events[begin[number] :]
        assert not [event for event in events if isinstance(event, ConfigurationChange)]
        got = [event.payload for event in events if isinstance(event, GroupMessage)]
        assert sorted(got) == sorted(sent)
        assert got == [e.payload for e in net.hosts[1].events[begin[1] :] if isinstance(e, GroupMessage)]
        up = {row.link for row in host.node.endpoint.links.rows() if row.state == "up"}
        assert up == {7}
