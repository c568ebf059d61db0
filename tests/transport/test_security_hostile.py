"""What strangers and broken members can do to the security core: nothing but move counters."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.transport.security_world import Packet, World, address, entropy
from transport import control, handshake
from transport.errors import WireError
from transport.handshake import COOKIE, COOKIE_LIFE, HANDSHAKE_INIT, HANDSHAKE_RESPONSE, Gate, Init, Verdict
from transport.session import Session

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def established(**options: int) -> World:
    world = World(**options)  # type: ignore[arg-type]  # counts only
    world.run(0.5)
    return world


WORLD = established()
RECORDED = [packet.data for packet in WORLD.seen]


def total(world: World, node: int) -> int:
    counters = world.nodes[node].dropped
    return sum(getattr(counters, name) for name in counters.__dataclass_fields__)


@FUZZ
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda kind, rest: bytes((1, kind)) + rest,
            st.integers(0, 6),
            st.one_of(st.binary(max_size=130), st.sampled_from([54, 82, 110]).map(bytes)),
        ),
        st.builds(
            lambda recorded, at, value: (
                recorded[: at % len(recorded)] + bytes([value]) + recorded[at % len(recorded) + 1 :]
            ),
            st.sampled_from(RECORDED),
            st.integers(0, 200),
            st.integers(0, 255),
        ),
        st.builds(lambda recorded, size: recorded[:size], st.sampled_from(RECORDED), st.integers(0, 112)),
    ),
    link=st.integers(0, 7),
)
def test_any_bytes_are_counted_and_dropped(data: bytes, link: int) -> None:
    """Junk, cut and changed recordings on any link: no exception, no payload, no answer larger, exactly one count."""
    security = WORLD.nodes[2]
    before = total(WORLD, 2)
    opened = security.open(data, link, ("192.0.2.1", 9), WORLD.now)
    answers = []
    while (send := security.poll_transmit(WORLD.now)) is not None:
        answers.append(send)
    assert opened is None
    assert total(WORLD, 2) == before + (not answers)
    assert all(len(answer.data) <= len(data) for answer in answers)
    assert not WORLD.logs[2].lines


@FUZZ
@given(payload=st.builds(lambda kind, rest: bytes((kind,)) + rest, st.integers(0x40, 0x5F), st.binary(max_size=80)))
def test_any_control_message_of_a_member_is_survived(payload: bytes) -> None:
    """Authentic nonsense: counted as malformed or without effect, never an exception, and the session goes on."""
    data = WORLD.nodes[1].seal_session(2, 0, payload, WORLD.now)
    assert data is not None
    assert WORLD.nodes[2].open(data, 0, address(1, 0), WORLD.now) is None
    while WORLD.nodes[2].poll_transmit(WORLD.now) is not None:
        pass
    while WORLD.nodes[2].next_event() is not None:
        pass
    assert WORLD.connected()


def test_empty_payload_is_malformed() -> None:
    """A session datagram with nothing in it says nothing."""
    world = established()
    session = world.nodes[1]._peering.pairs[2].current
    assert session is not None
    assert world.nodes[2].open(session.seal(0, b""), 0, address(1, 0), world.now) is None
    assert world.nodes[2].dropped.malformed == 1


def test_junk_costs_no_curve_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inits without the cluster key fail at mac1, before any X25519."""
    world = World()

    def forbidden(*_: object) -> None:
        raise AssertionError("a handshake was begun for junk")

    monkeypatch.setattr(world.nodes[2]._peering, "_noise", forbidden)
    init = world.nodes[1].wants_handshake(2, 0, world.now)
    assert init is not None
    for position in (*range(16, 96), 4):
        changed = bytearray(init)
        changed[position] ^= 1
        assert world.nodes[2].open(bytes(changed), 0, address(1, 0), world.now) is None
    assert world.nodes[2].dropped.not_authentic == 81


def flood(world: World, count: int) -> int:
    """Replays of one init with good mac1, as fast as they come; returns how many cookies were asked for."""
    init = next(p for p in world.seen if p.kind == HANDSHAKE_INIT and p.receiver == 2)
    cookies = 0
    for number in range(count):
        world.nodes[2].open(init.data, 0, (f"203.0.113.{number % 250}", number), world.now)
        while (send := world.nodes[2].poll_transmit(world.now)) is not None:
            assert send.data[1] == COOKIE and len(send.data) <= len(init.data)
            assert send.address == (f"203.0.113.{number % 250}", number)
            cookies += 1
    return cookies


def test_flood_of_replays_is_answered_with_cookies_alone() -> None:
    """More than the free rate: no work without a cookie for that address (WireGuard section 5.3)."""
    world = established(count=2)
    cookies = flood(world, 2000)
    assert 1800 <= cookies <= 1900
    assert world.nodes[2].dropped.replayed + world.nodes[2].dropped.overloaded == 2000
    assert len(world.nodes[2]._peering.sends) == 0
    assert world.connected()


def test_handshake_succeeds_under_load_with_a_cookie() -> None:
    """A true peer is asked for a cookie too, shows it in its next init, and has its session."""
    world = established(count=3)
    world.start(3)
    flood(world, 500)
    world.ping(only=3)
    world.settle()
    assert [p.kind for p in world.seen[-20:] if p.sender == 2 and p.receiver == 3].count(COOKIE) == 1
    assert not world.nodes[3].has_session(2)
    flood(world, 500)
    world.ping(only=3)
    world.settle()
    assert world.nodes[3].has_session(2)


def gate_init(cookie: bytes | None) -> Init:
    """An init with a good mac1 is assumed; only mac2 matters to the gate."""
    covered = b"all before mac2"
    return Init(1, 1, 1, b"", b"", handshake._mac(cookie, covered) if cookie else bytes(16), b"", covered)


def test_cookie_is_bound_to_the_address_and_ends() -> None:
    """Told to one address and port, it opens the gate for no other, and for 120 s at most."""
    gate = Gate(entropy(1), 0.0)
    here, there = ("192.0.2.1", 5405), ("192.0.2.2", 5405)
    while gate.admit(gate_init(None), here, 1.0) is Verdict.WORK:
        pass
    cookie = gate.cookie(here, 1.0)
    assert gate.admit(gate_init(cookie), here, 1.0) is Verdict.WORK
    assert gate.admit(gate_init(cookie), there, 1.0) is Verdict.ASK_COOKIE
    assert gate.admit(gate_init(cookie), ("192.0.2.1", 5406), 1.0) is Verdict.ASK_COOKIE
    assert gate.cookie(here, COOKIE_LIFE - 0.1) == cookie
    assert gate.cookie(here, COOKIE_LIFE) != cookie


def test_each_proved_address_has_its_share() -> None:
    """Under load an address gets its burst and then its rate; many addresses together a bounded total."""
    gate = Gate(entropy(1), 0.0)
    while gate.admit(gate_init(None), ("192.0.2.1", 1), 0.0) is Verdict.WORK:
        pass
    source = ("192.0.2.9", 1)
    verdicts = [gate.admit(gate_init(gate.cookie(source, 0.0)), source, 0.0) for _ in range(50)]
    assert verdicts.count(Verdict.WORK) == 20 and verdicts.count(Verdict.DROP) == 30
    worked = 0
    for number in range(1000):
        source = (f"10.0.{number >> 8}.{number & 255}", 1)
        worked += gate.admit(gate_init(gate.cookie(source, 0.0)), source, 0.0) is Verdict.WORK
    assert worked <= handshake.TOTAL_RATE
    assert len(gate._sources) <= handshake.MAX_SOURCES


def test_forged_cookie_is_refused() -> None:
    """A COOKIE is sealed under the cluster key and bound to our init: nobody else can set what we show."""
    world = World()
    init = world.nodes[1].wants_handshake(2, 0, world.now)
    assert init is not None
    forged = struct.pack("!BBHI", 1, COOKIE, 2, int.from_bytes(init[4:8], "big")) + bytes(48)
    assert world.nodes[1].open(forged, 0, address(2, 0), world.now) is None
    assert world.nodes[1].dropped.not_authentic == 1
    assert not world.nodes[1]._peering.pairs[2].cookies


def test_answered_inits_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listed peer (or its recorded old processes) fills eight places of its own, the rest stands."""
    world = established(count=3)
    for _ in range(30):
        world.now += 0.5
        old = world.start(1)
        data = old.wants_handshake(2, 0, world.now)
        assert data is not None
        world.deliver(Packet(1, 2, 0, address(1, 0), data))
    peering = world.nodes[2]._peering
    assert len(peering.pairs[1].pending) == 8
    assert len(peering.sessions) <= 8 + 2 * 2
    assert world.connected(2, 3)
    world.run(6.0)
    assert world.connected(1, 2) and len(peering.pairs[1].pending) == 0


def test_full_queue_loses_and_goes_on() -> None:
    """Answers nobody fetches are bounded."""
    world = World()
    for _ in range(3000):
        world.now += 0.5
        data = world.nodes[1].wants_handshake(2, 0, world.now)
        assert data is not None
        world.nodes[2].open(data, 0, address(1, 0), world.now)
    assert len(world.nodes[2]._peering.sends) == 1024


def test_response_to_nobody_is_unknown() -> None:
    """Responses and cookies for inits we never sent."""
    world = World()
    for kind, size in ((HANDSHAKE_RESPONSE, handshake.RESPONSE_SIZE), (COOKIE, handshake.COOKIE_SIZE)):
        world.nodes[1].open(bytes((1, kind)) + bytes(size - 2), 0, address(2, 0), world.now)
    assert world.nodes[1].dropped.unknown_sender == 2


@pytest.mark.parametrize(
    "message",
    [
        control.encode_sender_key(1, 2, bytes(32))[:-1],
        control.encode_sender_key_ack(1) + b"\0",
        struct.pack("!BQBHH", control.CLUSTER_KEY, 1, 0, 33, 0) + bytes(32),
        struct.pack("!BQBHH", control.CLUSTER_KEY, 1, 0, 4097, 0) + bytes(1024),
        struct.pack("!BQBHH", control.CLUSTER_KEY, 1, 0, 64, 32) + bytes(32),
        struct.pack("!BQBHH", control.CLUSTER_KEY, 1, 0, 64, 1024) + bytes(32),
        struct.pack("!BQBHH", control.CLUSTER_KEY, 1, 2, 32, 0) + bytes(32),
        control.encode_cluster_key_ack(1, True)[:-1] + b"\x02",
        struct.pack("!BQB", control.REMOVED, 1, 65) + b"a" * 65,
        struct.pack("!BQB", control.REMOVED, 1, 4) + b"a\x1b[m",
        struct.pack("!BQB", control.REMOVED, 1, 2) + b"\xff\xff",
        struct.pack("!BQB", control.REMOVED, 1, 2) + b"abc",
    ],
)
def test_malformed_control_messages(message: bytes) -> None:
    """Sizes, ranges and text are checked in one place; what is wrong is a WireError and nothing else."""
    decoder = {
        control.SENDER_KEY: control.decode_sender_key,
        control.SENDER_KEY_ACK: control.decode_sender_key_ack,
        control.CLUSTER_KEY: control.decode_cluster_key,
        control.CLUSTER_KEY_ACK: control.decode_cluster_key_ack,
        control.REMOVED: control.decode_removed,
    }[message[0]]
    with pytest.raises(WireError):
        decoder(message)


def test_golden_control_messages() -> None:
    """The bytes of docs/protocol-security.md."""
    assert control.encode_sender_key(0x00020007, 5, b"k" * 32).hex() == (
        "40" + "00020007" + "0000000000000005" + "6b" * 32
    )
    assert control.encode_sender_key_ack(0x00020007).hex() == "4100020007"
    assert [m.hex() for m in control.encode_cluster_key(3, True, b"s" * 33)] == [
        "42" + "0000000000000003" + "01" + "0021" + "0000" + "73" * 33
    ]
    assert control.encode_cluster_key_ack(3, False).hex() == "43" + "0000000000000003" + "00"
    assert control.encode_removed(7, "root").hex() == "44" + "0000000000000007" + "04" + b"root".hex()
    assert control.decode_removed(control.encode_removed(7, "root")) == (7, "root")


def test_golden_datagrams() -> None:
    """Header bytes of the five datagrams, as in docs/protocol-security.md."""
    world = established()
    first = {packet.kind: packet for packet in reversed(world.seen)}
    init, response, session = (first[kind].data for kind in (1, 2, 4))
    assert init[:4].hex() == "0101" + f"{first[1].sender:04x}" and init[8:16].hex() == "0000000000000001"
    assert len(init) == 112 and init[96:] == bytes(16)
    assert response[:4].hex() == "0102" + f"{first[2].sender:04x}" and len(response) == 84
    assert session[:4].hex() == "01040000" and session[8:16].hex() == "0000000000000000"
    assert world.nodes[2].seal_ring(b"", world.now)[:6].hex() == "010500000002"
    assert isinstance(world.nodes[1]._peering.pairs[2].current, Session)
