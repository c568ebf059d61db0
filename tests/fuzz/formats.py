"""Every decoder by itself: any bytes give a message or the one error it may raise; what was read is written the same.

Recorded encodings of every kind stand beside plain bytes, so that an input gets past the head.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from cfs import wire
from cfs.messages import Kind, Operation
from cfs.records import START, DataSet, EpochKind, EpochRecord, Lineage, LogPosition, LogRecord, RecordKind
from clusterd.config.parser import ConfigError
from clusterd.config.schema import Who, load
from clusterd.control import frames
from quorum import messages as quorum_messages
from tests.clusterd.config import samples
from tests.fuzz.draws import Draws
from tests.fuzz.mutation import changed
from transport import control, handshake, sync
from transport.codec import Reader
from transport.errors import ClusterError, WireError
from transport.ids import NO_RING, RingId
from transport.link import packets
from transport.totem.joins import CommitToken, Entry, Join, View
from transport.totem.messages import ProgressReport, Token, Want, mcast_head, pack_mcast, pack_ring

RING = RingId(7, 1, 99)
NOW = 1000.0


def _again(decode: Callable[[bytes], Any]) -> Callable[[bytes], None]:
    """What decodes also encodes, and to something that decodes to the same."""

    def check(data: bytes) -> None:
        found = decode(data)
        assert decode(found.encode()) == found

    return check


def _quorum(data: bytes) -> None:
    found = quorum_messages.decode(data)
    assert quorum_messages.decode(quorum_messages.encode(found)) == found


def _store(data: bytes) -> None:
    ring, found = wire.decode(data)
    assert wire.decode(wire.encode(ring, found)) == (ring, found)


def _link(data: bytes) -> None:
    found = packets.decode(data)
    again = found.encode(len(data)) if isinstance(found, packets.Probe) else found.encode()
    assert packets.decode(again) == found


def _join(data: bytes) -> None:
    found = Join.decode(data, NOW)
    again = Join.decode(found.encode(NOW), NOW)
    assert (again.sender, again.clique, again.max_seq) == (found.sender, found.clique, found.max_seq)


def _sync(data: bytes) -> None:
    ring, blobs = sync.decode(data)
    assert sync.decode(sync.encode(ring, blobs)) == (ring, blobs)


def _frames(data: bytes) -> None:
    reader = frames.Reader(1 << 16, 64)
    reader.feed(data)
    while reader.next_message() is not None:
        pass
    assert reader.buffered <= len(data)


@cache
def _decoders() -> list[tuple[Callable[[bytes], object], list[bytes]]]:
    """Each with encodings to begin from."""
    view = View(5, 1, 2, frozenset({1, 2}), 1, RING, RING, False, NOW)
    entry = Entry(1, 5, 3, True, RING, 9, 9, 9, 0)
    operation = Operation(bytes(16), Kind.PUT, "a/b", b"data", writer=1, time=1)
    record = LogRecord.after(START, RING, RecordKind.OPERATION, operation.encode())
    return [
        (_again(Token.decode), [Token(RING, 5, 9, 7, 0, 0, 0, 0, 0, 0, [9, 8], [7, None], [(3, 2)]).encode()]),
        (_join, [Join(1, True, 9, (1, 2), {1: view, 2: view}).encode(NOW)]),
        (_again(CommitToken.decode), [CommitToken(RING, 1, [entry, Entry(2, 6)]).encode()]),
        (_again(Want.decode), [Want(RING, 5).encode()]),
        (_again(ProgressReport.decode), [ProgressReport(RING, 5, None).encode()]),
        (mcast_head, [pack_mcast(pack_ring(RING), 1, 1, 0, b"x")]),
        (_link, [packets.Ping(1, True).encode(), packets.Pong(1, RING).encode()]),
        (_sync, [sync.encode(RING, {"quorum": b"x", "groups": b""})]),
        (_quorum, [quorum_messages.encode(m) for m in (quorum_messages.SetExpected(3), quorum_messages.CancelWait())]),
        (
            _quorum,
            [quorum_messages.encode(quorum_messages.NodeInfo(1, 3, quorum_messages.Flag.QUORATE, 0, 1, "Qdevice"))],
        ),
        (_store, [wire.encode(RING, m) for m in (wire.Report(), wire.Propose(b"x"), wire.Lost())]),
        (_again(Operation.decode), [operation.encode()]),
        (_again(LogRecord.decode), [record.encode()]),
        (DataSet.decode, [DataSet(1, {1: 1, 2: 1}).encode()]),
        (_frames, [frames.pack({"id": 1, "op": "status", "args": {}}), frames.pack({"part": b"x", "more": True})]),
        (control.decode_sender_key, [control.encode_sender_key(1, 2, bytes(32))]),
        (control.decode_cluster_key, control.encode_cluster_key(2, True, bytes(64))),
        (control.decode_cluster_key_ack, [control.encode_cluster_key_ack(2, True)]),
        (control.decode_removed, [control.encode_removed(5, "n1")]),
        (handshake.Init.decode, [bytes(handshake.INIT_SIZE)]),
        (handshake.Response.decode, [bytes(handshake.RESPONSE_SIZE)]),
    ]


def formats(data: bytes) -> None:
    """Bytes into one of the decoders."""
    draw = Draws(data)
    decode, recorded = draw.of(_decoders())
    given = changed(draw, recorded) if recorded and draw.flag() else draw.rest()
    try:
        decode(given)
    except WireError:
        pass


def _position(data: bytes) -> None:
    found = LogPosition.read(Reader(data))
    assert found.encode() == data[: len(found.encode())]


@cache
def _log_formats() -> list[tuple[Callable[[bytes], object], list[bytes]]]:
    """What records and their lineage are on disk, each with encodings to begin from."""
    epochs = (
        EpochRecord(RING, NO_RING, 1, 1, EpochKind.MAJORITY, 0, (1, 2, 3)),
        EpochRecord(RingId(9, 2, 7), RING, 40, 2, EpochKind.FORCED, 1, (2,)),
    )
    held = DataSet(2, {1: 1, 2: 0, 3: 7})
    first = LogRecord.after(START, RING, RecordKind.EPOCH, epochs[0].encode())
    change = LogRecord.after(first.position, RING, RecordKind.DATA_SET, held.encode())
    write = LogRecord.after(change.position, RING, RecordKind.OPERATION, b"any")
    return [
        (_again(EpochRecord.decode), [epoch.encode() for epoch in epochs]),
        (_again(DataSet.decode), [held.encode(), DataSet().encode()]),
        (_again(Lineage.decode), [Lineage(epochs, held).encode(), Lineage().encode()]),
        (_again(LogRecord.decode), [first.encode(), change.encode(), write.encode()]),
        (_position, [write.position.encode()]),
    ]


def records(data: bytes) -> None:
    """Bytes as a log record, an epoch, a data set, a lineage, a position."""
    draw = Draws(data)
    decode, recorded = draw.of(_log_formats())
    try:
        decode(changed(draw, recorded) if draw.flag() else draw.rest())
    except WireError:
        pass


def config(data: bytes) -> None:
    """Bytes as a corosync.conf: a configuration, or every error at once; never anything else."""
    draw = Draws(data)
    text = changed(draw, [samples.three().encode()]) if draw.flag() else draw.rest()
    try:
        load(text, Who("n1"))
    except ConfigError as error:
        assert error.problems and all(problem.sentence for problem in error.problems)
    except ClusterError as error:
        raise AssertionError(f"not a ConfigError: {error!r}") from error
