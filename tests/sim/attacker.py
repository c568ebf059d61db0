"""Somebody without keys who sits on the network: hears every packet, and sends whatever is in their power.

They replay old packets to those they were meant for, also from before a restart or a key rotation; reflect packets to
their own sender, and to other nodes and links; copy packets to others, and overtake originals with copies; forge every
field of every outer header, and random bytes behind a right one; and flood, with junk and with recorded calls from many
addresses, so that nodes ask for cookies. They never hold a packet back: losing and delaying is the network's part.

tests/sim/checkers/attack.py judges what comes of it (X1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from tests.sim.clock import Clock
from tests.sim.network import BASE_PORT, IP_UDP, Address, Network
from transport.handshake import COOKIE, HANDSHAKE_INIT, RING
from transport.ids import LinkId, NodeId

TICK = {"replay": 0.01, "reflect": 0.01, "copy": 0.01, "forge": 0.01, "flood": 0.002}  # seconds between two of theirs
BURST = 8  # packets of a flood at once: 4,000 a second
KEPT = 2000  # packets they remember, and as many handshakes
OVERTAKES = 0.05  # share of the packets that a copy overtakes
HEADERS = {  # by type: where the fields of the outer header and of a handshake begin, docs/protocol-security.md
    1: (0, 1, 2, 4, 8, 16, 48, 80, 96),
    2: (0, 1, 2, 4, 8, 12, 44, 68),
    3: (0, 1, 2, 4, 8, 24),
    4: (0, 1, 2, 3, 4, 8, 16),
    5: (0, 1, 2, 4, 8, 16),
}


class Target(Protocol):
    """A machine as the network reaches it."""

    process_number: int

    @property
    def up(self) -> bool: ...
    def inject(self, link: LinkId, address: Address, data: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """A packet as it was sent, and which life of the sender sent it to which life of the receiver."""

    source: NodeId
    target: NodeId
    link: LinkId
    data: bytes
    lives: tuple[int, int]


class Attacker:
    """mtus: of each link; theirs is no better a network than the nodes'.

    arrived: packets of theirs that a process was given and must refuse, by node and its life.  did: the same by kind.
    """

    def __init__(
        self,
        clock: Clock,
        chance: Callable[[str], Random],
        network: Network,
        hosts: Mapping[NodeId, Target],
        links: Sequence[LinkId],
        mtus: Mapping[LinkId, int],
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._ears = chance("attacker")
        self._network = network
        self._hosts = hosts
        self._links = links
        self._mtus = mtus
        self._packets: list[Heard] = []
        self._calls: list[Heard] = []
        self._ring: set[tuple[NodeId, bytes]] = set()
        self._overtaking = 0
        self._generation = 0  # of the newest cluster key that a call named
        self._sent: Counter[tuple[NodeId, str]] = Counter()  # bytes, by node and our address
        self._answered: Counter[tuple[NodeId, str]] = Counter()
        self.arrived: Counter[tuple[NodeId, int]] = Counter()
        self.did: Counter[str] = Counter()

    # -- what they hear --------------------------------------------------------------------------------------

    def hear(self, source: NodeId, target: NodeId, link: LinkId, data: bytes) -> None:
        """A packet passes. Handshakes are rare and worth keeping; of all others a sample of the whole run is kept."""
        if len(data) + IP_UDP > self._mtus[link]:
            return  # it comes nowhere: as a copy on another link it would be new
        heard = Heard(source, target, link, data, (self._life(source), self._life(target)))
        self._known(target, data)
        kept = self._calls if data[1] <= COOKIE else self._packets
        if data[1] == HANDSHAKE_INIT:
            self._generation = max(self._generation, _generation(data))
        if len(kept) < KEPT:
            kept.append(heard)
        elif self._ears.random() < 0.05:
            kept[self._ears.randrange(KEPT)] = heard
        if self._overtaking and self._ears.random() < OVERTAKES:
            own = self._network.address(source, link)
            self._clock.after(20e-6, self._arrive, "copy", target, link, own, data, True)

    def answered(self, node: NodeId, address: Address, data: bytes) -> bool:
        """A node answers somebody who is none of the cluster. Is it us?"""
        ours = address[0].split(".")[2] == "66"
        if ours:
            self._answered[node, address[0]] += len(data)
            self.did["cookies asked for"] += data[1] == COOKIE
        return ours

    def _life(self, node: NodeId) -> int:
        return self._hosts[node].process_number

    # -- what they do ----------------------------------------------------------------------------------------

    def begin(self, kind: str, number: int, until: float) -> None:
        self._overtaking += kind == "copy"
        self._go_on(kind, self._chance(f"fault {number} {kind} at work"), until)

    def _go_on(self, kind: str, random: Random, until: float) -> None:
        if self._clock.now >= until:
            self._overtaking -= kind == "copy"
            return
        if kind == "flood":
            for _ in range(BURST):
                self._flood(random)
        else:
            heard = self._one(random)
            if heard is not None:
                self._abuse(kind, heard, random)
        self._clock.after(TICK[kind] * random.uniform(0.5, 1.5), self._go_on, kind, random, until)

    def _one(self, random: Random) -> Heard | None:
        kept = self._calls if self._calls and random.random() < 0.3 else self._packets
        return random.choice(kept) if kept else None

    def _abuse(self, kind: str, heard: Heard, random: Random) -> None:
        source = self._network.address(heard.source, heard.link)
        node, link, data = heard.target, heard.link, heard.data
        old = True  # the node has, or will have, refused or read it before
        match kind:
            case "replay":
                lives = (self._life(heard.source), self._life(node))
                self.did["replayed from before a restart"] += 0 not in heard.lives and lives != heard.lives
                past = data[1] == HANDSHAKE_INIT and _generation(data) < self._generation
                self.did["replayed from before a key rotation"] += past
                if random.random() < 0.2:
                    source = self._address(random, link)
            case "reflect":
                node, source = heard.source, self._network.address(node, link)
                if random.random() < 0.3:
                    link = random.choice(self._links)
            case "copy":
                node, link = random.choice(list(self._hosts)), random.choice(self._links)
            case "forge":
                data = forged(data, random)
        if data == heard.data:
            old = self._known(node, data) if data[1] == RING else heard.lives[1] > 0
        self._send(kind, node, link, source, data, old)

    def _known(self, node: NodeId, data: bytes) -> bool:
        """Was this packet brought to the node before? One of the ring is the same for all of them, and whoever is not
        meant by it does nothing: a copy may be the first that a node sees of it."""
        if data[1] != RING:
            return True
        place = (node, data[4:16])
        known = place in self._ring
        self._ring.add(place)
        return known

    def _flood(self, random: Random) -> None:
        """Recorded calls from many addresses, and junk of every size and type."""
        calls = [self._calls[random.randrange(len(self._calls))]] if self._calls else []
        call = next((heard for heard in calls if heard.data[1] == HANDSHAKE_INIT), None)
        if call is not None and random.random() < 0.6:
            brought = call.lives[1] > 0  # else this is the first time: nobody was there, and it is answered
            self._send("flood", call.target, call.link, self._address(random, call.link), call.data, brought)
            return
        node, link = random.choice(list(self._hosts)), random.choice(self._links)
        data = bytes((random.choice((0, 1, 1, 1, 2)), random.randrange(7))) + random.randbytes(random.randrange(1200))
        self._send("flood", node, link, self._address(random, link), data)

    def _address(self, random: Random, link: LinkId) -> Address:
        """One of ours: nobody else has it."""
        return (f"10.{link}.66.{random.randrange(1, 255)}", BASE_PORT + link)

    def _send(self, kind: str, node: NodeId, link: LinkId, source: Address, data: bytes, old: bool = True) -> None:
        self._sent[node, source[0]] += len(data)
        self._clock.after(_delay(len(data)), self._arrive, kind, node, link, source, data, old)

    def _arrive(self, kind: str, node: NodeId, link: LinkId, source: Address, data: bytes, old: bool) -> None:
        host = self._hosts[node]
        if len(data) + IP_UDP <= self._mtus[link] and host.inject(link, source, data):
            self.arrived[node, host.process_number] += old
            self.did[kind] += 1

    # -- for the checker -------------------------------------------------------------------------------------

    def amplified(self) -> list[tuple[NodeId, str]]:
        """Which nodes sent more bytes to one of our addresses than they had from it."""
        return sorted(place for place, count in self._answered.items() if count > self._sent[place])


def _generation(call: bytes) -> int:
    return int.from_bytes(call[8:16], "big")


def _delay(size: int) -> float:
    """Seconds on the way of a packet of ours: we are near."""
    return 0.0001 + size * 1e-8


def forged(data: bytes, random: Random) -> bytes:
    """The same with one field of its outer header changed, or with random bytes behind the header."""
    starts = HEADERS.get(data[1], (0, 1))
    if random.random() < 0.2:
        head = starts[-1]
        return data[:head] + random.randbytes(len(data) - head)
    place = random.randrange(len(starts))
    start = starts[place]
    end = starts[place + 1] if place + 1 < len(starts) else len(data)
    value = int.from_bytes(data[start:end], "big")
    most = (1 << 8 * (end - start)) - 1
    other = random.choice((0, most, value + 1, value - 1, value ^ 1 << random.randrange(8 * (end - start)), -1))
    field = random.randbytes(end - start) if other == -1 else (other & most).to_bytes(end - start, "big")
    return data[:start] + field + data[end:]
