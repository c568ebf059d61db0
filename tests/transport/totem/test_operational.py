"""A ring in operation: the resting token, wants, progress, safe delivery, flow, acceleration, hostile members."""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from copy import copy
from itertools import pairwise
from typing import Any

import pytest

from tests.transport.totem.evs import check
from tests.transport.totem.net import Net
from tests.transport.totem.node import Node
from transport.config import TotemConfig
from transport.errors import QueueFull, Refused, TooLarge
from transport.events import Beat, Delivery, Progress
from transport.ids import RingId
from transport.totem.messages import MCAST, TOKEN, Token, pack_mcast, pack_ring
from transport.totem.operational import Operational
from transport.totem.ring import Ring
from transport.totem.stats import Stats

HOP = 0.0002


def ring_of(n: int, **options: Any) -> Net:
    """n nodes in one idle ring; every datagram takes HOP."""
    net = Net(n, 1, delay=(HOP, HOP), **options)
    net.start()
    net.until(lambda: net.formed(net.ids), 5.0)
    net.run(0.5)
    return net


def arrivals(net: Net) -> dict[tuple[int, bytes], float]:
    """(node, payload) -> when it was delivered, from now on."""
    at: dict[tuple[int, bytes], float] = {}

    def watch(node: Node, event: object) -> None:
        if isinstance(event, Delivery):
            at[(node.id, event.payload)] = net.now

    net.watch = watch
    return at


def take_token(net: Net, node: int) -> None:
    """Make the idle token rest at `node`."""
    net.send(node)
    net.run(0.2)


def test_a_lone_sender_waits_for_nobody() -> None:
    """The holder of a resting token sends at submit: latency is one hop (facts, totem.md section 14)."""
    net = ring_of(3)
    take_token(net, 2)
    at = arrivals(net)
    for _ in range(20):
        start = net.now
        payload = net.send(2)
        assert payload is not None
        net.run(0.020)
        assert at[(2, payload)] == start
        assert at[(3, payload)] == pytest.approx(start + HOP)


def test_a_want_brings_the_token_at_once() -> None:
    """Anyone who wants to send asks for it: want, token along the ring, message."""
    net = ring_of(3)
    take_token(net, 2)
    at = arrivals(net)
    start = net.now
    payload = net.send(1)
    assert payload is not None
    net.run(0.010)
    assert at[(3, payload)] - start == pytest.approx(4 * HOP)  # want 1 to 2, token 2 to 3 to 1, message 1 to 3


def test_lost_wants_are_repeated() -> None:
    """A want is a repeatable datagram."""
    net = ring_of(3)
    take_token(net, 2)
    at = arrivals(net)
    lost: list[int] = []
    net.drop = lambda a, b, kind, frame: kind == "want" and len(lost) < 2 and not lost.append(b)  # type: ignore[func-returns-value]
    start = net.now
    payload = net.send(1)
    assert payload is not None
    net.run(0.1)
    assert len(lost) == 2
    assert at[(3, payload)] - start < 0.020


def test_an_idle_ring_beats_at_least_every_eighth_of_the_token_timeout() -> None:
    """Token rest <= token / 8 (DESIGN 5), and an idle ring costs little."""
    net = ring_of(3)
    tokens: list[float] = []
    net.drop = lambda a, b, kind, frame: bool(kind == "token" and a == 1 and tokens.append(net.now))  # type: ignore[func-returns-value]
    net.run(5.0)
    gaps = [b - a for a, b in pairwise(tokens)]
    assert max(gaps) <= net.config.token / 8 + 4 * HOP
    assert len(tokens) <= 5.0 / net.config.hold * 1.1


def test_beats_say_when_we_sent_what_came_back() -> None:
    """A token that came back after a full rotation: a Beat of every other member (the lease's measure)."""
    net = ring_of(3)
    beats: list[tuple[float, Beat]] = []

    def watch(node: Node, event: object) -> None:
        if isinstance(event, Beat) and node.id == 2:
            beats.append((net.now, event))

    net.watch = watch
    net.run(2.0)
    assert {beat.peers for _, beat in beats} == {(1, 3)}
    assert all(0 < now - beat.sent_at <= net.config.token / 8 + 4 * HOP for now, beat in beats)


def test_a_token_lost_once_costs_a_retransmission() -> None:
    """The last token is resent until there is a sign that the successor acted; nobody gathers."""
    net = ring_of(3)
    lost: list[int] = []
    net.drop = lambda a, b, kind, frame: kind == "token" and not lost and not lost.append(b)  # type: ignore[func-returns-value]
    before = net.nodes[1].srp.ring_id
    net.run(1.0)
    assert lost
    assert net.nodes[1].srp.ring_id == before
    assert 1 <= sum(node.srp.stats.tokens_resent for node in net.alive()) <= 3  # none of the three saw a sign
    assert sum(node.srp.stats.tokens for node in net.alive()) > 20


def test_safe_delivery_at_the_resting_holder_needs_no_rotation() -> None:
    """While the token rests members tell their aru to the holder: stability after a hop and back."""
    net = ring_of(3)
    take_token(net, 2)
    at = arrivals(net)
    start = net.now
    payload = net.send(2, safe=True)
    assert payload is not None
    net.run(0.050)
    assert at[(2, payload)] - start == pytest.approx(2 * HOP)
    assert max(at[(node, payload)] for node in net.ids) - start < 0.006  # the others with the rotation after 2 ms


def test_safe_waits_until_every_member_has_it() -> None:
    """E13: a safe message is held, and what follows it, until all are known to have it."""
    net = ring_of(3)
    take_token(net, 2)
    at = arrivals(net)
    net.drop = lambda a, b, kind, frame: kind == "mcast" and b == 3
    safe, agreed = net.send(2, safe=True), net.send(2)
    assert safe is not None and agreed is not None
    net.run(0.3)
    assert not at
    net.drop = None
    net.run(0.3)
    assert {(node, payload) for node, payload in at} == {(n, p) for n in net.ids for p in (safe, agreed)}


def test_claims_reach_everybody_soon() -> None:
    """Claims ride on the token and in progress datagrams; the holder has them after a hop."""
    net = ring_of(3)
    take_token(net, 2)
    seen: dict[int, tuple[float, dict[int, int]]] = {}

    def watch(node: Node, event: object) -> None:
        if isinstance(event, Progress):
            seen[node.id] = (net.now, event.values)

    net.watch = watch
    start = net.now
    for node in net.ids:
        net.nodes[node].srp.set_progress(5)
        net.pump(net.nodes[node])
    net.run(0.050)
    assert {node: values for node, (_, values) in seen.items()} == {node: {1: 5, 2: 5, 3: 5} for node in net.ids}
    assert seen[2][0] - start == pytest.approx(HOP)
    assert max(when for when, _ in seen.values()) - start < 0.010
    net.nodes[1].srp.set_progress(None)
    net.pump(net.nodes[1])
    net.run(0.050)
    assert seen[3][1] == {2: 5, 3: 5}


def test_claims_end_with_their_ring() -> None:
    """A claim is about the present ring; a new one starts with none."""
    net = ring_of(3)
    for node in net.ids:
        net.nodes[node].srp.set_progress(7)
        net.pump(net.nodes[node])
    net.run(0.1)
    net.leave(3)
    net.until(lambda: net.formed([1, 2]))
    seen: list[Progress] = []
    net.watch = lambda node, event: seen.append(event) if isinstance(event, Progress) else None
    net.run(0.3)
    assert seen == []


def test_after_a_burst_the_token_comes_to_rest() -> None:
    """When all is stable and everybody was told, rotations stop but for the beat."""
    net = ring_of(5)
    for _ in range(50):
        net.send(net.rng.choice(net.ids), 500, safe=True)
        net.run(0.0007)
    net.run(0.3)
    before = net.sent["token"]
    net.run(1.0)
    assert net.sent["token"] - before <= 5 * (1.0 / net.config.hold + 2)


def test_a_hung_disk_does_not_make_the_token_spin() -> None:
    """While a claim stays behind, rests grow to `hold`."""
    net = ring_of(3)
    for node, value in ((1, 9), (2, 9), (3, 4)):
        net.nodes[node].srp.set_progress(value)
        net.pump(net.nodes[node])
    net.run(1.0)
    before = net.sent["token"]
    net.run(1.0)
    assert net.sent["token"] - before <= 3 * (1.0 / net.config.hold + 2)


def test_a_backlog_is_sent_behind_the_token_and_nothing_is_asked_twice() -> None:
    """Accelerated ring: part of the multicasts after the token, and no false requests (facts, section 13)."""
    net = ring_of(3)
    for _ in range(2000):
        for node in net.ids:
            net.send(node, 1200)
    net.until(net.quiet, 5.0)
    stats = [node.srp.stats for node in net.alive()]
    assert min(s.accelerated for s in stats) > 100
    assert sum(s.asked for s in stats) == 0
    check(net.traces)


def test_a_short_backlog_is_sent_before_the_token() -> None:
    """With a short backlog acceleration only delays stability: A = 0."""
    net = ring_of(3)
    for _ in range(100):
        net.send(net.rng.choice(net.ids), 600)
        net.run(0.001)
    assert sum(node.srp.stats.accelerated for node in net.alive()) == 0


def test_loss_is_repaired_without_storms() -> None:
    """10 % loss: every message arrives, and what is asked for stays near what was lost."""
    net = ring_of(3, loss=0.0)
    net.loss = 0.10
    for _ in range(300):
        net.send(net.rng.choice(net.ids), 1200)
        net.run(0.002)
    net.loss = 0.0
    net.until(net.quiet, 5.0)
    stats = [node.srp.stats for node in net.alive()]
    sent = sum(s.mcasts_sent for s in stats)
    assert sum(s.answered for s in stats) < 0.8 * sent
    check(net.traces)


def test_members_share_the_window_by_backlog() -> None:
    """Three senders with the same backlog: none is far ahead of the others (fair share)."""
    config = dataclasses.replace(TotemConfig(), window_bytes=60_000, max_visit_bytes=50_000)
    net = ring_of(3, config=config)
    for _ in range(400):
        for node in net.ids:
            net.send(node, 1200)
    net.run(0.008)
    sent = [node.srp.stats.bytes_sent for node in net.alive()]
    assert min(sent) > 0.6 * max(sent) > 0
    net.until(net.quiet, 5.0)


def test_a_member_that_does_not_keep_up_is_seen_and_waited_for_within_bounds() -> None:
    """Its lag is measured, and what the others keep for it is bounded."""
    config = dataclasses.replace(TotemConfig(), window_bytes=100_000, max_visit_bytes=50_000)
    net = ring_of(3, config=config)
    net.drop = lambda a, b, kind, frame: kind == "mcast" and b == 3
    for _ in range(2000):
        net.send(1, 1200)
    net.run(0.5)
    srp = net.nodes[1].srp
    assert srp.lag(3) > 100
    assert srp.lag(2) <= srp.lag(3)
    installed = srp._membership.installed
    assert installed is not None and installed.ring.window.bytes <= 6 * config.window_bytes
    net.drop = None
    net.until(net.quiet, 5.0)
    check(net.traces)


def test_submit_refuses_what_it_cannot_keep() -> None:
    """QueueFull and TooLarge at once; Refused after leave."""
    config = dataclasses.replace(TotemConfig(), queue_bytes=10_000, max_message=6_000)
    net = Net(2, 1, config=config)
    net.start([1])
    srp = net.nodes[1].srp
    with pytest.raises(TooLarge):
        srp.submit(b"x" * 6001)
    srp.submit(b"x" * 6000)
    with pytest.raises(QueueFull):
        srp.submit(b"x" * 6000)
    srp.leave(net.now)
    with pytest.raises(Refused):
        srp.submit(b"x")


def test_large_messages_arrive_whole() -> None:
    """Any size up to max_message: cut, and joined again."""
    net = ring_of(3)
    payload = net.send(1, 900_000)
    net.until(net.quiet, 5.0)
    assert all([e.payload for e in node.trace.events if isinstance(e, Delivery)] == [payload] for node in net.alive())


def test_a_ring_of_one_delivers_to_itself() -> None:
    """A singleton is a ring like any other."""
    net = Net(1, 1)
    net.start()
    net.until(lambda: net.formed([1]), 2.0)
    sent = [net.send(1, size, safe=True) for size in (10, 5000, 300_000) for _ in range(5)]
    net.run(0.1)
    assert [e.payload for e in net.nodes[1].trace.events if isinstance(e, Delivery)] == sent
    check(net.traces)


def test_no_bytes_of_a_member_make_a_core_raise() -> None:
    """Nothing a peer can send makes this raise: random, cut, changed frames, and true ones twice."""
    net = ring_of(3)
    rng = random.Random(5)
    seen: list[bytes] = []
    net.drop = lambda a, b, kind, frame: bool(frame and seen.append(frame))  # type: ignore[func-returns-value]
    for _ in range(100):
        net.send(rng.choice(net.ids), rng.choice([10, 3000]))
        net.run(0.001)
    net.crash(3)
    net.boot(3)
    net.run(1.5)
    net.drop = None
    victim = net.nodes[1]
    for _ in range(4000):
        frame = bytearray(rng.choice(seen))
        for _ in range(rng.choice([0, 1, 1, 3])):
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        data = bytes(frame[: rng.choice([len(frame), len(frame), rng.randrange(len(frame) + 1)])])
        victim.srp.receive(rng.choice([2, 3, 9]), data, net.now)
        victim.srp.receive_progress(2, data[1:], net.now)
        net.pump(victim)
        net.run(0.0001)
    assert victim.srp.stats.malformed > 100


def test_tokens_and_multicasts_of_another_ring_are_counted_and_dropped() -> None:
    """Nothing but the ring id protects against old packets: it is compared first."""
    net = ring_of(2)
    srp = net.nodes[1].srp
    old = srp.ring_id._replace(incarnation=1)
    before = dataclasses.replace(srp.stats)
    token = Token(old, 10**6, 10**6, 0, 0, 0, 0, 0, 0, 0, [0, 0], [None, None])
    assert token.encode()[0] == TOKEN
    srp.receive(2, token.encode(), net.now)
    frame = pack_mcast(pack_ring(old), 1, 2, 0, b"\0\1x")
    assert frame[0] == MCAST
    srp.receive(2, frame, net.now)
    assert srp.stats.tokens_ignored == before.tokens_ignored + 1
    assert srp.stats.foreign == before.foreign + 1
    assert srp.phase == "operational"


def test_a_token_brought_to_the_wrong_member_does_nothing() -> None:
    """O1, X1: a ring datagram names no receiver. Copies to everybody else must not make two tokens of one."""
    net = Net(5, 1)

    def copy(source: int, to: int, kind: str, frame: bytes) -> bool:
        for other in net.ids if kind in ("token", "commit") else ():
            if other not in (source, to):
                net.at(net.now + HOP, lambda other=other: net._deliver(other, "frame", source, frame))
        return False

    net.drop = copy
    net.start()
    net.until(lambda: net.formed(net.ids), 5.0)
    rings = net.nodes[1].srp.stats.rings
    for i in range(100):
        net.send(1 + i % 5)
        net.run(0.003)
    net.run(1.0)
    assert net.formed(net.ids) and net.quiet() and net.nodes[1].srp.stats.rings == rings
    assert check(net.traces) >= 500


def test_rests_elsewhere_do_not_count_as_rotation() -> None:
    """The token says how long it rested: who waits for it knows how long it is on its way, and asks in time."""
    net = ring_of(3)
    for _ in range(100):  # each of these ends in rests of a few milliseconds at node 2
        net.send(2)
        net.run(0.007)
    for node in (1, 3):
        phase = net.nodes[node].srp._membership.phase
        assert isinstance(phase, Operational)
        assert 3 * HOP <= phase._rotation < 4 * HOP


def test_a_slow_network_is_learned_and_a_hiccup_is_not() -> None:
    """Rotations of 15 ms are waited for; one late token among fast ones changes little."""
    slow = Net(3, 1, delay=(0.005, 0.005))
    slow.start()
    slow.until(lambda: slow.formed(slow.ids), 5.0)
    for _ in range(100):
        slow.send(2)
        slow.run(0.03)
    phase = slow.nodes[1].srp._membership.phase
    assert isinstance(phase, Operational)
    assert phase._rotation == pytest.approx(0.015, rel=0.1)
    net = ring_of(3)
    take_token(net, 2)
    phase = net.nodes[1].srp._membership.phase
    assert isinstance(phase, Operational)
    before = phase._rotation
    net.delay = (0.005, 0.005)
    net.send(2)
    net.run(0.012)
    assert phase._rotation < before + 0.001


@pytest.mark.parametrize("held", [0.0, 0.00004, 0.0021, 0.0101, 0.022])
def test_the_rest_of_a_token_is_told_to_a_tenth_of_a_millisecond(held: float) -> None:
    """docs/protocol-totem.md, TOKEN: rested."""
    rings = [Ring(me, RingId(4, 1), (1, 2), TotemConfig(), 1400, deque(), Stats(), 0.0) for me in (1, 2)]
    first, second = rings
    token = first.first_token()
    first.arrived = token
    first.begin(1.0)
    first.forward(0, 1.0)
    second.arrived = Token.decode(first.resend_frame)
    second.begin(1.001)
    second.forward(0, 1.001 + held)
    first.arrived = Token.decode(second.resend_frame)
    took = first.round_trip(1.002 + held)
    assert took == pytest.approx(0.002, abs=0.000051)


def test_a_rest_longer_than_can_be_told_says_nothing() -> None:
    """The count has gone round."""
    ring = Ring(1, RingId(4, 1), (1, 2), TotemConfig(), 1400, deque(), Stats(), 0.0)
    ring.arrived = ring.first_token()
    ring.begin(1.0)
    ring.forward(0, 1.0)
    ring.arrived = Token.decode(ring.resend_frame)
    assert ring.round_trip(1.03) is None


def test_a_token_that_went_a_round_without_this_member_is_not_taken() -> None:
    """A machine put back with its memory hears the ring of the present: it has no part in it any more."""
    rings = [Ring(me, RingId(4, 1), (1, 2), TotemConfig(), 1400, deque(), Stats(), 0.0) for me in (1, 2)]
    first, second = rings
    past = copy(second)
    assert first.take(first.first_token(), 0.1)
    first.begin(0.1)
    first.forward(0, 0.1)
    for now in (0.2, 0.3):
        assert second.take(Token.decode(first.resend_frame), now)
        second.begin(now)
        second.forward(0, now)
        assert first.take(Token.decode(second.resend_frame), now)
        first.begin(now)
        first.forward(0, now)
    assert second.take(Token.decode(first.resend_frame), 0.4)
    assert not past.take(Token.decode(first.resend_frame), 0.4)
