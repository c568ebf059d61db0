"""Any bytes on any UDP port or local socket: counted and dropped; never a crash, a line per packet, or growth (X1)."""

from __future__ import annotations

import os
import random
import resource
import socket
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from clusterd.control import frames, sockets
from clusterd.lab import actions, files
from clusterd.lab.layout import Lab
from tests.live.cluster import ROOT, Cluster, eventually

pytestmark = pytest.mark.live
Make = Callable[..., Cluster]

FLOOD = 20_000
GROWTH = 24 << 20  # bytes of RSS a flood may cost: windows and tables, not its size
ETH_P_IP = 0x0800


def rss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


class Stranger:
    """Sends from an address of the lab's network that no node has."""

    def __init__(self, cluster: Cluster) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((f"127.{cluster.lab.base}.0.200", 0))
        self.targets = [(address, 5405 + link) for link, address in enumerate(cluster.lab.addresses(1))]

    def send(self, data: bytes) -> None:
        for target in self.targets:
            with suppress(OSError):
                self._sock.sendto(data, target)

    def close(self) -> None:
        self._sock.close()


def record(cluster: Cluster, count: int) -> list[bytes]:
    """Datagrams as the daemons send them: from the loopback device as root, else what reaches a stopped node."""
    found: list[bytes] = []
    base = f"127.{cluster.lab.base}."
    if os.geteuid() == 0:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)) as tap:
            tap.bind(("lo", ETH_P_IP))
            tap.settimeout(5.0)
            while len(found) < count:
                packet = tap.recv(65535)
                head = (packet[0] & 15) * 4
                if packet[9] == socket.IPPROTO_UDP and socket.inet_ntoa(packet[12:16]).startswith(base):
                    found.append(packet[head + 8 :])
        return found
    cluster.stop(3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((cluster.lab.addresses(3)[0], 5405))
        taken.settimeout(5.0)
        found = [taken.recv(65535) for _ in range(count // 10)]
    cluster.start(3)
    cluster.whole()
    return found


def test_hostile_datagrams(three: Cluster) -> None:
    """Random bytes, recorded datagrams cut and flipped and repeated, a flood from a stranger and from a member's own
    address: same ring, counters by kind, no line per packet, bounded memory."""
    cluster = three
    draw = random.Random(1)
    with cluster.client(1) as client:
        client.put("before", b"x")
    recorded = record(cluster, 200)
    assert len({data[1] for data in recorded}) >= (2 if os.geteuid() == 0 else 1)
    ring, pid, lines = cluster.ring(), cluster.pid(1), cluster.log(1).count("\n")
    before, memory = cluster.dropped(1), rss(pid)
    stranger = Stranger(cluster)
    try:
        for data in recorded:
            stranger.send(data)  # as they are: seen before
            stranger.send(data[: draw.randrange(len(data))])
            flipped = bytearray(data)
            flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            stranger.send(bytes(flipped))
        for _ in range(FLOOD // 2 // len(stranger.targets)):
            kind = draw.randrange(8)
            stranger.send(bytes((1, kind)) + draw.randbytes(draw.choice((0, 1, 14, 30, 60, 200, 1470))))
        for _ in range(FLOOD // 2 // len(stranger.targets)):
            stranger.send(draw.randbytes(draw.randrange(1, 300)))
        with cluster.client(2) as client:
            client.put("during", b"y")
    finally:
        stranger.close()

    kinds = ["malformed", "unknown_sender"]
    if os.geteuid() == 0:  # else only what was meant for another node could be recorded: to this one, unknown
        kinds += ["not_authentic", "replayed"]

    def counted() -> bool:
        now = cluster.dropped(1)
        return all(now[kind] > before[kind] for kind in kinds)

    eventually(f"counted by kind {kinds}", counted)
    print("dropped:", cluster.dropped(1), "RSS growth:", (rss(pid) - memory) >> 10, "KiB")
    assert cluster.pid(1) == pid
    assert [cluster.ring(node) for node in (1, 2, 3)] == [ring] * 3
    assert rss(pid) - memory < GROWTH
    assert cluster.log(1).count("\n") - lines <= 20
    assert "Traceback" not in cluster.log(1)


def test_hostile_bytes_on_the_local_socket(lab: Make) -> None:
    """Garbage, frames too large, half a frame, connections that say nothing: nobody else notices."""
    cluster = lab(1)
    path, pid = cluster.lab.socket(1), cluster.pid(1)
    draw = random.Random(2)
    memory, lines = rss(pid), cluster.log(1).count("\n")
    silent = [sockets.connect(path, 2.0) for _ in range(20)]
    half = [sockets.connect(path, 2.0) for _ in range(20)]
    for one in half:
        one.sendall(struct.pack("!I", 1000) + b"half of it")
    for number in range(300):
        with sockets.connect(path, 2.0) as one, suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            if number % 3 == 0:
                one.sendall(draw.randbytes(draw.randrange(1, 5000)))
            elif number % 3 == 1:
                one.sendall(
                    struct.pack("!I", draw.choice(((1 << 20) + 1 + number, 1 << 31))) if number % 2 else b"\xff" * 8
                )
            else:
                body = draw.randbytes(draw.randrange(1, 200))
                one.sendall(struct.pack("!I", len(body)) + body)
            one.shutdown(socket.SHUT_WR)
            while one.recv(65536):
                pass
    with sockets.connect(path, 2.0) as one, suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
        for _ in range(64):  # 64 MiB announced as one frame
            one.sendall(b"\xff" * (1 << 20))
    with cluster.client(1) as client:
        client.put("undisturbed", b"x")
    for one in silent + half:
        one.close()
    assert cluster.pid(1) == pid
    print("RSS growth:", (rss(pid) - memory) >> 10, "KiB")
    assert rss(pid) - memory < GROWTH
    assert cluster.log(1).count("\n") - lines <= 20
    assert "Traceback" not in cluster.log(1)


def test_more_connections_than_there_are_places(lab: Make) -> None:
    """Thousands that say nothing, some that stop within a frame: turned away or closed in time, and others get in."""
    cluster = lab(1)
    path, pid = cluster.lab.socket(1), cluster.pid(1)
    memory, lines = rss(pid), cluster.log(1).count("\n")
    kept: list[socket.socket] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # an ordinary user begins with 1024
    try:
        for number in range(2000):
            with suppress(BlockingIOError, TimeoutError):  # the kernel's queue is full: that is turning away, too
                kept.append(sockets.connect(path, 1.0))
                if number < 100:
                    kept[-1].sendall(frames.pack({"hello": 1, "client": "slow"}) + struct.pack("!I", 60_000) + b"x")
        turned_away = 0
        for one in kept[-100:]:
            one.settimeout(5.0)
            with suppress(ConnectionResetError, TimeoutError):
                turned_away += b"LIMIT" in one.recv(65536)
        assert turned_away > 0

        def got_in() -> bool:
            with cluster.client(1) as client:
                return bool(client.put("in", b"x"))

        eventually("a place is free when who says nothing is closed", got_in)
    finally:
        for one in kept:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert cluster.pid(1) == pid
    print(
        "connections:", len(kept), "told LIMIT of the last 100:", turned_away, "RSS growth:", (rss(pid) - memory) >> 10
    )
    assert rss(pid) - memory < GROWTH
    assert cluster.log(1).count("\n") - lines <= 20
    assert "Traceback" not in cluster.log(1)


def strangers(cluster: Cluster, node: int) -> int:
    return cluster.dropped(node)["unknown_sender"] + cluster.dropped(node)["not_authentic"]


def test_two_clusters_on_the_same_addresses(three: Cluster, tmp_path: Path) -> None:
    """Another cluster that is told the same addresses never gets a word in: each keeps its own members and tree."""
    cluster = three
    cluster.stop(3)
    cluster.together(1, 2)
    # The other cluster's third node takes the address that is free, and knows the first two by their addresses.
    foreign = Lab("other", str(tmp_path / "other"), cluster.lab.shape() | {"nodes": 3})
    files.write(foreign)
    other = Cluster("other", foreign)
    ring = cluster.ring()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before = strangers(cluster, 1)
    with Path(foreign.log(3)).open("ab") as log:
        daemon = subprocess.Popen(actions.daemon_command(foreign, 3), stderr=log, env=environment)
    try:
        eventually("they met", lambda: strangers(cluster, 1) >= before + 3)
        eventually("both ways", lambda: strangers(other, 3) >= 3)
        assert other.members(3) in ([], [3])
        assert cluster.ring(1) == cluster.ring(2) == ring
        with cluster.client(1) as client:
            client.put("undisturbed", b"x")
    finally:
        daemon.kill()
        daemon.wait()
