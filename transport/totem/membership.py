"""Who is in the ring: every transition between gather, commit, recovery and operation, with its reason.

    gather       joins until all of a clique offer the same ring           gather.py, views.py, cliques.py
    commit       the commit token's rounds: everybody's old ring state     commit.py
    recovery     old messages carried over; nothing is delivered           recovery.py
    operational  order, delivery, the resting token                        operational.py, ring.py

A ring is entered only with the consent of all its members (each offered exactly it), with a seq that is reserved
on disk, and not before those of our last ring who are not in it may be left out (exclusion.py).
"""

from __future__ import annotations

from transport.errors import WireError
from transport.events import ConfigurationChange
from transport.ids import NO_RING, NodeId, RingId
from transport.totem.commit import Commit, fits, issue
from transport.totem.context import Context, Installed
from transport.totem.exclusion import Echoes
from transport.totem.gather import Gather, Silence
from transport.totem.joins import CommitToken, Entry, Join
from transport.totem.merging import Merging
from transport.totem.operational import Operational
from transport.totem.recovery import Recovery, contradicts, own_entry
from transport.totem.reserve import Reserve
from transport.totem.stats import Send
from transport.totem.views import Views

PAUSE_FLUSH = 0.020  # seconds after a pause in which joins count as left over from before it
DISK_RETRY = 0.005

Phase = Operational | Gather | Commit | Recovery


class Membership:
    """The phase this node is in, and what it knows of the others. `installed`: the last ring."""

    def __init__(self, ctx: Context, ring_seq_reserved: int, now: float) -> None:
        self.ctx = ctx
        self.views = Views(ctx.me, ctx.incarnation, ring_seq_reserved, ctx.nodes[ctx.me], now)
        self.silence = Silence()
        self.reserve = Reserve(ring_seq_reserved, ctx.events.append)
        self._without_number = False  # the disk takes no ring seq: a ring with us would come to nothing
        self.merging = Merging(ctx, self.views, now)
        self.installed: Installed | None = None
        self.reachable: frozenset[NodeId] = frozenset()
        self.token_from: NodeId = 0  # who sent the last token we took
        self.woke_at = now - 1.0  # when a pause of this process ended
        self.phase: Phase = Gather(ctx, self.views, {}, "start", now)
        self._echoes = Echoes(ctx.nodes, ctx.me, now)
        self.exclusion = ctx.config.token
        """T_excl: the longest that was configured while the present ring was installed. Who was echoed in it may not
        have taken a shorter one yet; in the next ring all have."""
        self._attempted = ring_seq_reserved  # highest ring seq we wrote on a commit token for

    @property
    def ring_id(self) -> RingId:
        return self.installed.ring_id if self.installed is not None else NO_RING

    @property
    def members(self) -> tuple[NodeId, ...]:
        return self.installed.members if self.installed is not None else ()

    def start(self, now: float) -> None:
        self._echoes = Echoes(self.ctx.nodes, self.ctx.me, now)
        self.enter_gather("this node starts", now)

    # The ring we are in or are about to install

    def _forming(self) -> dict[NodeId, int]:
        """Members and their incarnations; nobody while gathering."""
        phase = self.phase
        if isinstance(phase, Operational):
            return phase.installed.incarnations
        if isinstance(phase, Gather):
            return {}
        return phase.incarnations

    def _entries(self) -> list[Entry]:
        phase = self.phase
        if isinstance(phase, Commit):
            return phase.token.entries
        return phase.entries if isinstance(phase, Recovery) else []

    def echo(self, peer: NodeId, now: float) -> RingId:
        """See Srp.echo."""
        installed = self.installed
        if installed is None or peer not in installed.incarnations:
            return NO_RING
        together = self.phase.clique if isinstance(self.phase, Gather) else self._forming()
        incarnation = installed.incarnations[peer]
        if peer not in together or self.views.incarnation(peer) != incarnation:
            return NO_RING
        self._echoes.note(peer, incarnation, now)
        return installed.ring_id

    # Joins

    def on_join(self, sender: NodeId, join: Join, now: float) -> None:
        stats = self.ctx.stats
        if join.sender != sender:
            raise WireError(f"join of n{join.sender} sent by n{sender}")
        said = join.views[sender]
        known = self.views.incarnation(sender)
        stale = now - self.woke_at < PAUSE_FLUSH and not said.left
        if stale or not self.views.merge(join, self.ctx.nodes, now):
            stats.joins_ignored += 1
            return
        stats.joins_received += 1
        self.reserve.note(join.max_seq)
        if said.incarnation != known:
            self._forgive(sender)
            self.row_changed(now)
        if isinstance(self.phase, Gather):
            self.gather_step(now)
            return
        forming = self._forming()
        if sender in forming:
            if said.left:
                self.enter_gather(f"{self.ctx.name(sender)} left", now)
            elif said.incarnation != forming[sender]:
                self.enter_gather(f"{self.ctx.name(sender)} restarted", now)
            elif join.gathering and self._abandoned(join, said.stamp):
                self.enter_gather(f"{self.ctx.name(sender)} looks for a new membership", now)
        if isinstance(self.phase, Operational):
            self.merging.consider(self.phase.ring.members, now)

    def _abandoned(self, join: Join, stamp: int) -> bool:
        """Does this gathering join of a member show that it is no longer with the ring we are in?"""
        phase = self.phase
        if isinstance(phase, Operational):
            return stamp > phase.installed.stamps[join.sender]
        entry = next(entry for entry in self._entries() if entry.node == join.sender)
        # An entry not written yet has the stamp of the offer: a later join that offers the same is no change.
        return stamp > entry.stamp and (entry.filled or join.clique != tuple(self._forming()))

    def join(self, gathering: bool, now: float) -> Join:
        """What we say now."""
        ctx, own = self.ctx, self.views.own
        own.heard_at = now
        views = {node: view for node, view in self.views.table.items() if node in ctx.nodes}
        views[ctx.me] = own
        clique = self.phase.clique if isinstance(self.phase, Gather) else self.members
        clique = tuple(node for node in clique if node in ctx.nodes)
        return Join(ctx.me, gathering, max(self.reserve.seen, self._attempted), clique, views)

    def everybody_else(self) -> tuple[NodeId, ...]:
        return tuple(node for node in sorted(self.ctx.nodes) if node != self.ctx.me)

    def set_reachable(self, row: frozenset[NodeId], now: float) -> None:
        """The link layer's word. Who was out of reach and is back gets a new chance."""
        back = row - self.reachable
        self.reachable = row
        for node in sorted(back):
            self._forgive(node)
        self.row_changed(now)

    def persisted(self, receipt: int, now: float) -> None:
        """A ring seq is on disk."""
        self.reserve.persisted(receipt)
        if self._without_number and self.reserve.covers(self.reserve.seen + 1):
            self._without_number = False
            self.silence.end()  # who waited for us in vain cannot be blamed
            self.row_changed(now)

    def _forgive(self, node: NodeId) -> None:
        self.silence.forgive((node,))
        self.merging.forgive(node)

    def row_changed(self, now: float) -> None:
        """Publish a changed row: whom we reach, without those we have silenced; nobody while no ring can have us."""
        row = self.reachable.intersection(self.ctx.nodes) - {self.ctx.me} - self.silence.nodes()
        if self._without_number:
            row = frozenset()
        own = self.views.own
        if row == own.row:
            return
        own.row = row
        self.say(now)

    def say(self, now: float) -> None:
        """What we say of ourselves changed. Others choose cliques by it: they must hear of it in every phase, or a ring
        finds a better one possible as long as it works, and its own again as soon as it gathers."""
        self.views.changed()
        if isinstance(self.phase, Gather):
            self.phase.speak_soon(now)
            self.gather_step(now)
        elif isinstance(self.phase, Operational):
            self.merging.changed(now)
            self.merging.consider(self.phase.ring.members, now)

    def announce(self, now: float) -> None:
        """Merge detection, a merge whose time has come, and rows that changed."""
        phase = self.phase
        assert isinstance(phase, Operational)
        to = self.merging.announce_to(phase.ring.members, now)
        if to:
            self.ctx.out.append(Send(tuple(sorted(to)), self.join(False, now).encode(now), "merge"))
            self.ctx.stats.joins_sent += 1
        reason = self.merging.due(phase.ring.members, now)
        if reason is not None:
            self.enter_gather(reason, now)

    # Gather

    def _enter(self, phase: Phase, sentence: str) -> None:
        """The one place a phase changes."""
        if isinstance(self.phase, Operational):
            self.merging.stop(self.phase.ring.members)
        self.phase = phase
        # Why a change began and what came of it is for everybody; the steps between are for who looks into it.
        (self.ctx.log.info if isinstance(phase, Gather | Operational) else self.ctx.log.debug)(sentence)

    def enter_gather(self, reason: str, now: float) -> None:
        phase, ctx = self.phase, self.ctx
        base: dict[NodeId, tuple[int, int]] = {}
        if isinstance(phase, Operational):
            while phase.deliver():
                pass
            installed = phase.installed
            base = {node: (installed.incarnations[node], stamp) for node, stamp in installed.stamps.items()}
            ctx.backlog.rewind()
        elif isinstance(phase, Gather):
            base = phase.base
        else:
            base = {entry.node: (entry.incarnation, entry.stamp) for entry in self._entries() if entry.filled}
        if isinstance(phase, Operational | Recovery) and phase.ring.forwarded_at is not None:
            self._note_echoes(self._forming(), phase.ring.forwarded_at)
        self.views.changed()
        ctx.stats.gathers += 1
        last = f" (ring {self.ring_id})" if self.installed is not None else ""
        self._enter(Gather(ctx, self.views, base, reason, now), f"gather: {reason}{last}")
        self.gather_step(now)

    def gather_step(self, now: float) -> None:
        """Something changed: choose again, speak if it matters, and form the ring when all agree."""
        gather = self.phase
        if not isinstance(gather, Gather):
            return  # a step taken on the way here formed the ring already
        if gather.choose(now):
            self.views.own.stamp += 1
        others = self.everybody_else()
        if now >= gather.join_at:
            gather.spoke(now)
            if others:
                self.ctx.out.append(Send(others, self.join(True, now).encode(now), "join"))
                self.ctx.stats.joins_sent += 1
        if gather.held is not None:
            if now < gather.held_until:
                self._accept(gather.held, now)
                return
            gather.held = None
        gather.retry_at = None
        if gather.clique[0] != self.ctx.me or gather.missing(now):
            return
        seq = max(self.reserve.seen, self._attempted) + 1
        free_at = self._free_at(gather.clique)
        if now < free_at:
            gather.retry_at = free_at
        elif not self.reserve.covers(seq):
            gather.retry_at = now + DISK_RETRY
        else:
            self._commit(issue(self.ctx, self.views, gather.clique, seq), now)

    def gather_timeout(self, now: float) -> None:
        gather = self.phase
        assert isinstance(gather, Gather)
        missing = gather.missing(now)
        over = gather.deadline()
        if missing and now >= over:
            for node in missing:
                self.silence.add(node, self.ctx.config.consensus, now)
            self.ctx.log.warning(f"gather: no agreement with {self.ctx.names(missing)}; going on without for a while")
            gather.changed_at = now
            self.row_changed(now)
        elif not missing and now >= over + self.ctx.config.token:
            gather.changed_at = now
            rep = gather.clique[0]
            if not self.reserve.covers(self.reserve.seen + 1):
                # No commit token went on from here, and none will: the others must not try again and again.
                if not self._without_number:
                    self.ctx.log.warning("gather: the disk has not taken a ring number: the others go on without us")
                self._without_number = True
                self.row_changed(now)
            elif rep != self.ctx.me and gather.held is None:
                # All agree and no commit token came: the lowest of us may hear us and be heard in vain.
                self.silence.add(rep, self.ctx.config.consensus, now)
                self.row_changed(now)
        self.gather_step(now)

    def gather_deadline(self, now: float) -> float:
        """When gather_timeout() has something to judge."""
        gather = self.phase
        assert isinstance(gather, Gather)
        over = gather.deadline()
        return over if now < over else over + self.ctx.config.token

    def _free_at(self, members: tuple[NodeId, ...]) -> float:
        return self._echoes.free_at(members, self.views, self.exclusion)

    def _note_echoes(self, incarnations: dict[NodeId, int], at: float) -> None:
        """A token, or commit token, of a ring of these was passed on."""
        for node, incarnation in incarnations.items():
            if node != self.ctx.me:
                self._echoes.note(node, incarnation, at)

    # Commit and recovery

    def on_commit(self, token: CommitToken, now: float) -> None:
        phase, me = self.phase, self.ctx.me
        self.reserve.note(token.ring_id.seq)
        if me not in token.members:
            self.ctx.stats.foreign += 1
            return
        if isinstance(phase, Commit | Recovery):
            current = phase.ring_id if isinstance(phase, Commit) else phase.ring.ring_id
            if token.ring_id == current:
                self._second_round(token, now)
                return
            if token.ring_id.seq <= current.seq or token.hop >= len(token.members):
                return
            self.enter_gather(f"a newer commit token of n{token.ring_id.rep}", now)
        if isinstance(self.phase, Gather):
            self._accept(token, now)

    def _accept(self, token: CommitToken, now: float) -> None:
        """First round: is it the ring we offer, may we leave out who is not in it, is its seq on disk?"""
        gather = self.phase
        assert isinstance(gather, Gather)
        if token.ring_id.seq <= self._attempted or not fits(token, self.ctx.me, gather.clique, self.views):
            gather.held = None
            return
        free_at = self._free_at(token.members)
        if now >= free_at and self.reserve.covers(token.ring_id.seq):
            self._commit(token, now)
            return
        if gather.held is None:
            gather.held_until = now + self.ctx.config.token
            self.ctx.stats.waits_to_exclude += now < free_at
        gather.held = token
        gather.retry_at = max(free_at, now + DISK_RETRY)

    def _commit(self, token: CommitToken, now: float) -> None:
        """Write our entry and pass the commit token on; alone, go straight through."""
        ctx = self.ctx
        self._attempted = token.ring_id.seq
        self.reserve.note(token.ring_id.seq)
        commit = Commit(ctx, token, own_entry(ctx, self.installed, self.views.own.stamp), now)
        self._enter(commit, f"commit: ring {token.ring_id} of {ctx.names(token.members)}")
        if len(token.members) == 1:
            self.install(Recovery(ctx, self.installed, commit, now), now)
            return
        commit.forward(now)
        self._note_echoes(commit.incarnations, now)

    def _second_round(self, token: CommitToken, now: float) -> None:
        phase, ctx = self.phase, self.ctx
        if isinstance(phase, Commit) and phase.full_round(token):
            if self._contradicted(token, now):
                return
            phase.token = token
            phase.forward(now)
            self._note_echoes(phase.incarnations, now)
            recovery = Recovery(ctx, self.installed, phase, now)
            together = ctx.names(recovery.transitional)
            self._enter(recovery, f"recovery: ring {token.ring_id}; with us from ring {self.ring_id}: {together}")
        elif isinstance(phase, Recovery) and token.hop == 2 * len(token.members) and token.ring_id.rep == ctx.me:
            phase.passed_on()
            if phase.ring.token_seq == 0 and phase.ring.arrived is None:
                phase.ring.take(phase.ring.first_token(), now)

    def _contradicted(self, token: CommitToken, now: float) -> bool:
        """Does somebody say of our last ring what cannot be? Then go on without, for a while."""
        if self.installed is None:
            return False
        liars = tuple(e.node for e in token.entries if contradicts(e, self.installed, token.entries))
        if not liars:
            return False
        self.ctx.stats.malformed += 1
        for node in liars:
            self.silence.add(node, self.ctx.config.consensus, now)
        self.enter_gather(f"{self.ctx.names(liars)} contradict what is known of ring {self.ring_id}", now)
        self.row_changed(now)
        return True

    def install(self, recovery: Recovery, now: float) -> Operational:
        """All members have what the transitional ones need: deliver it, and the configurations around it."""
        ctx, old, ring = self.ctx, self.installed, recovery.ring
        incarnations = recovery.incarnations
        before = old.incarnations if old is not None else {}
        joined = tuple(node for node, incarnation in incarnations.items() if before.get(node) != incarnation)
        left = tuple(node for node, incarnation in before.items() if incarnations.get(node) != incarnation)
        members, together = ring.members, recovery.transitional
        recovery.finish(ConfigurationChange(True, ring.ring_id, members, joined, left, together, incarnations))
        if ring.others:
            assert ring.cap is not None, "a ring is installed before this node was ready"
            ring.delivered = ring.cap
        ring.cap = None
        ring.accelerate = True
        self.installed = Installed(ring, incarnations, {entry.node: entry.stamp for entry in recovery.entries})
        self.exclusion = ctx.config.token
        self.silence.forgive(members)
        ctx.stats.rings += 1
        ctx.stats.merges += len({entry.old_ring for entry in recovery.entries}) > 1
        self.views.own.ring = ring.ring_id
        self.views.changed()
        operational = Operational(ctx, self.installed, now)
        gone = f"; left: {ctx.names(left)}" if left else ""
        news = f"; joined: {ctx.names(joined)}" if joined else ""
        self._enter(operational, f"operational: ring {ring.ring_id} of {ctx.names(members)}{news}{gone}")
        self.merging.installed(not joined and not left, now)
        self.merging.consider(members, now)
        return operational

    def forget(self, nodes: list[NodeId]) -> bool:
        """These are no longer configured; True if one of them is in the ring we are in or form.

        What they were echoed stays known: a removed node that has not heard of it trusts its verdict until then.
        """
        for node in nodes:
            self.views.forget(node)
        return bool(self._forming().keys() & set(nodes))

    def lost(self, now: float) -> bool:
        """If the token is overdue, whatever else came in: gather. True if so."""
        phase, wait = self.phase, self.ctx.config.token
        if isinstance(phase, Gather):
            return False
        if isinstance(phase, Commit):
            if now < phase.lost_at:
                return False
            reason = f"commit token of ring {phase.ring_id} lost after {wait:g} s"
        else:
            if now < phase.ring.lost_at or not phase.ring.others:
                return False
            seen = f", last seen from {self.ctx.name(self.token_from)}" if self.token_from else ""
            reason = f"token of ring {phase.ring.ring_id} lost after {wait:g} s{seen}"
        self.ctx.stats.tokens_lost += 1
        self.enter_gather(reason, now)
        return True
