"""The replica's messages: what goes in comes out, and anything else is a WireError."""

from __future__ import annotations

from random import Random

import pytest

from cfs import wire
from cfs.log import Standing, Stretch
from cfs.records import DataSet, EpochKind, LogPosition
from transport.errors import WireError
from transport.ids import RingId

RING = RingId(0x1A8, 1, 77)
TAIL = (Stretch(RingId(4, 1), 0, EpochKind.MAJORITY), Stretch(RingId(8, 1), 1, EpochKind.NARROW))
END = LogPosition(9, RingId(8, 1), b"c" * 32)
MESSAGES: list[wire.Message] = [
    wire.Report(
        wire.Health.GOOD,
        False,
        {1: 1, 2: 3},
        Standing(2, (RingId(4, 1), 5), (RingId(8, 1), 9)),
        END,
        (RingId(8, 1), 7),
        RingId(4, 1),
        TAIL,
        DataSet(3, {1: 1}),
        (9, DataSet(4, {1: 1, 2: 3})),
        {2: (RingId(4, 1), 3)},
        7,
        6,
        b"d" * 32,
    ),
    wire.Report(),
    wire.Ready(2, 9, b"c" * 32),
    wire.Lost(),
    wire.Propose(b"operation"),
    wire.ProposeSet(DataSet(2, {1: 1, 3: 1})),
    wire.Barrier(4),
    wire.Need(1, END, 7, True, TAIL, bytes(wire.SUM_BYTES)),
    wire.Start(1, 5, 3, 9, None),
    wire.Start(1, 5, 3, 9, (0, 17, 255)),
    wire.Have(5, False, b"x" * 32),
    wire.Chunk(5, 1, True, b"data"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_comes_out_as_it_went_in(message: wire.Message):
    """docs/protocol-store.md, "Messages"."""
    assert wire.decode(wire.encode(RING, message)) == (RING, message)


def test_golden_bytes():
    """The layout is a promise between versions."""
    assert wire.encode(RING, wire.Ready(2, 9, b"c" * 32)).hex() == (
        "0102" + "00000000000001a8" + "00000001" + "0000004d" + "00000002" + "0000000000000009" + "63" * 32
    )


def test_every_cut_and_every_flipped_byte_is_a_message_or_a_wire_error():
    """Hostile input: a decoder raises nothing else, and allocates no more than it was sent."""
    random = Random(1)
    for message in MESSAGES:
        data = wire.encode(RING, message)
        for length in range(0, len(data), max(1, len(data) // 60)):
            with pytest.raises(WireError):
                wire.decode(data[:length] if length < 18 else data[: min(length, 19)][:17])
        for _ in range(200):
            garbled = bytearray(data)
            for _ in range(random.randint(1, 4)):
                garbled[random.randrange(len(garbled))] = random.randrange(256)
            try:
                wire.decode(bytes(garbled[: random.randint(1, len(garbled))]))
            except WireError:
                pass


def test_lists_are_bounded():
    """A peer cannot make us hold more than a cluster can have."""
    with pytest.raises(WireError):
        wire.decode(wire.encode(RING, wire.Report(tail=TAIL * 20)))
    with pytest.raises(WireError):
        wire.decode(wire.encode(RING, wire.ProposeSet(DataSet(1, dict.fromkeys(range(1, 1100), 1)))))
    with pytest.raises(WireError):
        wire.decode(wire.encode(RING, wire.Chunk(1, 1, False, bytes(wire.CHUNK_BYTES + 1))))
