"""Requests of local clients as operations: exactly once, whole or not at all, each told its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from cfs.errors import Expired, StagingGone
from cfs.limits import INLINE_BYTES, Limits
from cfs.messages import Kind, Operation
from cfs.proposals import Proposals as UnderWay
from cfs.state import State
from cfs.status import Outcome, StoreSettings
from clusterd.proposals import OPENING_BYTES, Ident, Proposals, operation_id
from clusterd.uploads import Share, Uploads
from tests.cfs.building import op, run
from transport.errors import BadArgument, NoQuorum, OutcomeUnknown, QueueFull, Refused

NAME = "ab" * 16 + "-1"
ONE = operation_id(NAME)
BIG = bytes(range(256)) * (3 * INLINE_BYTES // 256) + b"end"  # four chunks


class Store:
    """A log of one node: what is proposed waits until `apply`, as long as `refuse` has nothing against it."""

    def __init__(self, window: int = 1000) -> None:
        self.state = State(window=window)
        self.state.advance(1)
        self.seen: list[Operation] = []
        self.refuse: Callable[[Operation], Refused | None] = lambda operation: None
        self.answers: Callable[[Operation], bool] = lambda operation: True
        self.opening: asyncio.Future[bool] | None = None
        self._under_way = UnderWay(StoreSettings())
        self._queue: list[Operation] = []
        self.requests = Proposals(
            asyncio.get_running_loop(),
            1,
            self.propose,
            self._opens,
            lambda ident: self.state.outcome(ident) is not None,
            Uploads(asyncio.get_running_loop(), lambda: Share(2 << 20, 2)),
        )

    async def _opens(self) -> bool:
        return await self.opening if self.opening is not None else False

    def propose(self, operation: Operation) -> None:
        refusal = self.refuse(operation)
        if refusal is not None:
            raise refusal
        known = self.state.outcome(operation.id)
        if known is not None:
            self.requests.outcome(Outcome(operation, known, repeated=True))
        elif self._under_way.add(operation, 0.0) is not None:
            self._queue.append(operation)

    async def apply(self) -> None:
        """Everything proposed by now, and by what its answers bring about."""
        for _ in range(50):
            await asyncio.sleep(0)
            queue, self._queue = self._queue, []
            for operation in queue:
                self._under_way.take(operation.id)
                self.seen.append(operation)
                result = None
                if self.answers(operation):
                    result = self.state.apply(Operation.decode(operation.encode()), self.state.index + 1).result
                self.requests.outcome(Outcome(operation, result, "quorum was lost"))

    def put(self, data: bytes = BIG, ident: Ident = ONE, path: str = "f") -> asyncio.Task[Outcome]:
        return asyncio.ensure_future(self.requests.put(ident, path, data, None))


def test_an_id_is_32_digits_and_perhaps_where_the_log_was():
    """Both forms mean the same operation; only the second is good for ever."""
    assert (ONE.id, ONE.since) == (bytes.fromhex("ab" * 16), 1)
    assert operation_id("ab" * 16) == ("ab" * 16, ONE.id, 0)
    for bad in ("", "ab", "ab" * 16 + "-", "ab" * 17, "ab" * 16 + "-" + "f" * 17, "ab" * 16 + "--1"):
        with pytest.raises(BadArgument):
            operation_id(bad)


async def test_every_operation_of_a_request_says_since_when_it_waits():
    """Small files, and the chunks and the commit of large ones."""
    store = Store()
    small, large = store.put(b"x"), store.put(BIG, operation_id("cd" * 16 + "-1"), "g")
    await store.apply()
    assert small.result().result is not None
    assert large.result().result is not None
    assert [operation.kind for operation in store.seen] == [Kind.PUT, *[Kind.STAGE] * 4, Kind.PUT_STAGED]
    assert {operation.since for operation in store.seen} == {1}
    assert store.state.cat("g") == BIG


async def test_the_same_request_twice_at_once_is_one_operation():
    """Both are answered by its outcome."""
    store = Store()
    first, again = store.put(b"x"), store.put(b"x")
    await store.apply()
    assert first.result().result == again.result().result
    assert len(store.seen) == 1


async def test_other_content_under_an_id_under_way_is_refused():
    """It would be told of the success of something else."""
    store = Store()
    first, other = store.put(b"x"), store.put(b"y")
    await store.apply()
    assert first.result().result is not None
    assert isinstance(other.exception(), Refused)
    assert store.state.cat("f") == b"x"


async def test_two_large_files_under_one_id_are_never_mixed():
    """Of each chunk it is known whose it is: the file is one of the two, whole, or none."""
    store = Store()
    store.answers = lambda operation: operation.kind is not Kind.PUT_STAGED
    first = store.put(BIG)
    await store.apply()
    assert isinstance(first.exception(), OutcomeUnknown)
    store.answers = lambda operation: True
    other = store.put(bytes(len(BIG)))
    await store.apply()
    assert isinstance(other.exception(), Refused)
    again = store.put(BIG)
    await store.apply()
    assert again.result().result is not None
    assert store.state.cat("f") == BIG


async def test_an_unknown_outcome_of_a_chunk_is_told_with_the_id_of_the_request():
    """A retry under the chunk's id would be another operation, and the file might be written twice."""
    store = Store()
    store.answers = lambda operation: operation.kind is not Kind.STAGE
    upload = store.put()
    await store.apply()
    error = upload.exception()
    assert isinstance(error, OutcomeUnknown)
    assert error.operation_id == NAME
    store.answers = lambda operation: True
    again = store.put(ident=operation_id(error.operation_id))
    await store.apply()
    assert again.result().result is not None


async def test_a_chunk_that_is_refused_lets_no_later_one_through():
    """It would be judged where it does not follow on, for good, and so would every retry."""
    store = Store()
    full = iter([None, QueueFull("full")])
    store.refuse = lambda operation: next(full, None)
    upload = store.put()
    await store.apply()
    assert isinstance(upload.exception(), QueueFull)
    assert [operation.offset for operation in store.seen] == [0]
    again = store.put()
    await store.apply()
    assert again.result().result is not None
    assert store.state.cat("f") == BIG


def evict(store: Store) -> None:
    """Other uploads need all the room."""
    limits = Limits(staging_count=1)
    run(store.state, op(Kind.SET_LIMITS, "", limits.encode()), op(Kind.STAGE, "", b"x", staging=b"o" * 16))


@pytest.mark.parametrize("when", [Kind.STAGE, Kind.PUT_STAGED])
async def test_dropped_chunks_use_the_id_up(when: Kind):
    """Told as such, and final: no attempt under this id that is still under way anywhere can succeed later."""
    store = Store()
    seen = 0

    def drop(operation: Operation) -> bool:
        nonlocal seen
        seen += 1
        if operation.kind is when and (when is Kind.PUT_STAGED or operation.offset):
            evict(store)
        return True

    store.answers = drop
    upload = store.put()
    await store.apply()
    assert isinstance(upload.exception(), StagingGone)
    assert store.state.outcome(ONE.id) is not None
    fresh = store.put(ident=operation_id("cd" * 16 + "-1"))
    store.answers = lambda operation: True
    await store.apply()
    assert fresh.result().result is not None


async def test_a_large_file_known_to_be_written_is_not_sent_again():
    """A retry costs nothing, also when its chunks are forgotten."""
    store = Store(window=6)
    upload = store.put()
    await store.apply()
    assert upload.result().result is not None
    run(store.state, *(op(Kind.PUT, "other", b"") for _ in range(4)))
    again = store.put()
    await store.apply()
    assert again.result().repeated
    assert len(store.seen) == 5


async def test_a_retry_behind_the_window_is_expired_with_its_own_id():
    """Strictly once, large files too."""
    store = Store(window=6)
    upload = store.put()
    await store.apply()
    assert upload.result().result is not None
    run(store.state, *(op(Kind.PUT, "other", b"") for _ in range(9)))
    revision = store.state.revision
    again = store.put()
    await store.apply()
    error = again.exception()
    assert isinstance(error, Expired)
    assert error.operation_id == NAME
    assert store.state.revision == revision


async def test_uploads_waiting_for_their_turn_are_refused_when_the_node_leaves():
    """Never proposed: refused, not unknown."""
    store = Store()
    uploads = [store.put(ident=operation_id(f"{n:032x}-1"), path=f"f{n}") for n in range(3)]
    await asyncio.sleep(0)
    store.requests.refuse_waiting(NoQuorum("this node is leaving the cluster"))
    await store.apply()
    assert [upload.exception() is None for upload in uploads] == [True, True, False]
    assert isinstance(uploads[2].exception(), NoQuorum)


async def test_writes_wait_for_a_store_that_opens():
    """The members changed a moment ago: milliseconds in which nobody is refused; in order, and bounded."""
    store = Store()
    store.opening = asyncio.get_running_loop().create_future()
    store.refuse = lambda operation: NoQuorum("opening")
    size = OPENING_BYTES // INLINE_BYTES
    writes = [store.put(bytes(INLINE_BYTES), operation_id(f"{n:032x}-1"), f"f{n}") for n in range(size + 1)]
    await store.apply()
    assert [write.done() for write in writes] == [False] * size + [True]
    assert isinstance(writes[-1].exception(), NoQuorum)
    store.refuse = lambda operation: None
    store.opening.set_result(True)
    await store.apply()
    assert all(write.result().result is not None for write in writes[:-1])
    assert [operation.path for operation in store.seen] == [f"f{n}" for n in range(size)]
