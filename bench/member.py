"""One daemon with an agent of the benchmark in its process:  python -m bench.member [OPTIONS OF clusterd]

It is clusterd as it is started in production, down to the command line; only the class Daemon is replaced by one
that also hands group messages to the agent. The agent is a local user of closed process groups: it submits through
node.groups and writes down, in CLOCK_MONOTONIC, when it submitted and when it got each message. That clock is the
same in all processes of a machine, so times of different nodes can be compared.

BENCH_CHANNEL: descriptor of the control channel. BENCH_WAKES: directory of the sockets by which agents tell each
other that a message has arrived; it is outside of what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import struct
import sys
import time
from array import array
from collections.abc import Awaitable, Callable
from typing import Any
from unittest import mock

from bench import channel
from clusterd import __main__ as clusterd_main
from clusterd.daemon import Daemon
from clusterd.events import NodeEvent
from transport.groups import GroupChange, GroupMessage

GROUP = b"bench"
HEAD = struct.Struct(">BQ")  # kind, sequence number
DATA, END = 0, 1


class Agent:
    """What the benchmark asks of one node. One question at a time."""

    def __init__(self, daemon: Daemon) -> None:
        self._node = daemon.node
        self._driver = daemon._driver
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._members: tuple[int, ...] = ()
        self._deliver: Callable[[int, int, int, bytes], None] | None = None
        self._wakes = os.environ["BENCH_WAKES"]
        self._wake = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._wake.bind(self._wake_path(self._node.me))
        self._loop.add_reader(self._wake.fileno(), self._woken)
        self._on_wake: Callable[[int], None] | None = None

    async def serve(self) -> None:
        """Answer questions until the benchmark is gone; then so are we."""
        sock = socket.socket(fileno=int(os.environ["BENCH_CHANNEL"]))
        operations: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "join": self._join,
            "measure": self._measure,
            "flood": self._flood,
        }
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 20)
        while (question := await channel.receive(reader)) is not None:
            try:
                answer = await operations[question.pop("op")](**question)
            except Exception as error:  # told to the benchmark, which ends the run
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(channel.pack(answer))
            await writer.drain()
        os.kill(os.getpid(), signal.SIGTERM)

    # -- the group -------------------------------------------------------------------------------------------

    def event(self, event: GroupMessage | GroupChange) -> None:
        if isinstance(event, GroupChange):
            self._members = tuple(member.node for member in event.members)
        elif self._deliver is not None:
            now = time.monotonic_ns()
            kind, seq = HEAD.unpack_from(event.payload)
            self._deliver(kind, seq, now, event.payload)

    def _submit(self, *payloads: bytes) -> None:
        def mcast(now: float) -> None:
            for payload in payloads:
                self._node.groups.mcast(GROUP, self._pid, payload)
            self._node.pump(now)

        self._driver.call(mcast)

    async def _join(self, members: list[int]) -> dict[str, Any]:
        """Be in the group, and wait until all `members` are."""

        def join(now: float) -> None:
            self._node.groups.join(GROUP, self._pid)
            self._node.pump(now)

        self._driver.call(join)
        while sorted(self._members) != members:
            await asyncio.sleep(0.01)
        return {}

    # -- one message at a time -------------------------------------------------------------------------------

    async def _measure(self, senders: list[int], count: int, size: int, interval: int, at: int) -> dict[str, Any]:
        """Messages 0..count-1; message s is sent by senders[s % len]. Ends when all were delivered here.

        interval 0: closed loop: the next one is sent when the last one was delivered in all nodes. Else one every
        so many nanoseconds, whatever becomes of the earlier ones. at: CLOCK_MONOTONIC ns of the first.
        """
        me, nodes = self._node.me, len(self._members)
        sent_seq, sent_at, got_seq, got_at = array("q"), array("q"), array("q"), array("q")
        padding = bytes(size - HEAD.size)
        done = self._loop.create_future()
        arrived = 0

        def send(seq: int) -> None:
            payload = HEAD.pack(DATA, seq) + padding
            sent_seq.append(seq)
            sent_at.append(time.monotonic_ns())
            self._submit(payload)

        def paced(seq: int) -> None:
            send(seq)
            if seq + len(senders) < count:
                schedule(seq + len(senders))

        def schedule(seq: int) -> None:
            due = at + seq * interval - time.monotonic_ns()
            self._loop.call_later(max(0.0, due / 1e9), paced, seq)

        def told(seq: int) -> None:
            nonlocal arrived
            arrived += 1
            if arrived == nodes:
                arrived = 0
                if seq + 1 < count:
                    send(seq + 1)

        def delivered(_kind: int, seq: int, now: int, _payload: bytes) -> None:
            got_seq.append(seq)
            got_at.append(now)
            if not interval:
                following = senders[(seq + 1) % len(senders)]
                if following == me:
                    self._loop.call_soon(told, seq)
                else:
                    self._tell(following, seq)
            if len(got_seq) == count:
                done.set_result(None)

        self._deliver, self._on_wake = delivered, told
        if not interval and senders[0] == me:
            self._loop.call_later(max(0.0, (at - time.monotonic_ns()) / 1e9), send, 0)
        elif interval and me in senders and senders.index(me) < count:
            schedule(senders.index(me))
        await done
        self._deliver = self._on_wake = None
        arrays = {"sent_seq": sent_seq, "sent_at": sent_at, "got_seq": got_seq, "got_at": got_at}
        return {name: values.tobytes() for name, values in arrays.items()}

    def _wake_path(self, node: int) -> str:
        return f"{self._wakes}/{node}"

    def _tell(self, node: int, seq: int) -> None:
        self._wake.sendto(seq.to_bytes(8, "big"), self._wake_path(node))

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                seq = int.from_bytes(self._wake.recv(8), "big")
                if self._on_wake is not None:
                    self._on_wake(seq)

    # -- as many as go through -------------------------------------------------------------------------------

    async def _flood(self, size: int, window: int, at: int, marks: list[int]) -> dict[str, Any]:
        """From `at` until the last of `marks` (CLOCK_MONOTONIC ns) keep `window` own messages under way.

        Answers with what was delivered here at each mark, and the hash of all deliveries in their order.
        """
        members = len(self._members)
        padding = os.urandom(size - HEAD.size)
        order = hashlib.sha256()
        delivered = octets = sent = own = ended = 0
        sending = False
        filling = False
        seen: list[tuple[int, int, int]] = []
        done = self._loop.create_future()
        before = os.times()

        def fill() -> None:
            nonlocal sent, filling
            filling = False
            if sending:
                room = window - (sent - own)
                if room > 0:
                    self._submit(*[HEAD.pack(DATA, seq) + padding for seq in range(sent, sent + room)])
                    sent += room

        def begin() -> None:
            nonlocal sending
            sending = True
            fill()

        def mark() -> None:
            nonlocal sending
            seen.append((time.monotonic_ns(), delivered, octets))
            if len(seen) == len(marks):
                sending = False
                self._submit(HEAD.pack(END, sent))

        def got(kind: int, _seq: int, _now: int, payload: bytes) -> None:
            nonlocal delivered, octets, own, ended, filling
            order.update(payload)
            if kind == END:
                ended += 1
                if ended == members:
                    done.set_result(None)
                return
            delivered += 1
            octets += len(payload)
            if payload.endswith(padding):  # every node pads with its own random bytes
                own += 1
                if not filling and sent - own <= window // 2:
                    filling = True
                    self._loop.call_soon(fill)

        self._deliver = got
        for when, action in [(at, begin), *((moment, mark) for moment in marks)]:
            self._loop.call_later(max(0.0, (when - time.monotonic_ns()) / 1e9), action)
        await done
        self._deliver = None
        after = os.times()
        return {
            "marks": seen,
            "sent": sent,
            "delivered": delivered,
            "hash": order.hexdigest(),
            "cpu_s": after.user + after.system - before.user - before.system,
        }


class MeasuredDaemon(Daemon):
    """The daemon, with an agent for the messages of groups."""

    _agent: Agent | None = None
    _serving: asyncio.Task[None] | None = None

    async def run(self, ready: Callable[[], None]) -> int:
        def begin() -> None:
            self._agent = Agent(self)
            self._serving = asyncio.get_running_loop().create_task(self._agent.serve())
            ready()

        return await super().run(begin)

    def _on_event(self, event: NodeEvent) -> None:
        if isinstance(event, GroupMessage | GroupChange):
            if self._agent is not None:
                self._agent.event(event)
        else:
            super()._on_event(event)


if __name__ == "__main__":
    with mock.patch("clusterd.daemon.Daemon", MeasuredDaemon):
        sys.exit(clusterd_main.main())
