"""The replay window: which counters of one key were seen, over the last 65,536 (RFC 6479).

Source: Zhang and Tsou, "IPsec Anti-Replay Algorithm without Bit Shifting", RFC 6479, 2012.
A ring of bits indexed by the counter; advancing clears the bytes it passes, nothing is ever shifted. The ring has
twice the bits of the window, so that clearing by whole bytes never touches a counter still inside.

A counter is looked up before the packet is decrypted (a cheap refusal) and marked only after it proved authentic.
The same ring datagram comes over several links by design: a second copy is a *duplicate*, whoever sent it. What lies
below the window, or below the floor the sender gave with its key, is *old*.
"""

from __future__ import annotations

from typing import Final

WIDTH: Final = 65_536

FRESH: Final = 0
DUPLICATE: Final = 1
OLD: Final = 2


class Window:
    """Counters 0 .. 2^64-1, each accepted once.

    floor: nothing below it is ever fresh (what was sent before we got the key).
    width: a power of two, at least 8; how far behind the highest counter a late packet may come.
    """

    __slots__ = ("_bits", "_low", "_mask", "_top", "_width")

    def __init__(self, floor: int = 0, width: int = WIDTH) -> None:
        self._width = width
        self._bits = bytearray(width >> 2)  # 2 * width bits
        self._mask = (width >> 2) - 1
        self._low = floor  # the lowest counter that may still be fresh
        self._top = floor - 1  # the highest counter marked, or the one before the floor

    @property
    def top(self) -> int:
        """The highest counter accepted so far; floor - 1 before the first."""
        return self._top

    def check(self, counter: int) -> int:
        """FRESH, DUPLICATE or OLD; changes nothing."""
        if counter > self._top:
            return FRESH
        if counter < self._low:
            return OLD
        return DUPLICATE if self._bits[(counter >> 3) & self._mask] & (1 << (counter & 7)) else FRESH

    def mark(self, counter: int) -> None:
        """Accept `counter`, which check() called FRESH."""
        index = counter >> 3
        if counter > self._top:
            last = self._top >> 3  # -1 >> 3 is -1: before the first byte
            if index == last + 1:
                self._bits[index & self._mask] = 0
            elif index != last:
                self._clear(last + 1, index)
            self._top = counter
            low = counter - self._width + 1
            if low > self._low:
                self._low = low
        self._bits[index & self._mask] |= 1 << (counter & 7)

    def _clear(self, first: int, last: int) -> None:
        """Zero the bytes first..last of the endless bit string; at most the whole ring."""
        size = len(self._bits)
        count = last - first + 1
        if count >= size:
            self._bits = bytearray(size)
            return
        start = first & self._mask
        head = min(count, size - start)
        self._bits[start : start + head] = bytes(head)
        self._bits[: count - head] = bytes(count - head)
