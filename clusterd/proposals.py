"""Changes of the tree for callers that wait: operations made, handed to the node, answered by their outcome.

A file above INLINE_BYTES is staged in chunks and committed by one small operation. Every operation of one request has
an id derived from the request's, so the same request again is the same operations (exactly-once, S3).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable

from cfs.limits import INLINE_BYTES
from cfs.messages import Kind, Operation, Result
from cfs.refusals import refusal
from cfs.status import Outcome
from transport.errors import BadArgument, NoQuorum, OutcomeUnknown, Refused
from transport.ids import NodeId

_WINDOW = 8  # chunks of one upload under way at once


class Proposals:
    """writer: this node. propose: hands an operation to the node; raises Refused when it was not taken.

    opens: waits a moment for a store that is just opening; whether it is worth to propose again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: NodeId,
        propose: Callable[[Operation], None],
        opens: Callable[[], Awaitable[bool]],
    ) -> None:
        self._loop = loop
        self._writer = writer
        self._propose = propose
        self._opens = opens
        self._waiting: dict[bytes, list[asyncio.Future[Outcome]]] = {}

    def outcome(self, outcome: Outcome) -> None:
        """The node's answer to an operation of ours."""
        for future in self._waiting.pop(outcome.operation.id, ()):
            if not future.done():
                future.set_result(outcome)

    async def run(self, operation: Operation) -> Outcome:
        """Propose and wait. Raises what the operation was refused with, or OutcomeUnknown."""
        operation.writer, operation.time = self._writer, time.time_ns()
        future: asyncio.Future[Outcome] = self._loop.create_future()
        waiting = self._waiting.setdefault(operation.id, [])
        waiting.append(future)
        try:
            if len(waiting) == 1:  # the same request twice at once is one operation
                await self._offer(operation, waiting)
            outcome = await future
        finally:
            waiting = self._waiting.get(operation.id, [])
            if future in waiting:
                waiting.remove(future)
                if not waiting:
                    del self._waiting[operation.id]
        if outcome.result is None:
            raise OutcomeUnknown(f"{operation.path}: {outcome.reason}", operation.id.hex())
        refused = refusal(operation, outcome.result)
        if refused is not None:
            raise refused
        return outcome

    async def _offer(self, operation: Operation, waiting: list[asyncio.Future[Outcome]]) -> None:
        try:
            try:
                self._propose(operation)
            except NoQuorum:
                if not await self._opens():
                    raise
                self._propose(operation)
        except BaseException as error:
            # Who asked for the same meanwhile hears the same; a request given up here was never proposed.
            same = error if isinstance(error, Refused) else Refused("the same request was given up before it was made")
            for future in waiting[1:]:
                if not future.done():
                    future.set_exception(same)
            raise

    async def put(self, ident: bytes, path: str, data: bytes, condition: int | None) -> Outcome:
        """Write a whole file of any size."""
        if len(data) <= INLINE_BYTES:
            return await self.run(Operation(ident, Kind.PUT, path, data, condition=condition))
        chunks = range(0, len(data), INLINE_BYTES)
        for first in range(0, len(chunks), _WINDOW):
            staged = [
                self.run(
                    Operation(
                        hashlib.sha256(ident + offset.to_bytes(8, "big")).digest()[:16],
                        Kind.STAGE,
                        path,
                        data[offset : offset + INLINE_BYTES],
                        offset=offset,
                        staging=ident,
                    )
                )
                for offset in chunks[first : first + _WINDOW]
            ]
            # All are waited for, also when one fails: what is under way must not outlive its request.
            for outcome in await asyncio.gather(*staged, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome
        return await self.run(
            Operation(ident, Kind.PUT_STAGED, path, size=len(data), staging=ident, condition=condition)
        )


def operation_id(text: str) -> bytes:
    """32 hex digits to 16 bytes. Raises BadArgument."""
    try:
        ident = bytes.fromhex(text)
    except ValueError:
        ident = b""
    if len(ident) != 16:
        raise BadArgument(f"{text!r} is no operation id: 32 hex digits expected")
    return ident


def revision_of(outcome: Outcome) -> int:
    """The revision a done operation made."""
    result: Result | None = outcome.result
    assert result is not None
    return result.revision
