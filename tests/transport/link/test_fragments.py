"""Fragments: any order, duplicates, loss, contradictions, bounds (docs/protocol-links.md; knet.md section 16)."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.errors import TooLarge
from transport.link.fragments import (
    MAX_FRAME,
    MAX_PARTIAL_BYTES,
    MAX_PARTIAL_FRAMES,
    TIMEOUT,
    Fragmenter,
    Reassembler,
    budget_of,
)

BUDGET = budget_of(1172)  # the smallest path: an IPv4 packet of 1200 bytes


def frame_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def test_a_frame_within_the_budget_goes_whole() -> None:
    """One datagram, one kind byte in front."""
    frame = frame_of(BUDGET)
    assert Fragmenter().cut(frame, BUDGET) == [b"\0" + frame]
    assert Reassembler().receive(1, b"\0" + frame, 0.0) == frame


def test_golden_fragment_header() -> None:
    """0x01, frame id, index, count, total (docs/protocol-links.md)."""
    first, second = Fragmenter(0x01020304).cut(frame_of(BUDGET + 1), BUDGET)
    assert first[:13].hex() == "01" + "01020304" + "0000" + "0002" + f"{BUDGET + 1:08x}"
    assert second[:13].hex() == "01" + "01020304" + "0001" + "0002" + f"{BUDGET + 1:08x}"


def test_an_oversized_frame_is_refused() -> None:
    """The limit is 256 KiB."""
    assert len(Fragmenter().cut(bytes(MAX_FRAME), BUDGET)) < 300
    with pytest.raises(TooLarge):
        Fragmenter().cut(bytes(MAX_FRAME + 1), BUDGET)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=6),
    budget=st.integers(BUDGET, budget_of(8972)),
    seed=st.integers(0, 2**32),
)
def test_any_order_with_duplicates_gives_each_frame_once(sizes: list[int], budget: int, seed: int) -> None:
    """Fragments of several frames interleaved, doubled and reordered: each frame comes out once, unchanged."""
    rng = random.Random(seed)
    frames = [rng.randbytes(size) for size in sizes]
    cutter = Fragmenter(0xFFFFFFFE)  # the id wraps on the way
    pieces = [piece for frame in frames for piece in cutter.cut(frame, budget)]
    assert all(len(piece) <= budget + 1 for piece in pieces)
    doubled = pieces + [piece for piece in pieces if piece[0] == 1]
    rng.shuffle(doubled)
    joiner = Reassembler()
    rejoined = [frame for piece in doubled if (frame := joiner.receive(3, piece, 1.0)) is not None]
    assert sorted(rejoined) == sorted(frames)
    assert joiner.held(3) == 0


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), loss=st.floats(0.0, 0.5))
def test_loss_never_gives_a_wrong_frame_nor_unbounded_memory(seed: int, loss: float) -> None:
    """Whatever is lost, what comes out was sent, and memory stays within the bound."""
    rng = random.Random(seed)
    cutter, joiner = Fragmenter(), Reassembler()
    now, sent = 0.0, set()
    for _ in range(150):
        frame = rng.randbytes(rng.randint(1, 60_000))
        sent.add(frame)
        for piece in cutter.cut(frame, BUDGET):
            now += 0.0001
            if rng.random() < loss:
                continue
            got = joiner.receive(1, piece, now)
            assert got is None or got in sent
            assert joiner.held(1) <= MAX_PARTIAL_BYTES


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), loss=st.floats(0.0, 0.3))
def test_what_comes_of_a_sender_is_its_own(seed: int, loss: float) -> None:
    """O2: three senders cut frames of the same sizes under the same ids, all at once: none gets a piece of another."""
    rng = random.Random(seed)
    cutters, joiner = {sender: Fragmenter(7) for sender in (1, 2, 3)}, Reassembler()
    for size in rng.choices((3000, 5000, 9000), k=30):
        pieces = [
            (sender, piece) for sender in cutters for piece in cutters[sender].cut(bytes([sender]) * size, BUDGET)
        ]
        rng.shuffle(pieces)
        for sender, piece in pieces:
            if rng.random() >= loss:
                assert joiner.receive(sender, piece, 1.0) in (None, bytes([sender]) * size)


@given(st.lists(st.binary(max_size=40) | st.binary(max_size=1200).map(lambda b: b"\x01" + b), max_size=20))
def test_any_bytes_are_harmless(plaintexts: list[bytes]) -> None:
    """An authentic sender's bytes may still be anything: counted, never raised, bounded."""
    joiner = Reassembler()
    for plaintext in plaintexts:
        joiner.receive(1, plaintext, 0.0)
    assert joiner.held(1) <= MAX_PARTIAL_BYTES


def test_contradicting_headers_are_counted() -> None:
    """Two fragments of one frame id that disagree on count or total are no frame."""
    joiner = Reassembler()
    a = Fragmenter(7).cut(frame_of(5000), BUDGET)
    b = Fragmenter(7).cut(frame_of(9000), BUDGET)
    joiner.receive(1, a[0], 0.0)
    assert joiner.receive(1, b[1], 0.0) is None
    assert joiner.stats.malformed == 1
    assert [joiner.receive(1, piece, 0.0) for piece in a[1:]][-1] == frame_of(5000)


@pytest.mark.parametrize(
    ("index", "count", "total", "length"),
    [
        (0, 0, 5000, 1000),  # no pieces
        (0, 1, 1000, 1000),  # a whole frame is not a fragment
        (5, 5, 5000, 1000),  # index beyond
        (0, 5, 5000, 999),  # a piece of the wrong size
        (0, 600, 5000, 9),  # pieces too small
        (0, 3, MAX_FRAME + 1, 87382),  # too large
        (0, 65535, 4294967295, 65538),
    ],
)
def test_inconsistent_fragments_are_counted(index: int, count: int, total: int, length: int) -> None:
    """Each fragment is checked by itself before anything is kept."""
    joiner = Reassembler()
    assert joiner.receive(1, struct.pack("!BIHHI", 1, 9, index, count, total) + bytes(length), 0.0) is None
    assert joiner.stats.malformed == 1 and joiner.held(1) == 0


def test_the_oldest_frame_makes_room() -> None:
    """At most 64 frames are open per sender; another sender is not touched."""
    joiner = Reassembler()
    cuts = [Fragmenter(i).cut(frame_of(3000, i), BUDGET) for i in range(MAX_PARTIAL_FRAMES + 1)]
    joiner.receive(2, cuts[0][0], 0.0)
    for cut in cuts:
        joiner.receive(1, cut[0], 0.0)
    assert joiner.stats.dropped == 1
    assert [joiner.receive(1, piece, 0.0) for piece in cuts[-1][1:]][-1] == frame_of(3000, MAX_PARTIAL_FRAMES)
    assert [joiner.receive(1, piece, 0.0) for piece in cuts[0][1:]] == [None, None]
    assert [joiner.receive(2, piece, 0.0) for piece in cuts[0][1:]][-1] == frame_of(3000, 0)


def test_an_incomplete_frame_is_dropped_after_its_time() -> None:
    """Two seconds, then the memory is given back, also when nothing more arrives."""
    joiner = Reassembler()
    pieces = Fragmenter().cut(frame_of(3000), BUDGET)
    joiner.receive(1, pieces[0], 5.0)
    due = joiner.next_timeout()
    assert due == 5.0 + TIMEOUT
    joiner.handle_timeout(due)
    assert joiner.held(1) == 0 and joiner.stats.dropped == 1 and joiner.next_timeout() is None


def test_a_timeout_that_is_due_is_over_when_it_was_handled() -> None:
    """Whatever the rounding of the clock's numbers: a time that stays due would be handled for ever."""
    rng = random.Random(1)
    for _ in range(200):
        since = 1000 * rng.random()
        joiner = Reassembler()
        joiner.receive(1, Fragmenter().cut(frame_of(3000), BUDGET)[0], since)
        due = joiner.next_timeout()
        assert due is not None
        joiner.handle_timeout(due)
        assert joiner.next_timeout() is None, since


def test_a_late_duplicate_of_a_finished_frame_opens_nothing() -> None:
    """A fragment that comes again after its frame was delivered is a duplicate."""
    joiner = Reassembler()
    pieces = Fragmenter().cut(frame_of(3000), BUDGET)
    for piece in pieces:
        joiner.receive(1, piece, 0.0)
    assert joiner.receive(1, pieces[0], 0.0) is None
    assert joiner.held(1) == 0 and joiner.stats.duplicates == 1


def test_a_sender_that_is_gone_is_forgotten() -> None:
    """forget() drops what the sender had open."""
    joiner = Reassembler()
    joiner.receive(1, Fragmenter().cut(frame_of(3000), BUDGET)[0], 0.0)
    joiner.forget(1)
    assert joiner.held(1) == 0
