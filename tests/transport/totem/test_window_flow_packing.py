"""Window, flow control, packing: the pure parts of a token visit."""

from __future__ import annotations

import random
from collections import deque

import pytest

from transport.config import TotemConfig
from transport.errors import QueueFull, TooLarge
from transport.ids import RingId
from transport.totem import flow
from transport.totem.messages import CONTINUES, CUT, RTR_MAX, SAFE, Token, pack_mcast
from transport.totem.packing import Backlog, Unpacker
from transport.totem.ring import Ring, merge_ranges
from transport.totem.stats import Stats
from transport.totem.window import SPAN, Window


def test_aru_stops_at_a_gap_and_goes_on_when_it_closes() -> None:
    """aru = all received up to (facts, totem.md section 0)."""
    window = Window()
    assert [window.add(seq, b"x") for seq in (1, 3, 4)] == [True] * 3
    assert (window.aru, window.high) == (1, 4)
    assert window.gaps(6, 10) == [(2, 1), (5, 2)]
    assert window.add(2, b"x")
    assert window.aru == 4
    assert not window.add(3, b"x")


def test_window_is_bounded() -> None:
    """At most SPAN above aru: a peer cannot make it grow without bound."""
    window = Window()
    assert not window.add(SPAN + 1, b"x")
    assert window.add(SPAN, b"x")
    assert len(window.gaps(1 << 40, 100)) <= 100


def test_release_takes_out_what_it_covers_and_never_beyond_aru() -> None:
    """A message is let go once all hold it, never one this node lacks."""
    window = Window()
    for seq in (1, 2, 4):
        window.add(seq, b"ab")
    window.release(4)
    assert (window.released, window.get(2), window.get(4), window.bytes) == (2, None, b"ab", 2)
    assert not window.add(1, b"again")


def test_ranges_are_merged() -> None:
    """Two members asking for the same get one answer."""
    assert merge_ranges([(5, 2), (1, 1), (6, 3), (2, 1)]) == [(1, 2), (5, 4)]


def allowance(backlog: int = 10**9, others: int = 0, sent: int = 0, frames: int = 0, unstable: int = 0) -> int:
    config = TotemConfig(window_bytes=1000, max_visit_bytes=600)
    return flow.allowance(config, sent, others, backlog, frames, unstable, least=10)


def test_allowance_is_bytes_shared_by_backlog() -> None:
    """Checklist 8 of facts, totem.md: counted in bytes, fair by current backlog."""
    assert allowance() == 600  # one visit's most
    assert allowance(sent=700) == 300  # what the others left of the rotation
    assert allowance(backlog=100, others=300) == 250  # a quarter of the window
    assert allowance(sent=5000) == 10  # never less than one frame: nobody starves
    assert allowance(frames=flow.UNSTABLE_FRAMES) == 0  # a member does not keep up: wait for it
    assert allowance(unstable=4000) == 0


def test_small_messages_share_a_frame() -> None:
    """Small messages are packed, in order, up to the room there is."""
    backlog = Backlog(10000, 5000)
    for i in range(5):
        backlog.push(bytes([i]) * 30, safe=False)
    flags, body = backlog.next_body(100) or (0, b"")
    assert (flags, len(body)) == (0, 96)
    assert Unpacker().unpack(1, flags, body, 0) == [bytes([i]) * 30 for i in range(3)]


def test_safe_and_agreed_do_not_share_a_frame() -> None:
    """The flag is the frame's: an agreed message would wait for stability with a safe one."""
    backlog = Backlog(10000, 5000)
    backlog.push(b"a", safe=True)
    backlog.push(b"b", safe=False)
    assert [(backlog.next_body(100) or (9, b""))[0] for _ in range(2)] == [SAFE, 0]


def test_a_cut_message_is_sent_again_whole_after_rewind() -> None:
    """A message not completely sequenced on the old ring goes whole to the new one."""
    backlog, unpacker = Backlog(10000, 5000), Unpacker()
    backlog.push(b"x" * 250, safe=False)
    flags, _ = backlog.next_body(100) or (0, b"")
    assert flags == CUT
    backlog.rewind()
    pieces = [backlog.next_body(100) for _ in range(3)]
    got = [m for piece in pieces if piece for m in unpacker.unpack(1, piece[0], piece[1], 0)]
    assert got == [b"x" * 250]
    assert backlog.next_body(100) is None
    assert backlog.waiting == 0


def test_the_end_of_a_message_without_its_beginning_is_dropped() -> None:
    """A member that joined in the middle of a message must not deliver its tail."""
    assert Unpacker().unpack(1, CONTINUES, b"\0\2xx\0\1y", 0) == [b"y"]


def test_limits_refuse_at_once() -> None:
    """QueueFull: nothing was kept, try again; TooLarge names the limit."""
    backlog = Backlog(limit=300, max_message=200)
    with pytest.raises(TooLarge, match="200"):
        backlog.push(b"x" * 201, safe=False)
    backlog.push(b"x" * 200, safe=False)
    with pytest.raises(QueueFull):
        backlog.push(b"x", safe=False)
    assert len(backlog) == 1


def test_any_mixture_comes_back_as_it_went_in() -> None:
    """Packing and cutting lose nothing, whatever sizes and rooms."""
    rng = random.Random(3)
    for _ in range(200):
        backlog, unpacker = Backlog(1 << 30, 1 << 20), Unpacker()
        sent = [rng.randbytes(rng.choice([0, 1, 30, 200, 1500, 70000])) for _ in range(rng.randint(1, 12))]
        for message in sent:
            backlog.push(message, rng.random() < 0.3)
        got = []
        while (item := backlog.next_body(room := rng.choice([10, 60, 1300, 66000]))) is not None:
            assert len(item[1]) <= room
            got += unpacker.unpack(7, item[0], item[1], 0)
        assert got == sent


def test_a_body_that_does_not_parse_gives_what_came_before() -> None:
    """Every member sees the same bytes and so delivers the same."""
    unpacker = Unpacker()
    assert unpacker.unpack(1, 0, b"\0\1a\0\\9b", 0) == [b"a"]
    assert unpacker.malformed == 1


def test_a_token_never_asks_for_more_than_a_token_may() -> None:
    """Two members with many gaps each: what one can answer in part of what the other asks is many ranges, and a
    token with too many would be refused by everybody, until it counts as lost."""
    ring = Ring(2, RingId(5, 1, 7), (1, 2, 3), TotemConfig(), 1400, deque(), Stats(), 1.0)
    for seq in range(2, 800, 2):
        assert ring.receive(seq, pack_mcast(ring.wire_id, seq, 1, 0, b"x"))

    def visit(token_seq: int, rtr: list[tuple[int, int]], now: float) -> Token:
        token = Token(ring.ring_id, token_seq, 799, 0, 0, 0, 0, 0, 0, 0, [0, 0, 0], [None] * 3, rtr)
        assert ring.take(token, now)
        ring.begin(now)
        ring.forward(0, now)
        return Token.decode(ring.resend_frame)

    assert len(visit(2, [], 1.001).rtr) == RTR_MAX  # what we lack ourselves
    assert len(visit(5, [(1, 799)], 1.002).rtr) == RTR_MAX  # asked for a moment ago: not again
