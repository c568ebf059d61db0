"""The network between the simulated nodes: one directed path per pair and link, each with its own troubles.

A path loses, delays, reorders (by jitter and by holding a packet back), duplicates, corrupts and truncates datagrams,
swallows those above its MTU without a word, is cut in one direction, or is clogged: packets wait until it is opened
again and then come all at once. A datagram to a machine that runs but where nobody listens comes back as "refused".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

from tests.sim.clock import Clock
from transport.ids import LinkId, NodeId

Address = tuple[str, int]
PathKey = tuple[NodeId, NodeId, LinkId]
IP_UDP = 28  # bytes of IPv4 and UDP headers: what an MTU counts beside the payload
BASE_PORT = 5405
MAX_CLOGGED = 256  # datagrams a clogged path keeps; more are lost


@cache
def address_of(node: NodeId, link: LinkId) -> Address:
    return (f"10.{link}.{node >> 8}.{node & 255}", BASE_PORT + link)


@dataclass(slots=True)
class Conditions:
    """What a path does to datagrams. Shares are 0..1 per datagram; delay and jitter seconds, mtu bytes with headers."""

    delay: float = 0.0003
    jitter: float = 0.0001
    loss: float = 0.0
    reorder: float = 0.0  # held back by up to ten delays
    duplicate: float = 0.0
    corrupt: float = 0.0
    truncate: float = 0.0
    mtu: int = 1500


@dataclass(slots=True)
class Counts:
    """What became of the datagrams of a run."""

    sent: int = 0
    delivered: int = 0
    lost: int = 0
    nowhere: int = 0
    cut: int = 0
    too_big: int = 0
    duplicated: int = 0
    corrupted: int = 0
    truncated: int = 0
    reordered: int = 0
    clogged: int = 0
    refused: int = 0

    @property
    def damaged(self) -> int:
        return self.corrupted + self.truncated


@dataclass(slots=True, eq=False)
class Change:
    """What some trouble makes of a path's conditions, by name. Two that say the same are two.

    did: packets that fared otherwise for it: lost, doubled, damaged or held back by its word, too big for its MTU and
    not for the path's own, later by its delay.
    """

    values: dict[str, Any]
    did: int = 0


@dataclass(slots=True)
class Path:
    """One direction of one link between two nodes.

    conditions: base, and what each of the changes makes of it, the oldest first.
    causes: by the name of a condition, whose it is now.  cuts, clogs: how many faults hold it closed, and clogged.
    swallowed: packets that it took without a word while it was cut.  clogged: those that had to wait.
    """

    base: Conditions
    conditions: Conditions
    changes: list[Change] = field(default_factory=list)
    causes: dict[str, Change] = field(default_factory=dict)
    cuts: int = 0
    clogs: int = 0
    troubled: bool = False
    swallowed: int = 0
    clogged: int = 0

    def blame(self, name: str) -> None:
        """A packet fared as it did by this condition: whoever set it did something."""
        cause = self.causes.get(name)
        if cause is not None:
            cause.did += 1


class Network:
    """Datagrams between hosts. deliver(dst, src, link, data) hands one over; False: nobody listens there.

    heard: told of every datagram to a host: from, to, link, bytes.  elsewhere: where one goes to an address that is no
    host's: from, its address, bytes.
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        deliver: Callable[[NodeId, NodeId, LinkId, bytes], bool],
        refused: Callable[[NodeId, NodeId, LinkId], None],
    ) -> None:
        self._clock = clock
        self._random = random
        self._deliver = deliver
        self._refused = refused
        self._owner: dict[Address, tuple[NodeId, LinkId]] = {}
        self.bound: dict[tuple[NodeId, LinkId], Address] = {}
        self._waiting: dict[PathKey, list[bytes]] = {}
        self.paths: dict[PathKey, Path] = {}
        self.counts = Counts()
        self.heard: Callable[[NodeId, NodeId, LinkId, bytes], None] | None = None
        self.elsewhere: Callable[[NodeId, Address, bytes], None] | None = None

    def add(self, nodes: list[NodeId], links: list[LinkId], conditions: Callable[[PathKey], Conditions]) -> None:
        for link in links:
            for source in nodes:
                self._owner[address_of(source, link)] = self._owner.get(address_of(source, link), (source, link))
                self.bound[source, link] = address_of(source, link)
                for target in nodes:
                    if source != target:
                        key = (source, target, link)
                        base = conditions(key)
                        self.paths[key] = Path(base, base)
                        self._mind(key)

    def bind(self, node: NodeId, addresses: dict[LinkId, Address]) -> None:
        """The sockets that a process on this machine has now, and no others."""
        for link in [link for owner, link in self.bound if owner == node]:
            self._owner.pop(self.bound.pop((node, link)), None)
        for link, address in addresses.items():
            self.bound[node, link] = address
            self._owner[address] = (node, link)

    def address(self, node: NodeId, link: LinkId) -> Address:
        """Where this machine sends from."""
        return self.bound.get((node, link)) or address_of(node, link)

    def send(self, source: NodeId, link: LinkId, address: Address, data: bytes) -> None:
        """A datagram leaves the socket of `link` at `source`."""
        self.counts.sent += 1
        owner = self._owner.get(address)
        if owner is None or owner[1] != link or owner[0] == source:
            if owner is None and self.elsewhere is not None:
                self.elsewhere(source, address, data)
            self.counts.nowhere += 1
            return
        if self.heard is not None:
            self.heard(source, owner[0], link, data)
        key = (source, owner[0], link)
        path = self.paths[key]
        if path.troubled:
            self._troubled(key, path, data)
            return
        conditions = path.conditions
        if len(data) + IP_UDP > conditions.mtu:
            self._too_big(path, len(data))
            return
        delay = conditions.delay + conditions.jitter * self._random.random()
        if conditions.delay > path.base.delay:
            path.blame("delay")
        self._clock.at(self._clock.now + delay, self._arrive, key, data)

    def _too_big(self, path: Path, size: int) -> None:
        self.counts.too_big += 1
        if size + IP_UDP <= path.base.mtu:
            path.blame("mtu")

    def _troubled(self, key: PathKey, path: Path, data: bytes) -> None:
        conditions, random, counts = path.conditions, self._random, self.counts
        if path.cuts:
            counts.cut += 1
            path.swallowed += 1
            return
        if random.random() < conditions.loss:
            counts.lost += 1
            path.blame("loss")
            return
        if len(data) + IP_UDP > conditions.mtu:
            self._too_big(path, len(data))
            return
        copies = 1
        if random.random() < conditions.duplicate:
            counts.duplicated += 1
            path.blame("duplicate")
            copies = 2
        for _ in range(copies):
            sent = data
            if sent and random.random() < conditions.corrupt:
                counts.corrupted += 1
                path.blame("corrupt")
                place = random.randrange(len(sent))
                sent = sent[:place] + bytes([sent[place] ^ (1 << random.randrange(8))]) + sent[place + 1 :]
            if random.random() < conditions.truncate:
                counts.truncated += 1
                path.blame("truncate")
                sent = sent[: random.randrange(len(sent) + 1)]
            if path.clogs:
                waiting = self._waiting.setdefault(key, [])
                if len(waiting) < MAX_CLOGGED:
                    counts.clogged += 1
                    path.clogged += 1
                    waiting.append(sent)
                else:
                    counts.lost += 1
                continue
            delay = conditions.delay + conditions.jitter * random.random()
            if random.random() < conditions.reorder:
                counts.reordered += 1
                path.blame("reorder")
                delay += 10 * conditions.delay * random.random()
            if conditions.delay > path.base.delay:
                path.blame("delay")
            self._clock.at(self._clock.now + delay, self._arrive, key, sent)

    def _arrive(self, key: PathKey, data: bytes) -> None:
        source, target, link = key
        if self._deliver(target, source, link, data):
            self.counts.delivered += 1
            return
        back = (target, source, link)
        if not self.paths[back].cuts:
            self.counts.refused += 1
            self._clock.after(self.paths[back].conditions.delay, self._refused, source, target, link)

    # -- troubles --------------------------------------------------------------------------------------------

    def cut(self, key: PathKey) -> None:
        """One direction of one link; a packet already on its way still arrives."""
        self.paths[key].cuts += 1
        self._mind(key)

    def heal(self, key: PathKey) -> None:
        path = self.paths[key]
        path.cuts = max(0, path.cuts - 1)
        self._mind(key)

    def clog(self, key: PathKey) -> None:
        self.paths[key].clogs += 1
        self._mind(key)

    def unclog(self, key: PathKey) -> None:
        """What waited comes now, in a random order."""
        path = self.paths[key]
        path.clogs = max(0, path.clogs - 1)
        if not path.clogs:
            waiting = self._waiting.pop(key, [])
            self._random.shuffle(waiting)
            for data in waiting:
                delay = path.conditions.delay * (1 + self._random.random())
                self._clock.after(delay, self._arrive, key, data)
        self._mind(key)

    def change(self, key: PathKey, **values: Any) -> Change:
        """Set some conditions of a path until `change_back`. Several overlap freely: of two values the later holds."""
        change = Change(values)
        self.paths[key].changes.append(change)
        self._judge(key)
        return change

    def change_back(self, key: PathKey, change: Change) -> None:
        """One trouble is over; the others go on."""
        path = self.paths[key]
        if change in path.changes:  # else everything was calmed meanwhile
            path.changes.remove(change)
            self._judge(key)

    def _judge(self, key: PathKey) -> None:
        path = self.paths[key]
        path.conditions = replace(path.base)
        path.causes.clear()
        for change in path.changes:
            path.conditions = replace(path.conditions, **change.values)
            path.causes.update(dict.fromkeys(change.values, change))
        self._mind(key)

    def calm(self) -> None:
        """End every trouble: no cut, clog, loss or damage; delays and MTU as they were at first."""
        for key, path in self.paths.items():
            path.cuts = 0
            if path.clogs:
                path.clogs = 1
                self.unclog(key)
            path.base = replace(path.base, loss=0.0, reorder=0.0, duplicate=0.0, corrupt=0.0, truncate=0.0)
            path.changes.clear()
            self._judge(key)

    def _mind(self, key: PathKey) -> None:
        path = self.paths[key]
        c = path.conditions
        path.troubled = bool(path.cuts or path.clogs or c.loss or c.reorder or c.duplicate or c.corrupt or c.truncate)
