"""Recovery: the old ring's messages carried on the new one, and the order of delivery when a ring ends.

Source: facts, totem.md sections 1 (order at the end of a ring) and 8. Each old message that a member of the
transitional set may lack is multicast once more, encapsulated, on the new ring: by the lowest of those that have
all up to the highest aru, and above that by whoever has one nobody else brought yet. What arrives goes into the
old ring's window at once and stays there, however often recovery is interrupted.

The token counts two things: `pending`, members that may still have something to carry; at 0 its seq is the
install seq and nothing new is numbered before a member has installed. `ready`, members that said, with the
token in hand, that they have everything up to it; at that moment a member also takes on the obligation to deliver
what the transitional members sent, whatever becomes of this attempt. When all are ready the ring may be installed.
"""

from __future__ import annotations

from collections import deque

from transport.errors import WireError
from transport.events import ConfigurationChange, Delivery
from transport.ids import NodeId
from transport.totem.commit import Commit
from transport.totem.context import Context, Installed
from transport.totem.joins import Entry
from transport.totem.messages import ENCAPSULATED, MCAST_HEAD, SAFE, mcast_head, mcast_sender
from transport.totem.ring import Ring
from transport.totem.window import SPAN


class Recovery:
    """One attempt, from the full commit token to the installed ring or the next gather."""

    __slots__ = (
        "_commit",
        "_ctx",
        "_done",
        "_old",
        "_queue",
        "_ready",
        "_seen",
        "commit_resend_at",
        "entries",
        "incarnations",
        "old_high",
        "old_stable",
        "ring",
        "transitional",
        "waiting",
    )

    def __init__(self, ctx: Context, old: Installed | None, commit: Commit, now: float) -> None:
        """old: the last installed ring. commit: the phase before, its token with all entries."""
        self._ctx = ctx
        self._old = old
        self._commit = commit
        self.entries = commit.token.entries
        self.incarnations = commit.incarnations
        self.ring = Ring(ctx.me, commit.ring_id, commit.members, ctx.config, ctx.frame_budget, ctx.out, ctx.stats, now)
        # The commit token's second round goes on until there is a sign that the successor has it.
        self.commit_resend_at: float | None = commit.resend_at
        self.transitional: tuple[NodeId, ...] = (ctx.me,)
        self.old_high = self.old_stable = 0
        self._queue: deque[int] = deque()
        self._seen: set[int] = set()
        self._done = self._ready = False
        self.waiting = 0
        if old is not None:
            self._plan(old)
        ctx.stats.recoveries += 1
        ctx.stats.recoveries_with_messages += bool(self._queue)

    def _plan(self, old: Installed) -> None:
        """Who goes with us from the old ring, and which of its messages we carry over."""
        together = [entry for entry in self.entries if entry.old_ring == old.ring_id]
        self.transitional = tuple(entry.node for entry in together)
        assert self._ctx.me in self.transitional
        low = min(entry.aru for entry in together)
        top = max(entry.aru for entry in together)
        self.old_high = max(entry.high for entry in together)
        self.old_stable = max(entry.stable for entry in together)
        window = old.ring.window
        if len(together) > 1:
            if next(entry.node for entry in together if entry.aru == top) == self._ctx.me:
                self._queue.extend(range(low + 1, top + 1))
            self._queue.extend(seq for seq in range(top + 1, self.old_high + 1) if window.get(seq) is not None)
        self.waiting = sum(len(window.get(seq) or b"") + MCAST_HEAD for seq in self._queue)

    def passed_on(self) -> None:
        """Something of the new ring came in: the commit token needs no resending."""
        self.commit_resend_at = None

    def resend_commit(self, now: float) -> None:
        if self.commit_resend_at is not None and now >= self.commit_resend_at:
            self._commit.resend(now)
            self.commit_resend_at = self._commit.resend_at

    def next_body(self, room: int) -> tuple[int, bytes] | None:
        """The next old message to carry. It may exceed `room` by a head: the link layer cuts it."""
        assert self._old is not None or not self._queue
        while self._queue:
            seq = self._queue.popleft()
            if seq in self._seen:
                continue  # a message somebody else has carried over already
            assert self._old is not None
            frame = self._old.ring.window.get(seq)
            assert frame is not None, "an old message was released that a member lacks"
            self._ctx.stats.recovered += 1
            return ENCAPSULATED, frame
        self.waiting = 0
        return None

    def receive(self, frame: bytes) -> None:
        """A multicast of the new ring, new to us. An encapsulated one of our old ring goes into its window."""
        if not frame[1] & ENCAPSULATED or self._old is None:
            return
        inner = frame[MCAST_HEAD:]
        try:
            _, _, wire_ring, seq = mcast_head(inner)
        except WireError:
            self._ctx.stats.malformed += 1
            return
        if wire_ring == self._old.ring.wire_id and seq <= self.old_high:
            self._seen.add(seq)
            self._old.ring.window.add(seq, inner)

    def visit(self, now: float) -> bool:
        """Act on the token that arrived; True: all members are ready, install before it is passed on."""
        ring = self.ring
        ring.delivered = ring.window.aru if ring.cap is None else min(ring.window.aru, ring.cap)
        ring.begin(now)
        token = ring.held
        assert token is not None
        token.install = min(token.install, token.seq)  # nobody gave out more; recovery would never end
        members = len(ring.members)
        if token.ready == members and self._ready:  # all but us ready without us: not believed
            return True
        ring.send(self)
        if not self._queue and not self._done:
            self._done = True
            token.pending = max(0, token.pending - 1)
            if token.pending == 0:
                token.install = token.seq
        if token.pending == 0 and not self._ready and ring.window.aru >= token.install:
            self._ready = True
            ring.cap = max(token.install, ring.window.released)
            token.ready = min(members, token.ready + 1)
            if self._old is not None:
                self._old.obligations.update(self.transitional)
        if token.ready == members and self._ready:
            return True
        ring.delivered = ring.window.aru if ring.cap is None else min(ring.window.aru, ring.cap)
        ring.forward(self.waiting, now)
        return False

    def finish(self, regular: ConfigurationChange) -> None:
        """Deliver the rest of the old ring around the transitional configuration, then the regular one."""
        events = self._ctx.events
        old = self._old
        if old is not None:
            old.ring.stable = max(old.ring.stable, self.old_stable)
            while deliver_next(self._ctx, old, self.old_high):
                pass
            members = self.transitional
            incarnations = {node: old.incarnations[node] for node in members}
            left = tuple(node for node in old.members if node not in members)
            events.append(ConfigurationChange(False, old.ring_id, members, (), left, members, incarnations))
            self._deliver_rest(old)
        events.append(regular)

    def _deliver_rest(self, old: Installed) -> None:
        """In order, over gaps; behind the first gap only what may be relied on to be with all that go along."""
        senders = set(self.transitional)
        for entry in self.entries:
            if entry.old_ring == old.ring_id:
                senders |= unpack_obligations(entry.obligations, old.members)
        window = old.ring.window
        gap = False
        for seq in range(old.ring.delivered + 1, self.old_high + 1):
            frame = window.get(seq)
            if frame is None:
                gap = True
            elif not gap or mcast_sender(frame) in senders:
                _deliver(self._ctx, old, seq, frame, transitional=True)


def deliver_next(ctx: Context, installed: Installed, upto: int) -> bool:
    """Deliver the next multicast of a regular configuration if it may be; False if not.

    Without a gap, and a safe one only once it is known that every member has it; then what follows it, too.
    """
    ring = installed.ring
    seq = ring.delivered + 1
    if seq > ring.window.aru or seq > upto:
        return False
    frame = ring.window.get(seq)
    assert frame is not None
    if frame[1] & SAFE and seq > ring.stable:
        return False
    ring.delivered = seq
    if not frame[1] & ENCAPSULATED:
        _deliver(ctx, installed, seq, frame, transitional=False)
    return True


def _deliver(ctx: Context, installed: Installed, seq: int, frame: bytes, transitional: bool) -> None:
    flags = frame[1]
    sender = mcast_sender(frame)
    ring_id = installed.ring_id
    safe = bool(flags & SAFE)
    before = installed.unpacker.malformed
    for payload in installed.unpacker.unpack(sender, flags, frame, MCAST_HEAD):
        ctx.events.append(Delivery(sender, payload, ring_id, seq, transitional, safe))
        ctx.stats.delivered += 1
    ctx.stats.partial_dropped += installed.unpacker.malformed - before


def pack_obligations(nodes: set[NodeId], members: tuple[NodeId, ...]) -> int:
    """A bitmap over the members of a ring, in order of id."""
    return sum(1 << i for i, node in enumerate(members) if node in nodes)


def unpack_obligations(bits: int, members: tuple[NodeId, ...]) -> set[NodeId]:
    return {node for i, node in enumerate(members) if bits >> i & 1}


def contradicts(entry: Entry, old: Installed, entries: list[Entry]) -> bool:
    """Is this entry, of one that says it was with us in our last ring, none that such a member can have?

    It was a member, and is the same process; what was released here all have, itself too, and nobody can be further
    ahead than a window; nothing is known to be everywhere that one of those together lacks.
    """
    if entry.old_ring != old.ring_id:
        return False
    window = old.ring.window
    least = min(other.aru for other in entries if other.old_ring == old.ring_id)
    return (
        old.incarnations.get(entry.node) != entry.incarnation
        or entry.aru < window.released
        or entry.high > window.aru + SPAN
        or entry.stable > least
    )


def own_entry(ctx: Context, old: Installed | None, stamp: int) -> Entry:
    """Our line on a commit token: the state of our old ring, as it stands from now until the end of recovery."""
    entry = Entry(ctx.me, ctx.incarnation, stamp, filled=True)
    if old is not None:
        window = old.ring.window
        entry.old_ring = old.ring_id
        entry.aru, entry.high, entry.stable = window.aru, window.high, old.ring.stable
        entry.obligations = pack_obligations(old.obligations, old.members)
    return entry
