"""Frames of the local socket: length-prefixed msgpack, at most 1 MiB each, larger values in parts."""

from __future__ import annotations

import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.control import frames
from clusterd.control.frames import MAX_FRAME, FrameError, Reader


def reader(max_message: int = 4 << 20, max_items: int = 1000) -> Reader:
    return Reader(max_message, max_items)


def messages(bytes_in: bytes, into: Reader | None = None) -> list[frames.Message]:
    one = into or reader()
    one.feed(bytes_in)
    found = []
    while (message := one.next_message()) is not None:
        found.append(message)
    return found


def frame(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + body


def test_several_messages_in_one_read_come_out_in_order():
    """A client may send many requests in one write."""
    assert messages(frames.pack({"id": 1}) + frames.pack({"id": 2})) == [{"id": 1}, {"id": 2}]


def test_a_message_cut_anywhere_waits_for_its_rest():
    """A stream has no message borders."""
    data = frames.pack({"id": 1, "op": "status", "args": {}})
    one = reader()
    for byte in data[:-1]:
        assert messages(bytes([byte]), one) == []
    assert messages(data[-1:], one) == [{"id": 1, "op": "status", "args": {}}]
    assert one.buffered == 0


def test_a_large_value_travels_in_frames_of_at_most_one_mebibyte():
    """No frame is above 1 MiB, whatever the value."""
    value = bytes(3 << 20)
    data = frames.pack({"id": 1, "data": value})
    offset = sizes = 0
    while offset < len(data):
        (length,) = struct.unpack_from("!I", data, offset)
        assert length <= MAX_FRAME
        offset += 4 + length
        sizes += 1
    assert sizes > 3
    assert messages(data) == [{"id": 1, "data": value}]


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack("!I", 0),  # an empty frame
        struct.pack("!I", MAX_FRAME + 1),  # a frame too large, refused before its bytes come
        struct.pack("!I", 0xFFFFFFFF),
        b"GET / HTTP/1.1\r\n\r\n",
        frame(b"\xc1"),  # never used in msgpack
        frame(msgpack.packb([1, 2])),  # not a map
        frame(msgpack.packb({1: 2})),  # keys that are no text
        frame(msgpack.packb({b"id": 2})),
        frame(msgpack.packb({"id": 1}) + b"\x00"),  # bytes after the message
        frame(b"\x81\xa2id"),  # the value is missing
        frame(b"\x81\xa2\xff\xfe\x01"),  # not UTF-8
        frame(b"\x81\xa2id\xdd\xff\xff\xff\xff"),  # a list that claims 4 billion items
        frame(b"\x81\xa2id\xdf\xff\xff\xff\xff"),  # a map that does
        frame(b"\x81\xa2id" + b"\x91" * 5000),  # nested without end
        frame(b"\x81\xa2id\xc7\x01\x05\x00"),  # an extension type
        frame(b"\x81\xa2id\xd7\xff" + bytes(8)),  # a timestamp
        frame(msgpack.packb({"part": "text", "more": True})),
        frame(msgpack.packb({"part": b"x", "more": 1})),
        frame(msgpack.packb({"part": b"x"})),
        frame(msgpack.packb({"part": b"x", "more": True})) + frame(msgpack.packb({"id": 1})),
        frame(msgpack.packb({"part": b"\xc1", "more": False})),
    ],
)
def test_garbage_is_told_as_one_error(garbage: bytes):
    """Any bytes: counted, dropped, never a crash (DESIGN X1, also on the local socket)."""
    with pytest.raises(FrameError):
        messages(garbage)


def test_a_joined_message_is_bounded():
    """Parts without end do not grow without end."""
    one = reader(max_message=200_000)
    part = frame(msgpack.packb({"part": bytes(90_000), "more": True}))
    messages(part * 2, one)
    with pytest.raises(FrameError, match="more than 200000 bytes"):
        messages(part, one)


def test_a_reader_of_small_messages_takes_no_large_frame():
    """Who may only ask small questions is not given a mebibyte of buffer."""
    with pytest.raises(FrameError, match="at most 1000"):
        messages(struct.pack("!I", 1001), reader(max_message=1000))


@given(st.binary(max_size=400))
def test_any_bytes_give_messages_or_a_frame_error(data: bytes):
    """Nothing but FrameError comes out, and no more is held than was fed."""
    one = reader()
    try:
        messages(data, one)
    except FrameError:
        return
    assert one.buffered <= len(data)


@given(st.binary(max_size=200))
def test_any_msgpack_body_gives_a_map_or_a_frame_error(body: bytes):
    """The same one layer further in, where random lengths rarely reach."""
    try:
        found = messages(frame(body)) if body else []
    except FrameError:
        return
    assert all(isinstance(message, dict) for message in found)
