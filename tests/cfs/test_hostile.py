"""A member that is legitimate but wrong: what it says costs bounded memory and time, and ends nobody's process."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from cfs import receiving, wire
from cfs.dataset import follows
from cfs.digest import encode_entry, make_entry
from cfs.entries import FILE
from cfs.limits import CEILINGS, OUTCOMES, Limits
from cfs.log import Stretch
from cfs.messages import Code, Result
from cfs.receiving import Receiver
from cfs.records import (
    MAX_NUMBER,
    START,
    DataSet,
    EpochKind,
    EpochRecord,
    Lineage,
    LogPosition,
    LogRecord,
    RecordKind,
)
from cfs.state import State
from cfs.transfer import ITEM, Item
from tests.cfs.building import EPOCH, put, records
from tests.cfs.cluster import Cluster
from transport.codec import Reader, Writer
from transport.errors import WireError
from transport.ids import NO_RING, RingId

RING = RingId(0x1A8, 1, 77)
M = EpochKind.MAJORITY
HUGE = MAX_NUMBER + 1


def stretches(*made: tuple[int, int]) -> tuple[Stretch, ...]:
    return tuple(Stretch(RingId(seq, 1), first, M) for seq, first in made)


@pytest.mark.parametrize(
    "message",
    [
        wire.Report(end=LogPosition(HUGE)),
        wire.Report(end=LogPosition(1, RingId(HUGE, 1))),
        wire.Report(committed=(RingId(1, 1), HUGE)),
        wire.Report(data_set=DataSet(HUGE, {1: 1})),
        wire.Report(pending=(HUGE, DataSet(1, {1: 1}))),
        wire.Report(nodes=dict.fromkeys(range(1, 1100), 1)),
        wire.Report(known=dict.fromkeys(range(1, 1100), (NO_RING, 0))),
        wire.Report(end=LogPosition(9), tail=stretches((4, 0), (8, 0))),
        wire.Report(end=LogPosition(9), tail=stretches((8, 0), (4, 5))),
        wire.Report(end=LogPosition(9), tail=stretches((4, 0), (8, 10))),
        wire.Need(1, LogPosition(9), 0, False, stretches((4, 5), (8, 0)), bytes(wire.SUM_BYTES)),
        wire.ProposeSet(DataSet(HUGE, {1: 1})),
    ],
)
def test_numbers_and_lists_that_no_store_has(message: wire.Message) -> None:
    """One more than a number that is believed must still fit where it is written."""
    with pytest.raises(WireError):
        wire.decode(wire.encode(RING, message))


def test_lineages_and_epochs_are_bounded() -> None:
    """By numbers of epochs and holders, not only by bytes."""
    epoch = EpochRecord(RING, NO_RING, 1, 1, M, 0, (1,))
    with pytest.raises(WireError):
        Lineage.decode(Lineage((epoch,) * 513).encode())
    with pytest.raises(WireError):
        EpochRecord.decode(replace(epoch, holders=tuple(range(1, 1100))).encode())
    with pytest.raises(WireError):
        LogRecord.decode(LogRecord(HUGE, RING, RecordKind.OPERATION, b"", bytes(32)).encode())
    with pytest.raises(WireError):
        LogPosition.read(Reader(LogPosition(1, RingId(HUGE, 1)).encode()))


@pytest.mark.parametrize(
    ("votes", "version"),
    [
        ({}, 2),  # nobody
        ({1: 0, 2: 1, 3: 1, 4: 1}, 2),  # two changes
        ({1: 1, 2: 1, 3: 1}, 2),  # none
        ({1: 1, 2: 1}, 3),  # not the next
        ({1: 1, 2: 1}, 1),
    ],
)
def test_a_data_set_that_is_no_next_one(votes: dict[int, int], version: int) -> None:
    """DESIGN 7: one node at a time, judged alike by all at its place of the order."""
    assert not follows(DataSet(1, {1: 1, 2: 1, 3: 1}), DataSet(version, votes))
    assert not follows(DataSet(1, {1: 1}), DataSet(2, {}))
    assert follows(DataSet(1, {1: 1, 2: 1, 3: 1}), DataSet(2, {1: 1, 2: 1}))


# --- a transfer --------------------------------------------------------------------------------------------------


def item(kind: int, body: bytes) -> bytes:
    return ITEM.pack(len(body), kind) + body


def head(revision: int = 50, limits: Limits | None = None, index: int = 100) -> bytes:
    writer = Writer().raw(LogPosition(index, EPOCH, b"c" * 32).encode()).u64(revision)
    return item(Item.HEAD, writer.blob((limits or Limits()).encode()).raw(Lineage().encode()).done())


def entry(path: str = "f", **changed: int) -> bytes:
    told = {"revision": 1, "created": 1, "mtime": 1, "writer": 1} | changed
    return item(Item.ENTRY, encode_entry(make_entry(path, FILE, b"x", **told)))


def outcome(index: int) -> bytes:
    return index.to_bytes(16, "big") + Result(Code.OK, index).encode()


def upload(touched: int, pieces: int) -> bytes:
    return item(Item.STAGED, Writer().raw(b"u" * 16).u64(touched).u32(pieces).done())


def receiver(whole: bool = True) -> Receiver:
    need = wire.Need(1, START, 0, True, (), bytes(wire.SUM_BYTES))
    return Receiver(wire.Start(1, 1, 2, 0, tuple(range(256)) if whole else None), need, State(), START)


@pytest.mark.parametrize(
    "stream",
    [
        entry(),  # before the head
        head() + head(),
        head(revision=HUGE),
        head(limits=replace(CEILINGS, entries=CEILINGS.entries + 1)),
        head() + entry("a/../b"),
        head() + entry("/".join("d" * (CEILINGS.depth + 1))),
        head() + entry(mtime=1 << 63),
        head() + entry(revision=HUGE),
        head() + item(Item.OUTCOME, outcome(101)),  # behind the head's place: it would never be forgotten
        head() + item(Item.OUTCOME, outcome(9) + outcome(8)),
        head() + upload(101, 1),
        head() + upload(1, 1 << 31),
        head() + upload(1, 2) + upload(1, 2),
        head() + upload(1, 1) + item(Item.PIECE, bytes((256 << 10) + 1)),
        head() + item(Item.RECORD, records([put("a")])[0].encode()),  # does not follow the head
        head() + item(Item.DROP, b"d" * 16),
    ],
)
def test_items_that_no_store_has_are_refused(stream: bytes) -> None:
    """Each when it comes, before anything grows on it."""
    with pytest.raises(WireError):
        receiver().feed(wire.Chunk(1, 1, False, stream))


def test_records_alone_come_without_a_state() -> None:
    """What START did not announce is not taken."""
    for stream in (head(), entry(), upload(1, 1)):
        with pytest.raises(WireError):
            receiver(whole=False).feed(wire.Chunk(1, 1, False, stream))
    broken = records([put("a"), put("b")])
    with pytest.raises(WireError):
        receiver(whole=False).feed(wire.Chunk(1, 1, False, item(Item.RECORD, broken[1].encode())))


def test_a_tree_beyond_the_ceilings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries, bytes and records of one transfer are counted as they come."""
    monkeypatch.setattr(receiving, "CEILINGS", replace(CEILINGS, entries=3, total_bytes=100))
    monkeypatch.setattr(receiving, "MAX_RECORDS", 2)
    monkeypatch.setattr(receiving, "OUTCOMES", 2)
    with pytest.raises(WireError, match="larger"):
        receiver().feed(wire.Chunk(1, 1, False, head() + b"".join(entry(f"f{n}") for n in range(4))))
    big = item(Item.ENTRY, encode_entry(make_entry("big", FILE, bytes(101), revision=1, created=1, mtime=1, writer=1)))
    with pytest.raises(WireError, match="larger"):
        receiver().feed(wire.Chunk(1, 1, False, head() + big))
    made = records([put(f"f{n}") for n in range(3)])
    with pytest.raises(WireError, match="more log records"):
        stream = b"".join(item(Item.RECORD, record.encode()) for record in made)
        receiver(whole=False).feed(wire.Chunk(1, 1, False, stream))
    with pytest.raises(WireError, match="outcome"):
        receiver().feed(wire.Chunk(1, 1, False, head() + item(Item.OUTCOME, b"".join(map(outcome, range(3))))))
    assert OUTCOMES > 2


# --- a replica ---------------------------------------------------------------------------------------------------


def say(cluster: Cluster, node: int, message: wire.Message) -> None:
    """This member multicasts that, whatever its replica thinks."""
    ring = cluster.nodes[node].ring
    assert ring is not None
    cluster.nodes[node].queue.append((wire.encode(ring.id, message), False))
    cluster._flush(cluster.nodes[node])


@pytest.mark.parametrize(
    "message",
    [
        wire.Start(1, 0xFFFFFFFF, 3, MAX_NUMBER, tuple(range(256))),
        wire.Start(1, 1, 3, MAX_NUMBER, None),
        wire.Chunk(1, 1, True, item(Item.END, bytes(96))),
        wire.Chunk(0, 1, True, b""),
        wire.Have(1, True, b""),
        wire.Ready(1, MAX_NUMBER, bytes(32)),
        wire.Lost(),
        wire.Barrier((1 << 64) - 1),
        wire.ProposeSet(DataSet(2, {})),
        wire.Propose(struct.pack("!BB", 1, 255)),
        wire.Need(1, LogPosition(MAX_NUMBER), MAX_NUMBER, False, stretches((4, 5)), bytes(wire.SUM_BYTES)),
        wire.Report(known=dict.fromkeys(range(1, 1000), (RingId(MAX_NUMBER, 1), MAX_NUMBER))),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_out_of_place_ends_nothing(message: wire.Message) -> None:
    """While a third member catches up: no replica raises, the transfer is done, writes go on."""
    cluster = Cluster(1, 3)
    assert cluster.run_until(cluster.settled)
    for number in range(20):
        cluster.put(1, f"f{number}", bytes(20_000))
    cluster.run(0.5)
    cluster.crash(3)
    cluster.nodes[3].disk.lose()
    cluster.start(3)
    for _ in range(40):
        if cluster.nodes[2].ring is not None:
            say(cluster, 2, message)
        cluster.run(0.01)
    cluster.partition({1, 3}, {2})  # what it said of its own store counts as long as this ring
    cluster.run(1.0)
    cluster.finish()
