"""This node's copy of the store: what the ring and the disk say goes in; what to send, write and answer comes out.

Source: DESIGN 4 (S1-S6) and 7; docs/protocol-store.md has the messages, the rules and why they are safe. The parts:
cfs/primary.py what all members share, cfs/store.py what this node holds, cfs/catchup.py how it gets what it lacks,
cfs/readiness.py what it says of itself, cfs/waiting.py who waits for an answer. Inputs come in ring order; `_settle`
after each of them draws every conclusion that became possible; what takes long goes on in turns (`handle_timeout`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf

from cfs import wire
from cfs.catchup import CatchUp
from cfs.comparing import Comparing
from cfs.condition import LEAVING, Condition
from cfs.dataset import DataSetKeeper, follows
from cfs.disk import StoreImage
from cfs.epochs import names
from cfs.journal import STALLED
from cfs.log import NO_MARK, Log, Mark
from cfs.messages import Applied, Operation
from cfs.primary import Primary
from cfs.proposals import Pending
from cfs.readiness import Readiness
from cfs.records import LogRecord, RecordKind
from cfs.refusals import expired
from cfs.state import State
from cfs.status import (
    BarrierFailed,
    Changed,
    Claim,
    Event,
    Multicast,
    Outcome,
    Replaced,
    StatusChanged,
    StoreSettings,
    StoreStatus,
)
from cfs.store import LocalStore
from cfs.turns import PAUSE
from cfs.waiting import Waiting
from cfs.wire import Health
from transport.core import Entropy, earliest
from transport.core import Log as Logger
from transport.errors import Refused, WireError
from transport.events import ConfigurationChange
from transport.ids import NO_RING, NodeId


class Replica:
    """See the file's first lines. `state` is for reading; it is another object after a Replaced event."""

    def __init__(
        self, me: NodeId, image: StoreImage, settings: StoreSettings, entropy: Entropy, now: float, log: Logger
    ) -> None:
        """image: the store as the disk found it at start."""
        self.me = me
        self.settings = settings
        self.malformed = 0
        self._say = log
        self._now = now
        self._due: float | None = None  # the next timeout, while `_due_known`
        self._due_known = False  # nothing came in since
        self.quiet = False
        """Nothing came in since next_event() gave None: it need not be asked."""
        self._events: deque[Event] = deque()
        self._turned = now  # when the last turn of what takes long was
        self._data_set = DataSetKeeper(me)
        self._seen: dict[NodeId, Mark] = {}  # claims of others, the highest
        self._waiting = Waiting(settings, self._holders, self._tell)
        self._store = LocalStore(image, settings, log, self._applied)
        self._events.clear()  # what was applied while opening the store nobody watched yet
        self._leaving = False
        self._closed = True  # no messages count: not yet in a regular configuration, or after its transitional event
        self._enter(Primary(NO_RING, ()))
        self._told = self._summary()

    def _enter(self, primary: Primary) -> None:
        """A new configuration: nothing of the last one counts any more."""
        self._primary = primary
        self._events = deque(event for event in self._events if not isinstance(event, Claim))  # nobody told it yet
        self._propose_head = wire.encode(primary.ring, wire.Propose(b""))
        self._quorate, self._verdict = False, ""  # a verdict is about one membership
        self._reported = False
        self._claimed: int | None = None
        self._comparing = Comparing(self.me, primary, self._store, self._send, self._now)
        self._attempt_begins()

    def _attempt_begins(self) -> None:
        self._catchup = CatchUp(self.me, self._primary, self._store, self._send, self._say)
        self._readiness = Readiness(
            self.me, self._primary, self._catchup, self._store, self.settings, self._send, self._say
        )
        self._resend = False
        self._data_set.anew()

    # --- inputs --------------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        """Something comes in."""
        self._now, self.quiet, self._due_known = now, False, False

    def configuration(self, change: ConfigurationChange, now: float) -> None:
        """A transitional or regular configuration, at its place among the deliveries."""
        self._begin(now)
        if not change.regular:
            self._closed = True
        else:
            self._closed = False
            self._enter(Primary(change.ring_id, change.members))
            self._waiting.barriers.interrupted()
        self._settle()

    def deliver(self, sender: NodeId, payload: bytes, transitional: bool, now: float) -> None:
        """One message of the total order. Nothing a member can send makes this raise."""
        self._begin(now)
        if transitional or self._closed:
            return
        if payload.startswith(self._propose_head):  # most messages are proposals, and only add to the log
            if sender in self._primary.members:
                self._on_propose(sender, payload[len(self._propose_head) :])
            return
        try:
            ring, message = wire.decode(payload)
        except WireError as error:
            self._count_malformed(sender, error)
            return
        if ring == self._primary.ring and sender in self._primary.members:
            self._receive(sender, message)
            self._settle()

    def progress(self, values: dict[NodeId, int], now: float) -> None:
        """Claims of the members on the current ring: log index on disk + 1."""
        self._begin(now)
        primary = self._primary
        if self._closed or not primary.opened:
            return
        moved = False
        for node, value in values.items():
            index = value - 1
            if node in primary.members and index > primary.claims.get(node, 0):
                moved = True
                primary.claims[node] = index
                if not primary.narrow:
                    self._seen[node] = max(self._seen.get(node, NO_MARK), (primary.ring, index))
        if moved:
            self._settle()

    def set_quorate(self, quorate: bool, now: float, reason: str = "") -> None:
        """The quorum service's verdict about the present configuration: told after each regular one, also when it is
        the same as before (until then the last verdict counts for nothing here), and False when its lease ends.

        reason: why, in one sentence.
        """
        self._begin(now)
        if not quorate:
            self._waiting.give_up("quorum was lost while it was under way")
        self._quorate, self._verdict = quorate, reason or "the votes do not suffice"
        self._settle()

    def set_nodes(self, votes: dict[NodeId, int], now: float) -> None:
        """The configured nodes and their votes; the data set follows them, one change at a time."""
        self._begin(now)
        changed, self._data_set.nodes = self._data_set.nodes != votes, dict(votes)
        self._data_set.look()
        if changed and not self._primary.opened:
            self._reported = False
        self._settle()

    def lower_data_set(self, members: frozenset[NodeId] | None, now: float) -> None:
        """last_man_standing or allow_downscale let absent nodes go: only these stay, until others return."""
        self._begin(now)
        self._data_set.lowered = members
        self._data_set.look()
        self._settle()

    def propose(self, operation: Operation, now: float) -> None:
        """Have this operation done; the answer is an Outcome event, within settings.deadline.

        Raises NoQuorum, DiskFailed, QueueFull, TooLarge or Refused: then it did not happen and will not; and Expired:
        then it does not happen now, and what became of earlier attempts is not known.
        """
        self._begin(now)
        if not self.unreadable():
            known = self.state.outcome(operation.id)
            if known is not None:
                self._events.append(Outcome(operation, known, "", self._holders(known.index), repeated=True))
                return
            if self.state.too_late(operation):
                late = expired(operation)
                late.never = True  # it was not even proposed
                raise late
        refusal = self.refusal()
        if refusal is not None:
            raise refusal
        pending = self._waiting.propose(operation, now)
        if pending is not None:
            self._send_proposal(pending)

    def persisted(self, answers: Sequence[tuple[int, str | None]], now: float) -> None:
        """The disk's answers to requests by their receipts, or with receipt 0 that it failed or works again.

        All that came at one moment: after a while of silence there may be thousands.
        """
        self._begin(now)
        for receipt, error in answers:
            self._persisted(receipt, error)
        self._settle()

    def _persisted(self, receipt: int, error: str | None) -> None:
        journal = self._store.journal
        adopting = journal.adopting
        if error is not None and not journal.failed:
            self._say.error(f"store: the disk does not take writes: {error}")
        elif receipt == 0 and error is None:
            self._say.info("store: the disk works again")
        journal.persisted(receipt, error)
        if adopting and not journal.adopting:
            self._adopted(error)

    def barrier(self, token: int, now: float) -> None:
        """A linearizable read begins: BarrierDone(token) or BarrierFailed(token) follows."""
        self._begin(now)
        reason = self._condition().unusable()
        if reason:
            self._events.append(BarrierFailed(token, reason))
            return
        self._waiting.barriers.add(token, now)
        self._settle()

    def leave(self, now: float) -> None:
        """This process will end cleanly: take no more writes, let the disk bring its database up to date."""
        self._begin(now)
        self._leaving = True
        self._store.checkpoint(now)

    def left(self, now: float) -> None:
        """It says goodbye now: what is still under way will have no outcome here."""
        self._begin(now)
        self._waiting.give_up(LEAVING)

    @property
    def waiting(self) -> bool:
        """Somebody here waits for the outcome of a write, or for a linearizable read."""
        return bool(self._waiting)

    def next_timeout(self) -> float | None:
        if self._due_known:
            return self._due
        stall = self._store.journal.stall_time() if self._readiness.announced else None
        report = self._report_time() if not self._reported and not self._closed else None
        turn = self._turned + PAUSE if self._busy else None
        ask = self._catchup.due if not self._closed else None
        compare = self._comparing.due(self._catchup.whole) if not self._closed else None
        self._due = earliest(self._waiting.next_deadline(), stall, report, turn, ask, compare)
        self._due_known = True
        return self._due

    @property
    def _busy(self) -> bool:
        """Is there something to do in turns?"""
        store = self._store
        return store.behind or store.letting_go or (self._catchup.busy and not self._closed)

    def _report_time(self) -> float:
        """A store being replaced is waited for, but not for long: nobody gets a primary without this report."""
        since = self._store.journal.adopting_since()
        return -inf if since is None else since + STALLED

    def handle_timeout(self, now: float) -> None:
        self._begin(now)
        self._waiting.expire(now)
        if now >= self._turned + PAUSE and self._busy:
            self._turn()
        self._settle()

    def _turn(self) -> None:
        """A few milliseconds of one of the things that take long."""
        self._turned, store = self._now, self._store
        if store.letting_go:
            store.let_go()
        if store.behind:
            store.apply()
        elif self._closed:
            return
        elif self._catchup.complete:
            self._append_kept()
        else:
            self._catchup.turn(self._now)

    def next_event(self) -> Event | None:
        """The next thing to send, write or tell; None: nothing now."""
        if self._events:
            return self._events.popleft()
        self._store.journal.flush(self._store.log, self._now)
        request = self._store.journal.next_request()
        self._due_known, self.quiet = False, request is None
        return request

    # --- what is known -------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The tree as it may be shown now (see `unreadable`)."""
        return self._store.state

    @property
    def log(self) -> Log:
        return self._store.log

    @property
    def committed(self) -> int:
        """The highest log index known committed."""
        return self._store.committed

    @property
    def highest_ring_seq(self) -> int:
        """The highest ring seq in the store: the next ring's has to be greater."""
        return self.log.end.epoch.seq

    @property
    def primary_members(self) -> tuple[NodeId, ...]:
        """Who has the state of the open primary on disk; empty while none is open here."""
        primary = self._primary
        return tuple(sorted(primary.ready)) if self._catchup.whole and primary.opened else ()

    def readable(self) -> bool:
        """May local reads be answered, from `state`?"""
        return not self.unreadable()

    def unreadable(self) -> str:
        """Why not, in one sentence; empty when they may."""
        return self._store.unreadable()

    def refusal(self) -> Refused | None:
        """Why a write is refused now; None when it would be tried."""
        made = self._condition().refusal()
        return made[0](made[1]) if made else None

    def disk_trouble(self) -> str:
        """That this node's disk takes no writes, and why, in one sentence; empty while it does."""
        return self._condition().disk_trouble()

    def status(self) -> StoreStatus:
        """All of it at this moment; cheap enough to ask for often."""
        return self._condition().status(self.settings, self.malformed)

    def _condition(self) -> Condition:
        return Condition(
            self.me,
            self._now,
            self._leaving,
            self._closed,
            self._quorate,
            self._verdict,
            self._primary,
            self._catchup,
            self._store,
        )

    def _tell(self, event: Event) -> None:
        self._events.append(event)

    def _summary(self) -> tuple[str, str]:
        condition = self._condition()
        refusal = condition.refusal()
        return condition.word(), refusal[1] if refusal else ""

    def _count_malformed(self, sender: NodeId, error: WireError) -> None:
        self.malformed += 1
        if self.malformed & (self.malformed - 1) == 0:  # 1, 2, 4, 8 ...: never a line per message
            self._say.warning(f"store: {self.malformed} malformed messages, the last from node {sender}: {error}")

    # --- messages ------------------------------------------------------------------------------------------------

    def _send(self, message: wire.Message, safe: bool = False) -> None:
        self._events.append(Multicast(wire.encode(self._primary.ring, message), safe))

    def _receive(self, sender: NodeId, message: wire.Message) -> None:
        primary = self._primary
        match message:
            case wire.Report():
                if primary.report(sender, message):
                    self._chosen()
            case wire.Ready():
                self._data_set.look()
                if primary.say_ready(sender, message):
                    self._opened()
            case wire.Lost():
                self._data_set.look()
                primary.say_lost(sender)
            case wire.ProposeSet():
                self._on_propose_set(message)
            case wire.Barrier():
                if sender == self.me and self._catchup.whole:
                    self._waiting.barriers.delivered(message.number, self.log.end.index)
            case wire.Compare():
                self._comparing.on_compare(sender, self._catchup.whole, self.log.end.index, self._now)
                self._look_for_rot()
            case wire.Tree():
                self._other_trees(self._comparing.on_tree(sender, message))
            case wire.Need():
                self._catchup.on_need(sender, message)
            case wire.Start():
                self._catchup.on_start(sender, message, self._now)
            case wire.Have():
                self._catchup.on_have(sender, message)
            case wire.Chunk():
                if self._catchup.on_chunk(sender, message, self._now):
                    self._append_kept()

    def _on_propose(self, sender: NodeId, body: bytes) -> None:
        if not self._primary.opened:
            return
        try:
            operation = Operation.decode(body)
        except WireError as error:
            self._count_malformed(sender, error)
            return
        self._log(RecordKind.OPERATION, body, operation)

    def _on_propose_set(self, message: wire.ProposeSet) -> None:
        """The proposer saw to it that the last change is in force; the version tells whether it knew the last one."""
        primary = self._primary
        if primary.opened and not primary.narrow and follows(primary.latest_set, message.data_set):
            primary.latest_set = message.data_set
            self._log(RecordKind.DATA_SET, message.data_set.encode())

    def _log(self, kind: RecordKind, body: bytes, operation: Operation | None = None) -> None:
        """One record at this place of the order: into the log, or kept until the log is whole."""
        if self._catchup.whole:
            self._store.append(LogRecord.after(self.log.end, self._primary.ring, kind, body), operation)
        else:
            self._catchup.keep(kind, body)

    def _other_trees(self, nodes: tuple[NodeId, ...]) -> None:
        """S4: these have applied the same log and come to another tree."""
        if self.me in nodes:
            self._store.distrust(self.log.end)
            self._catchup.fell_behind()
        elif nodes:
            where = f"at log index {self._comparing.place}"
            self._say.error(f"store: the trees of {names(nodes)} differ from the others' {where}; they are resynced")

    def _look_for_rot(self) -> None:
        """S4: also a tree that was right once. Whoever finds that of its own memory need not ask who is right."""
        path = self._store.rotten() if self._catchup.whole else None
        if path is None:
            return
        what = f"{path} is not in memory as it was written: the memory of this host is not to be relied on"
        if self._primary.ready - {self.me}:
            self._store.distrust(self.log.end, what)
            self._catchup.fell_behind()
        else:
            self._say.error(f"store: {what}; there is nobody to resync from, restart clusterd to read its disk")

    # --- the way to a primary ------------------------------------------------------------------------------------

    def _chosen(self) -> None:
        """All reports are in: this configuration knows what it goes on from, or why it cannot."""
        primary, store = self._primary, self._store
        choice = primary.choice
        assert choice is not None
        self._attempt_begins()
        if store.health is Health.GOOD and self.me in choice.behind:
            store.distrust(choice.base)  # also where nothing opens: the next ring may be without those who know
        if choice.leader is None:
            say = self._say.error if choice.alarm else self._say.info
            say(f"store: no primary on ring {primary.ring}: {choice.reason}")
            return
        if store.health is Health.GOOD and self.me not in choice.good:
            store.distrust(choice.base)
        if store.health is Health.GOOD and not choice.genesis and store.log.end == choice.base:
            self._catchup.whole = True
            self._is_whole()
        for node in self._seen.keys() & choice.good:  # what good stores say outweighs what was seen of them before
            self._seen[node] = min(self._seen[node], primary.reports[node].standing.majority)

    def _append_kept(self) -> None:
        """The log is complete but for what was kept: a turn's worth of it; with the last of it, it is whole."""
        for kind, body in self._catchup.take_kept():
            self._store.append(LogRecord.after(self.log.end, self._primary.ring, kind, body))
        if self._catchup.whole:
            self._is_whole()
            self._say.info("store: caught up with the other nodes")

    def _is_whole(self) -> None:
        self._readiness.whole()
        self._resend = True

    def _adopted(self, error: str | None) -> None:
        """The disk answered whether the store was replaced."""
        taken = self._store.adopted(error)
        current = not self._closed and self._catchup.kept is not None  # else: of an earlier choice
        if taken:
            self._events.append(Replaced("the history the other nodes went on with was taken over"))
            self._waiting.replaced(self.state)
        if current and taken:
            self._catchup.complete = True
            self._append_kept()
        elif current:
            self._catchup.fail()

    def _opened(self) -> None:
        primary = self._primary
        record = primary.record()
        self._log(RecordKind.EPOCH, record.encode())
        self._resend = True
        if self._catchup.whole:
            held = f", held only by {names(primary.holders)}" if primary.narrow else ""
            self._say.info(f"store: {record.kind.name.lower()} primary open on ring {primary.ring}{held}")

    # --- conclusions ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Draw every conclusion the last input made possible."""
        store = self._store
        if not self._closed:
            if not self._reported and self._now >= self._report_time():
                self._reported = True
                self._send(store.report(self._data_set.nodes, self._seen, self.me))
            self._readiness.tell(self._quorate, self._now)  # LOST before NEED: who is ready is sent nothing
            self._catchup.ask(self._now)
            self._claim()
            self._commit()
            self._catchup.serve(self._quorate)
            self._send_waiting()
            self._change_data_set()
            self._comparing.tell(self._catchup.whole, self._now)
        if not store.behind:  # else in turns, however much comes in between
            store.apply()
        self._waiting.visible(self.state.index)
        store.checkpoint_if_due(self._now)
        summary = self._summary()
        if summary != self._told:
            self._told = summary
            self._events.append(StatusChanged())

    def _claim(self) -> None:
        value = self._readiness.claim(self._now)
        if value != self._claimed:
            self._claimed = value
            self._events.append(Claim(value))

    def _commit(self) -> None:
        """Move the commit index as far as the required set's claims go; a data set in force may move it further."""
        if not self._catchup.whole or not self._primary.opened:
            return
        while True:
            index = min(self._primary.committed(self.log.data_sets(self.committed)), self.log.end.index)
            if index <= self.committed:
                return
            self._store.commit(index)

    def _applied(self, operation: Operation, applied: Applied, index: int) -> None:
        """An operation became visible here."""
        if applied.changes:
            self._events.append(Changed(index, applied.changes))
        self._waiting.applied(operation, applied, index)

    def _holders(self, index: int) -> tuple[NodeId, ...]:
        """Whose disks are known to hold the log up to `index`, visible here."""
        claims = self._primary.claims if self._primary.opened else {}
        return tuple(sorted({self.me} | {node for node, claim in claims.items() if claim >= index}))

    def _send_proposal(self, pending: Pending) -> None:
        pending.sent_in = self._primary.ring
        self._send(wire.Propose(pending.encoded))

    def _send_waiting(self) -> None:
        """Proposals not sent in this configuration yet, and the next barrier."""
        if not self._catchup.whole or not self._primary.opened or not self._quorate:
            return
        if self._resend:
            self._resend = False
            for pending in self._waiting.unsent(self._primary.ring):
                self._send_proposal(pending)
        number = self._waiting.barriers.to_send()
        if number is not None:
            self._send(wire.Barrier(number), safe=True)

    def _change_data_set(self) -> None:
        """The lowest ready member brings the data set nearer to the nodelist, one node at a time."""
        change = self._data_set.due(self._primary, self.log, self.committed) if self._catchup.whole else None
        if change is not None:
            self._send(wire.ProposeSet(change))
