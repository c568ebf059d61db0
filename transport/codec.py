"""A bounds-checked reader and a writer: what every wire and disk format of ours is built with.

All integers are big-endian and unsigned. A Reader never raises anything but WireError, whatever the bytes.
Hot messages may unpack a fixed head with one struct.Struct instead; they check the length first.
"""

from __future__ import annotations

import struct

from transport.errors import WireError

_U16 = struct.Struct("!H")
_U32 = struct.Struct("!I")
_U64 = struct.Struct("!Q")


class Reader:
    """Reads fields in order; every method raises WireError when the bytes end too early."""

    __slots__ = ("_data", "_end", "_pos")

    def __init__(self, data: bytes | memoryview, start: int = 0) -> None:
        self._data = data
        self._pos = start
        self._end = len(data)

    def _take(self, size: int) -> int:
        start = self._pos
        if size < 0 or start + size > self._end:
            raise WireError(f"{self._end - start} bytes left, {size} expected")
        self._pos = start + size
        return start

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self._end - self._pos

    def u8(self) -> int:
        return self._data[self._take(1)]

    def u16(self) -> int:
        value: int = _U16.unpack_from(self._data, self._take(2))[0]
        return value

    def u32(self) -> int:
        value: int = _U32.unpack_from(self._data, self._take(4))[0]
        return value

    def u64(self) -> int:
        value: int = _U64.unpack_from(self._data, self._take(8))[0]
        return value

    def raw(self, size: int) -> bytes:
        start = self._take(size)
        return bytes(self._data[start : start + size])

    def blob(self, limit: int) -> bytes:
        """A u32 length, then that many bytes; WireError above `limit` before anything is copied."""
        size = self.u32()
        if size > limit:
            raise WireError(f"field of {size} bytes, at most {limit} allowed")
        return self.raw(size)

    def text(self, limit: int) -> str:
        """A blob that is UTF-8."""
        try:
            return self.blob(limit).decode("utf-8")
        except UnicodeDecodeError as error:
            raise WireError("field is not UTF-8") from error

    def rest(self) -> bytes:
        return self.raw(self.left)

    def end(self) -> None:
        """WireError unless all bytes were read: trailing bytes are no message of ours."""
        if self._pos != self._end:
            raise WireError(f"{self.left} bytes after the end of the message")


class Writer:
    """Appends fields; raises struct.error on a value out of range, which is our own mistake."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def u8(self, value: int) -> Writer:
        self._parts.append(value.to_bytes(1, "big"))
        return self

    def u16(self, value: int) -> Writer:
        self._parts.append(_U16.pack(value))
        return self

    def u32(self, value: int) -> Writer:
        self._parts.append(_U32.pack(value))
        return self

    def u64(self, value: int) -> Writer:
        self._parts.append(_U64.pack(value))
        return self

    def raw(self, data: bytes) -> Writer:
        self._parts.append(data)
        return self

    def blob(self, data: bytes) -> Writer:
        self._parts.append(_U32.pack(len(data)))
        self._parts.append(data)
        return self

    def text(self, value: str) -> Writer:
        return self.blob(value.encode("utf-8"))

    def done(self) -> bytes:
        return b"".join(self._parts)
