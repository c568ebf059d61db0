"""A Totem core among members that may say anything: authentic frames of every kind at every phase.

A victim is taken at a moment of an honest ring of three (kept as it was then), and its two peers say what the input
draws: numbers close to those the victim knows, numbers at the edges of their fields, its own frames changed and sent
back, and plain bytes. Whatever comes, nothing raises, and what the victim holds and sends stays within bounds.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache

from tests.fuzz.draws import Draws, packed
from transport.config import TotemConfig
from transport.core import SilentLog
from transport.events import Persist
from transport.ids import NO_RING, RingId
from transport.totem.messages import COMMIT, JOIN, MCAST, TOKEN, WANT, pack_ring
from transport.totem.operational import Operational
from transport.totem.srp import Srp

NODES = (1, 2, 3)
ME = 2
MAX_STEPS = 40
MAX_SENDS = 3000  # frames in answer to one frame: what was asked for again, one visit's worth
STEP = 0.0005


def zeros(size: int) -> bytes:
    return bytes(size)


def _node(me: int) -> Srp:
    config = TotemConfig(queue_bytes=1 << 20)
    return Srp(me, config, dict.fromkeys(NODES, 1), zeros, 100.0, SilentLog(), 10 * me, me)


def _holds_token(srp: Srp) -> bool:
    phase = srp._membership.phase
    return isinstance(phase, Operational) and phase.ring.held is not None


class Honest:
    """Three cores that hear each other at once, until `stop` says that the victim is where it is wanted."""

    def __init__(self, stop: Callable[[Srp], bool]) -> None:
        self.nodes = {me: _node(me) for me in NODES}
        self.now = 100.0
        for me, node in self.nodes.items():
            node.start(self.now)
            node.set_reachable(frozenset(NODES) - {me}, self.now)
        self._stop = stop
        for _ in range(20_000):
            if self._turn():
                return
        raise AssertionError("the honest ring never came to where the victim is wanted")

    def _turn(self) -> bool:
        """A step of time; True, and nothing more, once the victim is where it is wanted."""
        self.now += STEP
        for me, node in self.nodes.items():
            due = node.next_timeout()
            if due is not None and due <= self.now:
                node.handle_timeout(self.now)
            while (send := node.poll_transmit(self.now)) is not None:
                for to in send.to:
                    if send.session:
                        self.nodes[to].receive_progress(me, send.frame, self.now)
                    else:
                        self.nodes[to].receive(me, send.frame, self.now)
                if self._stop(self.nodes[ME]):
                    return True
            while (event := node.next_event()) is not None:
                if isinstance(event, Persist):
                    node.persisted(event.receipt, self.now)
            if self._stop(self.nodes[ME]):
                return True
        for me, node in self.nodes.items():
            if node.phase == "operational" and node.stats.mcasts_sent < (40 if me == ME else 20):
                node.submit(bytes([me]) * 40, safe=me == 1)
        return False


MOMENTS: dict[str, Callable[[Srp], bool]] = {
    "first gather": lambda srp: srp.phase == "gather",
    "commit": lambda srp: srp.phase == "commit",
    "recovery": lambda srp: srp.phase == "recovery",
    "new ring": lambda srp: srp.phase == "operational",
    "delivering": lambda srp: srp.phase == "operational" and srp.stats.mcasts_received > 20,
    "holding the token": lambda srp: srp.stats.rests > 3 and _holds_token(srp),
}
LOST = "ring lost"  # as "delivering", then without a token until the node gathers, with messages in hand


@cache
def _kept() -> dict[str, bytes]:
    """Pickles of (victim, time) at each moment."""
    kept = {
        name: pickle.dumps((honest.nodes[ME], honest.now))
        for name, honest in ((name, Honest(moment)) for name, moment in MOMENTS.items())
    }
    srp, now = pickle.loads(kept["delivering"])
    srp.handle_timeout(now + 0.7)
    kept[LOST] = pickle.dumps((srp, now + 0.7))
    return kept


def victim(moment: str) -> tuple[Srp, float]:
    """Node 2 of three, where an incarnation is the node's id; and the time there."""
    srp: Srp
    srp, now = pickle.loads(_kept()[moment])
    return srp, now


class Attack:
    """What the input does to one victim."""

    def __init__(self, data: bytes) -> None:
        self.draw = Draws(data)
        self.srp, self.now = victim(self.draw.of((*MOMENTS, LOST)))
        self.sent: list[bytes] = []
        self.asked: list[int] = []
        self._steps: list[Callable[[], None]] = [
            self._token,
            self._mcast,
            self._join,
            self._commit,
            self._want,
            self._progress,
            self._echoed,
            self._plain,
            self._wait,
            self._own,
            self._token,
            self._mcast,
            self._commit,
        ]

    def run(self) -> None:
        self._drain()
        for _ in range(MAX_STEPS):
            if not self.draw.more:
                return
            self.now += STEP
            self.draw.of(self._steps)()
            self._drain()

    def _drain(self) -> None:
        sends = 0
        while (send := self.srp.poll_transmit(self.now)) is not None:
            sends += 1
            if not send.session and len(self.sent) < 16:
                self.sent.append(send.frame)
            assert sends <= MAX_SENDS, "one frame makes thousands"
        while (event := self.srp.next_event()) is not None:
            if isinstance(event, Persist):
                self.asked.append(event.receipt)

    def _receive(self, frame: bytes) -> None:
        self.srp.receive(self.draw.of((1, 3, 1, 3, 4)), frame, self.now)

    # numbers the victim knows

    def _known(self) -> tuple[int, ...]:
        membership = self.srp._membership
        ring = getattr(membership.phase, "ring", None) or (membership.installed.ring if membership.installed else None)
        if ring is None:
            return (membership.reserve.seen, 0)
        window = ring.window
        return (ring.seq, window.aru, window.high, window.released, ring.token_seq, ring.head, membership.reserve.seen)

    def _number(self) -> int:
        return self.draw.number(self._known())

    def _ring_id(self) -> RingId:
        membership = self.srp._membership
        phase = membership.phase
        forming = getattr(phase, "ring_id", None) or getattr(getattr(phase, "ring", None), "ring_id", None)
        kind = self.draw.below(8)
        if kind < 5 and forming is not None:
            return RingId(*forming)
        if kind < 7:
            return membership.ring_id if membership.ring_id != NO_RING else RingId(self._number() & (1 << 62) - 1, 1, 1)
        return RingId(self._number() & (1 << 62) - 1, self.draw.below(5), self.draw.below(5))

    # frames

    def _token(self) -> None:
        draw = self.draw
        count = draw.of((3, 3, 3, 2, 1, 64))
        seq, head = self._number(), self._number()
        requests = draw.of((0, 0, 1, 2, 100))
        entries: list[int] = []
        for _ in range(min(count, 3)):
            entries += [draw.number((0, seq)), draw.of((0xFFFFFFFF, 0, 1, head))]
        entries += [0, 0xFFFFFFFF] * (count - min(count, 3))
        asked: list[int] = []
        wide = (draw.number((0, 1, seq)), draw.of((1, 2, 0xFFFF)))
        for number in range(requests):
            asked += [draw.number((0, seq)), draw.of((1, 3, 0xFFFF))] if number < 3 else wide
        turn = self._known()[4:5] or (0,)  # a token comes to a member at every third hop
        head_fields = [
            turn[0] + 3 * draw.below(4) if draw.flag() else self._number(),
            seq,
            head,
            self._number(),
            draw.number(),
            draw.number(),
        ]
        flags = [draw.below(count + 1), draw.below(count + 1), draw.below(count + 1)]
        self._receive(
            packed("!BB", TOKEN, 0)
            + pack_ring(self._ring_id())
            + packed("!QQQQIIBBBBH", *head_fields, *flags, count, requests)
            + packed("!" + "II" * count, *entries)
            + packed("!" + "IH" * requests, *asked)
        )

    def _mcast(self) -> None:
        draw = self.draw
        head = packed("!BBH", MCAST, draw.below(16), draw.of((1, 3, 2, 9))) + pack_ring(self._ring_id())
        body = draw.blob(40)
        if draw.flag():  # as recovery carries them
            inner = packed("!BBH", MCAST, draw.below(16), 1) + pack_ring(self._ring_id())
            body = inner + packed("!Q", self._number()) + body
        self._receive(head + packed("!Q", self._number()) + body)

    def _join(self) -> None:
        draw = self.draw
        ids = draw.of(((1, 2, 3), (1, 2), (2, 3), (1, 3), (3,), (1, 2, 3, 4)))
        incarnation = draw.of((1, 2, 3, 7))
        ring = pack_ring(self._ring_id())
        out = packed("!BBHQBB", JOIN, draw.below(2), draw.of((1, 3)), self._number(), len(ids), 1)
        out += b"".join(packed("!H", node) for node in ids) + packed("!B", draw.below(1 << len(ids))) + ring
        for node in ids:
            known = draw.of((1, 1, 3, 0))
            if not known:
                out += b"\0"
                continue
            said = incarnation if draw.flag() else node
            out += packed("!BIIIHHBB", known, said, self._number(), self._number(), draw.below(500), 1, 0, 0)
            out += packed("!B", draw.below(1 << len(ids)))
        self._receive(out)

    def _commit(self) -> None:
        draw = self.draw
        members = draw.of(((1, 2, 3), (1, 2, 3), (2, 3), (1, 2), (1, 3)))
        ring = self._ring_id()
        out = packed("!BB", COMMIT, 0) + pack_ring(ring) + packed("!IB", draw.below(8), len(members))
        old = self.srp._membership.ring_id
        for node in members:
            stamp, filled = draw.number((0, self.srp._membership.views.own.stamp)), draw.of((1, 1, 0))
            aru = self._number()
            out += packed("!HIIB", node, draw.of((node, node, 7)), stamp, filled)
            out += pack_ring(old if draw.flag() else ring)
            high = aru + draw.number() if draw.flag() else aru
            out += packed("!QQQQ", aru, high, max(0, aru - draw.below(3)), draw.byte())
        self._receive(out)

    def _want(self) -> None:
        self._receive(packed("!BB", WANT, 0) + pack_ring(self._ring_id()) + packed("!Q", self._number()))

    def _progress(self) -> None:
        payload = pack_ring(self._ring_id()) + packed("!QQ", self._number(), self._number())
        self.srp.receive_progress(self.draw.of((1, 3, 4)), payload, self.now)

    def _echoed(self) -> None:
        """One of its own frames comes back, changed in one place."""
        if not self.sent:
            return
        frame = bytearray(self.draw.of(self.sent))
        at = self.draw.below(len(frame))
        frame[at] ^= self.draw.byte()
        self._receive(bytes(frame))

    def _plain(self) -> None:
        self._receive(bytes([self.draw.below(7)]) + self.draw.blob(80))

    # what else happens

    def _wait(self) -> None:
        self.now += self.draw.of((0.0, 0.001, 0.01, 0.1, 0.4, 0.7, 5.0))
        self.srp.handle_timeout(self.now)

    def _own(self) -> None:
        draw = self.draw
        match draw.below(5):
            case 0:
                self.srp.submit(draw.blob(300) * draw.of((1, 1, 30)), safe=draw.flag())
            case 1:
                self.srp.set_progress(draw.below(100) if draw.flag() else None)
            case 2:
                self.srp.set_reachable(frozenset(node for node in (1, 3) if draw.flag()), self.now)
            case 3 if self.asked:
                self.srp.persisted(self.asked.pop(), self.now)
            case _:
                self.srp.echo(draw.of((1, 3, 4)), self.now)


def ring(data: bytes) -> None:
    """Any authentic Totem frames into a core."""
    Attack(data).run()
