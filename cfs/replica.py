"""This node's copy of the store: what the ring and the disk say goes in; what to send, write and answer comes out.

Source: DESIGN 4 (S1-S6) and 7; docs/protocol-store.md has the messages, the rules and why they are safe. The parts:
cfs/configuration.py what lasts as long as one configuration (in it cfs/primary.py what all members share,
cfs/catchup.py how this node gets what it lacks, cfs/readiness.py what it says of itself), cfs/store.py what this node
holds, cfs/waiting.py who waits for an answer. Inputs come in ring order; `_settle` after each of them draws every
conclusion that became possible; what takes long goes on in turns (`handle_timeout`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from cfs import wire
from cfs.condition import LEAVING, Condition
from cfs.configuration import Configuration
from cfs.dataset import DataSetKeeper
from cfs.disk import StoreImage
from cfs.log import NO_MARK, Log, Mark
from cfs.messages import Applied, Operation
from cfs.primary import Primary
from cfs.refusals import expired
from cfs.state import State
from cfs.status import (
    BarrierFailed,
    Changed,
    Claim,
    Event,
    Outcome,
    Replaced,
    StatusChanged,
    StoreSettings,
    StoreStatus,
)
from cfs.store import LocalStore
from cfs.turns import PAUSE
from cfs.waiting import Waiting
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
        self._enter(Primary(NO_RING, ()), closed=True)
        self._told = self._summary()

    def _enter(self, primary: Primary, closed: bool = False) -> None:
        """A new configuration: nothing of the last one counts any more."""
        events = [event for event in self._events if not isinstance(event, Claim)]  # nobody told it yet
        self._events.clear()
        self._events.extend(events)
        self._primary = primary
        self._current = Configuration(
            self.me,
            primary,
            closed,
            self._store,
            self._waiting,
            self._data_set,
            self._seen,
            self.settings,
            self._events,
            self._count_malformed,
            self._say,
            self._now,
        )

    # --- inputs --------------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        """Something comes in."""
        self._now, self.quiet, self._due_known = now, False, False

    def configuration(self, change: ConfigurationChange, now: float) -> None:
        """A transitional or regular configuration, at its place among the deliveries."""
        self._begin(now)
        if not change.regular:
            self._current.closed = True
        else:
            self._enter(Primary(change.ring_id, change.members))
            self._waiting.barriers.interrupted()
        self._settle()

    def deliver(self, sender: NodeId, payload: bytes, transitional: bool, now: float) -> None:
        """One message of the total order. Nothing a member can send makes this raise."""
        self._begin(now)
        current = self._current
        if transitional or current.closed:
            return
        if payload.startswith(current.propose_head):  # most messages are proposals, and only add to the log
            if sender in self._primary.members:
                current.on_propose(sender, payload[len(current.propose_head) :])
            return
        try:
            ring, message = wire.decode(payload)
        except WireError as error:
            self._count_malformed(sender, error)
            return
        if ring == self._primary.ring and sender in self._primary.members:
            current.receive(sender, message, now)
            self._settle()

    def progress(self, values: dict[NodeId, int], now: float) -> None:
        """Claims of the members on the current ring: log index on disk + 1."""
        self._begin(now)
        primary = self._primary
        if self._current.closed or not primary.opened:
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
        self._current.quorate, self._current.verdict = quorate, reason or "the votes do not suffice"
        self._settle()

    def set_nodes(self, votes: dict[NodeId, int], now: float) -> None:
        """The configured nodes and their votes; the data set follows them, one change at a time."""
        self._begin(now)
        changed, self._data_set.nodes = self._data_set.nodes != votes, dict(votes)
        self._data_set.look()
        if changed:
            self._current.report_again()
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
            self._current.send_proposal(pending)

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
            taken = self._store.adopted(error)
            if taken:
                self._events.append(Replaced("the history the other nodes went on with was taken over"))
                self._waiting.replaced(self.state)
            self._current.adopted(taken)

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
        turn = self._turned + PAUSE if self._busy else None
        self._due = earliest(self._waiting.next_deadline(), turn, self._current.next_timeout())
        self._due_known = True
        return self._due

    @property
    def _busy(self) -> bool:
        """Is there something to do in turns?"""
        store = self._store
        return store.behind or store.letting_go or self._current.busy

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
        elif not self._current.closed:
            self._current.turn(self._now)

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
        return tuple(sorted(primary.ready)) if self._current.catchup.whole and primary.opened else ()

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
        current = self._current
        return Condition(
            self.me,
            self._now,
            self._leaving,
            current.closed,
            current.quorate,
            current.verdict,
            self._primary,
            current.catchup,
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

    # --- conclusions ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Draw every conclusion the last input made possible."""
        store, current = self._store, self._current
        if not current.closed:
            current.settle(self._now)
        if not store.behind:  # else in turns, however much comes in between
            store.apply()
        self._waiting.visible(self.state.index)
        store.checkpoint_if_due(self._now)
        summary = self._summary()
        if summary != self._told:
            self._told = summary
            self._events.append(StatusChanged())

    def _applied(self, operation: Operation, applied: Applied, index: int) -> None:
        """An operation became visible here."""
        if applied.changes:
            self._events.append(Changed(index, applied.changes))
        self._waiting.applied(operation, applied, index)

    def _holders(self, index: int) -> tuple[NodeId, ...]:
        """Whose disks are known to hold the log up to `index`, visible here."""
        return tuple(sorted({self.me} | self._primary.holding(index)))
