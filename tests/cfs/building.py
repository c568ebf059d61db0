"""Operations and log records in one line each, for the tests of the store."""

from __future__ import annotations

from itertools import count
from typing import Any

from cfs.messages import Applied, Flag, Kind, Operation
from cfs.records import START, LogPosition, LogRecord, RecordKind
from cfs.state import State
from transport.ids import RingId

EPOCH = RingId(4, 1, 77)
_ids = count(1)


def fresh_id() -> bytes:
    return next(_ids).to_bytes(16, "big")


def op(kind: Kind, path: str = "", data: bytes = b"", **fields: Any) -> Operation:
    """An operation with an id of its own, by node 1 at 1000 ns."""
    told: dict[str, Any] = {"id": fresh_id(), "writer": 1, "time": 1000} | fields
    return Operation(kind=kind, path=path, data=data, **told)


def put(path: str, data: bytes = b"x", **fields: Any) -> Operation:
    return op(Kind.PUT, path, data, **fields)


def mkdir(path: str, **fields: Any) -> Operation:
    return op(Kind.MKDIR, path, **fields)


def mv(path: str, to: str, **fields: Any) -> Operation:
    return op(Kind.RENAME, path, to=to, **fields)


def rm(path: str, recursive: bool = False, **fields: Any) -> Operation:
    return op(Kind.DELETE, path, **({"flags": Flag.RECURSIVE} if recursive else {}) | fields)


def run(state: State, *operations: Operation) -> list[Applied]:
    """Apply each at the next index, as decoded from its own encoding."""
    return [state.apply(Operation.decode(each.encode()), state.index + 1) for each in operations]


def tree(*operations: Operation) -> State:
    """A state after these, all of which succeed."""
    state = State()
    for applied in run(state, *operations):
        assert applied.result.ok, applied
    return state


def whole(state: State) -> dict[str, bytes | None]:
    """The tree as a dict: path -> content, None for a directory."""
    return {e.path: None if e.is_directory else e.data for e in state.ls("", recursive=True)}


def records(
    operations: list[Operation],
    after: LogPosition = START,
    epoch: RingId = EPOCH,
    kind: RecordKind = RecordKind.OPERATION,
) -> list[LogRecord]:
    """Log records of these operations, following `after`."""
    made: list[LogRecord] = []
    for each in operations:
        made.append(LogRecord.after(after, epoch, kind, each.encode()))
        after = made[-1].position
    return made
