"""What a member that has the keys may say against one Totem core: counted, bounded, never an exception (X1, CONTRACT of
every core). The frames are authentic; only what is in them is not true."""

from __future__ import annotations

import dataclasses

import pytest

from tests.fuzz.ring import LOST, ME, victim
from transport.config import TotemConfig
from transport.events import Persist
from transport.ids import NO_RING, RingId
from transport.totem.claims import claims_head
from transport.totem.commit import Commit
from transport.totem.joins import CommitToken, Entry, Join, View
from transport.totem.messages import CONTINUES, CUT, NO_CLAIM, Token, Want, pack_mcast
from transport.totem.operational import Operational
from transport.totem.packing import Unpacker
from transport.totem.recovery import Recovery, contradicts
from transport.totem.reserve import BLOCK, LEAP, Reserve
from transport.totem.ring import Ring
from transport.totem.srp import Srp
from transport.totem.stats import Send
from transport.totem.window import LIMIT_LEAST, SPAN, Window


def drain(srp: Srp, now: float) -> list[Send]:
    """What it sends; its events are taken out."""
    sent = []
    while (send := srp.poll_transmit(now)) is not None:
        sent.append(send)
    while srp.next_event() is not None:
        pass
    return sent


def ring_of(srp: Srp) -> Ring:
    phase = srp._membership.phase
    assert isinstance(phase, Operational | Recovery)
    return phase.ring


def token_of(ring: Ring, **changed: object) -> Token:
    """The next token `ring` would take, but for what is changed."""
    turn = ring.token_seq + len(ring.members)
    count = len(ring.members)
    token = Token(ring.ring_id, turn, ring.seq, 0, 0, 0, 0, 0, 0, 0, [ring.seq] * count, [None] * count)
    return dataclasses.replace(token, **changed)  # type: ignore[arg-type]


def test_nobody_numbers_a_message_while_the_token_is_here() -> None:
    """A multicast above what the token at hand gave out is not one of this ring; it would stand before our own."""
    srp, now = victim("holding the token")
    ring = ring_of(srp)
    drain(srp, now)
    high = ring.window.high
    srp.receive(1, pack_mcast(ring.wire_id, ring.seq + 1, 1, 0, b""), now)
    srp.handle_timeout(now + 0.2)
    drain(srp, now + 0.2)
    assert ring.window.high == high and srp.stats.duplicates == 1


def test_a_token_that_gave_out_more_than_can_be_is_ignored() -> None:
    """More than a window above what we have: no new message would go out on this ring any more."""
    srp, now = victim("delivering")
    ring = ring_of(srp)
    drain(srp, now)
    far = ring.window.aru + SPAN + 1
    srp.receive(1, token_of(ring, seq=far, arus=[far] * 3).encode(), now)
    assert ring.arrived is None and srp.stats.tokens_ignored > 0


def test_a_token_that_asks_for_the_same_again_and_again_is_answered_once() -> None:
    """A hundred requests for 65,535 numbers each are one request: the time is bounded by what is in the window."""
    srp, now = victim("delivering")
    ring = ring_of(srp)
    drain(srp, now)
    for seq in range(ring.seq + 2, ring.seq + 60_000, 1000):
        srp.receive(1, pack_mcast(ring.wire_id, seq, 1, 0, b""), now)
    asked: list[int] = []
    get = ring.window.get
    counting = type("Counting", (), {"__getattr__": lambda self, name: getattr(window, name)})()
    window = ring.window
    counting.get = lambda seq: asked.append(seq) or get(seq)
    ring.window = counting
    token = token_of(ring)
    token.rtr = [(1, 0xFFFF)] * 100
    ring._answer(token)
    assert len(asked) == len(set(asked)) <= SPAN


def test_a_want_from_the_future_does_not_keep_the_token_from_resting() -> None:
    """A want tells the last token its sender saw, which is at most a round ahead of the one here."""
    srp, now = victim("holding the token")
    ring = ring_of(srp)
    phase = srp._membership.phase
    assert isinstance(phase, Operational) and ring.held is not None
    before = phase._want_seq
    srp.receive(1, Want(ring.ring_id, (1 << 64) - 1).encode(), now)
    assert phase._want_seq == before
    srp.receive(1, Want(ring.ring_id, ring.token_seq).encode(), now)
    assert phase._want_seq == ring.token_seq


def test_the_window_is_bounded_in_bytes() -> None:
    """Frames of a quarter of a mebibyte behind a gap: no more than the limit; what closes the gap still finds room."""
    window = Window(limit=1000)
    frame = bytes(400)
    assert [window.add(seq, frame) for seq in (2, 3, 4, 5, 6)] == [True, True, True, False, False]
    assert window.add(1, frame) and window.aru == 4
    assert window.add(5, frame) and window.add(6, frame) and not window.add(7, frame)
    assert window.bytes <= 2 * 1000 + 400
    window.release(6)
    assert window.add(7, frame)


def test_the_limit_of_the_window_follows_the_settings() -> None:
    """Flow control may be set wide: what it lets out always fits."""
    srp, now = victim("delivering")
    ring = ring_of(srp)
    assert ring.window.limit == LIMIT_LEAST
    config = TotemConfig(window_bytes=100 << 20)
    srp.reconfigure(config, dict.fromkeys((1, 2, 3), 1), now)
    assert ring.window.limit > 5 * config.window_bytes


def test_a_token_in_recovery_that_says_all_are_ready_installs_nothing() -> None:
    """All includes us, and we did not say so: the old ring's messages may not be here yet."""
    srp, now = victim("recovery")
    ring = ring_of(srp)
    drain(srp, now)
    turn = ring.token_seq + 1
    while (turn - 1 - ring.index) % 3:
        turn += 1
    lacking = token_of(ring, token_seq=turn, seq=5, arus=[5, 0, 5], ready=3, install=5)
    srp.receive(1, lacking.encode(), now)
    drain(srp, now)
    assert srp.phase == "recovery"


def test_an_install_seq_below_what_was_released_is_survived() -> None:
    """The cap of our claims never falls below what all were told to have."""
    srp, now = victim("recovery")
    ring = ring_of(srp)
    drain(srp, now)
    for seq in (1, 2, 3):
        srp.receive(1, pack_mcast(ring.wire_id, seq, 1, 0, b""), now)
    turn = ring.token_seq + 1
    while (turn - 1 - ring.index) % 3:
        turn += 1
    srp.receive(1, token_of(ring, token_seq=turn, seq=3, arus=[3, 3, 3], pending=3).encode(), now)
    drain(srp, now)
    srp.receive(1, token_of(ring, token_seq=turn + 3, seq=3, arus=[3, 3, 3], pending=0, install=1).encode(), now)
    drain(srp, now)
    assert ring.window.released <= ring.delivered <= ring.window.aru


OLD = "what a member of our last ring says of it"


def committed(changes: dict[str, object], node: int = 3) -> tuple[Srp, float]:
    """A victim whose ring was lost, offered a ring of all three, in which `node` says this of the last one."""
    srp, now = victim(LOST)
    drain(srp, now)
    membership = srp._membership
    old = membership.installed
    assert old is not None
    incarnations = {peer: peer for peer in (1, 2, 3)}
    for sender in (1, 3):
        views = {
            peer: View(incarnations[peer], 0, 1000, frozenset({1, 2, 3}) - {peer}, 1, NO_RING, NO_RING, False, now)
            for peer in (1, 2, 3)
        }
        srp.receive(sender, Join(sender, True, 100, (1, 2, 3), views).encode(now), now)
    ring_id = RingId(membership.reserve.seen + 1, 1, 1)
    entries = [Entry(peer, peer, 1000) for peer in (1, 2, 3)]
    now += 1.0  # nobody is left out, and what was asked of the disk is there
    srp.persisted(membership.reserve._receipt, now)
    token = CommitToken(ring_id, 1, entries)
    srp.receive(1, token.encode(), now)
    drain(srp, now)
    phase = membership.phase
    assert isinstance(phase, Commit)
    window = old.ring.window
    for peer in (1, 3):
        said: dict[str, object] = {"old_ring": old.ring_id, "aru": window.aru, "high": window.high}
        said |= changes if peer == node else {}
        entries[peer - 1] = dataclasses.replace(entries[peer - 1], filled=True, **said)  # type: ignore[arg-type]
    entries[ME - 1] = phase.own
    srp.receive(1, CommitToken(ring_id, 4, entries).encode(), now)
    drain(srp, now)
    return srp, now


def test_entries_that_fit_lead_to_recovery() -> None:
    """The honest case of the tests below."""
    srp, _ = committed({})
    assert srp.phase == "recovery"


@pytest.mark.parametrize(
    "changes",
    [
        {"aru": 0, "high": 0},  # lacks what was released because it said it had it
        {"high": 1 << 61},  # further ahead than a window: the end of the ring would never come
        {"aru": 1 << 61, "high": 1 << 61},
        {"stable": 1, "aru": 1, "high": 1},
    ],
)
def test_a_member_that_contradicts_our_last_ring_is_left_out(changes: dict[str, object]) -> None:
    """Recovery would look for messages that are gone, or count to the end of all numbers."""
    srp, now = committed(changes)
    assert srp.phase == "gather" and srp.stats.malformed == 1
    assert 3 not in srp._membership.views.own.row
    srp.handle_timeout(now + 60.0)
    assert 3 in srp._membership.views.own.row or not srp._membership.silence.nodes()


def test_who_was_not_in_our_last_ring_does_not_come_with_us_from_it() -> None:
    """A process that names a ring it was not in has no incarnation there."""
    srp, _ = victim(LOST)
    old = srp._membership.installed
    assert old is not None

    entry = Entry(4, 4, 1, True, old.ring_id, old.ring.window.aru, old.ring.window.aru)
    assert contradicts(entry, old, [entry])
    assert contradicts(dataclasses.replace(entry, node=3, incarnation=9), old, [entry])
    assert not contradicts(dataclasses.replace(entry, node=3, incarnation=3), old, [entry])
    assert not contradicts(dataclasses.replace(entry, old_ring=NO_RING), old, [entry])


def test_ring_seqs_of_others_are_believed_in_steps_and_one_write_at_a_time() -> None:
    """A claim of the last number there is must not use up all numbers, nor make a write a datagram."""
    asked: list[Persist] = []
    reserve = Reserve(5000, asked.append)
    for _ in range(1000):
        reserve.note(1 << 62)
    assert len(asked) == 1 and reserve.seen == 5000 + LEAP
    reserve.persisted(asked[0].receipt)
    assert len(asked) == 2
    reserve.persisted(asked[1].receipt)
    assert reserve.covers(5000 + LEAP + BLOCK) and not reserve.covers(5000 + 2 * LEAP)


def test_a_node_without_its_file_climbs_to_where_the_others_are() -> None:
    """However far that is: a step a write (the file is gone, or the machine is new)."""
    asked: list[Persist] = []
    reserve = Reserve(0, asked.append)
    there = 5 * LEAP + 7
    for _ in range(16):
        reserve.note(there)
        reserve.persisted(asked[-1].receipt)
    assert reserve.seen == there and reserve.covers(there + 1)


def test_a_late_answer_of_the_disk_reserves_nothing() -> None:
    """Only the write under way counts: its value is on disk."""
    asked: list[Persist] = []
    reserve = Reserve(0, asked.append)
    reserve.persisted(99)
    assert not reserve.covers(1)
    reserve.persisted(asked[0].receipt)
    reserve.persisted(asked[0].receipt)
    assert reserve.covers(BLOCK)


def test_empty_pieces_of_a_message_are_not_collected_for_ever() -> None:
    """A cut message that goes on and on by nothing: given up like one that is too large."""
    unpacker = Unpacker()
    assert unpacker.unpack(1, CUT, b"\0\1x", 0) == []
    for _ in range(1_500_000):
        assert unpacker.unpack(1, CUT | CONTINUES, b"\0\0", 0) == []
        if unpacker.malformed:
            break
    assert unpacker.malformed == 1
    assert not unpacker._partial


def test_claims_at_the_end_of_all_numbers_are_survived() -> None:
    """A progress report may say anything; the token that carries it on must still be one."""
    srp, now = victim("holding the token")
    ring = ring_of(srp)
    drain(srp, now)
    ring.report(1, 0, (1 << 62) - 1)
    srp.set_progress(7)
    srp.handle_timeout(now + 0.2)
    sent = [send for send in drain(srp, now + 0.2) if send.kind == "token"]
    assert sent and all(claim is None or claim < 1 << 62 for claim in Token.decode(sent[-1].frame).claims)
    assert NO_CLAIM == 0xFFFFFFFF


def test_an_absurd_claim_costs_only_the_claim_of_who_made_it() -> None:
    """By a report, or on the token with its head: what the others claim is still said (claims are u32 below head)."""
    far = (1 << 62) - 1
    srp, now = victim("holding the token")
    ring = ring_of(srp)
    drain(srp, now)
    srp.set_progress(7)
    ring.report(3, 0, 6)
    ring.report(1, 0, far)
    srp.handle_timeout(now + 0.2)
    said = [Token.decode(send.frame).claims for send in drain(srp, now + 0.2) if send.kind == "token"]
    assert ring.members == (1, 2, 3) and said[-1] == [None, 7, 6]
    token = token_of(ring, token_seq=ring.token_seq + 2, head=far, claims=[far, None, None])
    assert ring.take(token, now + 0.3)
    ring.begin(now + 0.3)
    ring.report(3, 0, 8)
    ring.forward(0, now + 0.3)
    assert Token.decode(ring.resend_frame).claims == [None, 7, 8]


@pytest.mark.parametrize(
    ("claims", "me", "head"),
    [
        ([], None, 0),
        ([5, 9, 7], 7, 9),
        ([5, 1 << 61, 7], 7, 7),
        ([5, 1 << 61], 5, 5),  # as many there as here: by our own
        ([5, 1 << 61], 1 << 61, 1 << 61),
        ([5, 1 << 61], None, 5),  # of others only: the lower one
        ([0, 1 << 40, (1 << 40) + 3], 0, (1 << 40) + 3),  # low ones are no better
        ([5, 5 + (1 << 31)], 5, 5 + (1 << 31)),
    ],
)
def test_the_head_is_the_highest_claim_within_reach_of_most(claims: list[int], me: int | None, head: int) -> None:
    """One claim far from all others cannot be said, rather than all others."""
    assert claims_head([*claims, None], me) == head


def test_an_install_seq_nobody_gave_out_does_not_keep_recovery_from_ending() -> None:
    """The install seq is the last one given out when all have carried theirs over: it is never above the token's."""
    srp, now = victim("recovery")
    ring = ring_of(srp)
    drain(srp, now)
    turn = ring.token_seq + 1
    while (turn - 1 - ring.index) % 3:
        turn += 1
    for seq in (1, 2, 3):
        srp.receive(1, pack_mcast(ring.wire_id, seq, 1, 0, b""), now)
    for lap in range(3):
        now += 0.001
        token = token_of(ring, token_seq=turn + 3 * lap, seq=ring.seq, pending=0 if lap else 3)
        token.ready = 2
        token.install = 1 << 61
        srp.receive(1, token.encode(), now)
        drain(srp, now)
    assert srp.phase == "operational"
