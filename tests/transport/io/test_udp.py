"""Real sockets on loopback: drain, trains and the plain path, cuts, errors, addresses gone and back."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator

import pytest
import uvloop

from transport.io.outqueue import DATA_BYTES, URGENT_MAX, OutQueue, trains
from transport.io.sockopts import SocketTrouble, has_gso, open_socket, use_gro
from transport.io.udp import Datagram, UdpSockets
from transport.link.events import Address

HOSTS = {4: ("127.99.0.1", "127.99.0.2"), 6: ("::1", "::1")}


def free_port(ip: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((ip, 0))
        return int(sock.getsockname()[1])


class End:
    """One node's sockets and all they told."""

    def __init__(self, loop: asyncio.AbstractEventLoop, addresses: dict[int, Address], **options: bool) -> None:
        self.batches: list[list[Datagram]] = []
        self.troubles: list[SocketTrouble] = []
        self.sockets = UdpSockets(loop, addresses, self.batches.append, self.troubles.append, **options)
        self.addresses = addresses

    @property
    def got(self) -> list[Datagram]:
        return [datagram for batch in self.batches for datagram in batch]

    @property
    def data(self) -> list[bytes]:
        return [data for _, _, data in self.got]


class World:
    """A loop and the ends made on it; `until` turns the loop until something holds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.ends: list[End] = []

    def end(self, *ips: str, **options: bool) -> End:
        """An end with one link per IP on free ports."""
        end = End(self.loop, {k: (ip, free_port(ip)) for k, ip in enumerate(ips)}, **options)
        self.ends.append(end)
        return end

    def until(self, holds: Callable[[], bool], seconds: float = 5.0) -> None:
        async def wait() -> None:
            async with asyncio.timeout(seconds):
                while not holds():
                    await asyncio.sleep(0.002)

        self.loop.run_until_complete(wait())

    def rest(self, seconds: float = 0.05) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))


@pytest.fixture(params=["uvloop", "asyncio"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    loop = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.SelectorEventLoop()
    made = World(loop)
    yield made
    for end in made.ends:
        end.sockets.close()
    loop.close()


def kernel_has(test: Callable[[socket.socket], bool]) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return test(sock)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(("gso", "gro"), [(True, True), (True, False), (False, True), (False, False)])
def test_every_datagram_arrives_whole_and_in_order(world: World, family: int, gso: bool, gro: bool) -> None:
    """Trains and the plain path carry the same datagrams (DESIGN 8)."""
    one, two = HOSTS[family]
    a, b = world.end(one, gso=gso, gro=gro), world.end(two, gso=gso, gro=gro)
    sizes = [1400] * 150 + [700, 1400, 1400, 1, 1, 9000, 1400]
    sent = [bytes([i % 251]) * size for i, size in enumerate(sizes)]
    a.sockets.send_batch([(0, b.addresses[0], data) for data in sent])
    world.until(lambda: len(b.got) >= len(sent))
    assert b.data == sent
    assert {source for _, source, _ in b.got} == {a.addresses[0]}
    if gso and kernel_has(has_gso):
        assert a.sockets.out_stats()[0].stats.trains >= 3
    else:
        assert a.sockets.out_stats()[0].stats.trains == 0
    if gso and gro and kernel_has(use_gro) and kernel_has(has_gso):
        assert b.sockets.stats.reads < len(sent) / 2
    if not gro:
        assert b.sockets.stats.reads == len(sent)


def test_all_sockets_are_read_before_the_core_sees_anything(world: World) -> None:
    """A token must not overtake multicasts that arrived on another link (LAYOUT trap 3): one batch for all links."""
    a, b = world.end("127.99.0.1", "127.99.1.1"), world.end("127.99.0.2", "127.99.1.2")
    for _ in range(3):
        a.sockets.send_batch([(k, b.addresses[k], b"x%d" % k) for k in (0, 1)])
    world.until(lambda: len(b.got) >= 6)
    assert len(b.batches) == 1
    assert sorted(link for link, _, _ in b.got) == [0, 0, 0, 1, 1, 1]


def test_one_wake_up_reads_a_bounded_number(world: World) -> None:
    """A flood does not keep the core from its turn: a wake-up ends after 1 MiB or 512 reads."""
    a, b = world.end("127.99.0.1", gso=False), world.end("127.99.0.2", gro=False)
    a.sockets.send_batch([(0, b.addresses[0], b"flood")] * 1500)
    world.until(lambda: len(b.got) >= 1500)
    assert max(len(batch) for batch in b.batches) <= 512


@pytest.mark.parametrize(("way", "to_b", "to_a"), [("both", False, False), ("in", True, False), ("out", False, True)])
def test_cuts_drop_at_the_socket(world: World, way: str, to_b: bool, to_a: bool) -> None:
    """A cut is datagrams dropped before opening and before sending, per peer address and link (CLI.md, lab)."""
    a, b = world.end("127.99.0.1", "127.99.1.1"), world.end("127.99.0.2", "127.99.1.2")
    a.sockets.set_cuts({("127.99.0.2", 0): way})  # type: ignore[dict-item]
    for link in (0, 1):
        a.sockets.send_batch([(link, b.addresses[link], b"there")] * 2)
        a.sockets.send_urgent(link, b.addresses[link], b"ping")
        b.sockets.send_batch([(link, a.addresses[link], b"back")])
    world.until(lambda: any(d[0] == 1 for d in a.got) and sum(d[0] == 1 for d in b.got) == 3)
    world.rest()
    assert any(link == 0 for link, _, _ in b.got) == to_b
    assert any(link == 0 for link, _, _ in a.got) == to_a
    assert a.sockets.stats.cut_out == (0 if to_b else 2)
    assert a.sockets.stats.cut_in == (0 if to_a else 1)
    a.sockets.set_cuts({})
    b.sockets.send_batch([(0, a.addresses[0], b"healed")])
    world.until(lambda: b"healed" in a.data)


@pytest.mark.parametrize("ip", ["127.99.0.9", "::1"])
def test_refused_is_told_with_the_peers_address_again_and_again(world: World, ip: str) -> None:
    """ECONNREFUSED reaches us from the error queue with the address it is about (knet.md section 12), every time."""
    a = world.end("::1" if ":" in ip else "127.99.0.1")
    nobody = (ip, free_port(ip))
    for times in (1, 2, 3):
        a.sockets.send_urgent(0, nobody, b"anybody there?")
        world.until(lambda times=times: len(a.troubles) >= times)  # type: ignore[misc]
    assert {(t.kind, t.address, t.sure) for t in a.troubles} == {("refused", nobody, False)}


def test_who_is_told_of_trouble_may_close_that_very_socket(world: World) -> None:
    """A refusal may be what ends a ring, and with it brings a configuration that moves the link into force."""
    failures: list[object] = []
    world.loop.set_exception_handler(lambda loop, context: failures.append(context))
    a = world.end("127.99.0.1")
    a.sockets._on_error = lambda trouble: (a.troubles.append(trouble), a.sockets.reconfigure({}))[0]
    nobody = ("127.99.0.9", free_port("127.99.0.9"))
    for _ in range(3):
        a.sockets.send_urgent(0, nobody, b"anybody there?")
    world.until(lambda: bool(a.troubles))
    world.rest()
    assert failures == [] and a.sockets.facts() == []


def test_a_refusal_does_not_cost_another_peer_its_datagram(world: World) -> None:
    """The kernel reports an old refusal at the next send, whomever it goes to: that send is repeated."""
    a, b = world.end("127.99.0.1"), world.end("127.99.0.2")
    nobody = ("127.99.0.9", free_port("127.99.0.9"))
    for _ in range(20):
        a.sockets.send_urgent(0, nobody, b"nobody")
        a.sockets.send_urgent(0, b.addresses[0], b"somebody")
    world.until(lambda: len(b.got) == 20)
    assert all(t.address == nobody for t in a.troubles)


def test_too_big_is_told_with_what_passes(world: World) -> None:
    """DF is set: a datagram above the interface's MTU comes back as EMSGSIZE, with the size that would pass."""
    a, b = world.end("127.99.0.1"), world.end("127.99.0.2")
    a.sockets.send_urgent(0, b.addresses[0], bytes(65507))
    a.sockets.send_batch([(0, b.addresses[0], b"small")])
    world.until(lambda: b.data[-1:] == [b"small"])
    world.rest()
    # loopback takes 65536 bytes of IP, so 65507 passes; nothing larger is a UDP datagram at all
    assert len(b.data[0]) == 65507
    a.sockets.send_urgent(0, b.addresses[0], bytes(65508))
    world.until(lambda: bool(a.troubles))
    assert {t.kind for t in a.troubles} == {"too_big"}


def test_unreachable_is_told_as_sure(world: World) -> None:
    """No route from this address: our own kernel says so, at once."""
    a = world.end("127.99.0.1")
    a.sockets.send_urgent(0, ("192.0.2.1", 5405), b"out of a loopback address")
    world.until(lambda: bool(a.troubles))
    assert a.troubles[0].kind == "unreachable" and a.troubles[0].sure and a.troubles[0].address == ("192.0.2.1", 5405)


def test_a_link_that_cannot_be_bound_is_told_and_retried_and_the_others_go_on(world: World) -> None:
    """An address that is not there costs that link only, and comes back by itself (knet.md section 15, ifdown)."""
    port = free_port("127.99.1.2")
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.99.1.2", port))
    a = world.end("127.99.0.1", "127.99.1.1")
    b = End(world.loop, {0: ("127.99.0.2", free_port("127.99.0.2")), 1: ("127.99.1.2", port)})
    world.ends.append(b)
    world.until(lambda: bool(b.troubles))
    assert [(t.kind, t.link, t.address) for t in b.troubles] == [("unbound", 1, None)]
    a.sockets.send_batch([(0, b.addresses[0], b"link 0 works")])
    world.until(lambda: b.data == [b"link 0 works"])
    taken.close()
    world.until(lambda: len(b.troubles) == 2)
    assert (b.troubles[1].kind, b.troubles[1].link) == ("bound", 1)
    a.sockets.send_batch([(1, b.addresses[1], b"link 1 too")])
    world.until(lambda: b.data[-1] == b"link 1 too")


def test_reconfigure_moves_one_link_and_leaves_the_others(world: World) -> None:
    """Addresses and links change live (DESIGN 6)."""
    a, b = world.end("127.99.0.1", "127.99.1.1"), world.end("127.99.0.2", "127.99.1.2")
    moved = ("127.99.1.3", free_port("127.99.1.3"))
    before = b.sockets.out_stats()[0]
    b.sockets.reconfigure({0: b.addresses[0], 1: moved, 2: ("127.99.2.2", free_port("127.99.2.2"))})
    assert b.sockets.out_stats()[0] is before
    assert [f.link for f in b.sockets.facts()] == [0, 1, 2]
    a.sockets.send_batch([(1, b.addresses[1], b"old"), (1, moved, b"new"), (0, b.addresses[0], b"same")])
    world.until(lambda: len(b.got) >= 2)
    world.rest()
    assert sorted(b.data) == [b"new", b"same"]
    b.sockets.reconfigure({0: b.addresses[0]})
    assert [f.link for f in b.sockets.facts()] == [0]


def test_a_link_without_a_socket_is_counted(world: World) -> None:
    """Sending on a link that is not bound is counted, never an error."""
    a = world.end("127.99.0.1")
    a.sockets.send_batch([(5, ("127.99.0.2", 1), b"x")] * 3)
    a.sockets.send_urgent(5, ("127.99.0.2", 1), b"x")
    assert a.sockets.stats.unsent == 4


def test_facts_say_what_was_got(world: World) -> None:
    """The receive buffer the kernel granted is reported, not the one asked for (knet.md section 12)."""
    a = world.end("127.99.0.1")
    (facts,) = a.sockets.facts()
    assert facts.address == a.addresses[0] and facts.receive_buffer >= 4096 and facts.send_buffer >= 4096


@pytest.mark.parametrize(
    ("ip", "level", "option"),
    [("127.99.0.1", socket.IPPROTO_IP, socket.IP_TOS), ("::1", socket.IPPROTO_IPV6, socket.IPV6_TCLASS)],
)
def test_datagrams_are_marked_as_network_control(ip: str, level: int, option: int) -> None:
    """DSCP CS6 for IPv4 and IPv6 alike (knet.md section 16 point 9)."""
    with open_socket((ip, 0)) as sock:
        assert sock.getsockopt(level, option) == 48 << 2


class FakeSocket:
    """Takes `room` datagrams, then is full; `fail` maps an address to the errno it gives; `pending` are told first."""

    def __init__(self, room: int = 10**9) -> None:
        self.room = room
        self.sent: list[tuple[Address, bytes]] = []
        self.fail: dict[Address, int] = {}
        self.train_errno = 0
        self.pending: list[int] = []

    def sendto(self, data: bytes, address: Address, /) -> int:
        if self.pending:
            raise OSError(self.pending.pop(), "of an earlier datagram")
        if address in self.fail:
            raise OSError(self.fail[address], "made up")
        if self.room <= 0:
            raise BlockingIOError(errno.EAGAIN, "full")
        self.room -= 1
        self.sent.append((address, data))
        return len(data)

    def sendmsg(self, buffers, ancdata, flags, address, /) -> int:  # type: ignore[no-untyped-def]
        if self.train_errno:
            raise OSError(self.train_errno, "made up")
        if self.room < len(buffers):
            raise BlockingIOError(errno.EAGAIN, "full")
        return sum(self.sendto(data, address) for data in buffers)


TO: Address = ("10.0.0.2", 5405)


def test_a_full_socket_makes_data_wait_and_urgent_goes_first() -> None:
    """The sender never sleeps; heartbeat is dropped last (knet.md section 16 point 8)."""
    sock = FakeSocket(room=1)
    queue = OutQueue(sock, True, lambda code, address, size: None)
    queue.data(TO, [b"a", b"b", b"c"])
    queue.urgent(TO, b"ping")
    queue.data(TO, [b"d"])
    assert queue.waiting and [data for _, data in sock.sent] == [b"a"]
    sock.room = 2
    queue.writable()
    assert [data for _, data in sock.sent] == [b"a", b"ping", b"b"]
    sock.room = 9
    queue.writable()
    assert [data for _, data in sock.sent] == [b"a", b"ping", b"b", b"c", b"d"] and not queue.waiting


def test_what_waits_is_bounded() -> None:
    """A socket that stays full costs a bounded amount of memory; the rest is dropped and counted."""
    queue = OutQueue(FakeSocket(room=0), True, lambda code, address, size: None)
    block = bytes(60_000)
    fits = DATA_BYTES // len(block)
    queue.data(TO, [block] * (fits + 5))
    for _ in range(URGENT_MAX + 7):
        queue.urgent(TO, b"ping")
    assert queue.stats.dropped == 5 + 7


@pytest.mark.parametrize("code", [errno.EIO, errno.EOPNOTSUPP, errno.EINVAL, errno.EMSGSIZE])
def test_a_refused_train_goes_datagram_by_datagram(code: int) -> None:
    """Where a device cannot cut trains the plain path carries on; EIO and EOPNOTSUPP switch trains off for good."""
    sock = FakeSocket()
    sock.train_errno = code
    queue = OutQueue(sock, True, lambda code, address, size: None)
    queue.data(TO, [b"aa", b"bb"])
    assert [data for _, data in sock.sent] == [b"aa", b"bb"]
    assert queue.gso == (code in (errno.EINVAL, errno.EMSGSIZE))


def test_a_size_refused_is_told_with_its_size() -> None:
    """EMSGSIZE at the send names the datagram's size; the rest of the batch goes on."""
    sock = FakeSocket()
    other: Address = ("10.0.0.3", 5405)
    sock.fail[other] = errno.EMSGSIZE
    told: list[tuple[int, Address, int]] = []
    queue = OutQueue(sock, False, lambda *what: told.append(what))
    queue.data(other, [bytes(9000)])
    queue.data(TO, [b"x"])
    assert told == [(errno.EMSGSIZE, other, 9000)] and sock.sent == [(TO, b"x")]


def test_errors_of_earlier_datagrams_are_never_our_own_kernels_word() -> None:
    """A send reports what ICMP said of earlier ones, which anybody can forge: as many as there are, it is tried again,
    and a refusal is never told here (the error queue tells it, as what it is)."""
    sock = FakeSocket()
    sock.pending = [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH]
    told: list[tuple[int, Address, int]] = []
    queue = OutQueue(sock, False, lambda *what: told.append(what))
    queue.urgent(TO, b"x")
    assert told == [] and sock.sent == [(TO, b"x")]
    sock.pending = [errno.ECONNREFUSED] * 100
    queue.urgent(TO, b"y")
    assert told == [] and queue.stats.failed == 1
    sock.pending = []
    sock.fail[TO] = errno.ENETUNREACH  # no route: every time
    queue.urgent(TO, b"z")
    assert [code for code, _, _ in told] == [errno.ENETUNREACH]


def test_trains_are_runs_of_equal_size_with_a_shorter_last() -> None:
    """What one kernel call may carry: at most 64 segments and one IP packet's worth of bytes (udp(7))."""
    batch = [bytes(n) for n in (100, 100, 50, 100, 200, 200, 10, 20)]
    assert [[len(d) for d in run] for run in trains(batch)] == [[100, 100, 50], [100], [200, 200, 10], [20]]
    many = list(trains([bytes(10)] * 200))
    assert [len(run) for run in many] == [64, 64, 64, 8]
    large = list(trains([bytes(9000)] * 20))
    assert [len(run) for run in large] == [7, 7, 6]
