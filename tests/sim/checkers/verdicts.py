"""Q2: every number and verdict of every node is what votequorum's tables make of the same events.

Each process is followed by a second votequorum (tests/quorum/model.py), which is told what the node's own is told:
configurations, the members' words at the barrier, ordered messages, the device, a new configuration, time. After each
of these the two must agree. What a node says of itself must be what its model would say, so no node can mislead the
models of the others. The lease of each yes is computed again too, the long way (Q4), and all members of a ring must
have been given the same words (Q3: they count alike, so where no option makes a verdict a node's own they agree).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from quorum.events import Multicast, SavedState, SaveState
from quorum.messages import CancelWait, Configured, Flag, Message, NodeInfo, SetExpected, SetVotes, decode
from quorum.options import QuorumOptions
from quorum.votequorum import View, Votequorum
from tests.quorum.model import Info, ModelNode
from tests.sim.history import Violation
from transport.errors import WireError
from transport.ids import NO_RING, NodeId, RingId

SHARE = 0.8  # of T_excl: a lease (promises.md, Q4)
SLIVER = 1e-6  # seconds around the end of a lease in which either answer is right: two ways to add the same numbers

Numbers = tuple[int, int, int, int, bool]  # expected, highest expected, total, quorum, quorate by votes or a rule


@dataclass(slots=True)
class Verdicts:
    """All followers of one run. now: true virtual time.  alike: nothing lets members of one ring count differently.

    judged: comparisons of a node with its model.  barriers: rings whose members were compared with each other.
    """

    now: Callable[[], float]
    alike: bool = False
    judged: int = 0
    barriers: int = 0
    _words: dict[RingId, tuple[NodeId, dict[NodeId, bytes], frozenset[NodeId]]] = field(default_factory=dict)
    _numbers: dict[RingId, tuple[NodeId, Numbers]] = field(default_factory=dict)

    def follow(self, me: NodeId, service: Votequorum, options: QuorumOptions, saved: SavedState) -> Follower:
        """From now on, `service` being as it was made from `options` and `saved`."""
        return Follower(self, me, service, options, saved)

    def heard(self, node: NodeId, ring: RingId, states: dict[NodeId, bytes], newest: frozenset[NodeId]) -> None:
        """`node` passed the barrier of `ring` with these words of its members."""
        other, theirs, newest_there = self._words.setdefault(ring, (node, states, newest))
        if other == node:
            return
        self.barriers += 1
        if (theirs, newest_there) != (states, newest):
            differ = sorted(n for n in {*theirs, *states} if theirs.get(n) != states.get(n))
            text = f"nodes {other} and {node} passed the barrier of ring {ring} with different words of {differ}"
            raise Violation(self.now(), "Q3", text)

    def counted(self, node: NodeId, ring: RingId, numbers: Numbers) -> None:
        """`node` has these numbers when it has passed the barrier of `ring`."""
        if not self.alike:
            return
        other, theirs = self._numbers.setdefault(ring, (node, numbers))
        if theirs != numbers:
            text = f"members {other} and {node} of ring {ring} count differently (expected, highest, total, quorum, "
            raise Violation(self.now(), "Q3", f"{text}quorate): {theirs} and {numbers}")


class Follower:
    """One process: its model, told the same, and what must come out."""

    def __init__(
        self, run: Verdicts, me: NodeId, service: Votequorum, options: QuorumOptions, saved: SavedState
    ) -> None:
        self.me = me
        self._run = run
        self._view, self._answers = service.view, service.quorate
        self.model = ModelNode(me, options, saved.highest_expected, saved.newcomer, saved.lost)
        self._t_excl = options.t_excl
        self._beats: dict[NodeId, float] = {}
        self._ring = NO_RING
        self._syncing = False
        self._was_told = False  # the verdict told before the present barrier
        self._until = -inf  # the end of that one's lease
        self._gone = False  # a clean leave was said
        self._window = self._device = inf  # when these timers are over
        self._device_due = False
        self._now = -inf
        self._multicasts: deque[Message] = deque()
        self._saves: deque[SavedState] = deque()
        self._saved = saved
        self._note_save()
        self._tap(service)
        self._compare()

    # -- between the node and its votequorum -----------------------------------------------------------------

    def _tap(self, service: Votequorum) -> None:
        mirrors: dict[str, Callable[..., None]] = {
            "sync_init": self._sync_init,
            "sync_activate": self._sync_activate,
            "limit_exclusion": self._limit_exclusion,
            "receive": self._receive,
            "set_device": self._set_device,
            "reconfigure": self._reconfigure,
            "handle_timeout": self._handle_timeout,
            "set_expected": lambda value: self._multicasts.append(SetExpected(value)),
            "set_votes": lambda node, value: self._multicasts.append(SetVotes(node, value)),
            "cancel_wait_for_all": lambda: self._multicasts.append(CancelWait()),
            "leave": self._leave,
            "left": self._left,
        }
        for name, mirror in mirrors.items():
            self._replace(service, name, mirror)
        beat, next_event, sync_state = service.beat, service.next_event, service.sync_state

        def tapped_beat(peers: Sequence[NodeId], sent_at: float, now: float) -> None:
            for peer in peers:
                if sent_at > self._beats.get(peer, -inf):
                    self._beats[peer] = sent_at
            self._now = now
            beat(peers, sent_at, now)

        def tapped_event() -> object:
            event = next_event()
            if event is not None:
                self._out(event)
            return event

        def tapped_state() -> bytes:
            state = sync_state()
            self._check_said(decode(state), self._message(self.model.info()))
            return state

        # Only the simulator stands between the two; the product has no need of a hook here.
        setattr(service, "beat", tapped_beat)  # noqa: B010
        setattr(service, "next_event", tapped_event)  # noqa: B010
        setattr(service, "sync_state", tapped_state)  # noqa: B010

    def _replace(self, service: Votequorum, name: str, mirror: Callable[..., None]) -> None:
        original = getattr(service, name)

        def tapped(*arguments: Any, **named: Any) -> Any:
            result = original(*arguments, **named)  # what it refuses changes nothing
            mirror(*arguments, **named)
            if name != "sync_init":
                self._note_save()
            self._compare()
            return result

        setattr(service, name, tapped)

    def _out(self, event: object) -> None:
        if isinstance(event, Multicast):
            wanted = self._multicasts.popleft() if self._multicasts else None
            self._check_said(decode(event.payload), wanted)
        elif isinstance(event, SaveState):
            wanted_state = self._saves.popleft() if self._saves else None
            if event.state != wanted_state:
                self._fail("Q2", f"keeps {event.state} on disk, by the rules {wanted_state}")
        else:
            self._compare()

    def _note_save(self) -> None:
        now = SavedState(self.model.tracked, self.model.newcomer)
        if now != self._saved:
            self._saved = now
            self._saves.append(now)

    def _check_said(self, said: Message, wanted: Message | None) -> None:
        if said != wanted:
            self._fail("Q2", f"says {said} to the others, by the rules {wanted}")

    # -- the same events, told to the model ------------------------------------------------------------------

    def _at(self, now: float) -> None:
        """An input came: no timer may have been over before it without having been heard of."""
        if not self._gone and now > min(self._window, self._device) + SLIVER:
            which = "last_man_standing" if self._window < self._device else "quorum device"
            self._fail("Q2", f"did not notice that the time of {which} is over")
        self._now = now

    def _sync_init(self, members: tuple[NodeId, ...], ring: RingId, _together: object, now: float) -> None:
        self._at(now)
        if not self._syncing:
            self._was_told = self.model.quorate and now < self.lease_until(now)
            # The arbiter may give its vote to another ring from now on: only members carry the old yes.
            self._until = min(self.lease_until(now, device=False), now + SHARE * self._t_excl)
        self._syncing, self._ring = True, ring
        self._beats.clear()
        pending, self.model.timer = self.model.timer, False
        self.model.sync_init(members)
        self._t_excl = self.model.options.t_excl
        if self.model.timer:  # starts again only where its rule says so: else what runs goes on
            self._window = now + self.model.options.last_man_standing_window
        self.model.timer |= pending
        self._device_due = self.model.registered and self.model.alive
        if self._device_due:
            self._device = now + self.model.options.device_sync_timeout

    def _limit_exclusion(self, t_excl: float) -> None:
        self._t_excl = min(self._t_excl, t_excl)

    def _sync_activate(
        self, states: dict[NodeId, bytes], now: float, newest: Collection[NodeId] = (), ahead: bool = False
    ) -> None:
        self._at(now)
        self._run.heard(self.me, self._ring, dict(states), frozenset(newest))
        infos = {}
        for node in self.model.members:
            try:
                message = decode(states.get(node, b""))
            except WireError:
                message = NodeInfo(0, 0, Flag.NONE)
            infos[node] = _info(message) if isinstance(message, NodeInfo) else Info(0, 0, False, False, False)
        if self.model.activate(infos, newest, ahead):
            self._multicasts.append(self._message(self.model.info()))
        self._syncing = False
        self._run.counted(self.me, self._ring, self.model.numbers())

    def _receive(self, sender: NodeId, payload: bytes, now: float) -> None:
        self._at(now)
        model = self.model
        try:
            message = decode(payload)
        except WireError:
            return
        if sender not in model.members or self._gone:
            return
        match message:
            case NodeInfo():
                model.nodeinfo(sender, _info(message))
                model.recalculate(False)
            case SetExpected():
                model.set_expected(message.value)
            case SetVotes():
                if message.node in model.table:
                    model.set_votes(message.node, message.value)
            case Configured():
                if sender in model.table:
                    model.set_votes(sender, message.votes)
                if message.value:
                    model.set_expected(message.value, configured=True)
            case CancelWait():
                model.cancel_wait()

    def _set_device(
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
        self._at(now)
        alive = alive and registered
        if ring_id == self._ring or not alive:
            self._device_due = False
        if not alive:
            self._device = inf
        elif not self._device_due:
            self._device = now + self.model.options.device_timeout if valid_until is None else valid_until
        votes = self.model.device_votes if votes is None else votes
        if self.model.device(registered, alive, cast, master_wins, name, votes):
            self._tell_of_device()

    def _tell_of_device(self) -> None:
        if self.model.members and not self._gone:
            self._multicasts.append(self._message(self.model.info()))

    def _reconfigure(self, options: QuorumOptions, now: float, late: bool = False) -> None:
        self._at(now)
        told = self.model.configure(options, late)
        self._t_excl = min(self._t_excl, options.t_excl)
        if not options.device:
            self._device, self._device_due = inf, False
        if told is not None:
            self._multicasts.append(Configured(*told))

    def _handle_timeout(self, now: float) -> None:
        self._now = now
        if now >= self._window:
            self._window = inf
            self.model.window()
        if now >= self._device:
            self._device, self._device_due = inf, False
            if self.model.device_lost():
                self._tell_of_device()

    def _leave(self) -> None:
        if self.model.options.allow_downscale and self.model.members:
            self._multicasts.append(self._message(self.model.info(leaving=True)))

    def _left(self) -> None:
        self._gone = True

    # -- what must be true after each ------------------------------------------------------------------------

    def lease_until(self, now: float, device: bool = True) -> float:
        """When a yes of the model ends: 0.8 of T_excl after the newest moment since which members that with this node
        keep it a yes have answered. Every moment at which one answered is tried."""
        model = self.model
        votes = {n: model.table[n].votes for n in model.in_state_member() if n != self.me}
        own = model.table[self.me].votes + (model.device_votes if model.cast and device else 0)

        def keep_it(heard: set[NodeId]) -> bool:
            if not model.by_votes:
                return heard >= votes.keys()
            return own + sum(votes[n] for n in heard) >= model.quorum

        if keep_it(set()):
            return inf
        beats = {n: at for n, at in self._beats.items() if n in votes}
        good = [at for at in beats.values() if keep_it({n for n, other in beats.items() if other >= at})]
        return min(max(good), now) + SHARE * self._t_excl if good else -inf

    def _compare(self) -> None:
        run, model, view, now = self._run, self.model, self._view(), self._now
        run.judged += 1
        told = view.verdict
        if self._gone or not model.members:
            if told.quorate:
                self._fail("Q2", "says quorate outside any ring")
            return
        if self._syncing:
            # What was told ends by a timer that is due at once; whoever asks is answered by the lease.
            if self._answers(now) and (not self._was_told or self._until < now - SLIVER):
                self._fail("Q4", "says quorate before the barrier, longer than its lease of the ring before")
            return
        wanted = model.numbers()
        found = (told.expected, told.highest_expected, told.total, told.quorum, wanted[4])
        if found != wanted:
            self._fail("Q2", f"counts {found[:4]} (expected, highest, total, quorum), by the rules {wanted[:4]}")
        self._check_members(view)
        until = self.lease_until(now)
        if told.quorate and not model.quorate:
            self._fail("Q2", f"says quorate ({told.reason}), by the rules it is not: {wanted[:4]}")
        if told.quorate and until < now - SLIVER:
            self._fail("Q4", f"says quorate {now - until:.3f} s after its lease ended ({told.reason})")
        if not told.quorate and model.quorate and until > now + SLIVER:
            self._fail("Q2", f"says not quorate ({told.reason}), by the rules it is: {wanted[:4]}")

    def _check_members(self, view: View) -> None:
        model = self.model
        votes = {n: model.table[n].votes for n in model.in_state_member()}
        ours = (view.verdict.members, view.verdict.ring_id, view.votes, view.waiting_for_all, view.newcomer)
        wanted = (model.members, self._ring, votes, model.wfa, model.newcomer)
        if ours != wanted:
            self._fail("Q2", f"has (members, ring, votes, waits for all, newcomer) {ours}, by the rules {wanted}")
        device = (view.device_votes, view.device_alive, view.device_casts)
        if device != (model.device_votes, model.alive, model.cast):
            by_rule = (model.device_votes, model.alive, model.cast)
            self._fail("Q2", f"has the device's (votes, alive, cast) as {device}, by the rules {by_rule}")

    def _fail(self, promise: str, text: str) -> None:
        where = f"node {self.me} in ring {self._ring} of {self.model.members}"
        raise Violation(self._run.now(), promise, f"{where} {text}")

    @staticmethod
    def _message(info: Info) -> NodeInfo:
        said = (
            (info.quorate, Flag.QUORATE),
            (info.leaving, Flag.LEAVING),
            (info.wfa, Flag.WAITING),
            (info.first, Flag.FIRST),
            (info.registered, Flag.DEVICE_REGISTERED),
            (info.alive, Flag.DEVICE_ALIVE),
            (info.cast, Flag.DEVICE_CAST),
            (info.master, Flag.MASTER_WINS),
        )
        flags = Flag(sum(flag for is_set, flag in said if is_set))
        return NodeInfo(info.votes, info.expected, flags, info.newcomer, info.device_votes, info.device_name)


def _info(message: NodeInfo) -> Info:
    flags = message.flags
    return Info(
        message.votes,
        message.expected,
        quorate=bool(flags & Flag.QUORATE),
        wfa=bool(flags & Flag.WAITING),
        first=bool(flags & Flag.FIRST),
        leaving=bool(flags & Flag.LEAVING),
        registered=bool(flags & Flag.DEVICE_REGISTERED),
        alive=bool(flags & Flag.DEVICE_ALIVE),
        cast=bool(flags & Flag.DEVICE_CAST),
        master=bool(flags & Flag.MASTER_WINS),
        newcomer=message.newcomer,
        device_votes=message.device_votes,
        device_name=message.device_name,
    )
