"""What the disks say: the logs of all nodes read in peace, and applied anew to a tree of our own (S1, S4).

The logs must be one log. Its operations, applied in order by `State`, must come to the revision and the digest that
every node shows; what they come to, each by its id, is what clients must have been told. Read round by round, so that
nothing grows but our own tree: a node keeps thousands of records behind what it has applied, a round makes fewer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from cfs.io import generations
from cfs.io.logfile import Recovered, read_log
from cfs.messages import Operation
from cfs.records import EpochRecord, LogRecord, RecordKind
from cfs.state import State
from tests.sim.history import Applied, FinalStore, Violation, Watched
from tests.torture.moments import clock
from transport.ids import NO_RING, RingId

NOBODY = 0  # our own tree, where a node is named


@dataclass(slots=True)
class Read:
    """What the logs had since they were last read. logged: operation ids -> epoch of the record.  changes: as a watcher
    would be told them, after the revision before."""

    applied: list[Applied] = field(default_factory=list)
    logged: dict[bytes, RingId] = field(default_factory=dict)
    changes: list[Watched] = field(default_factory=list)
    records: int = 0


class Disks:
    """stores: the store's directory of each node."""

    def __init__(self, stores: dict[int, Path]) -> None:
        self._stores = stores
        self.state = State()
        self.epochs: dict[RingId, EpochRecord] = {}
        self.end = NO_RING  # epoch of the last record
        self.records = 0

    def ends(self) -> dict[int, int]:
        """The index of the last record in each node's log. Raises OSError, ValueError while a file is not readable."""
        return {node: self._log(node).end.index for node in self._stores}

    def _log(self, node: int) -> Recovered:
        store = self._stores[node]
        current = generations.read_current(store)
        if current is None:
            raise ValueError(f"node {node} has no store")
        return read_log(generations.folder(store, current) / "log")[0]

    def follow(self) -> Read:
        """Read on from where it was. Raises Violation when the logs are not one, OSError, ValueError."""
        read = Read(changes=[Watched(clock(), NOBODY, self.state.revision, None, NO_RING)])
        by_index: dict[int, tuple[int, LogRecord]] = {}
        for node in self._stores:
            for record in self._log(node).records:
                if record.index <= self.state.index:
                    continue
                first, known = by_index.setdefault(record.index, (node, record))
                if known.chain != record.chain:
                    text = f"nodes {first} and {node} have different records at index {record.index}"
                    raise Violation(clock(), "S4", text)
        for index in sorted(by_index):
            if index != self.state.index + 1:
                raise Violation(clock(), "S1", f"no disk has record {self.state.index + 1} of the log, but {index}")
            node, record = by_index[index]
            self._apply(read, node, record)
        self.records += read.records
        return read

    def _apply(self, read: Read, node: int, record: LogRecord) -> None:
        read.records += 1
        self.end = record.epoch
        if record.kind is not RecordKind.OPERATION:
            if record.kind is RecordKind.EPOCH:
                self.epochs[record.epoch] = EpochRecord.decode(record.body)
            self.state.advance(record.index)
            return
        operation = Operation.decode(record.body)
        read.logged[operation.id] = record.epoch
        done = self.state.apply(operation, record.index)
        if done.changes:
            revisions = tuple(change.revision for change in done.changes)
            read.applied.append(Applied(clock(), node, operation.id, record.epoch, record.index, revisions))
        for change in done.changes:
            told = replace(change, time=0)  # a watcher is not told the time
            read.changes.append(Watched(clock(), NOBODY, change.revision, told, record.epoch))

    def final(self, idents: list[bytes]) -> FinalStore:
        """Our own tree as if a node had it, with what it knows of these operations."""
        outcomes = {}
        for ident in idents:
            result = self.state.outcome(ident)
            if result is not None:
                outcomes[ident] = (result.code.name, result.revision)
        state = self.state
        return FinalStore(NOBODY, state.revision, state.digest(), outcomes, {}, frozenset(), self.end, state.index)
