"""Token visits on one ring: order, resend, flow, the aru vector. Used by the operational ring and by recovery.

Source: Amir et al., "The Totem Single-Ring Ordering and Membership Protocol", 1995, section 4; the aru vector
and the accelerated ring as in facts, totem.md sections 13 and 14. Times are seconds on the caller's clock.

A visit is begin(), any number of send() and flush() while the token rests here, and forward(). True between any
two calls:
    window.released <= min(stable, delivered)     delivered <= window.aru     stable <= window.aru
    arus[i] is a claim of member i: it never falls, and member i has every message up to it
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from transport.config import TotemConfig
from transport.ids import NodeId, RingId
from transport.totem import flow
from transport.totem.claims import claims_head
from transport.totem.messages import (
    MCAST_HEAD,
    REST_TURN,
    REST_UNIT,
    RTR_MAX,
    Token,
    mcast_sender,
    pack_mcast,
    pack_ring,
)
from transport.totem.stats import Send, Stats
from transport.totem.window import LIMIT_LEAST, LIMIT_WINDOWS, SPAN, Window

ACCELERATE_FROM = 8  # multicasts in one visit; with fewer, sending behind the token only delays stability
ACCELERATED_WINDOW = 16  # at most so many go behind the token
ASK_AGAIN = 0.002  # seconds before the same gap is asked for once more; doubles while nothing comes of it
ASK_AGAIN_MAX = 0.064


class Source(Protocol):
    """Where the bodies to multicast come from: the backlog, or recovery's old messages."""

    waiting: int

    def next_body(self, room: int) -> tuple[int, bytes] | None: ...


class Ring:
    """One member's end of one ring. `out` receives what is to be sent, in order."""

    __slots__ = (
        "_accelerated",
        "_ask_again",
        "_asked_aru",
        "_asked_at",
        "_asked_upto",
        "_begun",
        "_last_backlog",
        "_last_bytes",
        "_others_bytes",
        "_out",
        "_previous_seq",
        "_rested",
        "_stats",
        "_top_sender",
        "_top_seq",
        "accelerate",
        "arrived",
        "arus",
        "cap",
        "claims",
        "config",
        "delivered",
        "forwarded_at",
        "forwarded_seq",
        "frame_budget",
        "fresh",
        "head",
        "held",
        "index",
        "lost_at",
        "me",
        "members",
        "my_claim",
        "others",
        "resend_at",
        "resend_frame",
        "ring_id",
        "seq",
        "stable",
        "successor",
        "token_seq",
        "visit_bytes",
        "window",
        "wire_id",
    )

    def __init__(
        self,
        me: NodeId,
        ring_id: RingId,
        members: tuple[NodeId, ...],
        config: TotemConfig,
        frame_budget: int,
        out: deque[Send],
        stats: Stats,
        now: float,
    ) -> None:
        count = len(members)
        self.me = me
        self.ring_id = ring_id
        self.wire_id = pack_ring(ring_id)
        self.members = members
        self.index = members.index(me)
        self.successor = members[(self.index + 1) % count]
        self.others = tuple(node for node in members if node != me)
        self.frame_budget = frame_budget
        self.window = Window()
        self.configure(config)
        self.arus = [0] * count
        self.claims: list[int | None] = [None] * count
        self.head = 0
        self.my_claim: int | None = None
        self.stable = 0  # every member has everything up to here
        self.delivered = 0
        self.cap: int | None = None  # recovery: claim no more than this before the ring is installed
        self.accelerate = False
        self.seq = 0  # highest seq known to be given out
        self.token_seq = 0
        self.arrived: Token | None = None  # waits until everything else that was received is handled
        self.held: Token | None = None
        self.fresh: list[bytes] = []  # numbered in this visit, not handed out yet
        self.visit_bytes = 0
        self.lost_at = now + config.token
        self.resend_at: float | None = None
        self.resend_frame = b""
        self.forwarded_at: float | None = None
        self.forwarded_seq = 0
        self._begun = now  # when the visit of the token we hold, or held last, began
        self._rested = 0  # of the token as we forwarded it
        self._out = out
        self._stats = stats
        self._top_seq = 0  # highest seq of a multicast we had in hand (it may be released since), and whose it was
        self._top_sender = ring_id.rep
        self._last_bytes = 0
        self._last_backlog = 0
        self._others_bytes = 0
        self._accelerated = False
        self._previous_seq = 0
        self._asked_at = 0.0
        self._asked_aru = -1
        self._ask_again = ASK_AGAIN
        self._asked_upto = 0

    def configure(self, config: TotemConfig) -> None:
        """Settings, in force from now on."""
        self.config = config
        self.window.limit = max(LIMIT_LEAST, LIMIT_WINDOWS * config.window_bytes)

    def first_token(self) -> Token:
        """The token the representative starts a new ring with, in recovery."""
        count = len(self.members)
        return Token(
            ring_id=self.ring_id,
            token_seq=self.token_seq + 1,
            seq=0,
            head=0,
            install=0,
            fcc=0,
            backlog=0,
            pending=count,
            ready=0,
            accelerated=0,
            arus=[0] * count,
            claims=[None] * count,
        )

    def take(self, token: Token, now: float) -> bool:
        """A token came in: keep it for begin() if it is new. False: a resent one, not of this ring, or not for us.

        A sealed frame does not say whom it is for, so whoever can copy datagrams, or has the address of the member it
        was sent to, could bring a token to another: there would be two. But a token goes round by one member at each
        hop, so its token_seq says whose turn it is, and none goes a whole round without us: unless this machine was put
        back to a snapshot with its memory, and hears what it has no part in any more. One that gave out more numbers
        than flow control lets anybody be behind is no true one: it would end all sending here.
        """
        count = len(self.members)
        if (
            token.ring_id != self.ring_id
            or token.token_seq <= self.token_seq
            or (self.arrived is not None and token.token_seq <= self.arrived.token_seq)
            or len(token.arus) != count
            or (token.token_seq - 1 - self.index) % count  # somebody else's turn
            or token.token_seq > self.token_seq + count
            or not self.seq <= token.seq <= self.window.aru + SPAN
        ):
            self._stats.tokens_ignored += 1
            return False
        self.arrived = token
        self.lost_at = now + self.config.token
        self.resend_at = None
        return True

    def receive(self, seq: int, frame: bytes) -> bool:
        """A multicast of this ring; the head was checked. False: had it, too far ahead, or numbered without the token.

        Nobody numbers anything while the token is here.
        """
        token = self.arrived or self.held
        if (token is not None and seq > token.seq) or not self.window.add(seq, frame):
            self._stats.duplicates += 1
            return False
        if seq > self.seq:
            self.seq = seq
        if seq > self._top_seq:
            self._top_seq, self._top_sender = seq, mcast_sender(frame)
        if seq > self.forwarded_seq:
            self.resend_at = None  # someone after us had the token: it was not lost
        self._stats.mcasts_received += 1
        return True

    def begin(self, now: float) -> None:
        """Start the visit of the token that arrived: learn, resend what others lack, ask for what we lack."""
        token = self.arrived
        assert token is not None
        self.arrived = None
        self.held = token
        self._begun = now
        self.token_seq = token.token_seq
        self._stats.tokens += 1
        self.seq = token.seq
        self._others_bytes = max(0, token.fcc - self._last_bytes)
        self.visit_bytes = 0
        self._learn(token)
        if token.rtr:
            self._answer(token)
        if self.window.aru < token.seq:
            self._ask(token, now)
        self._previous_seq = token.seq

    def round_trip(self, now: float) -> float | None:
        """Seconds the token that arrived was on its way since we forwarded it, its rests at others taken off.

        None: we never did, or it may have rested longer than it can say.
        """
        token, sent_at = self.arrived, self.forwarded_at
        if token is None or sent_at is None or now - sent_at >= REST_UNIT * (REST_TURN - len(self.members)):
            return None
        return max(0.0, now - sent_at - REST_UNIT * ((token.rested - self._rested) % REST_TURN))

    def _learn(self, token: Token) -> None:
        arus, me = self.arus, self.index
        for i, aru in enumerate(token.arus):
            if aru > arus[i] and i != me:
                arus[i] = aru
        claims = self.claims
        for i, claim in enumerate(token.claims):
            if i != me:
                known = claims[i]
                claims[i] = claim if claim is None or known is None or claim > known else known
        self.note_own()
        self.head = claims_head(claims, self.my_claim)

    def report(self, node: NodeId, aru: int, claim: int | None) -> None:
        """What a member said of itself in a progress datagram."""
        i = self.members.index(node)
        if aru > self.seq:
            return  # numbers nobody gave out, as far as we know: nothing to learn from that yet
        if aru > self.arus[i]:
            self.arus[i] = aru
        known = self.claims[i]
        if claim is None or known is None or claim > known:
            self.claims[i] = claim
        self.note_own()

    def note_own(self) -> None:
        """Bring our own entries, and what follows from the vector, up to date; let go of what all have."""
        aru = self.window.aru
        if self.cap is not None and aru > self.cap:
            aru = self.cap
        self.arus[self.index] = aru
        self.claims[self.index] = self.my_claim
        self.stable = min(self.arus)
        upto = self.stable if self.stable < self.delivered else self.delivered
        if upto > self.window.released:
            self.window.release(upto)

    def _answer(self, token: Token) -> None:
        """Multicast again what the token asks for and we have, before anything new; keep the rest on it.

        Ranges that overlap are one: a number is looked up once, however often a token asks for it.
        """
        left: list[tuple[int, int]] = []
        window = self.window
        budget = self.config.max_visit_bytes
        for first, length in merge_ranges(token.rtr):
            end = first + length
            seq = max(first, window.released + 1)
            while seq < end:
                if seq > window.high or self.visit_bytes >= budget:
                    left.append((seq, end - seq))
                    break
                frame = window.get(seq)
                if frame is None:
                    left.append((seq, 1))
                else:
                    self.visit_bytes += len(frame)
                    self._stats.answered += 1
                    self._out.append(Send(self.others, frame, "mcast", redundant=True))
                seq += 1
        token.rtr = merge_ranges(left)[:RTR_MAX]  # what is cut off, its askers ask for again

    def _ask(self, token: Token, now: float) -> None:
        """Ask for our gaps. Behind a token that overtakes multicasts, only those it had passed a round ago."""
        upto = token.seq if token.accelerated == 0 else min(token.seq, self._previous_seq)
        aru = self.window.aru
        gaps = self.window.gaps(upto, RTR_MAX)
        if now - self._asked_at < self._ask_again:
            gaps = [gap for gap in gaps if gap[0] > self._asked_upto]
        else:
            self._ask_again = ASK_AGAIN if aru > self._asked_aru else min(2 * self._ask_again, ASK_AGAIN_MAX)
            self._asked_at, self._asked_aru = now, aru
        if not gaps:
            return
        self._asked_upto = upto
        self._stats.asked += sum(length for _, length in gaps)
        token.rtr = merge_ranges(token.rtr + gaps)[:RTR_MAX]

    def allowance(self, backlog: int) -> int:
        """Bytes that may still go out in this visit."""
        token = self.held
        assert token is not None
        window = self.window
        return (
            flow.allowance(
                self.config,
                self._others_bytes,
                max(0, token.backlog - self._last_backlog),
                backlog,
                token.seq - self.stable,
                window.bytes,
                self.frame_budget,
            )
            - self.visit_bytes
        )

    def send(self, source: Source) -> int:
        """Number what `source` has, as far as flow control allows; returns how many multicasts that were."""
        token = self.held
        assert token is not None
        limit = self.allowance(source.waiting)
        sent = 0
        room = self.frame_budget - MCAST_HEAD
        window, fresh, seq = self.window, self.fresh, token.seq
        while limit > 0:
            item = source.next_body(room)
            if item is None:
                break
            seq += 1
            frame = pack_mcast(self.wire_id, seq, self.me, item[0], item[1])
            window.add(seq, frame)
            fresh.append(frame)
            limit -= len(frame)
            self.visit_bytes += len(frame)
            self._stats.bytes_sent += len(frame)
            sent += 1
        token.seq = self.seq = seq
        if sent:
            self._top_seq, self._top_sender = seq, self.me
        self._stats.mcasts_sent += sent
        return sent

    def flush(self) -> None:
        """Hand out what was numbered while the token stays here."""
        others = self.others
        if others:
            for frame in self.fresh:
                self._out.append(Send(others, frame, "mcast"))
        self.fresh.clear()

    def forward(self, backlog: int, now: float) -> None:
        """End the visit: write our entries, pass the token on, then what may follow it."""
        token = self.held
        assert token is not None
        self.held = None
        token.rested = self._rested = (token.rested + round((now - self._begun) / REST_UNIT)) % REST_TURN
        self.note_own()
        token.arus = self.arus[:]
        token.claims = self.claims[:]
        token.head = self.head = claims_head(self.claims, self.my_claim)
        token.fcc = self._others_bytes + self.visit_bytes
        self._last_bytes = self.visit_bytes
        token.backlog = max(0, token.backlog - self._last_backlog) + backlog
        self._last_backlog = backlog
        fresh, others, out = self.fresh, self.others, self._out
        after = 0
        if self.accelerate and len(fresh) >= ACCELERATE_FROM:
            after = min(len(fresh) // 2, ACCELERATED_WINDOW)
        token.accelerated = max(0, token.accelerated - self._accelerated) + (after > 0)
        self._accelerated = after > 0
        self._stats.accelerated += after
        before = len(fresh) - after
        for frame in fresh[:before]:
            out.append(Send(others, frame, "mcast"))
        token.token_seq = self.token_seq = token.token_seq + 1
        self.resend_frame = token.encode()
        out.append(Send((self.successor,), self.resend_frame, "token"))
        for frame in fresh[before:]:
            out.append(Send(others, frame, "mcast"))
        fresh.clear()
        self.forwarded_at = now
        self.forwarded_seq = token.seq
        self.resend_at = now + self.config.token_retransmit
        self.lost_at = now + self.config.token
        self._check()

    def resend(self, now: float) -> None:
        """No sign that the successor has the token: send it again, on every path."""
        self._stats.tokens_resent += 1
        self._out.append(Send((self.successor,), self.resend_frame, "token", redundant=True))
        self.resend_at = now + self.config.token_retransmit

    def last_sender(self) -> NodeId:
        """Where an idle token rests: with who gave out the highest seq (0 if that message never came here)."""
        return self._top_sender if self._top_seq == self.seq else 0

    def _check(self) -> None:
        window = self.window
        assert window.released <= self.delivered <= window.aru <= window.high, "delivery jumped a gap"
        assert window.released <= self.stable <= window.aru, "released what a member may lack"


def merge_ranges(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same numbers as sorted, disjoint (first, count) ranges of at most 65535."""
    if len(ranges) < 2:
        return ranges
    merged: list[tuple[int, int]] = []
    for first, length in sorted(ranges):
        if merged:
            start, count = merged[-1]
            end = max(start + count, first + length)
            if first <= start + count and end - start <= 0xFFFF:
                merged[-1] = (start, end - start)
                continue
        merged.append((first, length))
    return merged
