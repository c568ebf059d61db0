"""Paths over real sockets: what the kernel says reaches the paths, and cuts move the traffic."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import Callable, Iterator

import pytest
import uvloop

from tests.transport.link.net import config
from transport.core import SilentLog
from transport.events import PathChange
from transport.ids import LinkId, NodeId
from transport.io.sockopts import SocketTrouble
from transport.io.udp import Datagram, UdpSockets
from transport.link.events import Address, ReachabilityChange
from transport.link.links import OVERHEAD_SESSION, LinkEvent, Links


def clock() -> float:
    """The daemon's clock; uvloop's own is too coarse for a latency."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


HEAD = struct.Struct("!B31x")  # stands for the sealed session's overhead: the sender's id


class Host:
    """One node: sockets and paths, joined as the endpoint joins them, without sealing."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        me: NodeId,
        where: dict[tuple[NodeId, LinkId], Address],
        mtu_cap: int = 1500,
    ) -> None:
        self.me, self.loop = me, loop
        self.events: list[tuple[float, LinkEvent]] = []
        links = len({link for _, link in where})
        self.links = Links(
            config(me, 2, links, mtu_cap=mtu_cap), where, lambda n: bytes([me] * n), clock(), SilentLog()
        )
        mine = {link: address for (node, link), address in where.items() if node == me}
        self.sockets = UdpSockets(loop, mine, self.receive, self.trouble)
        self.timer: asyncio.TimerHandle | None = None
        self.pump()

    def receive(self, batch: list[Datagram]) -> None:
        now = clock()
        for link, source, data in batch:
            self.links.heard(data[0], link, source, len(data), now)
            self.links.receive(data[0], link, source, data[OVERHEAD_SESSION:], len(data), now)
        self.pump()

    def trouble(self, trouble: SocketTrouble) -> None:
        now = clock()
        if trouble.address is None:
            self.links.set_local(trouble.link, trouble.reason if trouble.kind == "unbound" else None, now)
        elif (peer := self.links.peer_at(trouble.link, trouble.address)) is not None:
            if trouble.kind == "too_big":
                self.links.too_big(peer, trouble.link, trouble.size, now, trouble.sure)
            else:
                self.links.refused(peer, trouble.link, now, trouble.reason, trouble.sure)
        self.pump()

    def pump(self) -> None:
        now = clock()
        due = self.links.next_timeout()
        if due is not None and now >= due:
            self.links.handle_timeout(now)
        while (send := self.links.poll_transmit(now)) is not None:
            data = HEAD.pack(self.me) + send.payload
            self.sockets.send_urgent(send.link, send.address, data)
            self.links.sent(send.peer, send.link, len(data), now)
        while (event := self.links.next_event()) is not None:
            self.events.append((now, event))
        if self.timer is not None:
            self.timer.cancel()
        due = self.links.next_timeout()
        self.timer = self.loop.call_later(max(0.001, due - now), self.pump) if due is not None else None

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.sockets.close()


class Pair:
    """Two hosts on two links of loopback addresses."""

    def __init__(self, ips: Callable[[NodeId, LinkId], str]) -> None:
        self.loop = uvloop.new_event_loop()
        base = 10_000 + os.getpid() % 20_000  # two runs at a time do not meet
        where = {(n, k): (ips(n, k), base + 10 * n + k) for n in (1, 2) for k in (0, 1)}
        self.hosts = {n: Host(self.loop, n, where) for n in (1, 2)}

    def until(self, holds: Callable[[], bool], seconds: float = 5.0) -> None:
        async def wait() -> None:
            async with asyncio.timeout(seconds):
                while not holds():
                    await asyncio.sleep(0.002)

        self.loop.run_until_complete(wait())

    def ready(self) -> bool:
        rows = [row for host in self.hosts.values() for row in host.links.rows()]
        return all(row.state == "up" and row.mtu == 1500 for row in rows)


@pytest.fixture(params=["IPv4", "IPv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair((lambda n, k: f"127.98.{k}.{n}") if request.param == "IPv4" else (lambda n, k: "::1"))
    yield made
    for host in made.hosts.values():
        host.close()
    made.loop.close()


def test_paths_come_up_and_measure(pair: Pair) -> None:
    """Both links up, path MTU at the cap, latencies of a loopback."""
    pair.until(pair.ready)
    rows = pair.hosts[1].links.rows()
    assert [row.active for row in rows] == [True, False]
    assert all(row.latency_s is not None and 0 < row.latency_s < 0.1 for row in rows)


def test_a_closed_peer_is_unreachable_by_refusal(pair: Pair) -> None:
    """Its sockets are gone: the kernel refuses on all links, and the peer is unreachable before any timeout."""
    pair.until(pair.ready)
    pair.hosts[2].close()
    one = pair.hosts[1]
    pair.until(lambda: not one.links.reachable())
    (_, change) = [(w, e) for w, e in one.events if isinstance(e, ReachabilityChange)][-1]
    assert change.refused and change.reason == "refused: nobody listens there"


def test_a_cut_of_link_0_moves_the_traffic_to_link_1(pair: Pair) -> None:
    """The lab's cut is seen by the paths as loss, and by nothing else."""
    pair.until(pair.ready)
    one, two = pair.hosts[1], pair.hosts[2]
    one.sockets.set_cuts({(one.links.route(2, False)[0][1][0], 0): "both"})
    pair.until(lambda: [route[0] for route in one.links.route(2, False)] == [1])
    pair.until(lambda: [route[0] for route in two.links.route(1, False)] == [1])
    downs = [e.link for _, e in one.events if isinstance(e, PathChange) and not e.up]
    assert downs == [0] and one.links.reachable() == {2}
