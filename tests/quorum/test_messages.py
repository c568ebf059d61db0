"""Quorum's messages: golden bytes, and no bytes that raise anything but WireError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorum.messages import CancelWait, Configured, Flag, Message, NodeInfo, SetExpected, SetVotes, decode, encode
from quorum.options import MAX_VOTES
from tests.quorum.world import World, options_of
from transport.errors import WireError

GOLDEN: list[tuple[Message, str]] = [
    (
        NodeInfo(1, 5, Flag.QUORATE | Flag.DEVICE_CAST, 4, 2, "net"),
        "0101 00000001 00000005 0041 0004 00000002 00000003 6e6574",
    ),
    (SetExpected(3), "0102 00000003"),
    (SetVotes(7, 0), "0103 0007 00000000"),
    (CancelWait(), "0104"),
    (Configured(4, 1), "0105 00000004 00000001"),
]


@pytest.mark.parametrize(("message", "text"), GOLDEN)
def test_golden_bytes(message: Message, text: str) -> None:
    assert encode(message) == bytes.fromhex(text)
    assert decode(bytes.fromhex(text)) == message


@pytest.mark.parametrize("text", ["", "01", "0201", "0109", "0102 00000000", "0104 00", "0102 ffffffff", "0103 0007"])
def test_refused_bytes(text: str) -> None:
    with pytest.raises(WireError):
        decode(bytes.fromhex(text))


def test_votes_above_the_limit_are_refused() -> None:
    with pytest.raises(WireError):
        decode(encode(SetVotes(1, MAX_VOTES + 1)))


@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([m for m, _ in GOLDEN]), st.binary(max_size=6))))
def test_nothing_a_peer_sends_raises(packets: list[tuple[int, Message, bytes]]) -> None:
    """Whole, cut and damaged messages from members and strangers, at the barrier and after it."""
    world = World(options_of(3))
    world.ring(1, 2, 3)
    core = world.nodes[1]
    for sender, message, damage in packets:
        data = encode(message)
        core.receive(sender, data, 0.0)
        core.receive(sender, damage + data[len(damage) :], 0.0)
        core.sync_init((1, 2, 3), core.view().verdict.ring_id, (1, 2, 3), 0.0)
        core.receive(sender, data[: len(damage)], 0.0)
        core.sync_activate({sender: damage + data[len(damage) :], 2: data}, 0.0)
        while core.next_event() is not None:
            pass
