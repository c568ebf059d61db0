"""This node's own operations and reads under way: what waits for an outcome, until when.

Source: DESIGN 4 S3. Every accepted operation gets exactly one Outcome. It is sent again under the same id when a
primary opens after a configuration change; whatever is logged twice is applied once (cfs/state.py).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from cfs.messages import Operation
from cfs.status import StoreSettings
from transport.errors import QueueFull, Refused
from transport.ids import NO_RING, RingId


@dataclass(slots=True)
class Pending:
    """sent_in: the configuration it was last sent in."""

    operation: Operation
    encoded: bytes
    deadline: float
    sent_in: RingId = NO_RING


class Proposals:
    """By operation id, in order of arrival."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._pending: dict[bytes, Pending] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, operation: Operation, now: float) -> Pending | None:
        """None: the same one is under way already. Raises QueueFull, TooLarge, Refused (id used for another)."""
        known = self._pending.get(operation.id)
        if known is not None:  # the moment of a request is no part of it, nor is what its client knew of the log then
            operation.time, operation.since = known.operation.time, known.operation.since
        encoded = operation.encode()
        if known is not None:
            if known.encoded != encoded:
                raise Refused(f"operation id {operation.id.hex()} is under way with other content: take a new id")
            return None
        settings = self._settings
        if len(self._pending) >= settings.max_pending or self._bytes + len(encoded) > settings.max_pending_bytes:
            raise QueueFull(f"{len(self._pending)} writes of this node wait for their outcome: try again later")
        pending = Pending(operation, encoded, now + settings.deadline)
        self._pending[operation.id] = pending
        self._bytes += len(encoded)
        return pending

    def take(self, ident: bytes) -> Pending | None:
        """The pending one of this id, which has its outcome now."""
        found = self._pending.pop(ident, None)
        if found is not None:
            self._bytes -= len(found.encoded)
        return found

    def expired(self, now: float) -> list[Pending]:
        """Take those past their deadline. All deadlines are equally long, so the first is the oldest."""
        gone = []
        for pending in self._pending.values():
            if now < pending.deadline:
                break
            gone.append(pending)
        for pending in gone:
            self.take(pending.operation.id)
        return gone

    def take_all(self) -> list[Pending]:
        found = list(self._pending.values())
        self._pending.clear()
        self._bytes = 0
        return found

    def unsent(self, ring: RingId) -> list[Pending]:
        """Those not sent in this configuration yet."""
        return [pending for pending in self._pending.values() if pending.sent_in != ring]

    def next_deadline(self) -> float | None:
        for first in self._pending.values():
            return first.deadline
        return None


class Barriers:
    """Linearizable reads: tokens wait for a BARRIER sent after they came; one is under way at a time for all."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._number = 0
        self._waiting: dict[int, float] = {}  # token -> deadline
        self._flying: dict[int, float] = {}
        self._confirmed: deque[tuple[int, dict[int, float]]] = deque()  # with the log index to be applied

    def add(self, token: int, now: float) -> None:
        self._waiting[token] = now + self._deadline

    def to_send(self) -> int | None:
        """The number of a BARRIER to send now, or None."""
        if self._flying or not self._waiting:
            return None
        self._flying, self._waiting = self._waiting, {}
        self._number += 1
        return self._number

    def delivered(self, number: int, index: int) -> None:
        """Our BARRIER was delivered; the log then ended at `index`."""
        if number == self._number and self._flying:
            self._confirmed.append((index, self._flying))
            self._flying = {}

    def done(self, applied: int) -> list[int]:
        """Take the tokens whose log index is applied."""
        found: list[int] = []
        while self._confirmed and self._confirmed[0][0] <= applied:
            found += self._confirmed.popleft()[1]
        return found

    def interrupted(self) -> None:
        """The configuration ended: what is not answered is asked for again in the next."""
        again: dict[int, float] = {}
        for _, tokens in self._confirmed:
            again |= tokens
        self._confirmed.clear()
        self._waiting = again | self._flying | self._waiting
        self._flying = {}

    def _all(self) -> list[dict[int, float]]:
        return [*(tokens for _, tokens in self._confirmed), self._flying, self._waiting]

    def expired(self, now: float) -> list[int]:
        """Take those past their deadline."""
        found = []
        for tokens in self._all():
            late = [token for token, due in tokens.items() if now >= due]
            for token in late:
                del tokens[token]
            found += late
        return found

    def take_all(self) -> list[int]:
        found = [token for tokens in self._all() for token in tokens]
        self._flying, self._waiting = {}, {}
        self._confirmed.clear()
        return found

    def next_deadline(self) -> float | None:
        if not (self._waiting or self._flying or self._confirmed):
            return None
        return min((due for tokens in self._all() for due in tokens.values()), default=None)
