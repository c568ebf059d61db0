"""One configuration at this node: how its members come to a primary, and what is logged, claimed and committed in it.

Source: DESIGN 7; docs/protocol-store.md, "One configuration". Nothing here outlives it: the next one begins with a new
object, and each choice in it with a new catch-up and readiness. What lasts is the replica's, and handed in: the store,
who waits for answers, the keeper of the data set, and what was seen of others' disks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

from cfs import wire
from cfs.catchup import CatchUp
from cfs.comparing import Comparing
from cfs.dataset import DataSetKeeper, follows
from cfs.epochs import names
from cfs.journal import STALLED
from cfs.log import Mark
from cfs.messages import Operation
from cfs.primary import Primary
from cfs.proposals import Pending
from cfs.readiness import Readiness
from cfs.records import LogRecord, RecordKind
from cfs.status import Claim, Event, Multicast, StoreSettings
from cfs.store import LocalStore
from cfs.waiting import Waiting
from cfs.wire import Health
from transport.core import Log as Logger
from transport.core import earliest
from transport.errors import WireError
from transport.ids import NodeId


class Configuration:
    """The replica hands in what comes in ring order, and calls `settle` after it.

    closed: no messages count: it is none yet, or its transitional event was delivered.  quorate, verdict: what the
    votes say of this membership, and why; no sentence: nothing yet.  propose_head: how its proposals begin.
    """

    def __init__(
        self,
        me: NodeId,
        primary: Primary,
        closed: bool,
        store: LocalStore,
        waiting: Waiting,
        data_set: DataSetKeeper,
        seen: dict[NodeId, Mark],
        settings: StoreSettings,
        events: deque[Event],
        malformed: Callable[[NodeId, WireError], None],
        say: Logger,
        now: float,
    ) -> None:
        """seen: the highest claims of others, of any configuration.  events: where what it sends and claims goes.

        malformed: told of a member's message that is none.
        """
        self.me = me
        self.primary = primary
        self.closed = closed
        self.quorate, self.verdict = False, ""
        self.propose_head = wire.encode(primary.ring, wire.Propose(b""))
        self._store = store
        self._waiting = waiting
        self._data_set = data_set
        self._seen = seen
        self._settings = settings
        self._events = events
        self._malformed = malformed
        self._say = say
        self._reported = False
        self._claimed: int | None = None
        self._comparing = Comparing(me, primary, store, self._send, now)
        self._attempt_begins()

    def _attempt_begins(self) -> None:
        self.catchup = CatchUp(self.me, self.primary, self._store, self._send, self._say)
        self._readiness = Readiness(
            self.me, self.primary, self.catchup, self._store, self._settings, self._send, self._say
        )
        self._resend = False
        self._data_set.anew()

    def report_again(self) -> None:
        """What was reported is not so any more; once a primary is open nobody asks."""
        if not self.primary.opened:
            self._reported = False

    def next_timeout(self) -> float | None:
        """When something is due here that does not wait for a message."""
        stall = self._store.journal.stall_time() if self._readiness.announced else None
        if self.closed:
            return stall
        report = self._report_time() if not self._reported else None
        return earliest(stall, report, self.catchup.due, self._comparing.due(self.catchup.whole))

    def _report_time(self) -> float:
        """A store being replaced is waited for, but not for long: nobody gets a primary without this report."""
        since = self._store.journal.adopting_since()
        return -inf if since is None else since + STALLED

    @property
    def busy(self) -> bool:
        """Is there something to do in turns?"""
        return self.catchup.busy and not self.closed

    def turn(self, now: float) -> None:
        """A few milliseconds of it."""
        if self.catchup.complete:
            self._append_kept()
        else:
            self.catchup.turn(now)

    # --- messages ------------------------------------------------------------------------------------------------

    def _send(self, message: wire.Message, safe: bool = False) -> None:
        self._events.append(Multicast(wire.encode(self.primary.ring, message), safe))

    def receive(self, sender: NodeId, message: wire.Message, now: float) -> None:
        """All but proposals, from a member."""
        primary = self.primary
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
                if sender == self.me and self.catchup.whole:
                    self._waiting.barriers.delivered(message.number, self._store.log.end.index)
            case wire.Compare():
                self._comparing.on_compare(sender, self.catchup.whole, self._store.log.end.index, now)
                self._look_for_rot()
            case wire.Tree():
                self._other_trees(self._comparing.on_tree(sender, message))
            case wire.Need():
                self.catchup.on_need(sender, message)
            case wire.Start():
                self.catchup.on_start(sender, message, now)
            case wire.Have():
                self.catchup.on_have(sender, message)
            case wire.Chunk():
                if self.catchup.on_chunk(sender, message, now):
                    self._append_kept()

    def on_propose(self, sender: NodeId, body: bytes) -> None:
        """A member's proposal: it only adds to the log."""
        if not self.primary.opened:
            return
        try:
            operation = Operation.decode(body)
        except WireError as error:
            self._malformed(sender, error)
            return
        self._log(RecordKind.OPERATION, body, operation)

    def _on_propose_set(self, message: wire.ProposeSet) -> None:
        """The proposer saw to it that the last change is in force; the version tells whether it knew the last one."""
        primary = self.primary
        if primary.opened and not primary.narrow and follows(primary.latest_set, message.data_set):
            primary.latest_set = message.data_set
            self._log(RecordKind.DATA_SET, message.data_set.encode())

    def _log(self, kind: RecordKind, body: bytes, operation: Operation | None = None) -> None:
        """One record at this place of the order: into the log, or kept until the log is whole."""
        if self.catchup.whole:
            store = self._store
            store.append(LogRecord.after(store.log.end, self.primary.ring, kind, body), operation)
        else:
            self.catchup.keep(kind, body)

    def _other_trees(self, nodes: tuple[NodeId, ...]) -> None:
        """S4: these have applied the same log and come to another tree."""
        if self.me in nodes:
            self._store.distrust(self._store.log.end)
            self.catchup.fell_behind()
        elif nodes:
            where = f"at log index {self._comparing.place}"
            self._say.error(f"store: the trees of {names(nodes)} differ from the others' {where}; they are resynced")

    def _look_for_rot(self) -> None:
        """S4: also a tree that was right once. Whoever finds that of its own memory need not ask who is right."""
        path = self._store.rotten() if self.catchup.whole else None
        if path is None:
            return
        what = f"{path} is not in memory as it was written: the memory of this host is not to be relied on"
        if self.primary.ready - {self.me}:
            self._store.distrust(self._store.log.end, what)
            self.catchup.fell_behind()
        else:
            self._say.error(f"store: {what}; there is nobody to resync from, restart clusterd to read its disk")

    # --- the way to a primary ------------------------------------------------------------------------------------

    def _chosen(self) -> None:
        """All reports are in: this configuration knows what it goes on from, or why it cannot."""
        primary, store = self.primary, self._store
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
            self.catchup.whole = True
            self._is_whole()
        for node in self._seen.keys() & choice.good:  # what good stores say outweighs what was seen of them before
            self._seen[node] = min(self._seen[node], primary.reports[node].standing.majority)

    def _append_kept(self) -> None:
        """The log is complete but for what was kept: a turn's worth of it; with the last of it, it is whole."""
        store = self._store
        for kind, body in self.catchup.take_kept():
            store.append(LogRecord.after(store.log.end, self.primary.ring, kind, body))
        if self.catchup.whole:
            self._is_whole()
            self._say.info("store: caught up with the other nodes")

    def _is_whole(self) -> None:
        self._readiness.whole()
        self._resend = True

    def adopted(self, taken: bool) -> None:
        """The disk answered whether it replaced the store."""
        if self.closed or self.catchup.kept is None:  # of an earlier choice
            return
        if taken:
            self.catchup.complete = True
            self._append_kept()
        else:
            self.catchup.fail()

    def _opened(self) -> None:
        primary = self.primary
        record = primary.record()
        self._log(RecordKind.EPOCH, record.encode())
        self._resend = True
        if self.catchup.whole:
            held = f", held only by {names(primary.holders)}" if primary.narrow else ""
            self._say.info(f"store: {record.kind.name.lower()} primary open on ring {primary.ring}{held}")

    # --- conclusions ---------------------------------------------------------------------------------------------

    def settle(self, now: float) -> None:
        """Draw every conclusion the last input made possible; it is not closed."""
        if not self._reported and now >= self._report_time():
            self._reported = True
            self._send(self._store.report(self._data_set.nodes, self._seen, self.me))
        self._readiness.tell(self.quorate, now)  # LOST before NEED: who is ready is sent nothing
        self.catchup.ask(now)
        self._claim(now)
        self._commit()
        self.catchup.serve(self.quorate)
        self._send_waiting()
        self._change_data_set()
        self._comparing.tell(self.catchup.whole, now)

    def _claim(self, now: float) -> None:
        value = self._readiness.claim(now)
        if value != self._claimed:
            self._claimed = value
            self._events.append(Claim(value))

    def _commit(self) -> None:
        """Move the commit index as far as the required set's claims go; a data set in force may move it further.

        And at least as far as any member knew when the primary was chosen: it may have been chosen by a data set that
        we do not know to be in force, and the members that are here may never be enough for the one before it.
        """
        store, choice = self._store, self.primary.choice
        if not self.catchup.whole or not self.primary.opened or choice is None:
            return
        while True:
            index = max(choice.committed, self.primary.committed(store.log.data_sets(store.committed)))
            index = min(index, store.log.end.index)
            if index <= store.committed:
                return
            store.commit(index)

    def send_proposal(self, pending: Pending) -> None:
        """A write of ours, to be logged at its place in the order."""
        pending.sent_in = self.primary.ring
        self._send(wire.Propose(pending.encoded))

    def _send_waiting(self) -> None:
        """Proposals not sent in this configuration yet, and the next barrier."""
        if not self.catchup.whole or not self.primary.opened or not self.quorate:
            return
        if self._resend:
            self._resend = False
            for pending in self._waiting.unsent(self.primary.ring):
                self.send_proposal(pending)
        number = self._waiting.barriers.to_send()
        if number is not None:
            self._send(wire.Barrier(number), safe=True)

    def _change_data_set(self) -> None:
        """The lowest ready member brings the data set nearer to the nodelist, one node at a time."""
        store = self._store
        change = self._data_set.due(self.primary, store.log, store.committed) if self.catchup.whole else None
        if change is not None:
            self._send(wire.ProposeSet(change))
