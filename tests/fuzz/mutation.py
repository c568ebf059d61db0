"""Recorded messages changed as an input says: the way into formats that plain bytes never get past the head of."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fuzz.draws import Draws

MOST_CHANGES = 6


def changed(draw: Draws, recorded: Sequence[bytes]) -> bytes:
    """One of them, with some bytes overwritten, cut out, put in, repeated or taken from another."""
    data = bytearray(draw.of(recorded))
    for _ in range(draw.below(MOST_CHANGES + 1)):
        at = draw.below(len(data) + 1) if data else 0
        match draw.below(7):
            case 0 if at < len(data):
                data[at] = draw.byte()
            case 1 if at < len(data):
                data[at] ^= 1 << draw.below(8)
            case 2:
                size = draw.of((1, 2, 4, 8))
                data[at : at + size] = draw.number((0, len(data))).to_bytes(8, "big")[-size:]
            case 3:
                del data[at : at + 1 + draw.byte()]
            case 4:
                data[at:at] = draw.blob(16)
            case 5:
                other = draw.of(recorded)
                start = draw.below(len(other) + 1) if other else 0
                data[at:] = other[start:]
            case _:
                data[at:at] = data[at : at + draw.below(64)] * draw.of((1, 2, 16))
    return bytes(data)
