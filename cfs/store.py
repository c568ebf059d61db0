"""What this node holds: tree, log, how much of both is on disk, and whether any of it may be shown or counted.

Source: DESIGN 4 (S1, S2, S5, S6) and 7, "Visible here". True between any two calls:
    state.index <= min(committed, journal.on_disk)    visible here = committed, and in this node's log on disk
    journal.on_disk <= log.end.index
    after a restart nothing is shown until everything that may have been shown before it is shown again
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from cfs import turns
from cfs.disk import CHECKPOINT_BYTES, CHECKPOINT_RECORDS, Adopt, StoreHealth, StoreImage
from cfs.journal import Journal
from cfs.log import NO_MARK, Log, Mark
from cfs.messages import Applied, Kind, Operation
from cfs.receiving import Received
from cfs.records import MAX_NODES, START, Lineage, LogPosition, LogRecord, RecordKind
from cfs.scrub import Scrub
from cfs.state import State
from cfs.status import StoreSettings
from cfs.tree import Tree
from cfs.turns import Turns
from cfs.wire import Health, Report
from transport.core import Log as Logger
from transport.errors import WireError
from transport.ids import NodeId

BYTES_APPLIED = 8192  # of data cost as much to apply as one small operation

_LISTED = "which the other nodes do not have; `clusterctl fs discarded` lists what was set aside"
Done = Callable[[Operation, Applied, int], None]  # an operation was applied at this log index


class LocalStore:
    """committed: the highest log index known committed.  trouble: why `health` is LOST, one sentence.

    take_all: nothing here can serve as the base of a transfer.
    sampled: the tree's digest at the log index `sample` was told; None until the tree has come there.
    behind: there is more to apply than fits into a turn: `apply` goes on in the next, and only there.
    """

    def __init__(self, image: StoreImage, settings: StoreSettings, say: Logger, done: Done) -> None:
        self._settings = settings
        self._say = say
        self._done = done
        self._operations: dict[int, Operation] = {}  # decoded bodies of records not applied yet
        self._adopting: tuple[State, Log, int] | None = None
        self._aside = False  # and the old one kept
        self._checkpointed = image.position.index
        self._checkpoint_bytes = 0
        self._gone: list[object] = []  # what an earlier store was made of: let go of a little in each turn
        self._scrub = Scrub()
        self._sample_at = 0
        self.sampled: bytes | None = None
        self.behind = False
        self.health = Health.FRESH if image.fresh else Health.LOST
        if image.health is StoreHealth.OK:
            self.health = Health.GOOD
        self.trouble = image.message if self.health is Health.LOST else ""
        self.take_all = image.health in (StoreHealth.DAMAGED, StoreHealth.MISSING)
        try:
            self.state = State(image.state, window=settings.outcomes)
        except ValueError as error:
            say.error(f"store: the tree on disk is damaged: {error}")
            self.state = State(window=settings.outcomes)
            self.health, self.trouble, self.take_all = Health.LOST, "damaged", True
        self.log = Log() if self.take_all else _log_of(image)
        self.committed = max(min(image.commit_index, self.log.end.index), self.log.base.index)
        self.journal = Journal(self.log.end.index, self.committed, settings.durable)
        self._unresolved = self.log.end.index if self.log.end.index > self.committed else 0
        if not self.take_all:
            self.apply(sys.maxsize)

    # --- reading -------------------------------------------------------------------------------------------------

    @property
    def resolved(self) -> bool:
        """Is everything shown that may have been shown before a restart or resync?"""
        return not self._unresolved

    def unreadable(self) -> str:
        """Why local reads may not be answered, in one sentence; empty when they may."""
        if self.health is Health.FRESH:
            return "this node has no store yet"
        if self.health is Health.LOST:
            return f"the store of this node waits for a resync: {self.trouble}"
        if self._unresolved:
            text = "writes from before the restart wait for the other nodes' word whether they count"
            return f"{text} (log index {self.state.index} of {self._unresolved})"
        return ""

    def report(self, nodes: dict[NodeId, int], seen: dict[NodeId, Mark], me: NodeId) -> Report:
        """What to tell the others about it. seen: claims of others, known from the ring.

        While it is being replaced on disk nobody can say what it is: it does not count.
        """
        log = self.log
        data_set, pending = log.data_sets(self.committed)
        known = log.holders()
        for node, mark in seen.items():
            known[node] = max(mark, known.get(node, NO_MARK))
        known.pop(me, None)
        if len(known) > MAX_NODES:  # of as many nodes as ever were: the last ones
            known = dict(sorted(known.items(), key=lambda one: one[1])[-MAX_NODES:])
        return Report(
            health=Health.LOST if self.adopting else self.health,
            disk_ok=not self.journal.failed and not self.adopting,
            nodes=nodes,
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

    def sample(self, index: int) -> None:
        """Note the tree's digest at this log index, at or behind what is visible."""
        self._sample_at = index
        self.sampled = self.state.digest() if self.state.index == index else None

    def rotten(self) -> str | None:
        """Look at the next part of the tree: the path of an entry that is not what was written there, if any."""
        return self.state.rotten(self._scrub)

    def distrust(self, base: LogPosition, trouble: str = "") -> None:
        """The others do not count this store: it does not, and is not shown, until resynced.

        trouble: what was found here, not by them.  base: where the leader's log ends. With the same log and another
        tree, the whole tree is taken anew.
        """
        self.take_all = self.log.end == base
        self.trouble = "the others know of writes it once had on disk"
        if self.take_all:
            self.trouble = "its tree differs from the others' at the same place of the log"
        self.trouble = trouble or self.trouble
        self.health = Health.LOST
        self._say.error(f"store: not to be relied on, {self.trouble}; resyncing")

    # --- writing -------------------------------------------------------------------------------------------------

    def append(self, record: LogRecord, operation: Operation | None = None) -> None:
        """One record more; `operation`: its body, decoded."""
        self.log.append(record)
        if operation is not None:
            self._operations[record.index] = operation

    def commit(self, index: int) -> None:
        """Everything up to `index` is committed."""
        self.committed = index
        self.journal.mark(index)

    def apply(self, most: int | None = None) -> None:
        """Make visible what is committed and on this node's disk, as far as one turn goes.

        most: what may be done in it, in small operations; None: as much as fits into a turn.
        """
        upto = min(self.committed, self.journal.on_disk)
        start = self.state.index
        if start < upto:
            most, done = turns.APPLIED if most is None else most, 0.0
            for record in self.log.slice(start, min(upto, start + most)):
                done += self._apply_one(record)
                if record.index == self._sample_at:
                    self.sampled = self.state.digest()
                if done >= most:
                    break
            self._trim()
        self.behind = self.state.index < upto
        if self._unresolved and self.state.index >= self._unresolved:
            self._unresolved = 0

    def _apply_one(self, record: LogRecord) -> float:
        """What it cost, in small operations."""
        self._checkpoint_bytes += len(record.body)
        if record.kind is not RecordKind.OPERATION:
            self.state.advance(record.index)
            return 1
        operation = self._operations.pop(record.index, None) or Operation.decode(record.body)
        applied = self.state.apply(operation, record.index)
        self._done(operation, applied, record.index)
        removed = applied.result.detail if operation.kind is Kind.DELETE and applied.result.ok else 0
        return 1 + len(record.body) / BYTES_APPLIED + removed / 4

    def _trim(self) -> None:
        log, settings = self.log, self._settings
        behind = self.state.index - log.base.index
        if log.size > settings.retain_bytes or behind > settings.retain_records:
            log.trim(log.base.index + max(1, behind // 2))

    def cut_unwritten(self) -> None:
        """Forget what a disk that fails or hangs for too long has not written: the node will catch up anew.

        What a hanging one was asked for it may still write; then that is cut off there too, and comes again.
        """
        after = max(self.journal.on_disk, self.state.index)
        self.journal.truncate(after, False, "this node fell behind")
        self._gone += self._drop(after)

    def _drop(self, after: int) -> list[LogRecord]:
        self._operations = {index: one for index, one in self._operations.items() if index <= after}
        return self.log.truncate(after)

    # --- catching up ---------------------------------------------------------------------------------------------

    @property
    def adopting(self) -> bool:
        """Is the whole store being replaced on disk?"""
        return self._adopting is not None

    def catching_up(self, fork: int, received: Received) -> Turns[None]:
        """The log is equal up to `fork`: drop what others do not have, append what they have.

        Raises WireError, and changes nothing, when it does not fit.
        """
        here = self.log.position(fork)
        if here is None or fork < max(self.state.index, self.committed):
            raise WireError(f"log index {fork} is already committed here, or not kept")
        if not received.records and received.end != here:
            raise WireError("the records end elsewhere than the sender's log")
        dropped = self._drop(fork)
        if dropped:
            self._unresolved = min(self._unresolved, fork) if fork > self.state.index else 0
            writes = sum(record.kind is RecordKind.OPERATION for record in dropped)
            aside = writes > 0
            if aside:
                self._say.warning(f"store: {writes} writes from log index {fork + 1} on are set aside, {_LISTED}")
            reason = f"not in the history the other nodes went on with, from log index {fork + 1}"
            self.journal.truncate(fork, aside, reason)
            self._gone += dropped
        yield from self.log.extending(received.records)
        if self.health is not Health.GOOD:
            self.health, self.trouble, self._unresolved = Health.GOOD, "", self.log.end.index

    def replacing(self, received: Received, fork: int) -> Turns[Callable[[float], None]]:
        """Take over a whole state. Returns what asks the disk for it, at a time; `adopted` says when it is done.

        Raises WireError or ValueError when it is none.
        """
        image = received.image
        assert image is not None
        tree = yield from Tree.filled(image.revision, image.entries.values())
        state = State(image, tree=tree, window=self._settings.outcomes)
        if state.digest() != received.digest:
            raise WireError("the tree received has another digest than the sender's")
        log = Log(received.position, received.lineage)
        yield from log.extending(received.records)
        if log.end != received.end or received.committed > log.end.index:
            raise WireError("the log received ends elsewhere than the sender's")
        aside = self.health is not Health.FRESH and self.log.end.index > fork
        return lambda now: self._adopt(state, log, received.committed, aside, now)

    def begin(self, lineage: Lineage, now: float) -> None:
        """The first store of a cluster: the empty tree."""
        self._adopt(State(window=self._settings.outcomes), Log(START, lineage), 0, False, now)

    def _adopt(self, state: State, log: Log, committed: int, aside: bool, now: float) -> None:
        position = log.base
        records = tuple(log.slice(position.index, log.end.index))
        committed = max(committed, position.index)
        reason = "replaced by the history the other nodes went on with"
        lineage = log.lineage(position.index)
        self.journal.adopt(Adopt(0, state.image(), position, lineage, records, committed, aside, reason), now)
        self._adopting = (state, log, committed)
        self._aside = aside

    def adopted(self, error: str | None) -> bool:
        """The disk answered: True, and the new store is ours; False: still the old one."""
        assert self._adopting is not None
        state, log, committed = self._adopting
        self._adopting = None
        if error is not None:
            return False
        if self._aside:
            self._say.warning(f"store: this node's tree is set aside: it has writes {_LISTED}")
        self._gone += [*self.state.parts(), *self.log.slice(self.log.base.index, self.log.end.index)]
        self.state, self.log, self.committed = state, log, committed
        self._sample_at, self.sampled = 0, None
        self.health, self.trouble, self.take_all = Health.GOOD, "", False
        self._operations.clear()
        self.journal.replaced(log.end.index, committed)
        self._unresolved = log.end.index
        self._checkpointed, self._checkpoint_bytes = state.index, 0
        return True

    @property
    def letting_go(self) -> bool:
        """Is something left of a store that was replaced?"""
        return bool(self._gone)

    def let_go(self) -> None:
        """Free a turn's worth of it: all at once would take as long as to build it."""
        del self._gone[-turns.LOOKS :]

    # --- checkpoints ---------------------------------------------------------------------------------------------

    def checkpoint_if_due(self, now: float) -> None:
        """Bring the database up to the tree when enough log gathered."""
        records = self.state.index - self._checkpointed
        if records >= CHECKPOINT_RECORDS or self._checkpoint_bytes >= CHECKPOINT_BYTES:
            self.checkpoint(now)

    def checkpoint(self, now: float) -> None:
        """Bring the database up to the tree, if all that is known committed is in the tree (else the next time)."""
        position = self.log.position(self.state.index)
        if position is None or self.journal.checkpointing or self.journal.failed or self.adopting:
            return
        if self.state.index != self.committed or self.state.index <= self._checkpointed:
            return
        self._checkpointed, self._checkpoint_bytes = position.index, 0
        self.journal.checkpoint(self.state.take_delta(), position, self.log.lineage(position.index), now)


def _log_of(image: StoreImage) -> Log:
    """The log as found on disk; records kept from before the tree's position serve members that were away."""
    log = _retained(image)
    try:
        log.extend(image.tail)
    except WireError:
        pass  # what follows a record that does not fit was never answered for
    return log


def _retained(image: StoreImage) -> Log:
    records = list(image.retained)
    if records:
        base: LogPosition = START if records[0].index == 1 else records.pop(0).position
        epochs = tuple(epoch for epoch in image.lineage.epochs if epoch.first_index <= base.index)
        log = Log(base, Lineage(epochs, image.lineage.data_set))
        try:
            log.extend(records)
        except WireError:
            return Log(image.position, image.lineage)
        if log.end == image.position:
            return log
    return Log(image.position, image.lineage)
