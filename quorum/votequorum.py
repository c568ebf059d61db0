"""May this node act? The electorate driven by the ring: barrier, ordered messages, timers, and the lease.

The votes are counted by quorum/electorate.py at each event, as the reference does; the verdict is told only when the
barrier is passed (`sync_activate`) and on changes after that. A yes is told only while its lease lasts (Q4): it
lapses without any input, and comes back with the beats. From `sync_init` to `sync_activate` the old verdict stands,
for what is left of its lease.

Sources: DESIGN section 4, Q1 to Q4; facts/votequorum.md sections 3 to 6. True between any two calls:
    the last Verdict event says yes  =>  the votes said yes when it was told, and since then at each timeout
    quorate(now)                     =>  the last Verdict event says yes, and its lease has not ended at now
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from quorum import overlap, reasons
from quorum.electorate import Electorate, configured_expected
from quorum.events import Multicast, SavedState, SaveState, Verdict
from quorum.lease import Lease
from quorum.messages import (
    MAX_NAME,
    CancelWait,
    Configured,
    Flag,
    NodeInfo,
    SetExpected,
    SetVotes,
    decode,
    encode,
)
from quorum.options import MAX_VOTES, QuorumOptions, check
from quorum.seldom import Seldom
from quorum.table import Device
from quorum.votes import objection_to_expected, objection_to_votes, threshold
from transport.core import Log, Timers, earliest
from transport.errors import BadArgument, Refused, WireError
from transport.ids import NO_RING, NodeId, RingId

__all__ = [
    "Multicast",
    "QuorumOptions",
    "SaveState",
    "SavedState",
    "Verdict",
    "View",
    "Votequorum",
    "check",
]


@dataclass(frozen=True, slots=True)
class View:
    """The present numbers for status.

    verdict: as told last; before the first one, a no. votes: of the members, by id. waiting_for_all: the status, not
    the option. newcomer: listed, but not counted before it joins, 0 for none. device: its name, "" for none.
    """

    verdict: Verdict
    votes: dict[NodeId, int]
    waiting_for_all: bool
    newcomer: NodeId
    device: str
    device_votes: int
    device_alive: bool
    device_casts: bool


class Votequorum:
    """The quorum service of one node."""

    def __init__(
        self, me: NodeId, options: QuorumOptions, saved: SavedState, name_of: Callable[[NodeId], str], log: Log
    ) -> None:
        self.me = me
        self.malformed = 0
        """Messages that were none of ours, or not from a member."""
        self._name_of = name_of
        self._log = Seldom(log)
        self._verdict_log = Seldom(log)  # of its own: what members say must not hide what came of it
        self._saved = saved
        self._electorate = Electorate(me, options, saved, name_of, self._log)
        self._lease = Lease(options.t_excl)
        self._timers = Timers()
        self.events: deque[Multicast | Verdict | SaveState] = deque()
        self._ring = NO_RING
        self._members: tuple[NodeId, ...] = ()
        self._syncing = False
        self._device_due = False
        self._told = self._verdict(False, reasons.NOT_IN_A_RING)
        self._until = -math.inf  # the end of the lease of what was told, at least
        self._save()

    # -- the barrier -----------------------------------------------------------------------------------------

    def sync_init(
        self, members: tuple[NodeId, ...], ring_id: RingId, transitional: tuple[NodeId, ...], now: float
    ) -> None:
        """A regular configuration was installed. transitional: who came with us; no rule of votequorum asks for it."""
        device = self._electorate.device
        if self._told.quorate and not self._syncing:
            # The arbiter may give its vote to another ring from now on: the old yes stands on members alone.
            self._lease.without(self._electorate.device_votes if device.cast else 0)
            self._until = min(self._lease.until(now), now + self._lease.length)
        self._syncing = True
        self._lease.t_excl = self._electorate.options.t_excl
        self._lease.clear()
        self._ring, self._members = ring_id, members
        if self._electorate.begin(members):
            self._timers.set("window", now + self._electorate.options.last_man_standing_window)
        device.cast = False  # the arbiter voted for the old ring: it is asked again
        self._device_due = device.registered and device.alive
        if self._device_due:
            self._timers.set("device", now + self._electorate.options.device_sync_timeout)

    @property
    def lowered(self) -> bool:
        """last_man_standing or allow_downscale count fewer votes than are configured: the absent were let go."""
        e = self._electorate
        lowers = e.options.last_man_standing or e.options.allow_downscale
        return lowers and e.own.expected < configured_expected(e.options, e.newcomer)

    @property
    def awaits_device(self) -> bool:
        """The device may still answer for this ring: the barrier may wait for it, at most device_sync_timeout."""
        return self._device_due

    def sync_state(self) -> bytes:
        """Our word about ourselves for the barrier."""
        return encode(self._electorate.node_info())

    def limit_exclusion(self, t_excl: float) -> None:
        """Some member of the new ring leaves nodes out after `t_excl` seconds: a verdict here must end before that."""
        self._lease.t_excl = min(self._lease.t_excl, t_excl)

    def sync_activate(
        self, states: dict[NodeId, bytes], now: float, newest: Collection[NodeId] = (), ahead: bool = False
    ) -> None:
        """All members' words are in: count, and tell the verdict. newest, ahead: see Electorate.settle."""
        self._log.now = now
        infos = {}
        for node in self._members:
            try:
                info = decode(states.get(node, b""))
                if not isinstance(info, NodeInfo):
                    raise WireError("not about a node")
            except WireError as error:
                self.malformed += 1
                self._log.warning(f"{self._name_of(node)} did not say its votes ({error}): counted as 0")
                info = NodeInfo(0, 0, Flag.NONE)
            infos[node] = info
        self._electorate.settle(infos, newest, ahead)
        if self._electorate.must_tell(infos, newest):
            self._multicast(self._electorate.node_info())
        self._syncing = False
        self._judge(now, tell=True)

    # -- ordered messages ------------------------------------------------------------------------------------

    def receive(self, sender: NodeId, payload: bytes, now: float) -> None:
        """A message at its place in the order, outside the barrier."""
        self._log.now = now
        try:
            message = decode(payload)
        except WireError:
            self.malformed += 1
            return
        if sender not in self._members:
            self.malformed += 1
            return
        electorate = self._electorate
        if isinstance(message, NodeInfo):
            electorate.on_node_info(sender, message)
            electorate.recount()  # it may have ended our wait for all, and no barrier follows
        elif isinstance(message, SetExpected):
            self._log.info(f"{self._name_of(sender)} sets expected votes to {message.value}")
            electorate.on_expected(message.value)
        elif isinstance(message, SetVotes):
            if message.node not in electorate.rows:
                self.malformed += 1
                return
            self._log.info(
                f"{self._name_of(sender)} sets the votes of {self._name_of(message.node)} to {message.value}"
            )
            electorate.on_votes(message.node, message.value)
        elif isinstance(message, Configured):
            if sender in electorate.rows:
                electorate.on_votes(sender, message.votes)
            if message.value:
                electorate.on_expected(message.value, configured=True)
        else:
            self._log.warning(f"{self._name_of(sender)} cancels waiting for all")
            electorate.on_cancel()
        self._judge(now)

    # -- requests --------------------------------------------------------------------------------------------

    def set_expected(self, value: int) -> None:
        """Set expected votes on all members (5.4). Raises BadArgument (out of range) and Refused."""
        e = self._in_a_ring()
        if not 1 <= value <= MAX_VOTES:
            raise BadArgument(f"expected votes must be in the range (1..{MAX_VOTES}), but {value} was given")
        refusal = objection_to_expected(
            value, e.total, counted=e.counted, quorate=e.quorate, two_node=e.options.two_node
        )
        if not refusal and e.options.tracks_expected and value < e.highest_expected:
            refusal = (
                f"expected_votes_tracking keeps the highest expected votes seen, {e.highest_expected}: "
                "only a new configuration lowers them"
            )
        if refusal:
            raise Refused(refusal)
        self._multicast(SetExpected(value))

    def set_votes(self, node: NodeId, value: int) -> None:
        """Set the votes of a node on all members (5.4). Raises BadArgument (out of range) and Refused."""
        e = self._in_a_ring()
        if not 0 <= value <= MAX_VOTES:
            raise BadArgument(f"votes must be in the range (0..{MAX_VOTES}), but {value} was given")
        if node not in e.rows:
            raise Refused(f"node {node} is not known here: it has not been a member since this daemon started")
        then = e.present
        if node in then:
            then[node] = value
        total = sum(then.values()) + (e.device_votes if e.device.cast else 0)
        needed = threshold(e.most_expected, total, counted=e.counted, two_node=e.options.two_node)
        refusal = objection_to_votes(node, value, e.present, total, needed)
        if refusal:
            raise Refused(refusal)
        self._multicast(SetVotes(node, value))

    def cancel_wait_for_all(self) -> None:
        """No member waits for all any longer. Raises Refused when this one does not, nor ever would."""
        if not (self._in_a_ring().options.waits_for_all or self._electorate.waiting):
            raise Refused("wait_for_all is not configured")
        self._multicast(CancelWait())

    def leave(self) -> bool:
        """We are about to leave cleanly. Under allow_downscale the others must hear it, in order, before we go: True
        when there is something that they must hear."""
        if not self._electorate.options.allow_downscale or not self._members:
            return False
        self._multicast(self._electorate.node_info(leaving=True))
        return True

    def left(self) -> None:
        """We say goodbye now, and the others go on without us at once: nothing that was said before lasts beyond."""
        self._tell(self._verdict(False, reasons.LEFT), -math.inf)
        self._members = ()

    def set_device(
        self,
        *,
        registered: bool,
        alive: bool,
        cast: bool,
        name: str,
        ring_id: RingId,
        now: float,
        votes: int | None = None,
        master_wins: bool = False,
        valid_until: float | None = None,
    ) -> None:
        """The quorum device's client tells its state; again at each poll.

        cast: the arbiter's vote in the ring `ring_id`. votes: None = as configured. valid_until: the vote ends then
        if not told again; None = device_timeout from now. Raises Refused: no device is configured, another one is
        registered, the ring is not the present one (for `cast`), or the time of the vote is over already.
        """
        e = self._electorate
        if not e.options.device:
            raise Refused("no quorum device is configured")
        others = sorted(set(e.device_names.values()) - {name})
        if registered and others:
            raise Refused(f'quorum device "{others[0]}" is registered in this cluster already')
        if not 1 <= len(name.encode()) <= MAX_NAME:
            raise BadArgument(f"a quorum device's name has 1 to {MAX_NAME} bytes")
        if votes is not None and not 0 <= votes <= MAX_VOTES:
            raise BadArgument(f"votes must be in the range (0..{MAX_VOTES}), but {votes} was given")
        if cast and ring_id != self._ring:
            raise Refused(f"the vote is for ring {ring_id}, the present one is {self._ring}")
        if valid_until is not None and now >= valid_until:
            raise Refused(f"the vote was good until {now - valid_until:.3f} s ago: it came too late")
        alive = alive and registered
        told = Device(registered, alive, cast and alive, master_wins and registered, name if registered else "")
        if ring_id == self._ring or not alive:
            self._device_due = False
        if alive and not self._device_due:
            self._timers.set("device", valid_until if valid_until is not None else now + e.options.device_timeout)
        elif not alive:
            self._timers.cancel("device")
        new_votes = e.device_votes if votes is None else votes
        if (told, new_votes) != (e.device, e.device_votes):
            e.device, e.device_votes = told, new_votes
            self._device_changed(now)

    # -- configuration ---------------------------------------------------------------------------------------

    def objection(self, options: QuorumOptions) -> str:
        """Why `options` should not be put in force now: this node would lose its quorum by it, or somebody who is cut
        off in the middle of the change could keep it. "" if not."""
        e = self._electorate
        if not e.quorate:
            return ""
        newcomer = e.newcomer_of(options)
        return self._costs_quorum(options, newcomer) or overlap.objection(
            e.options, e.newcomer, options, newcomer, e.members
        )

    def _costs_quorum(self, options: QuorumOptions, newcomer: NodeId) -> str:
        e = self._electorate
        value = e.expected_by(options, newcomer)
        if not value and options.votes == e.options.votes and options.two_node == e.options.two_node:
            return ""
        value = value or e.own.expected
        total = sum(options.votes.get(node, 0) for node in e.present)
        total += options.votes_of_device if e.device.cast and options.device else 0
        needed = threshold(value, total, counted=e.counted, two_node=options.two_node)
        if needed <= total:
            return ""
        added = ", ".join(self._name_of(n) for n in sorted(options.votes.keys() - e.options.votes.keys()))
        advice = f" (add {added} one at a time, each with one vote, and start it)" if added else ""
        return f"{needed} of {value} votes would be needed, {total} are present: quorum would be lost{advice}"

    def reconfigure(self, options: QuorumOptions, now: float, late: bool = False) -> None:
        """The live keys of a new configuration come into force here (section 6); `check` has passed it.

        What concerns others goes to them in order: our votes, and expected votes if they differ. late: the others run
        it already, so they know better than we who has joined meanwhile and what an operator has set.
        """
        e = self._electorate
        votes = options.votes.get(self.me, e.own.votes)
        votes_differ = votes != e.options.votes.get(self.me, e.own.votes)
        value = e.configure(options, late)
        if late:
            if not e.quorate:
                e.take_expected()
            value = 0
        # Members take a new T_excl at their own pace: until the next ring the shorter one is safe with all.
        self._lease.t_excl = min(self._lease.t_excl, options.t_excl)
        if not options.device:
            e.device, self._device_due = Device(), False
            self._timers.cancel("device")
        e.recount()
        if value or votes_differ:
            self._multicast(Configured(value, votes if votes_differ else e.own.votes))
        self._judge(now)

    # -- lease and timers ------------------------------------------------------------------------------------

    def beat(self, peers: Sequence[NodeId], sent_at: float, now: float) -> None:
        """These answered in the present ring something we sent at `sent_at`."""
        for peer in peers:
            if peer == self.me or peer not in self._members:
                continue
            self._lease.beat(peer, sent_at)
            if not self._told.quorate and self._electorate.quorate:
                self._judge(now)

    @property
    def told_yes(self) -> bool:
        """The last Verdict event says yes."""
        return self._told.quorate

    def quorate(self, now: float) -> bool:
        """May this node act now?"""
        return self._told.quorate and now < self.lease_until(now)

    def suffice(self, votes: int) -> bool:
        """Whether so many, with those of a device that we cast, make a node quorate at present, by count."""
        e = self._electorate
        return votes + (e.device_votes if e.device.cast else 0) >= e.quorum

    def lease_until(self, now: float) -> float:
        """When the present yes ends if nothing more is heard: minus infinity without one, infinity if we suffice."""
        if not self._told.quorate:
            return -math.inf
        return self._until if self._syncing else max(self._until, self._lease.until(now))

    def lease_left(self, now: float) -> float:
        """Seconds for which an answer given now stays true, 0.0 when not quorate; at most 0.8 of t_excl."""
        return min(max(self.lease_until(now) - now, 0.0), self._lease.length)

    def next_timeout(self) -> float | None:
        return earliest(self._timers.next(), self._until if self._told.quorate and self._until < math.inf else None)

    def handle_timeout(self, now: float) -> None:
        self._log.now = self._verdict_log.now = now
        for name in self._timers.expired(now):
            if name == "window":
                self._electorate.on_window()
            else:
                self._device_lost(now)
        if self._syncing and self._told.quorate and now >= self._until:
            self._tell(self._verdict(False, "lease expired while the membership changes"), -math.inf)
        self._judge(now)

    # -- out -------------------------------------------------------------------------------------------------

    def next_event(self) -> Multicast | Verdict | SaveState | None:
        return self.events.popleft() if self.events else None

    def view(self) -> View:
        e = self._electorate
        name = e.device.name or next((name for _, name in sorted(e.device_names.items())), "")
        return View(
            self._told,
            e.present,
            e.waiting,
            e.newcomer,
            name,
            e.device_votes,
            e.device.alive,
            e.device.cast,
        )

    # -- inside ----------------------------------------------------------------------------------------------

    def _in_a_ring(self) -> Electorate:
        if not self._members:
            raise Refused(f"{reasons.NOT_IN_A_RING}: try again")
        return self._electorate

    def _multicast(self, message: NodeInfo | SetExpected | SetVotes | CancelWait | Configured) -> None:
        self.events.append(Multicast(encode(message)))

    def _device_lost(self, now: float) -> None:
        e = self._electorate
        self._device_due = False
        if not e.device.alive:
            return
        self._log.warning(f"lost contact with quorum device {e.device.name}")
        e.device = replace(e.device, alive=False, cast=False)
        self._device_changed(now)

    def _device_changed(self, now: float) -> None:
        """Count at once: a vote taken away must not wait for the ring. Others hear it in order."""
        self._electorate.recount()
        if self._members:
            self._multicast(self._electorate.node_info())
        self._judge(now)

    def _judge(self, now: float, tell: bool = False) -> None:
        """Tell the verdict if it changed, or in any case. Held back while the barrier is not passed."""
        self._log.now = self._verdict_log.now = now
        self._save()
        if self._syncing or not self._members:
            return
        e = self._electorate
        others = {node: votes for node, votes in e.present.items() if node != self.me}
        own = e.own.votes + (e.device_votes if e.device.cast else 0)
        self._lease.demand(own, others, e.quorum, everyone=e.by_special_rule)
        until = self._lease.until(now) if e.quorate else -math.inf
        if e.quorate and now >= until:
            verdict = self._verdict(False, reasons.lapsed(self._lease, self._ring, self._name_of, now))
        else:
            verdict = self._verdict(e.quorate, reasons.votes(e, self._device_due, self._name_of))
        self._until = until
        # How long a silent node has been silent is no news.
        still_lapsed = e.quorate and not verdict.quorate and not self._told.quorate
        news = replace(verdict, reason=self._told.reason) if still_lapsed else verdict
        if tell or news != self._told:
            self._tell(verdict, until)

    def _verdict(self, quorate: bool, reason: str) -> Verdict:
        e = self._electorate
        return Verdict(
            quorate,
            self._ring,
            self._members,
            e.own.expected,
            e.most_expected,
            e.total,
            e.quorum,
            reasons.flags(e, quorate),
            reason,
        )

    def _tell(self, verdict: Verdict, until: float) -> None:
        if verdict.quorate != self._told.quorate:
            say = self._verdict_log.info if verdict.quorate else self._verdict_log.warning
            say(f"{'quorate' if verdict.quorate else 'not quorate'}: {verdict.reason}")
        self._told, self._until = verdict, until
        self.events.append(verdict)

    def _save(self) -> None:
        if self._electorate.saved != self._saved:
            self._saved = self._electorate.saved
            self.events.append(SaveState(self._saved))
