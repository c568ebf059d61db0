"""This node's copy of the store: what the ring and the disk say goes in; what to send, write and answer comes out.

Source: DESIGN 4 (S1-S6) and 7; docs/protocol-store.md has the messages, the rules and why they are safe. Between any
two calls:
    state.index <= min(committed, journal.on_disk)     visible here = committed, and in this node's log on disk
    journal.on_disk <= log.end.index                   a claim never says more than the disk
    whole  =>  the log is the leader's up to this place of the total order
Inputs come in ring order; `_settle` after each of them draws every conclusion that became possible.
"""

from __future__ import annotations

from collections import deque

from cfs import transfer, wire
from cfs.dataset import next_change
from cfs.disk import CHECKPOINT_BYTES, CHECKPOINT_RECORDS, Adopt, StoreHealth, StoreImage
from cfs.entries import StateImage
from cfs.epochs import names
from cfs.errors import DiskFailed
from cfs.journal import Journal
from cfs.log import NO_MARK, Log, Mark
from cfs.messages import Operation
from cfs.primary import Primary
from cfs.proposals import Barriers, Pending, Proposals
from cfs.records import START, EpochKind, EpochRecord, Lineage, LogPosition, LogRecord, RecordKind
from cfs.state import State
from cfs.status import (
    BarrierDone,
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
from cfs.wire import Health
from transport.core import Entropy, earliest
from transport.core import Log as Logger
from transport.errors import NoQuorum, Refused, WireError
from transport.events import ConfigurationChange
from transport.ids import NO_RING, NodeId, RingId

MAX_ASKS = 16  # transfers asked for in one configuration before this node gives up on it
MAX_UNWRITTEN = 100_000  # records a node with a failed disk keeps up with; beyond, it falls behind


class _Adopting:
    """A store being replaced on disk: what takes effect when that is answered."""

    def __init__(self, ring: RingId, attempt: int, state: State, log: Log, committed: int, reason: str) -> None:
        self.ring, self.attempt = ring, attempt
        self.state, self.log, self.committed, self.reason = state, log, committed, reason


class Replica:
    """See the file's first lines. `state` is for reading; it is another object after a Replaced event."""

    def __init__(
        self, me: NodeId, image: StoreImage, settings: StoreSettings, entropy: Entropy, now: float, log: Logger
    ) -> None:
        """image: the store as the disk found it at start."""
        self.me = me
        self.settings = settings
        self.malformed = 0
        self.committed = 0
        self._say = log
        self._now = now
        self._events: deque[Event] = deque()
        self._operations: dict[int, Operation] = {}  # decoded bodies of records not applied yet
        self._quorate = False
        self._nodes: dict[NodeId, int] = {}
        self._lowered: frozenset[NodeId] | None = None
        self._known: dict[NodeId, Mark] = {}  # claims seen, by node
        self._proposals = Proposals(settings)
        self._barriers = Barriers(settings.deadline)
        self._adopting: _Adopting | None = None
        self._checkpointed = image.position.index
        self._checkpoint_bytes = 0
        self._open_store(image)
        self._closed = True  # no messages count: not yet in a regular configuration, or after its transitional event
        self._enter(Primary(NO_RING, ()))
        self._told = self._summary()

    def _open_store(self, image: StoreImage) -> None:
        self._health = {StoreHealth.OK: Health.GOOD}.get(image.health, Health.FRESH if image.fresh else Health.LOST)
        self._trouble = image.message if self._health is Health.LOST else ""
        self._take_all = image.health in (StoreHealth.DAMAGED, StoreHealth.MISSING)
        try:
            self.state = State(image.state)
        except ValueError as error:
            self._say.error(f"store: the tree on disk is damaged: {error}")
            self.state, self._health, self._take_all = State(), Health.LOST, True
        self.log = Log() if self._take_all else _log_of(image)
        self.committed = max(min(image.commit_index, self.log.end.index), self.log.base.index)
        self._journal = Journal(self.log.end.index, self.committed, self.settings.durable)
        self._unresolved = self.log.end.index if self.log.end.index > self.committed else 0
        if not self._take_all:
            self._apply()
        self._events.clear()  # nobody watched yet

    def _enter(self, primary: Primary) -> None:
        """A new configuration: nothing of the last one counts any more."""
        self._primary = primary
        self._attempt_begins()
        self._quorate = False  # a verdict is about one membership
        self._asks = 0
        self._reported = False
        self._claimed: int | None = None

    def _attempt_begins(self) -> None:
        self._whole = False
        self._ready_at = 0
        self._announced = False
        self._asked = False
        self._resend = False
        self._proposed_set = 0
        self._receiver: transfer.Receiver | None = None
        self._kept: transfer.Kept | None = None
        self._need: wire.Need | None = None
        self._sender: transfer.Sender | None = None
        self._starting = False

    # --- inputs --------------------------------------------------------------------------------------------------

    def configuration(self, change: ConfigurationChange, now: float) -> None:
        """A transitional or regular configuration, at its place among the deliveries."""
        self._now = now
        if not change.regular:
            self._closed = True
        else:
            self._closed = False
            self._enter(Primary(change.ring_id, change.members))
            self._barriers.interrupted()
        self._settle()

    def deliver(self, sender: NodeId, payload: bytes, transitional: bool, now: float) -> None:
        """One message of the total order. Nothing a member can send makes this raise."""
        self._now = now
        if transitional or self._closed:
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
        self._now = now
        primary = self._primary
        if self._closed or not primary.opened:
            return
        for node, value in values.items():
            index = value - 1
            if node in primary.members and index > primary.claims.get(node, 0):
                primary.claims[node] = index
                if not primary.narrow:
                    self._known[node] = max(self._known.get(node, NO_MARK), (primary.ring, index))
        self._settle()

    def set_quorate(self, quorate: bool, now: float) -> None:
        """The quorum service's verdict about the present configuration: told after each regular one, also when it is
        the same as before (until then the last verdict counts for nothing here), and False when its lease ends.
        """
        self._now = now
        if not quorate:
            self._give_up("quorum was lost while it was under way")
        self._quorate = quorate
        self._settle()

    def set_nodes(self, votes: dict[NodeId, int], now: float) -> None:
        """The configured nodes and their votes; the data set follows them, one change at a time."""
        self._now = now
        changed, self._nodes = self._nodes != votes, dict(votes)
        if changed and not self._primary.opened:
            self._reported = False
        self._settle()

    def lower_data_set(self, members: frozenset[NodeId], now: float) -> None:
        """last_man_standing or allow_downscale let absent nodes go: only these stay, until others return."""
        self._now = now
        self._lowered = frozenset(members)
        self._settle()

    def propose(self, operation: Operation, now: float) -> None:
        """Have this operation done; the answer is an Outcome event, within settings.deadline.

        Raises NoQuorum, DiskFailed, QueueFull, TooLarge or Refused: then it did not happen and will not.
        """
        self._now = now
        known = self.state.outcome(operation.id) if self.readable() else None
        if known is not None:
            self._events.append(Outcome(operation, known, repeated=True))
            return
        refusal = self.refusal()
        if refusal is not None:
            raise refusal
        pending = self._proposals.add(operation, now)
        if pending is not None:
            self._send_proposal(pending)

    def persisted(self, receipt: int, error: str | None, now: float) -> None:
        """The disk's answer to a request, or with receipt 0 that it failed or works again."""
        self._now = now
        adopting = self._journal.adopting
        if error is not None and not self._journal.failed:
            self._say.error(f"store: the disk does not take writes: {error}")
        elif receipt == 0 and error is None:
            self._say.info("store: the disk works again")
        self._journal.persisted(receipt, error)
        if adopting and not self._journal.adopting:
            self._adopted(error)
        self._settle()

    def barrier(self, token: int, now: float) -> None:
        """A linearizable read begins: BarrierDone(token) or BarrierFailed(token) follows."""
        self._now = now
        reason = self._unusable()
        if reason:
            self._events.append(BarrierFailed(token, reason))
            return
        self._barriers.add(token, now)
        self._settle()

    def leave(self, now: float) -> None:
        """This process will end cleanly: let the disk bring its database up to date."""
        self._now = now
        self._checkpoint()

    def next_timeout(self) -> float | None:
        stall = self._journal.stall_time() if self._announced else None
        return earliest(self._proposals.next_deadline(), self._barriers.next_deadline(), stall)

    def handle_timeout(self, now: float) -> None:
        self._now = now
        for pending in self._proposals.expired(now):
            text = f"not committed within {self.settings.deadline:g} s"
            self._events.append(Outcome(pending.operation, None, text))
        for token in self._barriers.expired(now):
            self._events.append(BarrierFailed(token, f"not confirmed within {self.settings.deadline:g} s"))
        self._settle()

    def next_event(self) -> Event | None:
        """The next thing to send, write or tell; None: nothing now."""
        if self._events:
            return self._events.popleft()
        self._journal.flush(self.log, self._now)
        return self._journal.next_request()

    # --- what is known -------------------------------------------------------------------------------------------

    @property
    def highest_ring_seq(self) -> int:
        """The highest ring seq in the store: the next ring's has to be greater."""
        return self.log.end.epoch.seq

    @property
    def primary_members(self) -> tuple[NodeId, ...]:
        """Who had the state on disk when the primary of this configuration opened; empty while none is open here."""
        primary = self._primary
        return tuple(sorted(primary.ready)) if self._whole and primary.opened else ()

    def readable(self) -> bool:
        """May local reads be answered, from `state`?"""
        return not self.unreadable()

    def unreadable(self) -> str:
        """Why not, in one sentence; empty when they may."""
        if self._health is Health.FRESH:
            return "this node has no store yet"
        if self._health is Health.LOST:
            return f"the store of this node waits for a resync: {self._trouble or 'older than it should be'}"
        if self._unresolved:
            text = "writes from before the restart wait for the other nodes' word whether they count"
            return f"{text} (log index {self.state.index} of {self._unresolved})"
        return ""

    def refusal(self) -> Refused | None:
        """Why a write is refused now; None when it would be tried."""
        primary = self._primary
        reason = self._unusable()
        if reason:
            return NoQuorum(reason)
        if self._journal.failed or self._journal.stalled(self._now):
            return DiskFailed(f"the disk of this node does not take writes: {self._journal.failed or 'it hangs'}")
        if not primary.required_present(self.log.data_sets(self.committed)):
            return DiskFailed(f"too few disks take writes: those of nodes {names(primary.ready)} do")
        return None

    def _unusable(self) -> str:
        """Why neither writes nor linearizable reads are possible here, or nothing."""
        primary = self._primary
        choice = primary.choice
        if not self._quorate:
            return "this node is not quorate"
        if self._closed or choice is None:
            return "the members of the cluster are changing"
        if choice.leader is None:
            return choice.reason
        if self._whole and primary.opened:
            return ""
        if not self._whole:
            if choice.kind is EpochKind.NARROW and self.me in choice.lost:
                return "the store of this node is resynced when a data majority is present"
            return "this node is catching up" if self._asks < MAX_ASKS else "this node could not catch up: see its log"
        waiting = (choice.good | choice.lost) & set(primary.members) - primary.ready
        return f"waiting until nodes {names(waiting)} have the same state on disk"

    def status(self) -> StoreStatus:
        primary, state = self._primary, self.state
        choice = primary.choice
        refusal = self.refusal()
        sets = self.log.data_sets(self.committed)
        usable = self._whole and primary.opened
        holders = [n for n, claim in primary.claims.items() if claim >= state.index] if usable else [self.me]
        narrow = usable and primary.narrow
        return StoreStatus(
            state=self._state_word(),
            writable=refusal is None,
            reason=str(refusal) if refusal else "",
            revision=state.revision,
            digest=state.digest(),
            entries=state.entries,
            bytes=state.bytes,
            durable_revision=state.revision,
            durable_on=tuple(sorted(holders)) if self._health is Health.GOOD else (),
            durability="disk" if self.settings.durable else "memory",
            readable=self.readable(),
            unreadable=self.unreadable(),
            epoch=str(primary.ring) if usable else str(self.log.end.epoch),
            kind=choice.kind.name.lower() if usable and choice else None,
            held_only_by=tuple(sorted(primary.ready)) if narrow else (),
            data_set=dict(sets[0].votes),
            learners=tuple(sorted(n for n in primary.members if n not in sets[0].votes or n not in primary.ready)),
            era=self.log.era,
            log_index=self.log.end.index,
            committed_index=self.committed,
            applied_index=state.index,
            received=None if self._receiver is None else self._receiver.chunks * wire.CHUNK_BYTES,
            disk_message=self._journal.failed,
            alarm=bool(choice and choice.alarm),
            malformed=self.malformed,
        )

    def _state_word(self) -> str:
        if self._journal.failed:
            return "disk_error"
        if self._health is Health.LOST:
            return "damaged"
        settled = self._whole and self._primary.opened and not self._unresolved
        return "synced" if settled else "syncing"

    def _summary(self) -> tuple[str, str]:
        refusal = self.refusal()
        return self._state_word(), str(refusal) if refusal else ""

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
            case wire.Propose():
                self._on_propose(sender, message)
            case wire.Report():
                if primary.report(sender, message):
                    self._chosen()
            case wire.Ready():
                if primary.say_ready(sender, message):
                    self._opened()
            case wire.Lost():
                primary.say_lost(sender)
            case wire.ProposeSet():
                self._on_propose_set(message)
            case wire.Barrier():
                if sender == self.me and self._whole:
                    self._barriers.delivered(message.number, self.log.end.index)
            case wire.Need():
                if sender not in primary.ready and message.attempt == primary.attempt:
                    primary.needs[sender] = message
                if self._sender is not None and self._sender.start.target == sender:
                    self._sender = None
            case wire.Start():
                self._on_start(sender, message)
            case wire.Have():
                if self._sender is not None and self._sender.start.number == message.number:
                    self._sender.have(message)
            case wire.Chunk():
                self._on_chunk(sender, message)

    def _on_propose(self, sender: NodeId, message: wire.Propose) -> None:
        if not self._primary.opened:
            return
        try:
            operation = Operation.decode(message.operation)
        except WireError as error:
            self._count_malformed(sender, error)
            return
        self._log(RecordKind.OPERATION, message.operation)
        if self._whole:
            self._operations[self.log.end.index] = operation

    def _on_propose_set(self, message: wire.ProposeSet) -> None:
        """The proposer saw to it that the last change is in force; the version tells whether it knew the last one."""
        primary = self._primary
        if primary.opened and not primary.narrow and message.data_set.version == primary.latest_set.version + 1:
            primary.latest_set = message.data_set
            self._log(RecordKind.DATA_SET, message.data_set.encode())

    def _log(self, kind: RecordKind, body: bytes) -> None:
        """One record at this place of the order: into the log, or kept until the log is whole."""
        if self._whole:
            self.log.append(LogRecord.after(self.log.end, self._primary.ring, kind, body))
        elif self._kept is not None and not self._kept.keep(kind, body):
            self._say.warning("store: too many writes while catching up, starting over")
            self._fail_transfer(self._take_all)

    # --- the way to a primary ------------------------------------------------------------------------------------

    def _report(self) -> None:
        self._reported = True
        log = self.log
        data_set, pending = log.data_sets(self.committed)
        known = log.holders()
        for node, mark in self._known.items():
            known[node] = max(mark, known.get(node, NO_MARK))
        known.pop(self.me, None)
        self._send(
            wire.Report(
                health=self._health,
                disk_ok=not self._journal.failed,
                nodes=self._nodes,
                standing=log.standing(),
                end=log.end,
                committed=(log.epoch_at(self.committed), self.committed),
                cluster=log.cluster,
                tail=log.tail(),
                data_set=data_set,
                pending=pending,
                known=known,
                applied=self.state.index,
                revision=self.state.revision,
                digest=self.state.digest(),
            )
        )

    def _chosen(self) -> None:
        primary = self._primary
        choice = primary.choice
        assert choice is not None
        self._attempt_begins()
        if choice.leader is None:
            say = self._say.error if choice.alarm else self._say.info
            say(f"store: no primary on ring {primary.ring}: {choice.reason}")
            return
        trusted = self._health is Health.GOOD and (self.me in choice.good)
        if self._health is Health.GOOD and self.me not in choice.good:
            self._health, self._trouble = Health.LOST, "others know of writes it once had on disk"
            self._say.error("store: older than it was: the disk was rolled back; resyncing")
        if choice.genesis:
            self._kept = transfer.Kept()
        elif trusted and self.log.end == choice.base:
            self._becomes_whole()
        for node, report in primary.reports.items():  # what they say now outweighs what was seen of them
            if node in self._known:
                self._known[node] = min(self._known[node], report.standing.majority)

    def _becomes_whole(self) -> None:
        self._whole = True
        self._ready_at = self.log.end.index
        self._receiver, self._kept, self._need = None, None, None
        self._resend = True

    def _opened(self) -> None:
        primary = self._primary
        record = primary.record()
        self._log(RecordKind.EPOCH, record.encode())
        self._resend = True
        if self._whole:
            held = f", held only by {names(primary.holders)}" if primary.narrow else ""
            self._say.info(f"store: {record.kind.name.lower()} primary open on ring {primary.ring}{held}")

    # --- catching up ---------------------------------------------------------------------------------------------

    def _ask_if_needed(self) -> None:
        """Ask for what is missing, once the disk can take it."""
        primary = self._primary
        choice = primary.choice
        if choice is None or choice.leader is None or self._whole or self._asked or self._journal.failed:
            return
        if self._adopting is not None or self._asks >= MAX_ASKS:
            return
        if choice.kind is EpochKind.NARROW and self.me in choice.lost:
            return
        self._asked = True
        self._asks += 1
        if choice.genesis:
            first = EpochRecord(primary.ring, NO_RING, 0, choice.data_set.version, choice.kind, 0, ())
            log = Log(START, Lineage((first,), choice.data_set))
            self._adopt(State(), log, 0, False, "first start of the cluster")
            return
        sums = b"".join(self.state.buckets())
        self._need = wire.Need(primary.attempt, self.log.end, self.state.index, self._take_all, self.log.tail(), sums)
        self._send(self._need)

    def _serve_if_asked(self) -> None:
        """Begin the next transfer, when this node is the one to send it."""
        primary = self._primary
        if not self._whole or self._starting or primary.server() != self.me:
            return
        if self._sender is not None or not primary.needs or not (self._quorate or not primary.narrow):
            return
        target, need = next(iter(primary.needs.items()))
        fork = self.log.fork(need.tail, need.end.index)
        by_log = (
            not need.whole
            and fork is not None
            and fork >= max(need.applied, self.log.base.index)
            and (fork < need.end.index or self.log.position(fork) == need.end)
        )
        buckets = None if by_log else transfer.differing(self.state, need)
        self._starting = True
        self._send(wire.Start(primary.attempt, primary.transfer + 1, target, fork or 0, buckets))

    def _on_start(self, sender: NodeId, start: wire.Start) -> None:
        primary = self._primary
        need = primary.needs.get(start.target)
        if start.attempt != primary.attempt:
            return
        mine = sender == self.me and self._starting
        if sender == self.me:
            self._starting = False
        if start.number <= primary.transfer or need is None:
            return
        primary.transfer, primary.target = start.number, start.target
        self._sender = transfer.Sender(start, need, self.state, self.log, self.committed) if mine else None
        if start.target == self.me and self._need is not None and not self._whole:
            self._receiver = transfer.Receiver(start, self._need, self.state)
            self._kept = transfer.Kept()
            have = self._receiver.have()
            if have is not None:
                self._send(have)

    def _on_chunk(self, sender: NodeId, chunk: wire.Chunk) -> None:
        primary, receiver = self._primary, self._receiver
        if chunk.number != primary.transfer:
            return
        if self._sender is not None and sender == self.me:
            self._sender.delivered()
            if chunk.last:
                self._sender = None
        if chunk.last and primary.target is not None:
            primary.needs.pop(primary.target, None)
        if receiver is not None and receiver.start.number == chunk.number:
            try:
                received = receiver.feed(chunk)
                if received is not None:
                    self._complete(receiver, received)
            except (WireError, ValueError) as error:
                self._say.error(f"store: transfer from node {sender} of no use: {error}")
                self._fail_transfer(True)

    def _fail_transfer(self, take_all: bool) -> None:
        self._receiver, self._kept, self._need, self._asked = None, None, None, False
        self._take_all = take_all

    def _complete(self, receiver: transfer.Receiver, received: transfer.Received) -> None:
        """All of it is here; raises WireError or ValueError when it does not fit."""
        if received.image is None:
            self._catch_up(receiver, received)
            return
        state = State(received.image)
        if state.digest() != received.digest:
            raise WireError("the tree received has another digest than the sender's")
        log = Log(received.position, received.lineage)
        log.extend(received.records)
        if log.end != received.end or received.committed > log.end.index:
            raise WireError("the log received ends elsewhere than the sender's")
        aside = self._health is not Health.FRESH and self.log.end.index > receiver.start.after
        self._adopt(state, log, received.committed, aside, "merged into the history of the other nodes")

    def _catch_up(self, receiver: transfer.Receiver, received: transfer.Received) -> None:
        """The log is equal up to start.after: drop what others do not have, append what they have."""
        fork = receiver.start.after
        here = self.log.position(fork)
        if here is None or fork < max(self.state.index, self.committed):
            raise WireError(f"log index {fork} is already committed here, or not kept")
        for record in received.records:
            if not record.follows(here):
                raise WireError(f"log record {record.index} does not follow")
            here = record.position
        if here != received.end:
            raise WireError("the records end elsewhere than the sender's log")
        dropped = self.log.truncate(fork)
        if dropped:
            self._operations = {index: op for index, op in self._operations.items() if index <= fork}
            self._unresolved = min(self._unresolved, fork) if fork > self.state.index else 0
            aside = any(record.kind is RecordKind.OPERATION for record in dropped)
            self._journal.truncate(fork, aside, f"not in the history the other nodes went on with (from {fork + 1})")
        self.log.extend(received.records)
        if self._health is not Health.GOOD:
            self._health, self._trouble, self._unresolved = Health.GOOD, "", self.log.end.index
        self._finish_transfer()

    def _finish_transfer(self) -> None:
        kept = self._kept.records if self._kept else []
        self._becomes_whole()
        for kind, body in kept:
            self._log(kind, body)
        self._say.info(f"store: caught up at log index {self.log.end.index}")

    def _adopt(self, state: State, log: Log, committed: int, aside: bool, reason: str) -> None:
        primary = self._primary
        image: StateImage = state.image()
        position = log.base
        request = Adopt(
            0,
            image,
            position,
            log.lineage(position.index),
            tuple(log.slice(position.index, log.end.index)),
            max(committed, position.index),
            aside,
            reason,
        )
        self._adopting = _Adopting(primary.ring, primary.attempt, state, log, committed, reason)
        self._journal.adopt(request, self._now)

    def _adopted(self, error: str | None) -> None:
        """The disk answered: from here on the new store is ours, or still the old one."""
        adopting, self._adopting = self._adopting, None
        assert adopting is not None
        primary = self._primary
        current = not self._closed and (primary.ring, primary.attempt) == (adopting.ring, adopting.attempt)
        if error is not None:
            if current:
                self._fail_transfer(self._take_all)
            return
        self.state, self.log, self.committed = adopting.state, adopting.log, adopting.committed
        self._health, self._trouble, self._take_all = Health.GOOD, "", False
        self._operations.clear()
        self._journal.replaced(self.log.end.index, self.committed)
        self._unresolved = self.log.end.index
        self._checkpointed, self._checkpoint_bytes = self.state.index, 0
        self._events.append(Replaced(adopting.reason))
        for pending in self._proposals.unsent(NO_RING):
            self._answer_from_state(pending)
        if current:
            self._finish_transfer()

    def _answer_from_state(self, pending: Pending) -> None:
        result = self.state.outcome(pending.operation.id)
        if result is not None:
            self._proposals.take(pending.operation.id)
            self._events.append(Outcome(pending.operation, result, repeated=True))

    # --- conclusions ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Draw every conclusion the last input made possible."""
        if not self._closed:
            if not self._reported and self._adopting is None:
                self._report()
            self._ask_if_needed()
            self._tell_ready()
            self._claim()
            self._commit()
            self._serve()
            self._send_waiting()
            self._change_data_set()
        self._apply()
        self._checkpoint_if_due()
        summary = self._summary()
        if summary != self._told:
            self._told = summary
            self._events.append(StatusChanged())

    def _disk_bad(self) -> bool:
        return bool(self._journal.failed) or self._journal.stalled(self._now)

    def _tell_ready(self) -> None:
        """READY when quorate with the state on disk; LOST when that is no longer so."""
        primary = self._primary
        if self._disk_bad() or not self._whole:
            if self._announced:
                self._announced = False
                self._send(wire.Lost())
            self._fall_behind_if_too_far()
            return
        if self._announced or not self._quorate or self._journal.on_disk < self._ready_at or self._adopting:
            return
        if not primary.opened and self._journal.on_disk != self.log.end.index:
            return
        self._announced = True
        self._send(wire.Ready(primary.attempt, self.log.end.index, self.log.end.chain))

    def _fall_behind_if_too_far(self) -> None:
        if self._whole and self.log.end.index - self._journal.on_disk > MAX_UNWRITTEN:
            self._say.error("store: the disk does not work for too long, this node falls behind")
            self.log.truncate(max(self._journal.on_disk, self.state.index))
            self._operations.clear()
            self._whole, self._asked = False, False

    def _claim(self) -> None:
        primary = self._primary
        value: int | None = None
        on_disk = self._journal.on_disk
        if (
            self._whole
            and primary.opened
            and not self._disk_bad()
            and on_disk >= max(self._ready_at, primary.first_index)
        ):
            value = on_disk + 1
            primary.claims[self.me] = max(on_disk, primary.claims.get(self.me, 0))
        if value != self._claimed:
            self._claimed = value
            self._events.append(Claim(value))

    def _commit(self) -> None:
        """Move the commit index as far as the required set's claims go; a data set in force may move it further."""
        if not self._whole or not self._primary.opened:
            return
        while True:
            index = min(self._primary.committed(self.log.data_sets(self.committed)), self.log.end.index)
            if index <= self.committed:
                return
            self.committed = index
            self._journal.mark(index)

    def _apply(self) -> None:
        """Make visible what is committed and on this node's disk, and answer those who wait for it."""
        upto = min(self.committed, self._journal.on_disk)
        if self.state.index < upto:
            for record in self.log.slice(self.state.index, upto):
                self._apply_one(record)
            self._log_trim()
        if self._unresolved and self.state.index >= self._unresolved:
            self._unresolved = 0
        for token in self._barriers.done(self.state.index):
            self._events.append(BarrierDone(token))

    def _apply_one(self, record: LogRecord) -> None:
        self._checkpoint_bytes += len(record.body)
        if record.kind is not RecordKind.OPERATION:
            self.state.advance(record.index)
            return
        operation = self._operations.pop(record.index, None) or Operation.decode(record.body)
        applied = self.state.apply(operation, record.index)
        if applied.changes:
            self._events.append(Changed(record.index, applied.changes))
        pending = self._proposals.take(operation.id)
        if pending is not None:
            durable = tuple(sorted(n for n, claim in self._primary.claims.items() if claim >= record.index))
            self._events.append(Outcome(pending.operation, applied.result, "", durable, applied.repeated))

    def _log_trim(self) -> None:
        log, settings = self.log, self.settings
        if log.size > settings.retain_bytes or self.state.index - log.base.index > settings.retain_records:
            log.trim(log.base.index + max(1, (self.state.index - log.base.index) // 2))

    def _serve(self) -> None:
        self._serve_if_asked()
        while self._sender is not None and (chunk := self._sender.next_chunk()) is not None:
            self._send(chunk)

    def _send_proposal(self, pending: Pending) -> None:
        pending.sent_in = self._primary.ring
        self._send(wire.Propose(pending.encoded))

    def _send_waiting(self) -> None:
        """Proposals not sent in this configuration yet, and the next barrier."""
        if not self._whole or not self._primary.opened or not self._quorate:
            return
        if self._resend:
            self._resend = False
            for pending in self._proposals.unsent(self._primary.ring):
                self._send_proposal(pending)
        number = self._barriers.to_send()
        if number is not None:
            self._send(wire.Barrier(number), safe=True)

    def _change_data_set(self) -> None:
        """The lowest ready member brings the data set nearer to the nodelist, one node at a time."""
        primary = self._primary
        if not primary.opened or primary.narrow or not self._whole or min(primary.ready, default=0) != self.me:
            return
        force, pending = self.log.data_sets(self.committed)
        if pending is not None or primary.latest_set.version != force.version or self._proposed_set > force.version:
            return
        change = next_change(force, self._nodes, self._lowered, primary)
        if change is not None:
            self._proposed_set = change.version
            self._send(wire.ProposeSet(change))

    def _checkpoint_if_due(self) -> None:
        records = self.state.index - self._checkpointed
        if records >= CHECKPOINT_RECORDS or self._checkpoint_bytes >= CHECKPOINT_BYTES:
            self._checkpoint()

    def _checkpoint(self) -> None:
        """Bring the database up to the tree; only where all that is known committed is in the tree."""
        position = self.log.position(self.state.index)
        if position is None or self._journal.checkpointing or self._journal.failed or self._adopting is not None:
            return
        if self.state.index != self.committed or self.state.index <= self._checkpointed:
            return
        self._checkpointed, self._checkpoint_bytes = position.index, 0
        self._journal.checkpoint(self.state.take_delta(), position, self.log.lineage(position.index), self._now)

    def _give_up(self, reason: str) -> None:
        for pending in self._proposals.take_all():
            self._events.append(Outcome(pending.operation, None, reason))
        for token in self._barriers.take_all():
            self._events.append(BarrierFailed(token, reason))


def _log_of(image: StoreImage) -> Log:
    """The log as found on disk; records kept from before the tree's position serve members that were away."""
    base, retained = image.position, list(image.retained)
    if retained and retained[0].index == 1:
        base = START
    elif retained:
        base = retained.pop(0).position
    log = Log(base, image.lineage) if base == image.position else _with_retained(base, image, retained)
    try:
        log.extend(image.tail)
    except WireError:
        pass  # what follows a record that does not fit was never answered for
    return log


def _with_retained(base: LogPosition, image: StoreImage, retained: list[LogRecord]) -> Log:
    epochs = tuple(epoch for epoch in image.lineage.epochs if epoch.first_index <= base.index)
    log = Log(base, Lineage(epochs, image.lineage.data_set))
    try:
        log.extend(retained)
    except WireError:
        return Log(image.position, image.lineage)
    return log if log.end == image.position else Log(image.position, image.lineage)
