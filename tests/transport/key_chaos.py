"""Nodes' security under somebody who has every datagram ever sent and may send it again: one run from a seed.

    python -m tests.transport.key_chaos [FIRST] [COUNT]

Nodes talk, restart, notice that the time jumped, and one may be removed; recorded datagrams of all kinds come again, to
whomever, at any time, and some come late for the first time. Judged from outside, by docs/protocol-security.md:

    X1  what was said on the ring is heard once by each process, and never by one that started afterwards; no counter of
        a key is used twice; a handshake or anything else that is repeated cuts nobody off
    X2  who was removed is heard by nobody, and hears nothing of the ring once the others have new keys
    L1  left in peace, all hear each other
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace

from tests.transport.security_world import Packet, World, address
from transport.handshake import HANDSHAKE_INIT, HANDSHAKE_RESPONSE, RING, SESSION
from transport.ids import NodeId
from transport.sender_keys import GRACE, REMOVAL_LIMIT, RENEW_AFTER

STEPS = 40
BURST = 70_000  # datagrams, more than the window of a sender key is wide
SIEGE = 4.0
NEW_KEYS = REMOVAL_LIMIT + 1.0  # seconds until a removed node hears nothing more


class Broken(Exception):  # noqa: N818  the field's word
    """A promise was broken: `promise` is its name in DESIGN 4."""

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(f"{promise}: {text}")
        self.promise = promise
        self.text = text


class Chaos:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.world = World(self.random.choice((2, 3, 3, 4)), self.random.choice((1, 2)), seed)
        self.lives = dict.fromkeys(self.world.nodes, 0)
        self.said: dict[bytes, tuple[NodeId, dict[NodeId, int], float]] = {}  # by whom; who lived then, and since when
        self.headers: dict[tuple[NodeId, int, bytes], bytes] = {}
        self.checked = dict.fromkeys(self.world.nodes, 0)
        self.removed: NodeId | None = None
        self.removed_at = 0.0
        self.number = 0
        self.held: list[Packet] = []
        self.withheld = self.random.choice((0.0, 0.1, 0.3))  # of the sessions' datagrams, kept back for later
        self.began = dict.fromkeys(self.world.nodes, 0)  # what had been sent when the process began
        self.siege: NodeId | None = None
        self.answered: set[tuple[NodeId, NodeId, bytes]] = set()  # in a siege: by whom, whom, the number of the call
        self.world.filter = self._on_its_way

    def _on_its_way(self, packet: Packet) -> list[Packet]:
        if self.siege is not None and packet.kind == HANDSHAKE_INIT:
            return [packet, *self._calls_again(packet)]
        if self.siege is not None and packet.kind == HANDSHAKE_RESPONSE:
            answer = packet.sender, packet.receiver, packet.data[8:12]
            if answer in self.answered:
                raise Broken("X1", f"node {packet.sender} answered one call of node {packet.receiver} again")
            self.answered.add(answer)
        if packet.kind == SESSION and self.random.random() < self.withheld:
            self.held.append(packet)
            return []
        return [packet]

    def go(self) -> None:
        world, rng = self.world, self.random
        world.run(1.0)
        for _ in range(STEPS):
            rng.choice((self._talk, self._talk, self._talk, self._replay, self._replay, self._event))()
            world.run(rng.choice((0.0, 0.02, 0.3, 1.0)))
            self._look()
        if rng.random() < 0.15:
            self._burst()
        aside = random.Random(f"{self.seed} aside")  # of their own: runs without them stay as they are
        if aside.random() < 0.3:
            self._siege(aside)
        if aside.random() < 0.3:
            self._key_held_back(aside)
        if aside.random() < 0.3:
            self._first_packets_held_back(aside)
        self.withheld = 0.0
        world.run(NEW_KEYS + 1.0)
        self._talk()
        world.settle()
        self._look()
        for first in self._members():
            for second in self._members():
                if first < second and not world.connected(first, second):
                    raise Broken("L1", f"nodes {first} and {second} have no session though nothing troubles them")
                if first != second and not world.ring_works(first, second):
                    raise Broken("L1", f"node {second} does not hear node {first} on the ring")

    def _members(self) -> list[NodeId]:
        return [node for node in sorted(self.world.nodes) if node != self.removed]

    # -- what happens ----------------------------------------------------------------------------------------

    def _talk(self) -> None:
        for _ in range(self.random.choice((1, 3, 20))):
            self._say(self.random.choice(sorted(self.world.nodes)))
        self.world.settle()

    def _say(self, node: NodeId) -> None:
        self.number += 1
        payload = b"\x00%d of node %d" % (self.number, node)
        self.said[payload] = (node, dict(self.lives), self.world.now)
        data = self.world.multicast(node, payload)
        head = (node, self.lives[node], data[:16])
        if self.headers.setdefault(head, data) != data:
            raise Broken("X1", f"node {node} sealed two datagrams under counter {int.from_bytes(data[8:16], 'big')}")

    def _replay(self) -> None:
        """Some of what was ever sent comes again, as it was or to another node, from another place."""
        world, rng = self.world, self.random
        if rng.random() < 0.3:
            held, self.held = self.held, []
            for packet in held:
                world.deliver(packet)
        together = {(a, b) for a in self._members() for b in self._members() if a < b and self._connected(a, b)}
        for old in rng.choices(world.seen, k=min(len(world.seen), 60)):
            receiver = old.receiver if rng.random() < 0.8 else rng.choice(sorted(world.nodes))
            link = old.link if rng.random() < 0.8 else rng.randrange(world.links)
            source = old.source if rng.random() < 0.5 else address(99, link)
            world.deliver(Packet(old.sender, receiver, link, source, old.data))
        for first, second in sorted(together):
            if not self._connected(first, second):
                raise Broken("X1", f"datagrams that came again cut nodes {first} and {second} off from each other")

    def _connected(self, first: NodeId, second: NodeId) -> bool:
        return self.world.connected(first, second)

    def _event(self) -> None:
        world, rng = self.world, self.random
        node = rng.choice(self._members())
        match rng.choice(("restart", "restart", "jump", "remove", "wait")):
            case "restart":
                self._restart(node)
            case "jump":
                self.began[node] = len(world.seen)
                world.nodes[node].renew(world.now)
            case "wait":  # long enough for a new session and a new sender key
                world.run(rng.choice((5.0, 130.0)))
            case "remove" if self.removed is None and len(world.nodes) > 2:
                self.removed, self.removed_at = node, world.now
                for other in self._members():
                    world.nodes[other].remove(node, 0, "the test", world.now)

    def _restart(self, node: NodeId) -> None:
        self.lives[node] += 1
        self.began[node] = len(self.world.seen)
        self.world.start(node, peers=set(self._members()))

    def _siege(self, rng: random.Random) -> None:
        """A node restarts, and behind each call, of it or to it, come old ones once more: each too old to be worked on.
        None is answered a second time, and the call just made has a place when it is confirmed."""
        node = rng.choice(self._members())
        self._restart(node)
        self.siege, self.withheld = node, 0.0
        self.answered.clear()
        self.world.run(SIEGE)
        self.siege = None
        for other in self._members():
            if other != node and not self._connected(node, other):
                raise Broken("X1", f"calls that came again kept nodes {node} and {other} apart for {SIEGE:g} s")

    def _calls_again(self, call: Packet) -> list[Packet]:
        """Calls of a process that the receiver has known, or of the calling one: who has started knows nobody."""
        knows = call.receiver if call.sender == self.siege else call.sender
        calls = [p for p in self.world.seen[self.began[knows] :] if p.kind == HANDSHAKE_INIT]
        old = [p for p in calls if (p.sender, p.receiver) == (call.sender, call.receiver) and p is not call]
        return [replace(p) for p in (old * 12)[:12]]

    def _key_held_back(self, rng: random.Random) -> None:
        """A sender key is handed over more than once, as its first datagrams are late. When its time is over one of
        these comes, and then all that was recorded under that key: it is not taken with an empty window."""
        world = self.world
        sender, receiver = rng.sample(self._members(), 2)
        first, late = len(world.seen), []

        def hold(packet: Packet) -> list[Packet]:
            between = {packet.sender, packet.receiver} == {sender, receiver}
            if packet.kind != SESSION or not between or rng.random() < 0.5:
                return [packet]
            if packet.sender == sender:
                late.append(packet)
            return []

        world.nodes[sender].renew(world.now)
        world.filter = hold
        world.run(3.0)
        world.filter = self._on_its_way
        self.withheld = 0.0
        for _ in range(20):
            self._say(sender)
        world.run(RENEW_AFTER + 2.0)
        self._say(sender)  # under the next key
        world.run(GRACE + 1.0)
        self._come_late(late, world.seen[first:], sender, receiver)
        self._look()

    def _come_late(self, late: list[Packet], seen: list[Packet], sender: int, receiver: int) -> None:
        """What was held back, and then all that the one said to the ring and the other had, once more."""
        recorded = [p for p in seen if p.kind == RING and (p.sender, p.receiver) == (sender, receiver)]
        for packet in [*late, *recorded]:
            self.world.deliver(packet)
        self.world.settle()

    def _first_packets_held_back(self, rng: random.Random) -> None:
        """Two nodes start and call each other at once. What one of them says in the session that they do not go by is
        late: it comes when that process has been replaced, and then all that was recorded of it. It is not heard again,
        and its successor is not cut off."""
        world = self.world
        receiver, sender = sorted(rng.sample(self._members(), 2))
        self._restart(sender)
        self._restart(receiver)
        first, late, sessions = len(world.seen), [], []

        def hold(packet: Packet) -> list[Packet]:
            if packet.kind != SESSION or (packet.sender, packet.receiver) != (sender, receiver):
                return [packet]
            sessions.append(packet.data[4:8])
            if packet.data[4:8] != sessions[0]:
                return [packet]
            late.append(packet)
            return []

        world.filter = hold
        world.run(0.5)
        world.filter = self._on_its_way
        self.withheld = 0.0
        for _ in range(3):
            self._say(sender)
        world.settle()
        self._look()
        self._restart(sender)
        world.run(1.0)
        self._come_late(late, world.seen[first:], sender, receiver)
        self._look()
        if not self._connected(receiver, sender):
            raise Broken("X1", f"late packets of a process that ended cut nodes {receiver} and {sender} off")

    def _burst(self) -> None:
        """More datagrams than the replay window is wide; then old ones of all ages once more."""
        world, rng = self.world, self.random
        sender, receiver = rng.sample(self._members(), 2)
        world.run(1.0)
        if not world.ring_works(sender, receiver):
            return
        kept: list[bytes] = []
        for number in range(BURST):
            data = world.nodes[sender].seal_ring(b"\x00%d" % number, world.now)
            if world.nodes[receiver].open(data, 0, address(sender, 0), world.now) is None:
                raise Broken("L1", f"node {receiver} does not hear node {sender} on the ring")
            kept.append(data)
        for back in [*range(1, 3000), *range(62_000, 68_000)]:
            if world.nodes[receiver].open(kept[-back], 0, address(sender, 0), world.now) is not None:
                raise Broken("X1", f"node {receiver} heard a datagram of node {sender} twice, {back} before the last")

    # -- what was heard --------------------------------------------------------------------------------------

    def _look(self) -> None:
        for node, heard in sorted(self.world.received.items()):
            for sender, ring, payload in heard[self.checked[node] :]:
                if ring and payload in self.said:
                    self._heard(node, sender, payload)
            self.checked[node] = len(heard)

    def _heard(self, node: NodeId, sender: NodeId, payload: bytes) -> None:
        by, lives, at = self.said[payload]
        text = f"what node {by} said ({payload[1:].decode()})"
        if sender != by:
            raise Broken("X1", f"node {node} took {text} for node {sender}'s")
        if lives[node] == -1:
            raise Broken("X1", f"node {node} heard {text} twice")
        if lives[node] != self.lives[node]:
            raise Broken("X1", f"node {node} heard {text} though it has started since")
        lives[node] = -1
        if self.removed is not None and at > self.removed_at and by == self.removed:
            raise Broken("X2", f"node {node} heard {text}, which was removed before")
        if node == self.removed and at > self.removed_at + NEW_KEYS:
            raise Broken("X2", f"node {node} was removed and heard {text} {at - self.removed_at:.1f} s later")


def run(seed: int) -> None:
    """Raises Broken, or whatever a core raised."""
    Chaos(seed).go()


def main() -> int:
    first, count = map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (1, 20)
    failed = 0
    for seed in range(first, first + count):
        try:
            run(seed)
        except Broken as broken:
            failed += 1
            print(f"seed {seed}: {broken}", flush=True)
    print(f"{failed} of {count} runs failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
