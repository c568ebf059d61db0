"""Small messages packed into one multicast, large ones cut; and the way back, per sender.

A multicast body is a row of chunks, each a u16 length and that many bytes. The flag CONTINUES says that the
first chunk goes on with a message begun earlier, CUT that the last one goes on in the sender's next multicast.
Packing happens at the token visit only, so it never waits for more to come. A message not completely sent when
its ring ends is sent again whole on the next one, and receivers drop what they have of it: a message is
delivered in one configuration, entirely (facts: totem.md section 9).
"""

from __future__ import annotations

import struct
from collections import deque

from transport.errors import QueueFull, TooLarge
from transport.ids import NodeId
from transport.totem.messages import CONTINUES, CUT, SAFE

_LENGTH = struct.Struct("!H")
_CHUNK_MAX = 0xFFFF
_ITEM_COST = 64  # bytes charged per queued message, so that empty ones are bounded too
# What a receiver puts together at most. One number for all, not a setting: members that dropped different
# messages would no longer deliver the same.
MESSAGE_CEILING = 64 << 20
# A piece that is not the last is charged at least this: what keeping it costs. Ours have more: a cut leaves a quarter
# of a frame or all of it.
_PIECE_COST = 48


class Backlog:
    """Messages submitted and not yet multicast, in order."""

    __slots__ = ("_limit", "_max_message", "_offset", "_queue", "waiting")

    def __init__(self, limit: int, max_message: int) -> None:
        self._queue: deque[tuple[bytes, bool]] = deque()
        self._offset = 0  # how much of the first message has been multicast on the present ring
        self.waiting = 0
        self.configure(limit, max_message)

    def configure(self, limit: int, max_message: int) -> None:
        self._limit = limit
        self._max_message = min(max_message, MESSAGE_CEILING)

    def push(self, payload: bytes, safe: bool) -> None:
        """Raises TooLarge above max_message, QueueFull above the limit (try again later); nothing is kept then."""
        size = len(payload)
        if size > self._max_message:
            raise TooLarge(f"message of {size} bytes, at most {self._max_message} allowed")
        if self._queue and self.waiting + size + _ITEM_COST > self._limit:
            raise QueueFull(f"{self.waiting} bytes wait to be sent, at most {self._limit} allowed")
        self._queue.append((payload, safe))
        self.waiting += size + _ITEM_COST

    def __len__(self) -> int:
        return len(self._queue)

    def next_body(self, room: int) -> tuple[int, bytes] | None:
        """(flags, body) of the next multicast with a body of at most `room` bytes, None if nothing waits."""
        queue = self._queue
        if not queue:
            return None
        full = room
        parts: list[bytes] = []
        safe = queue[0][1]
        flags = (SAFE if safe else 0) | (CONTINUES if self._offset else 0)
        while queue and room > _LENGTH.size:
            payload, is_safe = queue[0]
            if is_safe != safe:
                break
            left = len(payload) - self._offset
            if left + 2 <= room and left <= _CHUNK_MAX:
                parts.append(_LENGTH.pack(left))
                parts.append(payload[self._offset :] if self._offset else payload)
                room -= left + 2
                queue.popleft()
                self._offset = 0
                self.waiting -= len(payload) + _ITEM_COST
                continue
            if parts and 4 * room < full:
                break  # cutting into a small rest costs more than it carries
            piece = min(room - 2, _CHUNK_MAX)
            parts.append(_LENGTH.pack(piece))
            parts.append(payload[self._offset : self._offset + piece])
            self._offset += piece
            flags |= CUT
            break
        return flags, b"".join(parts)

    def rewind(self) -> None:
        """The ring ended: a message begun on it is sent again from its start."""
        self._offset = 0


class Unpacker:
    """Bodies of one ring back into messages, per sender. Dropped with the ring, partial messages and all."""

    __slots__ = ("_partial", "_sizes", "malformed")

    def __init__(self) -> None:
        self._partial: dict[NodeId, list[bytes]] = {}
        self._sizes: dict[NodeId, int] = {}
        self.malformed = 0

    def unpack(self, sender: NodeId, flags: int, frame: bytes, start: int) -> list[bytes]:
        """The messages completed by this multicast, in order. `start`: where the body begins.

        A body that does not parse gives what came before the damage and is counted: every member sees the
        same bytes, so every member gives the same.
        """
        messages: list[bytes] = []
        position, end = start, len(frame)
        first = True
        while position < end:
            if position + 2 > end:
                self.malformed += 1
                break
            length = frame[position] << 8 | frame[position + 1]
            position += 2
            stop = position + length
            if stop > end:
                self.malformed += 1
                break
            piece = frame[position:stop]
            position = stop
            goes_on = position >= end and flags & CUT
            if first:
                first = False
                held = self._partial.pop(sender, None) if self._partial else None
                if flags & CONTINUES:
                    if held is None:
                        continue  # its beginning was sent to a ring before this node was in it
                    held.append(piece)
                    self._sizes[sender] += max(length, _PIECE_COST) if goes_on else length
                    if self._sizes[sender] > MESSAGE_CEILING:
                        self.malformed += 1
                    elif goes_on:
                        self._partial[sender] = held
                    else:
                        messages.append(b"".join(held))
                    continue
            if goes_on:
                self._partial[sender] = [piece]
                self._sizes[sender] = length
            else:
                messages.append(piece)
        return messages
