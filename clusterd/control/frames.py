"""Frames of the local socket: how a message becomes bytes and bytes become messages.

A frame is a u32 length (big-endian) and that many bytes, at most 1 MiB: one msgpack map with text keys.
A message larger than a frame travels as several `{"part": bytes, "more": bool}` frames, one right behind the other;
the parts joined are the msgpack of the message. The client speaks first; the messages are

    hello        {"hello": 1, "client": str}, answered by {"hello": 1, "version", "node": {"id", "name"}, "cluster",
                 "may": ["read", "write", "lab"], "max_file_bytes", "log_index"}; with "error" if this is the
                 end of it
    request      {"id": int, "op": str, "args": {...}}        cancel   {"cancel": id}
    response     {"id": int, "ok": {...}}  or  {"id": int, "error": {"code", "message", "hint", "node", ...}}
    subscription {"sub": id, "event": {...}}  and at its end  {"sub": id, "end": null or an error}

Both sides and every client use this file; it imports nothing but msgpack. Whatever does not decode raises FrameError
and ends the connection: on a stream there is no next message to look for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgpack

from transport.errors import WireError

MAX_FRAME: Final = 1 << 20
_PART: Final = MAX_FRAME - 64  # room for the map around a part
_LENGTH: Final = struct.Struct("!I")

Message = dict[str, Any]


class FrameError(WireError):
    """The bytes on this connection are not our protocol; close it."""


def pack(message: Mapping[str, Any]) -> bytes:
    """The message as it goes on the wire, cut into several frames where it must be.

    Raises ValueError for text that is not UTF-8 (surrogates), TypeError for what msgpack does not carry.
    """
    body: bytes = msgpack.packb(message, use_bin_type=True)
    if len(body) <= MAX_FRAME:
        return _LENGTH.pack(len(body)) + body
    return b"".join(_parts(body))


def _parts(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), _PART):
        more = start + _PART < len(body)
        frame: bytes = msgpack.packb({"part": body[start : start + _PART], "more": more}, use_bin_type=True)
        yield _LENGTH.pack(len(frame))
        yield frame


class Reader:
    """Bytes in, messages out; holds at most one message of `max_message` bytes and one frame.

    max_message: bytes of one joined message.  max_items: entries of one list or map inside it. The second bound is not
    pedantry: a list header of five bytes makes msgpack allocate room for as many items as it claims.
    """

    __slots__ = ("_buffer", "_joined", "_max_frame", "max_items", "max_message")

    def __init__(self, max_message: int, max_items: int) -> None:
        self.max_message = max_message
        self.max_items = max_items
        self._max_frame = min(MAX_FRAME, max_message)
        self._buffer = bytearray()
        self._joined: bytearray | None = None

    @property
    def buffered(self) -> int:
        """Bytes held that are no message yet."""
        return len(self._buffer) + (len(self._joined) if self._joined is not None else 0)

    def feed(self, data: bytes | memoryview) -> None:
        """Take what the socket gave; `next_message` hands out what is complete."""
        self._buffer += data

    def next_message(self) -> Message | None:
        """The next complete message, or None when more bytes are needed. Raises FrameError."""
        while (frame := self._next_frame()) is not None:
            if "part" not in frame:
                if self._joined is not None:
                    raise FrameError("a message stands between the parts of another")
                return frame
            message = self._join(frame)
            if message is not None:
                return message
        return None

    def _next_frame(self) -> Message | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if not 0 < length <= self._max_frame:
            raise FrameError(f"a frame of {length} bytes, at most {self._max_frame} are taken")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(memoryview(self._buffer)[_LENGTH.size : end])
        del self._buffer[:end]
        return self._decode(body)

    def _join(self, frame: Message) -> Message | None:
        part, more = frame["part"], frame.get("more")
        if not isinstance(part, bytes) or not isinstance(more, bool):
            raise FrameError("a part without bytes or without `more`")
        joined = self._joined if self._joined is not None else bytearray()
        if len(joined) + len(part) > self.max_message:
            raise FrameError(f"a message of more than {self.max_message} bytes")
        joined += part
        self._joined = joined if more else None
        return None if more else self._decode(bytes(joined))

    def _decode(self, body: bytes) -> Message:
        try:
            message = msgpack.unpackb(
                body,
                raw=False,
                strict_map_key=True,
                max_str_len=len(body),
                max_bin_len=len(body),
                max_array_len=self.max_items,
                max_map_len=self.max_items,
                max_ext_len=0,
            )
        except (ValueError, TypeError, RecursionError) as error:  # all that msgpack and UTF-8 decoding raise
            raise FrameError(f"not msgpack as we speak it: {error}") from None
        if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
            raise FrameError("a message is a map with text keys")
        return message
