"""The Totem single-ring protocol of one node: what goes in and comes out. The phases: membership.py.

Promises E1 to E15 of facts, totem.md section 1, and the exclusion rule of exclusion.py. Times are CLOCK_BOOTTIME
seconds. Nothing a peer can send makes this raise.

A token that arrives is acted on in poll_transmit(), not in receive(): a caller that hands in everything its
sockets hold before it polls has drained them before the token is acted on, which saves false retransmissions.
After a pause nothing is done with what was true before it: an overdue token comes first, whatever came in.
The caller polls after every call, until poll_transmit() and next_event() both give None.
"""

from __future__ import annotations

from collections.abc import Callable

from transport.config import TotemConfig
from transport.core import Entropy, Log, earliest
from transport.errors import Refused, WireError
from transport.ids import NO_RING, NodeId, RingId
from transport.totem.commit import Commit
from transport.totem.context import Context, Event
from transport.totem.gather import Gather
from transport.totem.joins import CommitToken, Join
from transport.totem.membership import Membership
from transport.totem.messages import COMMIT, JOIN, MCAST, TOKEN, WANT, ProgressReport, Token, Want, mcast_head
from transport.totem.operational import Operational
from transport.totem.packing import Backlog
from transport.totem.recovery import Recovery
from transport.totem.stats import Send, Stats

LEAST_FRAME = 256


class Srp:
    """See the top of this file. The words of every core: transport/core.py."""

    def __init__(
        self,
        me: NodeId,
        config: TotemConfig,
        nodes: dict[NodeId, int],
        entropy: Entropy,
        now: float,
        log: Log,
        ring_seq_reserved: int,
        incarnation: int,
        name: Callable[[NodeId], str] = "n{}".format,
    ) -> None:
        """nodes: configured nodes, ourselves among them, with their votes. ring_seq_reserved: the value of the
        file `ringseq`, 0 if there is none. incarnation: random 32 bits of this process. name: for log lines."""
        backlog = Backlog(config.queue_bytes, config.max_message)
        self._ctx = Context(me, incarnation, config, dict(nodes), entropy, log, backlog, name=name)
        self._membership = Membership(self._ctx, ring_seq_reserved, now)
        self._running = False  # between start() and leave()
        self._leaving = False
        self._claim: tuple[RingId, int | None] | None = None  # set and not yet told to the ring
        self._now = now
        self._due: float | None = None  # when it asked to be called, last
        self._due_known = False  # nothing happened since that could have changed it
        self.quiet = False
        """Nothing came in since poll_transmit() and next_event() gave None: they need not be asked. What time brings
        about, handle_timeout() does."""

    # What the layers above and beside see

    @property
    def phase(self) -> str:
        """gather, commit, recovery or operational."""
        return type(self._membership.phase).__name__.lower()

    @property
    def ring_id(self) -> RingId:
        """Of the last installed ring; NO_RING before the first."""
        return self._membership.ring_id

    @property
    def members(self) -> tuple[NodeId, ...]:
        """Of the last installed ring, sorted; empty before the first."""
        return self._membership.members

    @property
    def stats(self) -> Stats:
        return self._ctx.stats

    @property
    def left(self) -> bool:
        """leave() was called and its messages were polled."""
        return self._leaving and not self._ctx.out

    @property
    def reserved(self) -> bool:
        """A ring number that nobody has used is on our disk: without one no ring can form with us."""
        reserve = self._membership.reserve
        return reserve.covers(reserve.seen + 1)

    @property
    def backlog_bytes(self) -> int:
        """Submitted and not yet multicast."""
        return self._ctx.backlog.waiting

    def lag(self, member: NodeId) -> int:
        """How many messages of the present ring this member is not known to have; 0 if it is not in the ring."""
        installed = self._membership.installed
        if installed is None or member not in installed.members:
            return 0
        ring = installed.ring
        return ring.seq - ring.arus[ring.members.index(member)]

    def start(self, now: float) -> None:
        """Begin: gather, and install a first ring."""
        self._running = True
        self._now = now
        self._stir()
        self._membership.start(now)

    def submit(self, payload: bytes, safe: bool = False) -> int:
        """Queue a message; it is ordered at our next token visit, or at once if the token rests here (poll).

        Returns the bytes now waiting. Raises QueueFull, TooLarge, or Refused after leave(): nothing was kept.
        """
        if self._leaving:
            raise Refused("this node is leaving the cluster")
        self._ctx.backlog.push(payload, safe)
        self._stir()
        return self._ctx.backlog.waiting

    def set_progress(self, value: int | None) -> None:
        """Our claim on the present ring: it only grows; None: no claim. A new ring starts with None."""
        self._claim = (self.ring_id, value)
        self._stir()

    @property
    def primary(self) -> RingId:
        """The ring in which this node was last told to be a member of the primary."""
        return self._membership.views.own.primary

    def set_primary(self, members: tuple[NodeId, ...], now: float) -> None:
        """The members of the primary opened in the present ring, as far as we know: a bias for the next clique."""
        self._catch_up(now)
        own = self._membership.views.own
        if self._running and self._ctx.me in members and own.primary != self.ring_id:
            own.primary = self.ring_id
            self._membership.say(now)
            self._stir()

    def set_frame_budget(self, size: int) -> None:
        """Bytes of a Totem frame that goes unfragmented to everybody; below LEAST_FRAME it counts as that."""
        self._stir()
        self._ctx.frame_budget = max(size, LEAST_FRAME)
        if isinstance(self._membership.phase, Operational | Recovery):
            self._membership.phase.ring.frame_budget = self._ctx.frame_budget

    def set_reachable(self, row: frozenset[NodeId], now: float) -> None:
        """Peers with a path up, both ways."""
        self._catch_up(now)
        self._stir()
        self._membership.set_reachable(row, now)

    def suspect(self, peer: NodeId, now: float) -> None:
        """All paths to `peer` are down or refused: as if set_reachable had been called without it."""
        self.set_reachable(self._membership.reachable - {peer}, now)

    def echo(self, peer: NodeId, now: float) -> RingId:
        """The ring id to put into a pong for `peer`, NO_RING if we do not stand by it; see exclusion.py."""
        self._catch_up(now)
        return self._membership.echo(peer, now) if self._running else NO_RING

    def leave(self, now: float) -> None:
        """Say goodbye, twice: the others go on without us at once. Nothing is sent or delivered afterwards."""
        if self._leaving:
            return
        self._leaving, self._running = True, False
        self._stir()
        membership, out = self._membership, self._ctx.out
        membership.views.own.left = True
        membership.views.changed()
        out.clear()
        others = membership.everybody_else()
        if others:
            frame = membership.join(True, now).encode(now)
            out.extend(Send(others, frame, "join", redundant=True) for _ in range(2))
        self._ctx.log.debug(f"leaving ring {self.ring_id}")

    def persisted(self, receipt: int, now: float) -> None:
        """A Persist event is on disk."""
        self._stir()
        self._membership.persisted(receipt, now)

    def reconfigure(self, config: TotemConfig, nodes: dict[NodeId, int], now: float) -> None:
        """New settings or nodes. A member that is no longer configured is out at once."""
        self._catch_up(now)
        self._stir()
        ctx, membership = self._ctx, self._membership
        gone = sorted(set(ctx.nodes) - set(nodes))
        if nodes != ctx.nodes:
            membership.silence.end()  # those who know other nodes than we knew could not agree with us
        ctx.config = config
        membership.exclusion = max(membership.exclusion, config.token)
        ctx.nodes = dict(nodes)
        ctx.backlog.configure(config.queue_bytes, config.max_message)
        if isinstance(membership.phase, Operational | Recovery):
            membership.phase.ring.configure(config)
        own = membership.views.own
        votes, own.votes = own.votes, nodes[ctx.me]
        membership.views.changed()
        affected = membership.forget(gone)
        if affected and self._running:
            membership.enter_gather(f"{ctx.names(gone)} removed from the configuration", now)
        membership.row_changed(now)
        if own.votes != votes and self._running:
            membership.say(now)

    # What comes in

    def receive(self, sender: NodeId, frame: bytes, now: float) -> None:
        """An authentic, whole Totem message."""
        self._catch_up(now)
        self.quiet = self._due_known = False
        ctx = self._ctx
        if not self._running:
            return
        if sender not in ctx.nodes or sender == ctx.me or not frame:
            ctx.stats.unknown_sender += 1
            return
        kind = frame[0]
        try:
            if kind == MCAST:
                self._on_mcast(frame, now)
            elif kind == TOKEN:
                self._on_token(sender, Token.decode(frame), now)
            elif kind == WANT:
                want = Want.decode(frame)
                if isinstance(self._membership.phase, Operational):
                    self._membership.phase.want(want)
            elif kind == JOIN:
                self._membership.on_join(sender, Join.decode(frame, now), now)
            elif kind == COMMIT:
                self._membership.on_commit(CommitToken.decode(frame), now)
            else:
                ctx.stats.unknown_type += 1
        except WireError:
            ctx.stats.malformed += 1

    def receive_progress(self, sender: NodeId, payload: bytes, now: float) -> None:
        """A progress datagram: the frame of a Send with session=True."""
        self._catch_up(now)
        self._stir()
        try:
            report = ProgressReport.decode(payload)
        except WireError:
            self._ctx.stats.malformed += 1
            return
        phase = self._membership.phase
        if isinstance(phase, Operational) and self._running:
            phase.report(sender, report, now)

    def _on_mcast(self, frame: bytes, now: float) -> None:
        flags, _, wire_ring, seq = mcast_head(frame)
        phase = self._membership.phase
        if isinstance(phase, Operational):
            if wire_ring == phase.ring.wire_id:
                if phase.ring.receive(seq, frame):
                    phase.receive(flags, now)
                return
        elif isinstance(phase, Recovery):
            if wire_ring == phase.ring.wire_id:
                phase.passed_on()
                if phase.ring.receive(seq, frame):
                    phase.receive(frame)
                return
        elif isinstance(phase, Gather):
            # Until our entry is on a commit token, late messages of the old ring still count.
            installed = self._membership.installed
            if installed is not None and wire_ring == installed.ring.wire_id:
                installed.ring.receive(seq, frame)
                return
        self._ctx.stats.foreign += 1

    def _on_token(self, sender: NodeId, token: Token, now: float) -> None:
        phase = self._membership.phase
        if not isinstance(phase, Operational | Recovery):
            self._ctx.stats.tokens_ignored += 1
        elif phase.ring.take(token, now):
            self._membership.token_from = sender
            if isinstance(phase, Recovery):
                phase.passed_on()

    # Out, and time

    def _catch_up(self, now: float) -> None:
        """First of all: a pause of this process, an overdue token."""
        gap = now - self._now
        if gap <= 0 or not self._running:
            return
        self._now = now
        membership = self._membership
        if self._due is not None and 2 * (now - self._due) > self._ctx.config.token:
            membership.woke_at = now
        if membership.lost(now):
            self._stir()

    def _stir(self) -> None:
        """Something came in."""
        self.quiet = self._due_known = False

    def poll_transmit(self, now: float) -> Send | None:
        """The next frame to send; acts on a token that arrived, and on what was submitted to a resting one."""
        out = self._ctx.out
        if not out and self._running:
            self._catch_up(now)
            self._due_known = False
            self._work(now)
        if out:
            return out.popleft()
        self.quiet = True
        return None

    def _work(self, now: float) -> None:
        phase = self._membership.phase
        if isinstance(phase, Operational):
            if self._claim is not None:
                ring_id, value = self._claim
                self._claim = None
                if ring_id == phase.ring.ring_id:
                    phase.claim(value, now)
            phase.work(now)
        elif isinstance(phase, Recovery) and phase.ring.arrived is not None and phase.visit(now):
            self._membership.install(phase, now).visit(False, now)

    def next_event(self) -> Event | None:
        """The next delivery, configuration change, progress, beat or disk request."""
        events = self._ctx.events
        if events:
            return events.popleft()
        if self._running:
            phase = self._membership.phase
            if isinstance(phase, Operational) and phase.ring.delivered < phase.ring.window.aru:
                while not events and phase.deliver():
                    pass
        if not events:
            return None
        self.quiet = False  # what is delivered now makes room for what waits
        return events.popleft()

    def next_timeout(self) -> float | None:
        """When handle_timeout is wanted; a time in the past means at once. To be asked after every input."""
        if not self._due_known:
            self._due = self._deadline() if self._running else None
            self._due_known = isinstance(self._membership.phase, Operational)
        return self._due

    def _deadline(self) -> float | None:
        membership = self._membership
        phase = membership.phase
        if isinstance(phase, Gather):
            over = membership.gather_deadline(self._now)
            return earliest(phase.join_at, over, phase.retry_at, membership.silence.next_timeout())
        if isinstance(phase, Commit):
            return min(phase.lost_at, phase.resend_at)
        ring = phase.ring
        if isinstance(phase, Recovery):
            return earliest(ring.lost_at, ring.resend_at, phase.commit_resend_at)
        return earliest(
            ring.lost_at if ring.others else None,
            ring.resend_at,
            phase.next_timeout(self._now),
            membership.merging.next_timeout(),
            membership.silence.next_timeout(),
        )

    def handle_timeout(self, now: float) -> None:
        """Something may be due."""
        self._catch_up(now)
        self._stir()
        if not self._running:
            return
        membership = self._membership
        if membership.silence.lift(now):
            membership.row_changed(now)
        phase = membership.phase
        if isinstance(phase, Gather):
            membership.gather_timeout(now)
        elif isinstance(phase, Commit):
            if now >= phase.resend_at:
                phase.resend(now)
        else:
            ring = phase.ring
            if ring.resend_at is not None and now >= ring.resend_at:
                ring.resend(now)
            if isinstance(phase, Recovery):
                phase.resend_commit(now)
            else:
                membership.announce(now)
        self._work(now)
