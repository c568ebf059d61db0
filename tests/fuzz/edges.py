"""Where bytes come in: datagrams of anybody, link messages and fragments of members, frames of local clients."""

from __future__ import annotations

import asyncio
import pickle
import socket
from functools import cache
from typing import Any

from clusterd.control import frames
from clusterd.control.connection import Connection
from clusterd.control.operations import OPERATIONS
from clusterd.control.server import ControlServer
from tests.clusterd.fake import FakeBackend
from tests.fuzz.draws import Draws
from tests.fuzz.mutation import changed
from tests.transport.link.net import Net, address
from tests.transport.security_world import SECRET, World, identity
from tests.transport.security_world import address as seen_from
from transport.core import SilentLog
from transport.handshake import INIT_SIZE, Init, encode_cookie, encode_init, encode_response
from transport.ids import NO_RING, NodeId, RingId
from transport.keyring import Keyring
from transport.link.fragments import MAX_PARTIAL_BYTES, MAX_PARTIAL_FRAMES, Fragmenter, Reassembler
from transport.link.links import Links
from transport.noise import public_key
from transport.security import Security

MAX_STEPS = 40


@cache
def _secured() -> tuple[World, list[bytes]]:
    world = World(count=3, links=2)
    world.run(0.5)
    return world, [packet.data for packet in world.seen]


def datagrams(data: bytes) -> None:
    """Any datagrams of strangers, and authentic control messages of a member, into the security core."""
    draw = Draws(data)
    world, recorded = _secured()
    victim, member = world.nodes[2], world.nodes[1]
    lines = len(world.logs[2].lines)
    for _ in range(MAX_STEPS):
        if not draw.more:
            break
        world.now += 0.001
        if draw.flag():
            victim.open(changed(draw, recorded), draw.below(8), seen_from(draw.of((1, 3, 9)), 0), world.now)
        elif (
            sealed := member.seal_session(2, 0, bytes([0x40 + draw.below(0x20)]) + draw.blob(90), world.now)
        ) is not None:
            victim.open(sealed, 0, seen_from(1, 0), world.now)
        _drained(victim, world.now)
    assert len(world.logs[2].lines) - lines <= MAX_STEPS


def _drained(security: Security, now: float) -> None:
    due = security.next_timeout()
    if due is not None and now >= due:
        security.handle_timeout(now)
    while security.poll_transmit(now) is not None or security.poll_session() is not None:
        pass
    while security.next_event() is not None:
        pass


_KEY = Keyring(1, SECRET).current
_HIS = public_key(identity(2))


def _forged(draw: Draws, recorded: list[bytes]) -> bytes:
    """A handshake datagram of somebody who has the cluster key, so that its checks by hash hold."""
    sender, index, other = draw.of((1, 3, 9)), draw.below(4), draw.below(4)
    like = changed(draw, recorded)
    match draw.below(3):
        case 0:
            noise = like[16:80].ljust(64, b"\0")
            return encode_init(sender, index, _KEY, noise, _HIS, draw.raw(16) if draw.flag() else None)
        case 1:
            return encode_response(sender, index, other, _KEY, like[12:68].ljust(56, b"\0"), _HIS)
        case _:
            asked = Init.decode(encode_init(2, index, _KEY, bytes(64), public_key(identity(1)), None))
            return encode_cookie(sender, public_key(identity(1)), _KEY, asked, draw.raw(16), draw.raw(16))


def handshake(data: bytes) -> None:
    """Handshakes of a peer with anything put between: changed, replayed, forged by who has only the cluster key."""
    draw = Draws(data)
    world = World(count=2)
    victim, recorded = world.nodes[2], [bytes(INIT_SIZE)]
    for _ in range(MAX_STEPS):
        if not draw.more:
            break
        world.now += draw.of((0.001, 0.1, 1.5))
        match draw.below(4):
            case 0:
                world.ping(draw.of((1, 2)))
                recorded += [packet.data for packet in world.wire]
                if draw.flag():
                    world.wire.clear()
                world.settle()
            case 1:
                victim.open(_forged(draw, recorded), 0, seen_from(draw.of((1, 9)), 0), world.now)
            case _:
                victim.open(changed(draw, recorded), 0, seen_from(draw.of((1, 9)), 0), world.now)
        _drained(victim, world.now)
    assert len(world.logs[2].lines) <= 2 * MAX_STEPS


def _no_ring(peer: NodeId, now: float) -> RingId:
    return NO_RING


@cache
def _linked() -> tuple[bytes, float, list[bytes]]:
    net = Net(nodes=3, links=2)
    for node in (1, 2, 3):
        net.start(node)
    net.run(102.0)
    for links in net.links.values():
        links.echo = _no_ring  # the net's own is a lambda: pickle would not take it
    return pickle.dumps(net.links[2]), net.now, [send.payload for _, _, send in net.log[-300:] if send.payload]


def links(data: bytes) -> None:
    """Any link messages of members, refusals and sizes the kernel tells."""
    draw = Draws(data)
    kept, now, recorded = _linked()
    core: Links = pickle.loads(kept)
    core.echo = _no_ring
    for _ in range(MAX_STEPS):
        if not draw.more:
            break
        now += draw.of((0.0001, 0.01, 0.1, 0.5))
        peer, link = draw.of((1, 3, 9)), draw.below(3)
        match draw.below(6):
            case 0:
                core.refused(peer, link, now, sure=draw.flag())
            case 1:
                core.too_big(peer, link, draw.number((1200, 1500)), now, draw.flag())
            case 2:
                core.set_local(link, draw.of((None, "gone")), now)
            case _:
                payload = changed(draw, recorded)
                core.heard(peer, link, address(peer, link), len(payload), now)
                core.receive(peer, link, address(draw.of((peer, 7)), link), payload, len(payload), now)
        due = core.next_timeout()
        if due is not None and now >= due:
            core.handle_timeout(now)
        for _ in range(2000):
            if core.poll_transmit(now) is None:
                break
        else:
            raise AssertionError("link messages without end")
        while core.next_event() is not None:
            pass


def fragments(data: bytes) -> None:
    """Any fragments of two members: bounded for each."""
    draw = Draws(data)
    core = Reassembler()
    cut = Fragmenter(1).cut(bytes(3000), 1200) + Fragmenter(2).cut(bytes(9000), 1200)
    now = 0.0
    for _ in range(200):
        if not draw.more:
            break
        now += draw.of((0.0, 0.01, 1.0))
        piece = changed(draw, cut)
        core.receive(draw.of((1, 3)), piece, now)
        for sender in (1, 3):
            assert core.held(sender) <= MAX_PARTIAL_BYTES
            assert sender not in core._senders or len(core._senders[sender].partial) <= MAX_PARTIAL_FRAMES
        due = core.next_timeout()
        if due is not None and now >= due:
            core.handle_timeout(now)


class _Wire(asyncio.Transport):
    """A client's end: counts what it is told, and reads it or not."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self.closed = False
        self.told = 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: Any) -> None:
        self.told += len(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@cache
def _requests() -> list[bytes]:
    asked = [frames.pack({"id": n, "op": name, "args": {}}) for n, name in enumerate(OPERATIONS)]
    ident = bytes(16).hex()
    asked += [
        frames.pack({"id": 90, "op": "fs_put", "args": {"path": "a", "data": b"x", "operation_id": ident}}),
        frames.pack({"id": 91, "op": "fs_watch", "args": {"path": "", "revision": None}}),
        frames.pack({"id": 92, "op": "fs_ls", "args": {"path": "", "recursive": True}}),
        frames.pack({"cancel": 91}),
        frames.pack({"part": b"x", "more": True}),
    ]
    return asked


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def local_socket(data: bytes) -> None:
    """Any frames of a local client into the control server."""
    draw = Draws(data)
    loop = _loop()
    server = ControlServer(FakeBackend(), "/nowhere", SilentLog())
    server.loop = loop
    ours, theirs = socket.socketpair()
    try:
        connection = Connection(server)

        async def served() -> None:
            wire = _Wire(ours)
            connection.connection_made(wire)
            if draw.byte() < 230:
                connection.data_received(frames.pack({"hello": 1, "client": "fuzz"}))
            for _ in range(20):
                if not draw.more or wire.closed:
                    break
                connection.data_received(draw.of(_requests()) if draw.byte() < 160 else changed(draw, _requests()))
                if draw.byte() < 40:
                    connection.pause_writing()
                    connection.resume_writing()
                for _ in range(draw.below(4)):
                    await asyncio.sleep(0)
            connection.connection_lost(None)
            await asyncio.sleep(0)

        loop.run_until_complete(served())
    finally:
        ours.close()
        theirs.close()
    assert server.stats.bugs == 0, "an operation failed with an error of ours"
    assert not server._connections
