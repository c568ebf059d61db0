"""The wire of the ring and of membership: golden bytes, limits, and what is no message of ours."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from transport.errors import WireError
from transport.ids import NO_RING, RingId
from transport.totem.joins import CommitToken, Entry, Join, View
from transport.totem.messages import (
    ENCAPSULATED,
    RTR_MAX,
    SAFE,
    ProgressReport,
    Token,
    Want,
    mcast_head,
    mcast_sender,
    pack_mcast,
    pack_ring,
)

RING = RingId(0x0102, 3, 0xAABBCCDD)
RING_HEX = "00000000000001020003aabbccdd"


def token() -> Token:
    return Token(RING, 7, 1000, 50, 9, 4096, 512, 2, 1, 1, [1000, 990, 1000], [50, None, 0], [(991, 2), (1000, 1)])


def join(now: float) -> Join:
    views = {
        1: View(11, 8, 5, frozenset({2, 700}), 1, RING, NO_RING, False, now),
        2: View(22, 9, 6, frozenset({1}), 3, RING, RING, True, now - 1.5),
    }
    return Join(1, True, 99, (1, 2), views)


def commit() -> CommitToken:
    entries = [Entry(3, 1, 2, True, NO_RING, 10, 12, 8, 5), Entry(9, 4)]
    return CommitToken(RING, 1, entries)


def test_token_bytes() -> None:
    """docs/protocol-totem.md, table Token."""
    assert token().encode().hex() == (
        "0100" + RING_HEX + "0000000000000007" "00000000000003e8" "0000000000000032" "0000000000000009"
        "00001000" "00000200" "02" "01" "01" "03" "0002"
        "00000000" "00000000" "0000000a" "ffffffff" "00000000" "00000032"
        "00000009" "0002" "00000000" "0001"
    )  # fmt: skip
    assert Token.decode(token().encode()) == token()


def test_token_fits_a_datagram_at_the_largest_ring() -> None:
    """Token <= 1200 B at the maximum ring, requests included (DESIGN 5)."""
    full = token()
    full.arus, full.claims = [990] * 64, [None] * 64
    full.rtr = [(seq, 1) for seq in range(1, 2 * RTR_MAX, 2)]
    assert len(full.encode()) <= 1200
    assert Token.decode(full.encode()) == full


def test_claim_too_far_below_is_no_claim() -> None:
    """A saturated distance would over-state the claim; saying nothing under-states it."""
    far = token()
    far.head, far.claims = 1 << 40, [1 << 40, 5, None]
    assert Token.decode(far.encode()).claims == [1 << 40, None, None]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: setattr(t, "rtr", [(1001, 1)]),  # beyond seq
        lambda t: setattr(t, "rtr", [(991, 11)]),  # runs beyond seq
        lambda t: setattr(t, "rtr", [(991, 0)]),  # nothing
        lambda t: setattr(t, "pending", 4),  # more than members
        lambda t: setattr(t, "seq", 1 << 63),
    ],
)
def test_token_out_of_range_is_refused(spoil: Callable[[Token], None]) -> None:
    """What no honest member sends is a WireError, before it can do harm."""
    bad = token()
    spoil(bad)
    try:
        data = bad.encode()
    except Exception:
        return
    with pytest.raises(WireError):
        Token.decode(data)


def test_mcast_bytes() -> None:
    """docs/protocol-totem.md, table Multicast: a 26-byte head."""
    frame = pack_mcast(pack_ring(RING), 258, 4660, SAFE | ENCAPSULATED, b"body")
    assert frame.hex() == "02031234" + RING_HEX + "0000000000000102" + b"body".hex()
    assert mcast_head(frame) == (SAFE | ENCAPSULATED, 4660, pack_ring(RING), 258)
    assert mcast_sender(frame) == 4660


def test_want_and_progress_bytes() -> None:
    """docs/protocol-totem.md, tables Want and Progress."""
    want = Want(RING, 77)
    assert want.encode().hex() == "0500" + RING_HEX + "000000000000004d"
    assert Want.decode(want.encode()) == want
    report = ProgressReport(RING, 5, None)
    assert report.encode().hex() == RING_HEX + "0000000000000005" + "ff" * 8
    assert ProgressReport.decode(report.encode()) == report


def test_join_bytes() -> None:
    """docs/protocol-totem.md, table Join; ages travel as hundredths of a second."""
    data = join(10.0).encode(10.0)
    assert data.hex() == (
        "03" "01" "0001" "0000000000000063" "03" "02" "0001" "0002" "02bc" "03"
        + "00" * 14 + RING_HEX
        + "01" "0000000b" "00000008" "00000005" "0000" "0001" "01" "00" "06"
        "03" "00000016" "00000009" "00000006" "0096" "0003" "01" "01" "01"
        "00"
    )  # fmt: skip
    back = Join.decode(data, 20.0)
    assert back.clique == (1, 2)
    assert back.views[2].heard_at == pytest.approx(18.5)
    assert back.views[1].row == frozenset({2, 700})


def test_join_of_64_nodes_is_small() -> None:
    """Joins of 16 nodes and more must fit a datagram (facts, totem.md section 15): up to 44 do, 64 need two."""
    for count, limit in ((16, 450), (32, 900), (44, 1300), (64, 2000)):
        ids = range(1, count + 1)
        views = {n: View(n, 1024, 1, frozenset(ids) - {n}, 1, RING, RING, False, 0.0) for n in ids}
        assert len(Join(1, True, 1, tuple(ids), views).encode(0.0)) <= limit


def test_commit_token_bytes() -> None:
    """docs/protocol-totem.md, table Commit token."""
    data = commit().encode()
    assert data.hex() == (
        "0400" + RING_HEX + "00000001" "02"
        "0003" "00000001" "00000002" "01" + "00" * 14 +
        "000000000000000a" "000000000000000c" "0000000000000008" "0000000000000005"
        "0009" "00000004" "00000000" "00" + "00" * 14 + "00" * 32
    )  # fmt: skip
    assert CommitToken.decode(data) == commit()


@pytest.mark.parametrize(
    "decode, sample",
    [
        (Token.decode, token().encode()),
        (Want.decode, Want(RING, 1).encode()),
        (ProgressReport.decode, ProgressReport(RING, 1, 2).encode()),
        (lambda data: Join.decode(data, 0.0), join(0.0).encode(0.0)),
        (CommitToken.decode, commit().encode()),
        (mcast_head, pack_mcast(pack_ring(RING), 1, 2, 0, b"x")),
    ],
)
def test_damaged_bytes_raise_wire_error_only(decode: Callable[[bytes], object], sample: bytes) -> None:
    """Decoders raise WireError and nothing else (facts, totem.md section 15, point 11)."""
    rng = random.Random(1)
    for size in range(len(sample)):
        try:
            decode(sample[:size])
        except WireError:
            pass
    for _ in range(3000):
        data = bytearray(sample)
        for _ in range(rng.randint(1, 6)):
            kind = rng.random()
            if kind < 0.6 and data:
                data[rng.randrange(len(data))] = rng.choice([0, 1, 255, rng.randrange(256)])
            elif kind < 0.8:
                data += rng.randbytes(rng.randint(1, 40))
            else:
                del data[rng.randrange(len(data) + 1) :]
        try:
            decode(bytes(data))
        except WireError:
            pass


def test_a_join_fits_the_wire_whatever_rows_and_votes_we_know() -> None:
    """A row may name nodes nobody else knows, and a node may have more votes than a row can say."""

    def said(row: range, votes: int) -> View:
        return View(1, 1, 1, frozenset(row), votes, NO_RING, NO_RING, False, 0.0)

    views = {node: said(range(node * 40, node * 40 + 40), 70_000) for node in range(1, 11)}
    views[1].row |= {2, 3}
    read = Join.decode(Join(1, True, 1, (1, 2), views).encode(0.0), 0.0)
    assert sorted(read.views) == list(range(1, 11))
    assert read.views[1].row == {2, 3}
    assert read.views[1].votes == 0xFFFF
