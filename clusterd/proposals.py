"""Changes of the tree for callers that wait: operations made, handed to the node, answered by their outcome.

A file above INLINE_BYTES is staged in chunks and committed by one small operation. Every operation of one request has
an id derived from the request's, so the same request again is the same operations (exactly-once, S3). The commit
alone decides: a request whose commit was not proposed has not happened.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from cfs.errors import StagingGone
from cfs.limits import INLINE_BYTES, MIB
from cfs.messages import Kind, Operation, Result
from cfs.refusals import refusal
from cfs.status import Outcome
from clusterd.uploads import Uploads
from transport.errors import BadArgument, NoQuorum, OutcomeUnknown, Refused
from transport.ids import NodeId

_WINDOW = 8  # chunks of one upload under way at once
OPENING_BYTES = 8 * MIB  # of the operations that wait for a store that is opening


class Ident(NamedTuple):
    """A request's operation id. text: as the client wrote it.  since: see cfs.messages.Operation, 0 = not told."""

    text: str
    id: bytes
    since: int


class Proposals:
    """writer: this node. propose: hands an operation to the node; raises Refused when it was not taken.

    opens: waits a moment for a store that is just opening; whether it is worth to propose again.
    known: whether the outcome of the operation with this id is known here.  uploads: whose turn it is.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: NodeId,
        propose: Callable[[Operation], None],
        opens: Callable[[], Awaitable[bool]],
        known: Callable[[bytes], bool],
        uploads: Uploads,
    ) -> None:
        self._loop = loop
        self._writer = writer
        self._propose = propose
        self._opens = opens
        self._known = known
        self._uploads = uploads
        self._waiting: dict[bytes, list[asyncio.Future[Outcome]]] = {}
        self._opening = 0

    def outcome(self, outcome: Outcome) -> None:
        """The node's answer to an operation of ours."""
        for future in self._waiting.pop(outcome.operation.id, ()):
            if not future.done():
                future.set_result(outcome)

    async def run(self, operation: Operation, ident: Ident) -> Outcome:
        """Propose and wait. Raises what the operation was refused with, or OutcomeUnknown with the id in `ident`."""
        return await self._settled(operation, await self._offer(operation, ident), ident)

    async def _offer(self, operation: Operation, ident: Ident) -> asyncio.Future[Outcome]:
        """Have the node take it; the future of its outcome. Raises Refused or Expired: then it was not taken."""
        operation.writer, operation.time = self._writer, time.time_ns()
        try:
            try:
                return self._taken(operation)
            except NoQuorum:
                if not await self._opened_for(len(operation.data)):
                    raise
            return self._taken(operation)
        except OutcomeUnknown as unknown:
            unknown.operation_id = ident.text
            raise

    async def _opened_for(self, size: int) -> bool:
        """Is it worth to propose again? What waits to know is held in memory, so only so much may."""
        if self._opening + size > OPENING_BYTES:
            return False
        self._opening += size
        try:
            return await self._opens()
        finally:
            self._opening -= size

    def _taken(self, operation: Operation) -> asyncio.Future[Outcome]:
        """The same request again is the same operation: the node knows it, and one outcome answers all."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting.setdefault(operation.id, []).append(future)
        try:
            self._propose(operation)
        except BaseException:
            self._forget(operation.id, future)
            raise
        return future

    def _forget(self, ident: bytes, future: asyncio.Future[Outcome]) -> None:
        waiting = self._waiting.get(ident, [])
        if future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._waiting[ident]

    async def _settled(self, operation: Operation, future: asyncio.Future[Outcome], ident: Ident) -> Outcome:
        try:
            outcome = await future
        finally:
            self._forget(operation.id, future)
        if outcome.result is None:
            raise OutcomeUnknown(f"{operation.path}: {outcome.reason}", ident.text)
        refused = refusal(operation, outcome.result)
        if isinstance(refused, OutcomeUnknown):
            refused.operation_id = ident.text  # the request's, not that of one of its chunks
        if refused is not None:
            raise refused
        return outcome

    async def put(self, ident: Ident, path: str, data: bytes, condition: int | None) -> Outcome:
        """Write a whole file of any size.

        Raises StagingGone when its chunks were dropped on the way: then its id is used up, whatever attempts under it
        are still under way elsewhere.
        """
        if len(data) <= INLINE_BYTES:
            return await self.run(
                Operation(ident.id, Kind.PUT, path, data, condition=condition, since=ident.since), ident
            )
        commit = Operation(
            ident.id,
            Kind.PUT_STAGED,
            path,
            size=len(data),
            staging=ident.id,
            condition=condition,
            since=ident.since,
        )
        if self._known(ident.id):
            return await self.run(commit, ident)
        await self._uploads.enter(len(data))
        try:
            await self._stage(ident, path, data)
            return await self.run(commit, ident)
        finally:
            self._uploads.leave(len(data))

    async def _stage(self, ident: Ident, path: str, data: bytes) -> None:
        """Have all chunks staged, in order; or some found gone, which the commit will find too, and make final."""
        offsets = range(0, len(data), INLINE_BYTES)
        for first in range(0, len(offsets), _WINDOW):
            offered: list[tuple[Operation, asyncio.Future[Outcome]]] = []
            refused: Refused | OutcomeUnknown | None = None
            for offset in offsets[first : first + _WINDOW]:
                operation = _chunk(ident, path, data, offset)
                try:
                    offered.append((operation, await self._offer(operation, ident)))
                except (Refused, OutcomeUnknown) as error:  # the next ones would not follow on the last
                    refused = error
                    break
            # All are waited for, also when one fails: what is under way must not outlive its turn.
            ends = await asyncio.gather(*(self._settled(*one, ident) for one in offered), return_exceptions=True)
            for end in ends:
                if isinstance(end, StagingGone):
                    return
                if isinstance(end, BaseException):
                    raise end
            if refused is not None:
                raise refused

    def refuse_waiting(self, error: Refused) -> None:
        """Uploads whose turn has not come are refused with this."""
        self._uploads.refuse(error)


def _chunk(ident: Ident, path: str, data: bytes, offset: int) -> Operation:
    """Its id is made of its content too: another file under the same id must not continue this one's chunks."""
    chunk = data[offset : offset + INLINE_BYTES]
    made = hashlib.sha256(ident.id + offset.to_bytes(8, "big"))
    made.update(chunk)
    return Operation(made.digest()[:16], Kind.STAGE, path, chunk, offset=offset, staging=ident.id, since=ident.since)


def operation_id(text: str) -> Ident:
    """32 hex digits, and if the client told it a dash and `since` in hex. Raises BadArgument."""
    name, dash, since = text.partition("-")
    try:
        ident = Ident(text, bytes.fromhex(name), int(since, 16) if dash else 0)
    except ValueError:
        ident = Ident(text, b"", 0)
    if len(ident.id) != 16 or not 0 <= ident.since < 1 << 64:
        raise BadArgument(f"{text!r} is no operation id: 32 hex digits expected, and perhaps a dash and a log index")
    return ident


def revision_of(outcome: Outcome) -> int:
    """The revision a done operation made."""
    result: Result | None = outcome.result
    assert result is not None
    return result.revision
