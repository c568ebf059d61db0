"""Wire bytes of the link messages (docs/protocol-links.md)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.errors import WireError
from transport.ids import RingId
from transport.link.packets import Ping, Pong, Probe, ProbeAck, decode

GOLDEN = [
    (Ping(0x0102030405060708, True), "01010102030405060708"),
    (Ping(1, False), "01000000000000000001"),
    (Ping(1, False, True), "01020000000000000001"),
    (Pong(1, RingId(2, 3, 4)), "02000000000000000001000000000000000200030000" + "0004"),
    (ProbeAck(1, 1472), "0400000000000000000105c0"),
]


@pytest.mark.parametrize(("message", "wire"), GOLDEN)
def test_golden_bytes(message: Ping | Pong | ProbeAck, wire: str) -> None:
    """The bytes of docs/protocol-links.md, both ways."""
    assert message.encode().hex() == wire
    assert decode(bytes.fromhex(wire)) == message


def test_a_probe_is_padded_to_its_length() -> None:
    """A probe fills the datagram: header, then zeros."""
    wire = Probe(5, 1472).encode(1440)
    assert len(wire) == 1440 and wire[:12].hex() == "0300" + "0000000000000005" + "05c0" and not any(wire[12:])
    assert decode(wire) == Probe(5, 1472)


def test_unknown_flags_are_ignored() -> None:
    """Flag bits other than 0 are for later versions."""
    assert decode(bytes.fromhex("01ff0000000000000001")) == Ping(1, True, True)


@given(st.binary(max_size=64))
def test_any_bytes_decode_or_are_a_wire_error(data: bytes) -> None:
    """Bytes from the network raise WireError, nothing else; what decodes has the exact length of its type."""
    try:
        message = decode(data)
    except WireError:
        return
    if not isinstance(message, Probe):
        assert len(message.encode()) == len(data)
