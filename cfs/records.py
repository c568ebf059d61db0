"""The log's records, and the lineage they carry: epochs and data sets.

A record's chain is SHA-256 over its predecessor's chain and itself, so two logs that agree on the chain at one index
agree on everything before it (DESIGN 7, "Log"). On disk records lie in checksummed frames (cfs/io/logfile.py), on the
ring in sealed datagrams; the chain ties both to the past.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from enum import IntEnum

from transport.codec import Reader, Writer
from transport.errors import WireError
from transport.ids import MAX_NODE_ID, NO_RING, NodeId, RingId

CHAIN_BYTES = 32
GENESIS = bytes(CHAIN_BYTES)  # the chain before index 1
MAX_BODY = 1 << 20  # bytes of a record's body
MAX_LINEAGE = 1 << 22  # bytes of an encoded lineage
MAX_NUMBER = 1 << 62  # of any index, version or ring seq: one more never leaves the 64 bits it is written in
MAX_NODES = 1024  # in any list
KEPT_EPOCHS = 512  # of a chain; older ones but the first are forgotten: who is that far behind takes a transfer
_HEAD = struct.Struct("!QQIIB32s")  # index, epoch (seq, rep, incarnation), kind, chain
_LINKED = struct.Struct("!QQIIB")
_RING = struct.Struct("!QII")


class RecordKind(IntEnum):
    """What a record's body is. Numbers are on disk: never reused."""

    OPERATION = 1  # cfs.messages.Operation
    EPOCH = 2  # EpochRecord: a primary was opened here
    DATA_SET = 3  # DataSet: who holds data, and with how many votes


_KINDS = {int(kind): kind for kind in RecordKind}


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A place in a log: the record at `index` was logged in `epoch` and has `chain`. START: before the first record."""

    index: int = 0
    epoch: RingId = NO_RING
    chain: bytes = GENESIS

    def encode(self) -> bytes:
        return struct.pack("!Q", self.index) + encode_ring(self.epoch) + self.chain

    @classmethod
    def read(cls, reader: Reader) -> LogPosition:
        """Raises WireError."""
        return cls(read_number(reader), read_ring(reader), reader.raw(CHAIN_BYTES))


START = LogPosition()


@dataclass(slots=True)
class LogRecord:
    """One record: 57 bytes and the body.  index: 1, 2, 3, ...  epoch: ring id of the primary it was logged in."""

    index: int
    epoch: RingId
    kind: RecordKind
    body: bytes
    chain: bytes

    @classmethod
    def after(cls, previous: LogPosition, epoch: RingId, kind: RecordKind, body: bytes) -> LogRecord:
        """The record that follows `previous`, its chain computed."""
        index = previous.index + 1
        return cls(index, epoch, kind, body, chain_of(previous.chain, index, epoch, kind, body))

    def follows(self, previous: LogPosition) -> bool:
        """Is this exactly the next record after `previous`: index, and chain computed anew?"""
        return self.index == previous.index + 1 and self.chain == chain_of(
            previous.chain, self.index, self.epoch, self.kind, self.body
        )

    @property
    def position(self) -> LogPosition:
        return LogPosition(self.index, self.epoch, self.chain)

    def encode(self) -> bytes:
        epoch = self.epoch
        return _HEAD.pack(self.index, epoch.seq, epoch.rep, epoch.incarnation, self.kind, self.chain) + self.body

    @classmethod
    def decode(cls, data: bytes | memoryview) -> LogRecord:
        """Raises WireError. The chain is not checked here (`follows`)."""
        if not _HEAD.size <= len(data) <= _HEAD.size + MAX_BODY:
            raise WireError(f"log record: {len(data)} bytes, {_HEAD.size} to {_HEAD.size + MAX_BODY} expected")
        index, seq, rep, incarnation, kind, chain = _HEAD.unpack_from(data)
        known = _KINDS.get(kind)
        if known is None or not 0 < index <= MAX_NUMBER or seq > MAX_NUMBER:
            raise WireError(f"log record: kind {kind} at index {index} not known")
        return cls(index, RingId(seq, rep, incarnation), known, bytes(data[_HEAD.size :]), chain)


def chain_of(previous: bytes, index: int, epoch: RingId, kind: RecordKind, body: bytes) -> bytes:
    """SHA-256 over the predecessor's chain, the record's head and its body."""
    digest = hashlib.sha256(previous)
    digest.update(_LINKED.pack(index, epoch.seq, epoch.rep, epoch.incarnation, kind))
    digest.update(body)
    return digest.digest()


class EpochKind(IntEnum):
    """On whose authority an epoch was opened."""

    MAJORITY = 1  # a data majority
    NARROW = 2  # quorate, but every good store present instead of a data majority
    FORCED = 3  # an operator's `recover`


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One opening of a primary.

    ring_id: its name.  parent: the epoch it grew from (NO_RING: genesis).  first_index: the log index of this record.
    data_set: version of the DataSet in force.  era: raised only by a confirmed recovery.
    holders: sorted ids of the members that had the state on disk when it opened.
    """

    ring_id: RingId
    parent: RingId
    first_index: int
    data_set: int
    kind: EpochKind
    era: int
    holders: tuple[NodeId, ...]

    def encode(self) -> bytes:
        writer = Writer().raw(encode_ring(self.ring_id)).raw(encode_ring(self.parent))
        writer.u64(self.first_index).u64(self.data_set).u8(self.kind).u32(self.era).u16(len(self.holders))
        for holder in self.holders:
            writer.u16(holder)
        return writer.done()

    @classmethod
    def read(cls, reader: Reader) -> EpochRecord:
        """Raises WireError."""
        ring_id, parent = read_ring(reader), read_ring(reader)
        first, data_set = read_number(reader), read_number(reader)
        kind, era, count = reader.u8(), reader.u32(), _count(reader)
        holders = tuple(reader.u16() for _ in range(count))
        if kind not in frozenset(EpochKind):
            raise WireError(f"epoch record: kind {kind} not known")
        return cls(ring_id, parent, first, data_set, EpochKind(kind), era, holders)

    @classmethod
    def decode(cls, data: bytes) -> EpochRecord:
        """Raises WireError."""
        reader = Reader(data)
        record = cls.read(reader)
        reader.end()
        return record


@dataclass(frozen=True, slots=True)
class DataSet:
    """Who holds data, with which votes; version +1 per change, 0 = none was ever set."""

    version: int = 0
    votes: dict[NodeId, int] = field(default_factory=dict, hash=False)

    def encode(self) -> bytes:
        writer = Writer().u64(self.version).u16(len(self.votes))
        for node, votes in sorted(self.votes.items()):
            writer.u16(node).u32(votes)
        return writer.done()

    @classmethod
    def read(cls, reader: Reader) -> DataSet:
        """Raises WireError."""
        version, count = read_number(reader), _count(reader)
        votes: dict[NodeId, int] = {}
        for _ in range(count):
            node = reader.u16()
            if node == 0 or node > MAX_NODE_ID or node in votes:
                raise WireError(f"data set: node {node} not valid or listed twice")
            votes[node] = reader.u32()
        return cls(version, votes)

    @classmethod
    def decode(cls, data: bytes) -> DataSet:
        """Raises WireError."""
        reader = Reader(data)
        made = cls.read(reader)
        reader.end()
        return made


@dataclass(frozen=True, slots=True)
class Lineage:
    """What stands beside the tree at a log position: the chain of epochs, oldest first, and the data set in force."""

    epochs: tuple[EpochRecord, ...] = ()
    data_set: DataSet = field(default_factory=DataSet)

    def encode(self) -> bytes:
        writer = Writer().raw(self.data_set.encode()).u32(len(self.epochs))
        for epoch in self.epochs:
            writer.raw(epoch.encode())
        return writer.done()

    @classmethod
    def decode(cls, data: bytes) -> Lineage:
        """Raises WireError."""
        if len(data) > MAX_LINEAGE:
            raise WireError(f"lineage: {len(data)} bytes, at most {MAX_LINEAGE}")
        reader = Reader(data)
        data_set, count = DataSet.read(reader), reader.u32()
        if count > KEPT_EPOCHS:
            raise WireError(f"lineage: {count} epochs, at most {KEPT_EPOCHS}")
        epochs = tuple(EpochRecord.read(reader) for _ in range(count))
        reader.end()
        return cls(epochs, data_set)


def encode_ring(ring: RingId) -> bytes:
    """16 bytes: u64 seq, u32 rep, u32 incarnation."""
    return _RING.pack(ring.seq, ring.rep, ring.incarnation)


def read_ring(reader: Reader) -> RingId:
    """Raises WireError."""
    return RingId(read_number(reader), reader.u32(), reader.u32())


def read_number(reader: Reader) -> int:
    """An index, version or ring seq. Raises WireError above MAX_NUMBER."""
    value = reader.u64()
    if value > MAX_NUMBER:
        raise WireError(f"number {value}, at most {MAX_NUMBER}")
    return value


def _count(reader: Reader) -> int:
    count = reader.u16()
    if count > MAX_NODES:
        raise WireError(f"{count} nodes in a list, at most {MAX_NODES}")
    return count
