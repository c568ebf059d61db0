"""A ring in operation: when the token goes on and when it rests, asking for it, telling progress, delivery.

The token goes round while anybody has something to send. When a visit finds that nobody else has sent since the
last one, it rests at the last sender, who multicasts what is submitted there at once. The rest ends after QUIET
without work of its own, on any want, when the window is half used, and at the latest after `hold`. While messages
are not known to be everywhere, or claims lie behind, rests are short, and grow when rotations bring nothing new;
a truly idle token rests `hold` each time and then goes round once, so the ring beats (facts: totem.md section 14).
"""

from __future__ import annotations

from transport.core import earliest
from transport.events import Beat, Progress
from transport.ids import NodeId
from transport.totem.context import Context, Installed
from transport.totem.messages import ENCAPSULATED, SAFE, ProgressReport, Token, Want
from transport.totem.recovery import deliver_next
from transport.totem.stats import Send

QUIET = 0.002  # seconds without work of its own that end a rest while others have something to learn
REPORT_DELAY = 0.001  # a member tells its aru this long after a multicast came, if no token did meanwhile
WANT_AGAIN = 0.005  # first repeat of a want; doubles
BEAT_SPACING = 0.010
LAG_WARNING = 2048  # messages a member may be behind for LAG_TIME before it is logged
LAG_TIME = 1.0
LAG_LOG_EVERY = 10.0
_FAR = 1 << 62


class Operational:
    """The phase between installing a ring and the next gather."""

    __slots__ = (
        "_beat_at",
        "_ctx",
        "_lag_logged",
        "_lag_since",
        "_last_values",
        "_quiet",
        "_report_at",
        "_reported",
        "_rest_latest",
        "_rest_until",
        "_rotation",
        "_settled",
        "_told",
        "_want_again",
        "_want_at",
        "_want_seq",
        "installed",
        "ring",
    )

    def __init__(self, ctx: Context, installed: Installed, now: float) -> None:
        self._ctx = ctx
        self.installed = installed
        ring = self.ring = installed.ring
        self._settled = ring.token_seq + 2 * len(ring.members)  # all have installed it by then: no rest before
        self._quiet = QUIET
        self._rest_until = self._rest_latest = 0.0
        self._told: tuple[int, list[int], list[int | None]] = (0, [], [])
        self._want_seq = -_FAR  # newest token some asker had seen when it asked
        self._want_at: float | None = None
        self._want_again = WANT_AGAIN
        self._report_at: float | None = None
        self._reported: tuple[int, int | None] = (0, None)
        self._rotation = 0.001  # seconds a rotation takes when nobody rests, estimated
        self._beat_at = now - BEAT_SPACING
        self._last_values: dict[NodeId, int] = {}
        self._lag_since: dict[NodeId, float] = {}
        self._lag_logged = now - LAG_LOG_EVERY
        if len(ring.members) == 1:
            token = ring.first_token()
            ring.held, ring.token_seq = token, token.token_seq

    # What comes in

    def receive(self, flags: int, now: float) -> None:
        """A multicast came in that is new to us: tell the holder in a while, if the token does not come by."""
        if self._report_at is None and not flags & ENCAPSULATED:
            self._report_at = max(now, self._due()) if flags & SAFE else max(now + REPORT_DELAY, self._due())
        elif flags & SAFE and self._report_at is not None:
            self._report_at = min(self._report_at, max(now, self._due()))

    def want(self, want: Want) -> None:
        """Somebody asks for the token. Nobody can have seen one that is a round ahead of the one here last."""
        ring = self.ring
        if want.ring_id == ring.ring_id and self._want_seq < want.token_seq <= ring.token_seq + len(ring.members):
            self._want_seq = want.token_seq

    def report(self, sender: NodeId, report: ProgressReport, now: float) -> None:
        """A member's progress datagram."""
        ring = self.ring
        if report.ring_id != ring.ring_id or sender not in ring.members or sender == ring.me:
            return
        ring.report(sender, report.aru, report.claim)
        self._tell_claims()
        if ring.held is not None:
            self._hurry(now)

    def claim(self, value: int | None, now: float) -> None:
        """Our own claim changed."""
        ring = self.ring
        ring.my_claim = value
        ring.note_own()
        self._tell_claims()
        if ring.held is not None:
            self._hurry(now)
        elif ring.others:
            self._report_at = max(now, self._due())

    # The token

    def work(self, now: float) -> None:
        """Do what the token we hold, or lack, asks for."""
        ring = self.ring
        if ring.arrived is not None:
            self._visit(now)
            return
        if ring.held is not None:
            self._at_rest(now)
            return
        if self._ctx.backlog.waiting and self._want_at is None:
            self._want_at = max(now, self._due())
        if self._want_at is not None and now >= self._want_at:
            self._want(now)
        if self._report_at is not None and now >= self._report_at:
            self._report(now)

    def _visit(self, now: float) -> None:
        ring = self.ring
        token = ring.arrived
        assert token is not None
        alone = token.seq == ring.forwarded_seq
        sent_at = ring.forwarded_at
        took = ring.round_trip(now)
        if took is not None:  # one that was held up by chance moves the estimate little, a slow network by and by
            self._rotation += (min(took, 2 * self._rotation + 0.001) - self._rotation) / 8
        ring.begin(now)
        if sent_at is not None and now - self._beat_at >= BEAT_SPACING:
            self._beat(sent_at, now)
        self.visit(alone, now)

    def visit(self, alone: bool, now: float) -> None:
        """The part of a visit after begin(). alone: nobody else has sent since our last visit."""
        ring, backlog = self.ring, self._ctx.backlog
        token = ring.held
        assert token is not None
        self._want_at = self._report_at = None
        self._want_again = WANT_AGAIN
        self._reported = (ring.window.aru, ring.my_claim)
        if backlog.waiting:
            ring.send(backlog)
        self._tell_claims()
        if not ring.others:
            self._single()
            return
        if not (alone and self._may_rest(token)):
            self._forward(now)
            return
        ring.flush()
        told = (token.seq, ring.arus, ring.claims)
        if told != self._told:
            self._quiet = QUIET
        elif self._unsettled(token):
            self._quiet = min(2 * self._quiet, ring.config.hold)
        else:
            self._quiet = ring.config.hold
        self._rest_latest = now + ring.config.hold
        self._rest_until = now + min(self._quiet, ring.config.hold)
        self._ctx.stats.rests += 1

    def _may_rest(self, token: Token) -> bool:
        ring = self.ring
        return (
            not self._ctx.backlog.waiting
            and not token.rtr
            and ring.window.aru == token.seq
            and token.token_seq >= self._settled
            and not self._wanted(token)
            and 2 * ring.visit_bytes < ring.config.window_bytes
            and ring.last_sender() == ring.me
        )

    def _wanted(self, token: Token) -> bool:
        return token.token_seq < self._want_seq + len(self.ring.members)

    def _unsettled(self, token: Token) -> bool:
        ring = self.ring
        return ring.stable < token.seq or any(claim is not None and claim < ring.head for claim in ring.claims)

    def _at_rest(self, now: float) -> None:
        """The token rests here: send what is new at once, and see whether the rest is over."""
        ring, backlog = self.ring, self._ctx.backlog
        token = ring.held
        assert token is not None
        if backlog:
            ring.send(backlog)
            ring.note_own()
            if not ring.others:
                self._single()
                return
            ring.flush()
            self._quiet = QUIET
            self._rest_until = min(now + QUIET, self._rest_latest)
            if backlog or 2 * ring.visit_bytes >= ring.config.window_bytes:
                self._forward(now)
                return
        if ring.others and (now >= self._rest_until or self._wanted(token)):
            self._forward(now)

    def _single(self) -> None:
        """A ring of one: nobody to tell, nobody to wait for."""
        ring = self.ring
        ring.fresh.clear()
        ring.visit_bytes = 0
        ring.note_own()

    def _forward(self, now: float) -> None:
        ring = self.ring
        ring.forward(self._ctx.backlog.waiting, now)
        self._told = (ring.seq, ring.arus[:], ring.claims[:])
        self._watch_lag(now)

    def _hurry(self, now: float) -> None:
        """Something changed that others should hear of soon."""
        self._quiet = QUIET
        self._rest_until = min(self._rest_until, now + QUIET)

    def _due(self) -> float:
        """When to stop waiting for the token to come by on its round: it probably rests."""
        sent = self.ring.forwarded_at
        return sent + 1.5 * self._rotation + 0.0002 if sent is not None else 0.0

    def _want(self, now: float) -> None:
        ring = self.ring
        if not self._ctx.backlog or not ring.others:
            self._want_at = None
            return
        frame = Want(ring.ring_id, ring.token_seq).encode()
        again = self._want_again > WANT_AGAIN
        holder = ring.last_sender()
        to = ring.others if again or holder in (0, ring.me) else (holder,)
        self._ctx.out.append(Send(to, frame, "want", redundant=again))
        self._ctx.stats.wants_sent += 1
        self._want_at = now + self._want_again
        self._want_again = min(2 * self._want_again, ring.config.token_retransmit)

    def _report(self, now: float) -> None:
        self._report_at = None
        ring = self.ring
        said = (ring.window.aru, ring.my_claim)
        holder = ring.last_sender()
        if said == self._reported or holder in (0, ring.me):
            return
        self._reported = said
        frame = ProgressReport(ring.ring_id, *said).encode()
        self._ctx.out.append(Send((holder,), frame, "progress", session=True))
        self._ctx.stats.progress_sent += 1

    # What goes up

    def deliver(self) -> bool:
        """Deliver one multicast if the next may be delivered."""
        return deliver_next(self._ctx, self.installed, _FAR)

    def _tell_claims(self) -> None:
        ring = self.ring
        values = {node: claim for node, claim in zip(ring.members, ring.claims, strict=True) if claim is not None}
        if values != self._last_values:
            self._last_values = values
            self._ctx.events.append(Progress(ring.ring_id, dict(values)))

    def _beat(self, sent_at: float, now: float) -> None:
        self._beat_at = now
        ring = self.ring
        if ring.others:
            self._ctx.events.append(Beat(ring.others, ring.ring_id, sent_at))

    def _watch_lag(self, now: float) -> None:
        """One line when a member stays far behind, at most every LAG_LOG_EVERY for all of them."""
        ring = self.ring
        if ring.seq - ring.stable < LAG_WARNING:
            if self._lag_since:
                self._lag_since.clear()
            return
        behind = {
            node: ring.seq - aru
            for node, aru in zip(ring.members, ring.arus, strict=True)
            if ring.seq - aru >= LAG_WARNING
        }
        self._lag_since = {node: self._lag_since.get(node, now) for node in behind}
        if now - self._lag_logged >= LAG_LOG_EVERY and now - min(self._lag_since.values()) >= LAG_TIME:
            self._lag_logged = now
            who = ", ".join(f"{self._ctx.name(node)} by {lag} messages" for node, lag in sorted(behind.items()))
            self._ctx.log.warning(f"operational: behind on ring {ring.ring_id}: {who}; the others wait for it")

    def next_timeout(self, now: float) -> float | None:
        """The rest's end, the next want, the next report; None if none is due."""
        if not self.ring.others:
            return now if self._ctx.backlog else None
        if self.ring.held is not None:
            return self._rest_until
        return earliest(self._want_at, self._report_at)
