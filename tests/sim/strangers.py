"""Another cluster on the same network: real nodes of the product, with other keys, whose file lists machines of ours.

Somebody gave two clusters overlapping addresses: two nodes of theirs form a ring, and call two of ours, which they
believe to be theirs too, under ids of their own. They have the public identities of ours, as anybody may; of the
cluster key they have another. Their disks never answer: only what goes over the network matters here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Protocol

from cfs.disk import StoreImage
from clusterd.build import Remembered, build
from clusterd.changes import Loaded
from clusterd.config.schema import Who, load
from clusterd.hosts import resolve
from clusterd.node import Node
from tests.sim.build import public_half
from tests.sim.clock import Clock
from tests.sim.network import Address, Network
from tests.sim.trace import NodeLog, Trace
from transport.events import Persist
from transport.ids import LinkId, NodeId
from transport.keyring import Keyring

THEIRS = (1, 2)  # their node ids; behind them come those they gave to ours
DELAY = 0.0004  # seconds from or to them


class Target(Protocol):
    """A machine of ours as the network reaches it."""

    process_number: int

    def inject(self, link: LinkId, address: Address, data: bytes) -> bool: ...


class Strangers:
    """One such cluster. arrived: packets of theirs that a process of ours was given, by node and its life."""

    def __init__(
        self,
        name: str,
        part: int,
        clock: Clock,
        random: Random,
        network: Network,
        hosts: Mapping[NodeId, Target],
        ours: Mapping[NodeId, bytes],
        trace: Trace,
    ) -> None:
        """part: the third part of their addresses.  ours: node -> public identity, of those they call."""
        self._clock = clock
        self._random = random
        self._network = network
        self._hosts = hosts
        self._part = part
        self._trace = trace
        self._nodes: dict[NodeId, Node] = {}
        self._at: dict[Address, NodeId] = {}
        self._ours: dict[Address, NodeId] = {network.address(node, 0): node for node in ours}
        self._private = {node: random.randbytes(32) for node in THEIRS}
        self._secret = random.randbytes(128)
        self._text = self._file(name, ours)
        self._running = False
        self._due: dict[NodeId, float] = {}
        self.arrived: Counter[tuple[NodeId, int]] = Counter()
        self.members: set[NodeId] = set()  # of every configuration that one of them ever installed

    def _file(self, name: str, ours: Mapping[NodeId, bytes]) -> bytes:
        addresses = {node: f"10.0.{self._part}.{node}" for node in THEIRS}
        identities = {node: public_half(private) for node, private in self._private.items()}
        for given, (node, identity) in enumerate(ours.items(), THEIRS[-1] + 1):
            addresses[given], identities[given] = self._network.address(node, 0)[0], identity
        nodes = "".join(
            f"  node {{\n    nodeid: {node}\n    name: s{node}\n    ring0_addr: {addresses[node]}\n"
            f"    identity: {identities[node].hex()}\n  }}\n"
            for node in addresses
        )
        totem = f"totem {{\n  version: 2\n  cluster_name: {name}\n  config_version: 1\n}}\n"
        return f"{totem}quorum {{\n  provider: corosync_votequorum\n}}\nnodelist {{\n{nodes}}}\n".encode()

    def begin(self) -> None:
        self._running = True
        for me in THEIRS:
            self._start(me)

    def end(self) -> None:
        self._running = False

    def _start(self, me: NodeId) -> None:
        who = Who(node=str(me))

        def loader(text: bytes) -> Loaded:
            config = load(text, who)
            return Loaded(config, resolve(config.transport, {}), ())

        keyring = Keyring(1, self._secret)
        now, log = self._clock.now, NodeLog(self._trace, 0, lambda: self._clock.now)
        remembered = Remembered(store=StoreImage())
        private, entropy = self._private[me], self._random.randbytes
        node = build(loader(self._text), loader, private, keyring, remembered, lambda: 0, entropy, now, log)
        self._nodes[me] = node
        self._at[node.changes.resolve[me, 0]] = me
        node.start(now)
        self._after(me)

    def hear(self, source: Address, address: Address, data: bytes) -> bool:
        """Something was sent to `address`. Is it one of theirs?"""
        me = self._at.get(address)
        if me is not None:
            self._clock.after(DELAY, self._arrive, me, source, data)
        return me is not None

    def _arrive(self, me: NodeId, source: Address, data: bytes) -> None:
        if self._running:
            self._nodes[me].receive([(0, source, data)], self._clock.now)
            self._after(me)

    def _after(self, me: NodeId) -> None:
        node, now = self._nodes[me], self._clock.now
        while True:
            while (transmit := node.poll_transmit(now)) is not None:
                self._send(node.changes.resolve[me, 0], transmit.address, transmit.data)
            event = node.next_event()
            if event is None:
                break
            if isinstance(event, Persist) and event.receipt:
                self._clock.after(0.001, self._written, me, event.receipt)
        if node.configuration is not None:
            self.members.update(node.configuration.members)
        due = node.next_timeout()
        if due is not None and due != self._due.get(me):
            self._due[me] = due
            self._clock.at(due, self._timer, me, due)

    def _send(self, source: Address, address: Address, data: bytes) -> None:
        if not self.hear(source, address, data) and address in self._ours:
            self._clock.after(DELAY, self._reach, self._ours[address], source, data)

    def _reach(self, node: NodeId, source: Address, data: bytes) -> None:
        host = self._hosts[node]
        if host.inject(0, source, data):
            self.arrived[node, host.process_number] += 1

    def _written(self, me: NodeId, receipt: int) -> None:
        if self._running:
            self._nodes[me].file_written(receipt, self._clock.now)
            self._after(me)

    def _timer(self, me: NodeId, due: float) -> None:
        if self._running and self._nodes[me].next_timeout() == due:
            self._nodes[me].handle_timeout(self._clock.now)
            self._after(me)
