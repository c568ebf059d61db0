"""The Totem single-ring protocol of one node: four phases and every transition between them, with its reason.

    gather       joins until all of a clique offer the same ring           gather.py, views.py, cliques.py
    commit       the commit token's rounds: everybody's old ring state     commit.py
    recovery     old messages carried over; nothing is delivered           recovery.py
    operational  order, delivery, the resting token                        operational.py, ring.py

Promises E1 to E15 of facts, totem.md section 1, and the exclusion rule of exclusion.py. Times are CLOCK_BOOTTIME
seconds. Nothing a peer can send makes this raise. `_enter` is the one place a phase changes.

A token that arrives is acted on in poll_transmit(), not in receive(): a caller that hands in everything its
sockets hold before it polls has drained them before the token is acted on, which saves false retransmissions.
After a pause nothing is done on stale state: overdue timers come first, whatever came in.
"""

from __future__ import annotations

from transport.config import TotemConfig
from transport.core import Entropy, Log, earliest
from transport.errors import Refused, WireError
from transport.events import ConfigurationChange
from transport.ids import NO_RING, NodeId, RingId
from transport.totem.commit import Commit, fits, issue
from transport.totem.context import Context, Event, Installed
from transport.totem.exclusion import Echoes
from transport.totem.gather import Gather, Silence
from transport.totem.joins import CommitToken, Join
from transport.totem.messages import COMMIT, JOIN, MCAST, TOKEN, WANT, ProgressReport, Token, Want, mcast_head
from transport.totem.operational import Operational
from transport.totem.packing import Backlog
from transport.totem.recovery import Recovery, own_entry
from transport.totem.reserve import Reserve
from transport.totem.stats import Send, Stats
from transport.totem.views import Views

ANNOUNCE_DELAY = 0.030  # seconds a changed row is held back while in operation, for more changes to come
SETTLE_GROW = 0.050  # wait before a merge that only adds nodes, for rows still changing
MERGE_BACKOFF = 0.500  # pause after a gather that gave the same members again; doubles
MERGE_BACKOFF_MAX = 30.0

Phase = Operational | Gather | Commit | Recovery


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
    ) -> None:
        """nodes: configured nodes, ourselves among them, with their votes. ring_seq_reserved: the value of the
        file `ringseq`, 0 if there is none. incarnation: random 32 bits of this process."""
        backlog = Backlog(config.queue_bytes, config.max_message)
        self._ctx = Context(me, incarnation, config, dict(nodes), entropy, log, backlog)
        self._views = Views(me, incarnation, nodes[me], now)
        self._reserve = Reserve(ring_seq_reserved, self._ctx.events.append)
        self._echoes = Echoes(nodes, me, now)
        self._silence = Silence()
        self._installed: Installed | None = None
        self._attempted = ring_seq_reserved  # highest ring seq we took a commit token for
        self._phase: Phase = Gather(self._ctx, self._views, {}, "start", now)
        self._started = False
        self._leaving = False
        self._reachable: frozenset[NodeId] = frozenset()
        self._claim_due = False
        self._claim: int | None = None
        self._now = now
        self._token_from = 0  # who sent the last token we took
        self._announce_at: float | None = None
        self._merge_at: float | None = None  # next merge detection
        self._consider_at: float | None = None  # a better clique is in sight: gather then, if it still is
        self._considered = -1  # version of the views it was last looked for
        self._merge_failures = 0
        self._merge_after = now
        self._gather_for_merge = False

    # What the layers above and beside see

    @property
    def phase(self) -> str:
        return type(self._phase).__name__.lower()

    @property
    def ring_id(self) -> RingId:
        """Of the last installed ring; NO_RING before the first."""
        return self._installed.ring_id if self._installed is not None else NO_RING

    @property
    def members(self) -> tuple[NodeId, ...]:
        """Of the last installed ring, sorted; empty before the first."""
        return self._installed.members if self._installed is not None else ()

    @property
    def stats(self) -> Stats:
        return self._ctx.stats

    @property
    def left(self) -> bool:
        """leave() was called and its messages were polled."""
        return self._leaving and not self._ctx.out

    @property
    def backlog_bytes(self) -> int:
        """Submitted and not yet multicast."""
        return self._ctx.backlog.waiting

    def lag(self, member: NodeId) -> int:
        """How many messages of the present ring this member is not known to have; 0 if it is not in the ring."""
        ring = self._installed.ring if self._installed is not None else None
        if ring is None or member not in ring.members:
            return 0
        return ring.seq - ring.arus[ring.members.index(member)]

    def start(self, now: float) -> None:
        """Begin: gather, and install a first ring."""
        self._started = True
        self._now = now
        self._echoes = Echoes(self._ctx.nodes, self._ctx.me, now)
        self._enter_gather("start", now)

    def submit(self, payload: bytes, safe: bool = False) -> int:
        """Queue a message; it is ordered at our next token visit, or at once if the token rests here (poll).

        Returns the bytes now waiting. Raises QueueFull, TooLarge, or Refused after leave(): nothing was kept.
        """
        if self._leaving:
            raise Refused("this node is leaving the cluster")
        self._ctx.backlog.push(payload, safe)
        return self._ctx.backlog.waiting

    def set_progress(self, value: int | None) -> None:
        """Our claim on the present ring: it only grows; None: no claim. A new ring starts with None."""
        self._claim = value
        self._claim_due = True

    def set_primary(self, members: tuple[NodeId, ...]) -> None:
        """The members of the primary opened in the present ring, as far as we know: a bias for the next clique."""
        own = self._views.own
        primary = self.ring_id if self._ctx.me in members else own.primary
        if primary != own.primary:
            own.primary = primary
            self._views.changed()

    def set_frame_budget(self, size: int) -> None:
        """Bytes of a Totem frame that goes unfragmented to everybody; at least 256."""
        self._ctx.frame_budget = max(size, 256)
        if self._installed is not None:
            self._installed.ring.frame_budget = self._ctx.frame_budget
        if isinstance(self._phase, Recovery):
            self._phase.ring.frame_budget = self._ctx.frame_budget

    def set_reachable(self, row: frozenset[NodeId], now: float) -> None:
        """Peers with a path up, both ways."""
        self._catch_up(now)
        self._reachable = row
        self._row_changed(now)

    def suspect(self, peer: NodeId, now: float) -> None:
        """All paths to `peer` are down or refused: as if set_reachable had been called without it."""
        self._catch_up(now)
        self._reachable -= {peer}
        self._row_changed(now)

    def echo(self, peer: NodeId, now: float) -> RingId:
        """The ring id to put into a pong for `peer`, NO_RING if we do not stand by it; see exclusion.py."""
        self._catch_up(now)
        installed, phase = self._installed, self._phase
        if installed is None or self._leaving or peer not in installed.incarnations:
            return NO_RING
        if isinstance(phase, Gather):
            together = phase.clique
        elif isinstance(phase, Operational):
            together = installed.members
        else:
            together = phase.members if isinstance(phase, Commit) else phase.ring.members
        incarnation = installed.incarnations[peer]
        if peer not in together or self._views.incarnation(peer) != incarnation:
            return NO_RING
        self._echoes.note(peer, incarnation, now)
        return installed.ring_id

    def leave(self, now: float) -> None:
        """Say goodbye: the others go on without us at once. Nothing is sent or delivered afterwards."""
        if self._leaving:
            return
        self._catch_up(now)
        self._leaving = True
        self._views.own.left = True
        self._views.changed()
        self._ctx.out.clear()
        frame = self._join(True).encode(now)
        others = self._all_others()
        if others:
            self._ctx.out.append(Send(others, frame, "join", redundant=True))
            self._ctx.out.append(Send(others, frame, "join", redundant=True))
        self._ctx.log.info(f"leaving ring {self.ring_id}")

    def persisted(self, receipt: int) -> None:
        """A Persist event is on disk."""
        self._reserve.persisted(receipt)

    def reconfigure(self, config: TotemConfig, nodes: dict[NodeId, int], now: float) -> None:
        """New settings or nodes. A member that is no longer configured is out at once."""
        self._catch_up(now)
        ctx = self._ctx
        gone = sorted(set(ctx.nodes) - set(nodes))
        ctx.config = config
        ctx.nodes = dict(nodes)
        ctx.backlog.configure(config.queue_bytes, config.max_message)
        if self._installed is not None:
            self._installed.ring.config = config
        for node in gone:
            self._views.forget(node)
            self._echoes.forget(node)
        if self._views.own.votes != nodes[ctx.me]:
            self._views.own.votes = nodes[ctx.me]
        self._row_changed(now)
        self._views.changed()
        if self._started and set(gone) & set(self._forming()):
            self._enter_gather(f"{_names(gone)} removed from the configuration", now)

    # What comes in

    def receive(self, sender: NodeId, frame: bytes, now: float) -> None:
        """An authentic, whole Totem message."""
        self._catch_up(now)
        ctx = self._ctx
        if sender not in ctx.nodes or sender == ctx.me or self._leaving or not self._started or not frame:
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
                if isinstance(self._phase, Operational):
                    self._phase.want(want)
            elif kind == JOIN:
                self._on_join(sender, Join.decode(frame, now), now)
            elif kind == COMMIT:
                self._on_commit(CommitToken.decode(frame), now)
            else:
                ctx.stats.unknown_type += 1
        except WireError:
            ctx.stats.malformed += 1

    def receive_progress(self, sender: NodeId, payload: bytes, now: float) -> None:
        """A progress datagram: the payload of a Send with session=True."""
        self._catch_up(now)
        try:
            report = ProgressReport.decode(payload)
        except WireError:
            self._ctx.stats.malformed += 1
            return
        if isinstance(self._phase, Operational):
            self._phase.report(sender, report, now)

    def _on_mcast(self, frame: bytes, now: float) -> None:
        flags, _, wire_ring, seq = mcast_head(frame)
        phase = self._phase
        if isinstance(phase, Operational):
            ring = phase.ring
            if wire_ring == ring.wire_id:
                if ring.receive(seq, frame):
                    phase.receive(flags, now)
                return
        elif isinstance(phase, Recovery):
            if wire_ring == phase.ring.wire_id:
                phase.commit_resend_at = None
                if phase.ring.receive(seq, frame):
                    phase.receive(frame)
                return
        elif isinstance(phase, Gather) and self._installed is not None and wire_ring == self._installed.ring.wire_id:
            # Until our entry is on a commit token, late messages of the old ring still count.
            self._installed.ring.receive(seq, frame)
            return
        self._ctx.stats.foreign += 1

    def _on_token(self, sender: NodeId, token: Token, now: float) -> None:
        phase = self._phase
        if isinstance(phase, Operational | Recovery) and phase.ring.take(token, now):
            self._token_from = sender
            if isinstance(phase, Recovery):
                phase.commit_resend_at = None
        elif not isinstance(phase, Operational | Recovery):
            self._ctx.stats.tokens_ignored += 1

    def _on_join(self, sender: NodeId, join: Join, now: float) -> None:
        stats = self._ctx.stats
        if join.sender != sender:
            raise WireError(f"join of n{join.sender} sent by n{sender}")
        known = self._views.incarnation(sender)
        if not self._views.merge(join, self._ctx.nodes, now):
            stats.joins_ignored += 1
            return
        stats.joins_received += 1
        self._reserve.note(join.max_seq)
        said = join.views[sender]
        phase = self._phase
        if isinstance(phase, Gather):
            self._gather_step(now)
            return
        forming = self._forming()
        if sender in forming:
            if said.left:
                self._enter_gather(f"n{sender} left", now)
            elif said.incarnation != self._forming_incarnation(sender):
                self._enter_gather(f"n{sender} restarted", now)
            elif join.gathering and self._abandoned(join, said.stamp):
                self._enter_gather(f"n{sender} gathers", now)
            if not isinstance(self._phase, Operational):
                return
        elif known != said.incarnation and isinstance(phase, Operational):
            self._considered = -1
        self._consider(now)

    def _forming(self) -> tuple[NodeId, ...]:
        """Members of the ring we are in or are about to install; nobody while gathering."""
        phase = self._phase
        if isinstance(phase, Commit):
            return phase.members
        if isinstance(phase, Recovery | Operational):
            return phase.ring.members
        return ()

    def _forming_incarnation(self, node: NodeId) -> int:
        phase = self._phase
        if isinstance(phase, Operational):
            return phase.installed.incarnations[node]
        assert isinstance(phase, Commit | Recovery)
        entries = phase.token.entries if isinstance(phase, Commit) else phase.entries
        return next(entry.incarnation for entry in entries if entry.node == node)

    def _abandoned(self, join: Join, stamp: int) -> bool:
        """Does this gathering join of a member show that it is no longer with the ring we are in?"""
        phase = self._phase
        if isinstance(phase, Operational):
            return stamp > phase.installed.stamps[join.sender]
        assert isinstance(phase, Commit | Recovery)
        entries = phase.token.entries if isinstance(phase, Commit) else phase.entries
        entry = next(entry for entry in entries if entry.node == join.sender)
        # An entry not written yet has the stamp of the offer: a later join that offers the same is no change.
        return stamp > entry.stamp and (entry.filled or join.clique != self._forming())

    # Gather

    def _row_changed(self, now: float) -> None:
        """Publish a changed row: whom we reach, without those we have silenced."""
        row = (self._reachable & self._ctx.nodes.keys()) - {self._ctx.me} - self._silence.nodes()
        own = self._views.own
        if row == own.row:
            return
        own.row = row
        self._views.changed()
        if not self._started:
            return
        if isinstance(self._phase, Gather):
            self._phase.speak_soon(now)
            self._gather_step(now)
        elif isinstance(self._phase, Operational):
            if self._announce_at is None:
                self._announce_at = now + ANNOUNCE_DELAY
            self._consider(now)

    def _enter_gather(self, reason: str, now: float) -> None:
        phase, ctx = self._phase, self._ctx
        base: dict[NodeId, tuple[int, int]] = {}
        if isinstance(phase, Operational):
            while phase.deliver():
                pass
            installed = phase.installed
            base = {node: (installed.incarnations[node], stamp) for node, stamp in installed.stamps.items()}
            ctx.backlog.rewind()
        elif isinstance(phase, Commit | Recovery):
            entries = phase.token.entries if isinstance(phase, Commit) else phase.entries
            base = {entry.node: (entry.incarnation, entry.stamp) for entry in entries if entry.filled}
        elif isinstance(phase, Gather):
            base = phase.base
        self._views.changed()
        ctx.stats.gathers += 1
        gather = Gather(ctx, self._views, base, reason, now)
        self._enter(gather, f"gather: {reason}, on ring {self.ring_id}", now)
        self._gather_step(now)

    def _enter(self, phase: Phase, sentence: str, now: float) -> None:
        self._phase = phase
        self._announce_at = self._merge_at = self._consider_at = None
        self._considered = -1
        self._ctx.log.info(sentence)

    def _gather_step(self, now: float) -> None:
        """Something changed: choose again, speak if it matters, and form the ring when all agree."""
        gather = self._phase
        assert isinstance(gather, Gather)
        if gather.choose(now):
            self._views.own.stamp += 1
        if now >= gather.join_at:
            self._speak(gather, now)
        if gather.held is not None:
            self._accept(gather.held, now)
            return
        gather.retry_at = None
        me = self._ctx.me
        if gather.clique[0] != me or gather.missing(now):
            return
        seq = max(self._reserve.seen, self._attempted) + 1
        free_at = self._free_at(gather.clique)
        if now < free_at:
            gather.retry_at = free_at
            return
        if not self._reserve.covers(seq):
            self._reserve.note(seq)
            gather.retry_at = now + 0.005
            return
        self._commit(issue(self._ctx, self._views, gather.clique, seq), now)

    def _free_at(self, members: tuple[NodeId, ...]) -> float:
        return self._echoes.free_at(members, self._views.table, self._ctx.config.token)

    def _join(self, gathering: bool) -> Join:
        views = dict(self._views.table)
        own = self._views.own
        own.heard_at = self._now
        views[self._ctx.me] = own
        clique = self._phase.clique if isinstance(self._phase, Gather) else self.members
        seen = max(self._reserve.seen, self._attempted)
        return Join(self._ctx.me, gathering, seen, clique, {n: v for n, v in views.items() if n in self._ctx.nodes})

    def _all_others(self) -> tuple[NodeId, ...]:
        return tuple(node for node in sorted(self._ctx.nodes) if node != self._ctx.me)

    def _speak(self, gather: Gather, now: float) -> None:
        gather.spoke(now)
        others = self._all_others()
        if others:
            self._ctx.out.append(Send(others, self._join(True).encode(now), "join"))
            self._ctx.stats.joins_sent += 1

    def _gather_timeout(self, gather: Gather, now: float) -> None:
        missing = gather.missing(now)
        if missing and now >= gather.deadline():
            for node in missing:
                self._silence.add(node, self._ctx.config.consensus, now)
            self._ctx.log.warning(f"gather: no agreement with {_names(missing)}; going on without for a while")
            gather.changed_at = now
            self._row_changed(now)
        elif not missing and now >= gather.deadline() + self._ctx.config.token:
            gather.changed_at = now  # all agree, and no commit token came: the lowest of us may be in trouble
            if gather.clique[0] != self._ctx.me and gather.retry_at is None and gather.held is None:
                self._silence.add(gather.clique[0], self._ctx.config.consensus, now)
                self._row_changed(now)
        self._gather_step(now)

    # Commit and recovery

    def _on_commit(self, token: CommitToken, now: float) -> None:
        phase, me = self._phase, self._ctx.me
        self._reserve.note(token.ring_id.seq)
        if me not in token.members:
            self._ctx.stats.foreign += 1
            return
        if isinstance(phase, Commit | Recovery):
            current = phase.ring_id if isinstance(phase, Commit) else phase.ring.ring_id
            if token.ring_id == current:
                self._second_round(token, now)
                return
            if token.ring_id.seq <= current.seq or token.hop >= len(token.members):
                return
            self._enter_gather(f"a newer commit token of n{token.ring_id.rep}", now)
        if isinstance(self._phase, Gather):
            self._accept(token, now)

    def _accept(self, token: CommitToken, now: float) -> None:
        """First round: is it the ring we offer, may we leave out who is not in it, is its seq on disk?"""
        gather = self._phase
        assert isinstance(gather, Gather)
        if token.ring_id.seq <= self._attempted or not fits(token, self._ctx.me, gather.clique, self._views):
            gather.held = None
            return
        free_at = self._free_at(token.members)
        if now < free_at:
            if gather.held is None:
                self._ctx.stats.waits_to_exclude += 1
            gather.held, gather.retry_at = token, free_at
            return
        if not self._reserve.covers(token.ring_id.seq):
            gather.held, gather.retry_at = token, now + 0.005
            return
        self._commit(token, now)

    def _commit(self, token: CommitToken, now: float) -> None:
        """Write our entry and pass the commit token on; alone, go straight through."""
        ctx = self._ctx
        self._attempted = token.ring_id.seq
        self._reserve.note(token.ring_id.seq)
        commit = Commit(ctx, token, own_entry(ctx, self._installed, self._views.own.stamp), now)
        self._gather_for_merge = bool(set(token.members) - set(self.members))
        if len(token.members) == 1:
            self._phase = Recovery(ctx, self._installed, token, now)
            self._install(self._phase, now)
            return
        self._enter(commit, f"commit: ring {token.ring_id} of {_names(token.members)}", now)
        commit.forward(now)
        self._echoes.note_ring(commit.incarnations, ctx.me, now)

    def _second_round(self, token: CommitToken, now: float) -> None:
        phase, ctx = self._phase, self._ctx
        if isinstance(phase, Commit) and phase.full_round(token):
            recovery = Recovery(ctx, self._installed, token, now)
            phase.token = token
            phase.forward(now)
            recovery.commit_resend_at = phase.resend_at
            self._echoes.note_ring(phase.incarnations, ctx.me, now)
            self._commit_frame = Send((phase.successor,), phase.frame, "commit", redundant=True)
            together = _names(recovery.transitional)
            self._enter(recovery, f"recovery: ring {token.ring_id}; from ring {self.ring_id} with us: {together}", now)
        elif isinstance(phase, Recovery) and token.hop == 2 * len(token.members) and token.ring_id.rep == ctx.me:
            phase.commit_resend_at = None
            if phase.ring.token_seq == 0 and phase.ring.arrived is None:
                phase.ring.take(phase.ring.first_token(), now)

    def _install(self, recovery: Recovery, now: float) -> None:
        """All members have what the transitional ones need: deliver it, and the configurations around it."""
        ctx, old, ring = self._ctx, self._installed, recovery.ring
        incarnations = {entry.node: entry.incarnation for entry in recovery.entries}
        before = old.incarnations if old is not None else {}
        joined = tuple(node for node, incarnation in incarnations.items() if before.get(node) != incarnation)
        left = tuple(node for node, incarnation in before.items() if incarnations.get(node) != incarnation)
        members = ring.members
        recovery.finish(
            ConfigurationChange(True, ring.ring_id, members, joined, left, recovery.transitional, incarnations)
        )
        ring.delivered = ring.cap if ring.cap is not None else 0
        ring.cap = None
        ring.accelerate = True
        stamps = {entry.node: entry.stamp for entry in recovery.entries}
        self._installed = Installed(ring, incarnations, stamps)
        self._claim, self._claim_due = None, False
        self._silence.forgive(members)
        if old is not None and members == old.members and not joined:
            self._merge_failures += 1
            wait = min(MERGE_BACKOFF * 2 ** min(self._merge_failures - 1, 16), MERGE_BACKOFF_MAX)
            self._merge_after = now + wait
        else:
            self._merge_failures = 0
        ctx.stats.rings += 1
        ctx.stats.merges += any(entry.old_ring != self.ring_id_before(old) for entry in recovery.entries)
        operational = Operational(ctx, self._installed, now)
        gone = f"; left: {_names(left)}" if left else ""
        sentence = f"operational: ring {ring.ring_id} of {_names(members)}; joined: {_names(joined) or 'none'}{gone}"
        self._enter(operational, sentence, now)
        own = self._views.own
        own.ring = ring.ring_id
        self._views.changed()
        self._merge_at = now + ctx.config.merge * (0.9 + 0.2 * ctx.fraction())
        self._consider(now)

    @staticmethod
    def ring_id_before(old: Installed | None) -> RingId:
        return old.ring_id if old is not None else NO_RING

    # Merging

    def _consider(self, now: float) -> None:
        """In operation: is there a better clique for us than the ring we are in? Then gather, after a while."""
        phase = self._phase
        if not isinstance(phase, Operational) or self._considered == self._views.version:
            return
        self._considered = self._views.version
        clique = self._views.clique(self._ctx.nodes, phase.ring.members)
        if clique == phase.ring.members:
            self._consider_at = None
        elif self._consider_at is None:
            grows = set(clique) > set(phase.ring.members)
            settle = SETTLE_GROW if grows else 3 * self._ctx.config.merge
            self._consider_at = max(now + settle, self._merge_after)

    def _merge(self, now: float) -> None:
        phase = self._phase
        assert isinstance(phase, Operational)
        self._consider_at = None
        clique = self._views.clique(self._ctx.nodes, phase.ring.members)
        if clique != phase.ring.members:
            self._enter_gather(f"a ring of {_names(clique)} is possible", now)

    def _announce(self, to: tuple[NodeId, ...], now: float) -> None:
        if to:
            self._ctx.out.append(Send(to, self._join(False).encode(now), "merge"))
            self._ctx.stats.joins_sent += 1

    def _detect(self, now: float) -> None:
        """Merge detection: tell nodes outside the ring that we can reach, unless a lower member reaches them too."""
        phase = self._phase
        assert isinstance(phase, Operational)
        self._merge_at = now + self._ctx.config.merge * (0.9 + 0.2 * self._ctx.fraction())
        me, members, table = self._ctx.me, phase.ring.members, self._views.table
        covered = {
            node for lower in members if lower < me and (view := table.get(lower)) is not None for node in view.row
        }
        outside = self._views.own.row - set(members) - covered
        self._announce(tuple(sorted(outside)), now)

    # Time

    def _catch_up(self, now: float) -> None:
        """Overdue losses first: after a pause nothing may be done with what was true before it."""
        if now > self._now:
            self._now = now
        phase = self._phase
        if self._leaving or not self._started:
            return
        if isinstance(phase, Operational | Recovery):
            ring = phase.ring
            if ring.others and now >= ring.lost_at:
                self._lost(phase, now)
        elif isinstance(phase, Commit) and now >= phase.lost_at:
            self._lost(phase, now)

    def _lost(self, phase: Operational | Recovery | Commit, now: float) -> None:
        self._ctx.stats.tokens_lost += 1
        token = self._ctx.config.token
        if isinstance(phase, Commit):
            self._enter_gather(f"commit token of ring {phase.ring_id} lost after {token:g} s", now)
            return
        seen = f"; last seen from n{self._token_from}" if self._token_from else ""
        self._enter_gather(f"token of ring {phase.ring.ring_id} lost after {token:g} s{seen}", now)

    def poll_transmit(self, now: float) -> Send | None:
        """The next frame to send; acts on a token that arrived, and on what was submitted to a resting one."""
        out = self._ctx.out
        if out:
            return out.popleft()
        self._catch_up(now)
        self._work(now)
        return out.popleft() if out else None

    def _work(self, now: float) -> None:
        if self._leaving or not self._started:
            return
        phase = self._phase
        if isinstance(phase, Recovery):
            if phase.ring.arrived is None:
                return
            self._echo_forward(phase.ring.members, {e.node: e.incarnation for e in phase.entries}, now)
            if not phase.visit(now):
                return
            self._install(phase, now)
            phase = self._phase
            assert isinstance(phase, Operational)
            phase.visit(False, now)
            return
        if isinstance(phase, Operational):
            if self._claim_due:
                self._claim_due = False
                phase.claim(self._claim, now)
            if phase.work(now):
                self._echo_forward(phase.ring.members, phase.installed.incarnations, now)

    def _echo_forward(self, members: tuple[NodeId, ...], incarnations: dict[NodeId, int], now: float) -> None:
        self._echoes.note_ring(incarnations, self._ctx.me, now)

    def next_event(self) -> Event | None:
        """The next delivery, configuration change, progress, beat or disk request."""
        events = self._ctx.events
        if not events:
            phase = self._phase
            if isinstance(phase, Operational):
                while not events and phase.deliver():
                    pass
        return events.popleft() if events else None

    def next_timeout(self) -> float | None:
        """When handle_timeout is wanted; a time in the past means at once."""
        if self._leaving or not self._started:
            return None
        phase = self._phase
        silence = self._silence.next_timeout()
        if isinstance(phase, Gather):
            return earliest(phase.join_at, phase.deadline() + self._patience(phase), phase.retry_at, silence)
        if isinstance(phase, Commit):
            return min(phase.lost_at, phase.resend_at)
        ring = phase.ring
        if isinstance(phase, Recovery):
            return earliest(ring.lost_at, ring.resend_at, phase.commit_resend_at)
        if not ring.others:
            work = self._now if self._ctx.backlog else None
            return earliest(work, self._announce_at, self._merge_at, self._consider_at, silence)
        return earliest(
            ring.lost_at,
            ring.resend_at,
            phase.next_timeout(),
            self._announce_at,
            self._merge_at,
            self._consider_at,
            silence,
        )

    def _patience(self, gather: Gather) -> float:
        return 0.0 if gather.missing(self._now) else self._ctx.config.token

    def handle_timeout(self, now: float) -> None:
        """Something may be due."""
        self._catch_up(now)
        if self._leaving or not self._started:
            return
        if self._silence.lift(now):
            self._row_changed(now)
        phase = self._phase
        if isinstance(phase, Gather):
            self._gather_timeout(phase, now)
        elif isinstance(phase, Commit):
            if now >= phase.resend_at:
                phase.resend(now)
        else:
            ring = phase.ring
            if ring.resend_at is not None and now >= ring.resend_at:
                ring.resend(now)
            if isinstance(phase, Recovery):
                if phase.commit_resend_at is not None and now >= phase.commit_resend_at:
                    phase.commit_resend_at = now + self._ctx.config.token_retransmit
                    self._ctx.out.append(self._commit_frame)
            else:
                self._operational_timers(now)
        self._work(now)

    def _operational_timers(self, now: float) -> None:
        assert isinstance(self._phase, Operational)
        if self._announce_at is not None and now >= self._announce_at:
            self._announce_at = None
            to = (set(self._phase.ring.others) | self._views.own.row) & self._ctx.nodes.keys()
            self._announce(tuple(sorted(to)), now)
        if self._merge_at is not None and now >= self._merge_at:
            self._detect(now)
        if self._consider_at is not None and now >= self._consider_at:
            self._merge(now)


def _names(nodes: tuple[NodeId, ...] | list[NodeId]) -> str:
    return ", ".join(f"n{node}" for node in nodes)
