"""A state sent by difference."""

from __future__ import annotations

import pytest

from cfs import receiving, transfer, wire
from cfs.digest import DIGEST_BYTES
from cfs.log import Log
from cfs.messages import Kind, Operation
from cfs.records import LogRecord, RecordKind
from cfs.state import State
from cfs.turns import finish
from transport.errors import WireError
from transport.ids import RingId

A = RingId(10, 1)


def grow(state: State, log: Log, names: list[str], size: int = 10) -> None:
    for name in names:
        operation = Operation(name.encode().ljust(16, b"."), Kind.PUT, name, name.encode() * size, writer=1)
        log.append(LogRecord.after(log.end, A, RecordKind.OPERATION, operation.encode()))
        state.apply(operation, log.end.index)


def need_of(state: State, whole: bool = False) -> wire.Need:
    return wire.Need(1, Log().end, state.index, whole, (), b"".join(state.buckets()))


def carry(sender: transfer.Sender, receiver: receiving.Receiver) -> tuple[receiving.Received, int]:
    """Everything across; how many bytes it took."""
    size = 0
    while True:
        sender.resume()
        chunk = sender.next_chunk()
        assert chunk is not None
        size += len(chunk.data)
        sender.delivered()
        received = receiver.feed(chunk)
        if received is not None:
            return received, size


def send(state: State, log: Log, mine: State, whole: bool = False) -> tuple[receiving.Received, int]:
    need = need_of(mine, whole)
    start = wire.Start(1, 1, 2, 0, transfer.differing(state, need))
    sender = transfer.Sender(start, need, state, log, log.end.index)
    receiver = receiving.Receiver(start, need, mine, None)
    if transfer.awaits_have(need):
        assert sender.next_chunk() is None
        sender.have(finish(receiver.have()))
    return carry(sender, receiver)


def test_blank_member_gets_everything():
    """Entries, outcomes, uploads under way, and the digest to check them by."""
    state, log = State(), Log()
    grow(state, log, [f"f{n}" for n in range(300)], 500)
    upload = Operation(b"u" * 16, Kind.STAGE, data=b"part", staging=b"s" * 16, writer=1)
    log.append(LogRecord.after(log.end, A, RecordKind.OPERATION, upload.encode()))
    state.apply(upload, log.end.index)
    received, _ = send(state, log, State())
    assert received.image is not None
    made = State(received.image)
    assert made.digest() == state.digest() == received.digest
    assert made.image() == state.image()


def test_only_entries_that_differ_are_sent():
    """Bucket sums, then the digests of what lies in the differing ones."""
    state, mine, log = State(), State(), Log()
    grow(state, log, [f"f{n}" for n in range(500)], 200)
    grow(mine, Log(), [f"f{n}" for n in range(500)], 200)
    grow(state, log, ["new"])
    received, size = send(state, log, mine)
    assert received.image is not None
    assert State(received.image).digest() == state.digest()
    outcomes = 501 * 41
    assert size < outcomes + 2000


def test_entries_the_sender_lacks_are_dropped():
    """The loser of a merge has files the others never had."""
    state, mine, log = State(), State(), Log()
    grow(state, log, ["a", "b"])
    grow(mine, Log(), ["a", "c", "d"])
    received, _ = send(state, log, mine)
    assert received.image is not None
    assert sorted(received.image.entries) == ["a", "b"]


def test_no_more_than_the_allowed_bytes_are_under_way():
    """At most 256 KiB; the next chunk goes when one of ours came back."""
    state, log = State(), Log()
    grow(state, log, [f"f{n}" for n in range(40)], 10_000)
    need = need_of(State())
    sender = transfer.Sender(wire.Start(1, 1, 2, 0, transfer.differing(state, need)), need, state, log, 0)
    sent = 0
    while sender.next_chunk() is not None:
        sent += 1
    assert sent == transfer.OUTSTANDING // wire.CHUNK_BYTES
    sender.delivered()
    assert sender.next_chunk() is not None
    assert sender.next_chunk() is None


def test_log_records_alone_when_the_log_reaches_back():
    """What follows on the common index, and nothing else."""
    state, log = State(), Log()
    grow(state, log, [f"f{n}" for n in range(10)])
    need = need_of(State())
    start = wire.Start(1, 1, 2, 6, None)
    receiver = receiving.Receiver(start, need, State(), log.position(6))
    received, _ = carry(transfer.Sender(start, need, state, log, 10), receiver)
    assert received.image is None
    assert [record.index for record in received.records] == [7, 8, 9, 10]
    assert received.end == log.end


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x01\x63x",  # a kind not known
        b"\xff\xff\xff\xff\x01",  # an item too long
        b"\x00\x00\x00\x03\x03abc",  # digests cut
        b"\x00\x00\x00\x01\x06x",  # a piece of no upload
        b"\x00\x00\x00\x02\x02ab",  # an entry cut
        b"\x00\x00",  # ends in the middle
    ],
)
def test_stream_that_is_none_is_a_wire_error(data: bytes):
    """Bad input: counted by the caller, which asks anew."""
    need = need_of(State(), whole=True)
    receiver = receiving.Receiver(wire.Start(1, 1, 2, 0, ()), need, State(), None)
    with pytest.raises(WireError):
        receiver.feed(wire.Chunk(1, 1, True, data))


def test_chunk_out_of_place_is_a_wire_error():
    """Chunks are ordered messages of one sender: a gap is no transfer of ours."""
    receiver = receiving.Receiver(wire.Start(1, 1, 2, 0, None), need_of(State()), State(), None)
    with pytest.raises(WireError):
        receiver.feed(wire.Chunk(1, 2, False, b""))


def test_kept_records_are_bounded():
    """A member that cannot follow starts over, it does not fill its memory."""
    kept = receiving.Kept()
    body = bytes(1 << 20)
    assert all(kept.keep(RecordKind.OPERATION, body) for _ in range(60))
    assert not all(kept.keep(RecordKind.OPERATION, body) for _ in range(10))


def test_sums_have_one_digest_per_bucket():
    """NEED carries them all."""
    assert len(need_of(State()).sums) == wire.SUM_BYTES == 256 * DIGEST_BYTES
