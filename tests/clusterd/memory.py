"""Whole nodes in memory over a perfect network with one fixed delay: for tests of what a node does, not of faults."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from cfs.disk import Adopt, AppendLog, Checkpoint, MarkCommit, TruncateTail
from clusterd.build import Remembered, build
from clusterd.changes import Loaded
from clusterd.config.schema import Who, load
from clusterd.events import NodeEvent
from clusterd.hosts import resolve
from clusterd.keystore import FIRST_GENERATION
from clusterd.node import Node
from clusterd.removals import Removals
from transport.core import SilentLog
from transport.events import Persist
from transport.keyring import Keyring
from transport.noise import public_key

DELAY = 0.0002
FSYNC = 0.001
SECRET = b"s" * 256


def entropy_of(seed: str) -> Callable[[int], bytes]:
    count = iter(range(1 << 60))
    return lambda size: hashlib.shake_128(f"{seed}/{next(count)}".encode()).digest(size)


def private(number: int) -> bytes:
    return hashlib.sha256(f"identity {number}".encode()).digest()


def text_of(nodes: int, links: int = 1, version: int = 1, extra: str = "") -> bytes:
    lines = [f"totem {{\n version: 2\n cluster_name: memory\n config_version: {version}\n}}", "nodelist {"]
    for n in range(1, nodes + 1):
        addresses = "".join(f"  ring{k}_addr: 10.0.{k}.{n}\n" for k in range(links))
        key = public_key(private(n)).hex()
        lines.append(f" node {{\n  nodeid: {n}\n  name: n{n}\n  identity: {key}\n{addresses} }}")
    return ("\n".join([*lines, "}", extra]) + "\n").encode()


@dataclass
class Host:
    node: Node
    events: list[NodeEvent] = field(default_factory=list)
    alive: bool = True


class Memory:
    """Nodes 1..n; `run(seconds)` lets virtual time pass."""

    def __init__(self, nodes: int, text: bytes | None = None) -> None:
        self.now = 1000.0
        self.text = text or text_of(nodes)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.cut: set[tuple[int, int]] = set()
        self.moved: dict[tuple[int, int], tuple[str, int]] = {}  # a node on a link: where it is, not where it is listed
        self.hosts: dict[int, Host] = {}
        self._boots: dict[int, int] = {}
        self.owner: dict[tuple[str, int], tuple[int, int]] = {}
        for n in range(1, nodes + 1):
            self.boot(n)

    def boot(self, n: int, removals: Removals | None = None, ring_seq: int = 0) -> None:
        who = Who(node=str(n))

        def loader(text: bytes) -> Loaded:
            config = load(text, who)
            return Loaded(config, resolve(config.transport, {}))

        loaded = loader(self.text)
        node = build(
            loaded,
            loader,
            private(n),
            Keyring(FIRST_GENERATION, SECRET),
            Remembered(ring_seq=ring_seq, removals=removals or Removals()),
            lambda: 1_700_000_000,
            entropy_of(f"{n}" + "+" * self._boots.setdefault(n, 0)),
            self.now,
            SilentLog(),
        )
        for (owner, link), address in loaded.resolve.items():
            self.owner[address] = (owner, link)
        self._boots[n] += 1
        self.hosts[n] = Host(node)
        node.start(self.now)
        self.settle(n)

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (when, self._count, what))

    def settle(self, n: int) -> None:
        host = self.hosts[n]
        if not host.alive:
            return
        node = host.node
        moved = True
        while moved:
            moved = False
            while (out := node.poll_transmit(self.now)) is not None:
                moved = True
                self._carry(n, out.link, out.address, out.data)
            while (event := node.next_event()) is not None:
                moved = True
                host.events.append(event)
                self._serve(n, event)

    def _carry(self, sender: int, link: int, address: tuple[str, int], data: bytes) -> None:
        elsewhere = {there: host for host, there in self.moved.items()}
        target, at = elsewhere.get(address) or self.owner.get(address, (0, 0))  # 0: listed, and never booted yet
        if not target or (sender, target) in self.cut or len(data) > 1472:
            return
        if self.moved.get((target, at), address) != address:
            return
        source = self.moved.get((sender, link)) or self.hosts[sender].node.changes.resolve[sender, link]

        def arrive() -> None:
            if self.hosts[target].alive:
                self.hosts[target].node.receive([(at, source, data)], self.now)
                self.settle(target)

        self.at(self.now + DELAY, arrive)

    def _serve(self, n: int, event: NodeEvent) -> None:
        host = self.hosts[n]
        if isinstance(event, AppendLog | Adopt | TruncateTail | Checkpoint):
            receipt = event.receipt
            self.at(
                self.now + FSYNC, lambda: self.give(n, lambda: host.node.disk_answered([(receipt, None)], self.now))
            )
        elif isinstance(event, Persist):
            number = event.receipt
            self.at(self.now + FSYNC, lambda: self.give(n, lambda: host.node.file_written(number, self.now)))
        elif isinstance(event, MarkCommit):
            pass

    def give(self, n: int, what: Callable[[], object]) -> None:
        """An input to node n, then everything that follows from it."""
        if self.hosts[n].alive:
            what()
            self.settle(n)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            due = {n: h.node.next_timeout() for n, h in self.hosts.items() if h.alive}
            timers = [(t, n) for n, t in due.items() if t is not None]
            when, n = min(timers, default=(end, 0))
            if self._queue and self._queue[0][0] <= when:
                when, _, what = heapq.heappop(self._queue)
                if when > end:
                    self.at(when, what)
                    break
                self.now = max(self.now, when)
                what()
            elif when <= end and n:
                self.now = max(self.now, when)
                host = self.hosts[n]
                self.give(n, lambda: host.node.handle_timeout(self.now))  # noqa: B023  called at once
            else:
                break
        self.now = end

    def kill(self, n: int) -> None:
        self.hosts[n].alive = False
