"""The replica's messages on the ring: each multicast in total order to all members.

Encoding, big-endian: u8 version = 1, u8 type, ring id 16 bytes (the regular configuration it was sent in; delivered in
any other it is void), then the body. Specified in docs/protocol-store.md. Every decoder raises WireError and nothing
else, and bounds what it makes before it makes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise

from cfs.digest import BUCKETS, DIGEST_BYTES
from cfs.log import NO_MARK, NO_STANDING, TAIL_EPOCHS, Mark, Standing, Stretch
from cfs.messages import MAX_OPERATION
from cfs.records import (
    CHAIN_BYTES,
    MAX_NODES,
    START,
    DataSet,
    EpochKind,
    LogPosition,
    encode_ring,
    read_number,
    read_ring,
)
from transport.codec import Reader, Writer
from transport.errors import WireError
from transport.ids import NO_RING, NodeId, RingId

VERSION = 1
CHUNK_BYTES = 64 << 10
MAX_HAVE = 65_536  # entry digests in one HAVE; a tree with more in the differing buckets is sent whole
HAVE_BYTES = 16  # of an entry's digest told in HAVE and DROP
SUM_BYTES = BUCKETS * DIGEST_BYTES
_EPOCH_KINDS = {int(kind): kind for kind in EpochKind}


class Type(IntEnum):
    """Numbers are on the wire: never reused."""

    REPORT = 1
    READY = 2
    LOST = 3
    OPERATION = 4
    DATA_SET = 5
    BARRIER = 6
    NEED = 7
    START = 8
    HAVE = 9
    CHUNK = 10
    COMPARE = 11
    TREE = 12


class Health(IntEnum):
    """What a store may be used for. Only GOOD counts, and leads."""

    FRESH = 0  # there never was one: a new node
    GOOD = 1
    LOST = 2  # missing, damaged or older than its marker: a learner until resynced


_HEALTHS = {int(health): health for health in Health}


@dataclass(slots=True)
class Report:
    """Where one member's store stands, told once per configuration (and again when its nodelist changes).

    nodes: the votes of its nodelist.  committed: the highest index it knows committed and that record's epoch.
    cluster: the first epoch of its chain.  tail: the newest epochs.  pending: a data set change not known committed.
    known: for other nodes, the majority mark each once had on disk for certain.
    revision, digest: of its tree at log index `applied`.
    """

    health: Health = Health.FRESH
    disk_ok: bool = True
    nodes: dict[NodeId, int] = field(default_factory=dict)
    standing: Standing = NO_STANDING
    end: LogPosition = START
    committed: Mark = NO_MARK
    cluster: RingId = NO_RING
    tail: tuple[Stretch, ...] = ()
    data_set: DataSet = field(default_factory=DataSet)
    pending: tuple[int, DataSet] | None = None
    known: dict[NodeId, Mark] = field(default_factory=dict)
    applied: int = 0
    revision: int = 0
    digest: bytes = bytes(DIGEST_BYTES)

    def body(self, writer: Writer) -> None:
        writer.u8(self.health).u8(self.disk_ok).raw(DataSet(0, self.nodes).encode())
        writer.u32(self.standing.era)
        _put_mark(writer, self.standing.majority)
        writer.raw(self.end.encode())
        _put_mark(writer, self.committed)
        writer.raw(encode_ring(self.cluster)).u16(len(self.tail))
        for stretch in self.tail:
            writer.raw(encode_ring(stretch.ring_id)).u64(stretch.first_index).u8(stretch.kind)
        writer.raw(self.data_set.encode()).u64(self.pending[0] if self.pending else 0)
        if self.pending:
            writer.raw(self.pending[1].encode())
        writer.u16(len(self.known))
        for node, mark in sorted(self.known.items()):
            _put_mark(writer.u16(node), mark)
        writer.u64(self.applied).u64(self.revision).raw(self.digest)

    @classmethod
    def read(cls, reader: Reader) -> Report:
        health, disk_ok, nodes = reader.u8(), reader.u8(), DataSet.read(reader).votes
        if health not in _HEALTHS or disk_ok > 1:
            raise WireError(f"report: health {health}, disk {disk_ok} not known")
        era, majority, end, committed = reader.u32(), _mark(reader), LogPosition.read(reader), _mark(reader)
        cluster, tail = read_ring(reader), _tail(reader, end.index)
        data_set, index = DataSet.read(reader), read_number(reader)
        pending = (index, DataSet.read(reader)) if index else None
        known: dict[NodeId, Mark] = {}
        for _ in range(_count(reader)):
            node = reader.u16()
            known[node] = _mark(reader)
        applied, revision, digest = reader.u64(), reader.u64(), reader.raw(DIGEST_BYTES)
        standing = Standing(era, majority, (end.epoch, end.index))
        return cls(
            _HEALTHS[health],
            bool(disk_ok),
            nodes,
            standing,
            end,
            committed,
            cluster,
            tail,
            data_set,
            pending,
            known,
            applied,
            revision,
            digest,
        )


@dataclass(slots=True)
class Ready:
    """The sender is quorate and has on disk the leader's log up to `index` with this chain (choice `attempt`).

    After the opening: the sender has caught up, and its claims count from now on.
    """

    attempt: int
    index: int
    chain: bytes

    def body(self, writer: Writer) -> None:
        writer.u32(self.attempt).u64(self.index).raw(self.chain)

    @classmethod
    def read(cls, reader: Reader) -> Ready:
        return cls(reader.u32(), reader.u64(), reader.raw(CHAIN_BYTES))


@dataclass(slots=True)
class Lost:
    """The sender is no longer ready: its disk failed or stands still, or it fell behind."""

    def body(self, writer: Writer) -> None:
        pass

    @classmethod
    def read(cls, reader: Reader) -> Lost:
        return cls()


@dataclass(slots=True)
class Propose:
    """An operation to be logged at its place in the order, if a primary is open there."""

    operation: bytes

    def body(self, writer: Writer) -> None:
        writer.raw(self.operation)

    @classmethod
    def read(cls, reader: Reader) -> Propose:
        if reader.left > MAX_OPERATION:
            raise WireError(f"operation: {reader.left} bytes, at most {MAX_OPERATION}")
        return cls(reader.rest())


@dataclass(slots=True)
class ProposeSet:
    """A data set to be logged, if its version follows on the one in force and no change is under way."""

    data_set: DataSet

    def body(self, writer: Writer) -> None:
        writer.raw(self.data_set.encode())

    @classmethod
    def read(cls, reader: Reader) -> ProposeSet:
        return cls(DataSet.read(reader))


@dataclass(slots=True)
class Barrier:
    """Sent safe: delivered in the regular configuration, it proves that all were members still when it was sent."""

    number: int

    def body(self, writer: Writer) -> None:
        writer.u64(self.number)

    @classmethod
    def read(cls, reader: Reader) -> Barrier:
        return cls(reader.u64())


@dataclass(slots=True)
class Need:
    """The sender lacks the leader's state and asks for it. sums: of its tree's buckets, in order; whole: take all anew.

    end, tail: of its log; applied: what its tree holds, which a log record can no longer take back.
    attempt: the choice it wants the state of.
    """

    attempt: int
    end: LogPosition
    applied: int
    whole: bool
    tail: tuple[Stretch, ...]
    sums: bytes

    def body(self, writer: Writer) -> None:
        writer.u32(self.attempt).raw(self.end.encode()).u64(self.applied).u8(self.whole).u16(len(self.tail))
        for stretch in self.tail:
            writer.raw(encode_ring(stretch.ring_id)).u64(stretch.first_index).u8(stretch.kind)
        writer.raw(self.sums)

    @classmethod
    def read(cls, reader: Reader) -> Need:
        attempt, end, applied = reader.u32(), LogPosition.read(reader), reader.u64()
        whole = reader.u8()
        if whole > 1:
            raise WireError(f"need: flag {whole}")
        return cls(attempt, end, applied, bool(whole), _tail(reader, end.index), reader.raw(SUM_BYTES))


@dataclass(slots=True)
class Start:
    """A transfer to `target` begins. What is logged from this message's delivery on, the target keeps by itself.

    after: records after this index follow; when `differing` is not None the whole state goes first, at a later index,
    and only the entries in these buckets.  Number: the transfer's, +1 each on this ring.
    """

    attempt: int
    number: int
    target: NodeId
    after: int
    differing: tuple[int, ...] | None = None

    def body(self, writer: Writer) -> None:
        writer.u32(self.attempt).u32(self.number).u16(self.target).u64(self.after).u8(self.differing is not None)
        if self.differing is not None:
            writer.raw(bytes(self.differing))

    @classmethod
    def read(cls, reader: Reader) -> Start:
        attempt, number, target = reader.u32(), reader.u32(), reader.u16()
        after, whole = reader.u64(), reader.u8()
        if whole > 1 or reader.left > BUCKETS * whole:
            raise WireError("start: list of buckets too long")
        return cls(attempt, number, target, after, tuple(reader.rest()) if whole else None)


@dataclass(slots=True)
class Have:
    """The first 16 bytes of the digests of the target's entries in the differing buckets; all: too many, send all."""

    number: int
    everything: bool
    digests: bytes

    def body(self, writer: Writer) -> None:
        writer.u32(self.number).u8(self.everything).raw(self.digests)

    @classmethod
    def read(cls, reader: Reader) -> Have:
        number, everything = reader.u32(), reader.u8()
        if everything > 1 or reader.left > MAX_HAVE * HAVE_BYTES or reader.left % HAVE_BYTES:
            raise WireError(f"have: {reader.left} bytes of digests")
        return cls(number, bool(everything), reader.rest())


@dataclass(slots=True)
class Chunk:
    """A part of the transfer's stream of items (cfs/transfer.py), in order; last: the stream ends with it."""

    number: int
    place: int
    last: bool
    data: bytes

    def body(self, writer: Writer) -> None:
        writer.u32(self.number).u32(self.place).u8(self.last).raw(self.data)

    @classmethod
    def read(cls, reader: Reader) -> Chunk:
        number, place, last = reader.u32(), reader.u32(), reader.u8()
        if last > 1 or reader.left > CHUNK_BYTES:
            raise WireError(f"chunk: {reader.left} bytes, at most {CHUNK_BYTES}")
        return cls(number, place, bool(last), reader.rest())


@dataclass(slots=True)
class Compare:
    """The log as it ends where this is delivered is where all that are whole tell their tree's digest."""

    def body(self, writer: Writer) -> None:
        pass

    @classmethod
    def read(cls, reader: Reader) -> Compare:
        return cls()


@dataclass(slots=True)
class Tree:
    """The digest of the sender's tree at log index `index`."""

    index: int
    digest: bytes

    def body(self, writer: Writer) -> None:
        writer.u64(self.index).raw(self.digest)

    @classmethod
    def read(cls, reader: Reader) -> Tree:
        return cls(read_number(reader), reader.raw(DIGEST_BYTES))


Message = Report | Ready | Lost | Propose | ProposeSet | Barrier | Need | Start | Have | Chunk | Compare | Tree

_TYPES: dict[type[Message], Type] = {
    Report: Type.REPORT,
    Ready: Type.READY,
    Lost: Type.LOST,
    Propose: Type.OPERATION,
    ProposeSet: Type.DATA_SET,
    Barrier: Type.BARRIER,
    Need: Type.NEED,
    Start: Type.START,
    Have: Type.HAVE,
    Chunk: Type.CHUNK,
    Compare: Type.COMPARE,
    Tree: Type.TREE,
}
_CLASSES: dict[int, type[Message]] = {int(number): made for made, number in _TYPES.items()}


def encode(ring: RingId, message: Message) -> bytes:
    """The message as sent in the configuration `ring`."""
    writer = Writer().u8(VERSION).u8(_TYPES[type(message)]).raw(encode_ring(ring))
    message.body(writer)
    return writer.done()


def decode(payload: bytes) -> tuple[RingId, Message]:
    """Raises WireError."""
    reader = Reader(payload)
    version, number, ring = reader.u8(), reader.u8(), read_ring(reader)
    made = _CLASSES.get(number)
    if version != VERSION or made is None:
        raise WireError(f"store message: version {version}, type {number} not known")
    message = made.read(reader)
    reader.end()
    return ring, message


def _put_mark(writer: Writer, mark: Mark) -> None:
    writer.raw(encode_ring(mark[0])).u64(mark[1])


def _mark(reader: Reader) -> Mark:
    return read_ring(reader), read_number(reader)


def _tail(reader: Reader, end: int) -> tuple[Stretch, ...]:
    """The newest epochs of a log that ends at `end`, each begun by a record. The first may open on its own ring."""
    count = reader.u16()
    if count > TAIL_EPOCHS:
        raise WireError(f"{count} epochs, at most {TAIL_EPOCHS}")
    tail = tuple(Stretch(read_ring(reader), read_number(reader), _epoch_kind(reader)) for _ in range(count))
    for before, after in pairwise(tail):
        if before.ring_id > after.ring_id or before.first_index >= after.first_index:
            raise WireError(f"epoch {after.ring_id} does not follow {before.ring_id}")
    if tail and tail[-1].first_index > end:
        raise WireError(f"epoch {tail[-1].ring_id} begins behind the log's end")
    return tail


def _epoch_kind(reader: Reader) -> EpochKind:
    kind = _EPOCH_KINDS.get(reader.u8())
    if kind is None:
        raise WireError("epoch of a kind not known")
    return kind


def _count(reader: Reader) -> int:
    count = reader.u16()
    if count > MAX_NODES:
        raise WireError(f"{count} nodes in a list, at most {MAX_NODES}")
    return count
