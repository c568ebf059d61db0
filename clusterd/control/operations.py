"""Every operation of the local socket, once: its name, what it takes and gives, who may call it, what it runs.

The server serves this table, the clients speak it, `docs/protocol.md` lists it. Requests are pydantic models, checked
strictly; answers are the shapes of `shapes.py`, checked against `Operation.answer` in the tests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from cfs.access import may_hold_private
from clusterd.control import shapes
from clusterd.control.backend import Backend
from transport.ids import MAX_LINKS, MAX_NODE_ID

MAX_TIMEOUT = 3600.0
MAX_PAGE = 1000
MAX_CUTS = 32 * 31 * MAX_LINKS  # a lab has at most 32 nodes
CHANGE_TIMEOUT = 30.0

Permission = Literal["read", "write", "lab"]


def normalise(path: str) -> str:
    """The tree's own spelling: no slash at either end, none doubled. Raises ValueError for `.`, `..` and NUL."""
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") or "\0" in part for part in parts):
        raise ValueError("`.`, `..` and NUL have no place in a path of the tree")
    return "/".join(parts)


def _not_root(path: str) -> str:
    if not path:
        raise ValueError("the root of the tree is always there and stays as it is")
    return path


Path = Annotated[str, Field(max_length=8192), AfterValidator(normalise)]
EntryPath = Annotated[Path, AfterValidator(_not_root)]
OperationId = Annotated[str, Field(pattern="^[0-9a-f]{32}(-[0-9a-f]{1,16})?$")]
Seconds = Annotated[float, Field(gt=0, le=MAX_TIMEOUT)]


class Request(BaseModel):
    """What all requests share: no field of theirs is guessed or converted, none is unknown."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def touched(self) -> tuple[str, ...]:
        """The paths that the path rules are asked about."""
        return ()

    def read(self) -> tuple[str, ...]:
        """The files whose content it wants."""
        return ()


class Nothing(Request):
    pass


class Change(Request):
    """A request that may change something: when `timeout` passes, its outcome is unknown."""

    timeout: Seconds = CHANGE_TIMEOUT


class Expected(Change):
    votes: int = Field(ge=1, le=0xFFFFFFFF)


class OnPath(Request):
    path: EntryPath

    def touched(self) -> tuple[str, ...]:
        return (self.path,)


class FileChange(OnPath, Change):
    """operation_id: made by the client; the same id again is the same operation, done at most once."""

    timeout: Seconds = 10.0
    operation_id: OperationId


class Put(FileChange):
    data: bytes


class CompareAndSet(Put):
    revision: int = Field(ge=0)


class Write(FileChange):
    offset: int = Field(ge=0, lt=1 << 40)
    data: bytes
    truncate: bool = False


class Remove(FileChange):
    recursive: bool = False

    def touched(self) -> tuple[str, ...]:
        """With all below: also what may be private there."""
        if not self.recursive or not may_hold_private(self.path):
            return (self.path,)
        return (self.path, f"{self.path}/priv" if "/" in self.path else f"{self.path}/*/priv")


class MakeDirectory(FileChange):
    parents: bool = False


class Move(FileChange):
    to: EntryPath

    def touched(self) -> tuple[str, ...]:
        return (self.path, self.to)


class Cat(OnPath):
    linearizable: bool = False
    timeout: Seconds = 10.0

    def read(self) -> tuple[str, ...]:
        return (self.path,)


class Stat(Request):
    path: Path

    def touched(self) -> tuple[str, ...]:
        return (self.path,)


class List(Stat):
    """after, limit: the next page begins after this path."""

    path: Path = ""
    recursive: bool = False
    after: Path | None = None
    limit: int = Field(default=MAX_PAGE, ge=1, le=MAX_PAGE)


class WatchFiles(Stat):
    """revision: changes after it, None = from now on."""

    path: Path = ""
    revision: int | None = Field(default=None, ge=0)


class OutcomeOf(Request):
    operation_id: OperationId


class OneCut(Request):
    from_: int = Field(alias="from", ge=1, le=MAX_NODE_ID)
    to: int = Field(ge=1, le=MAX_NODE_ID)
    link: int = Field(ge=0, lt=MAX_LINKS)


class CutList(Request):
    cuts: list[OneCut] = Field(max_length=MAX_CUTS)


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table. run: at once, or a coroutine. stream: `run` is None, the server subscribes instead."""

    name: str
    request: type[Request]
    shape: Any
    permission: Permission
    run: Callable[[Backend, Any], object | Awaitable[object]] | None
    summary: str

    @property
    def stream(self) -> bool:
        return self.run is None

    @property
    def answer(self) -> TypeAdapter[Any]:
        """Checks an answer (of a stream: one event) against its promised shape."""
        return TypeAdapter(self.shape)


def _ping(backend: Backend, _: Nothing) -> shapes.Pong:
    return {"contract": 1, "version": backend.version, "log_index": backend.log_index}


def _cuts(backend: Backend, request: CutList) -> shapes.Cuts:
    cuts: list[shapes.Cut] = [{"from": cut.from_, "to": cut.to, "link": cut.link} for cut in request.cuts]
    backend.lab_cuts(cuts)
    return {"cuts": cuts}


_TABLE = [
    Operation("ping", Nothing, shapes.Pong, "read", _ping, "is somebody there, which version, and where the log is"),
    Operation("status", Nothing, shapes.Status, "read", lambda b, r: b.status(), "everything at a glance"),
    Operation("quorum", Nothing, shapes.Quorum, "read", lambda b, r: b.quorum(), "the verdict, judged now"),
    Operation("nodes", Nothing, shapes.Nodes, "read", lambda b, r: b.nodes(), "all configured nodes"),
    Operation("links", Nothing, shapes.Links, "read", lambda b, r: b.links(), "all paths, and what was dropped"),
    Operation("quorum_watch", Nothing, shapes.Quorum, "read", None, "the verdict now, then every change"),
    Operation("events", Nothing, shapes.Event, "read", None, "what happens from now on"),
    Operation(
        "expected", Expected, shapes.Quorum, "write", lambda b, r: b.set_expected(r.votes), "set the expected votes"
    ),
    Operation("reload", Change, shapes.Reloaded, "write", lambda b, r: b.reload(), "apply the configuration file"),
    Operation("key_rotate", Change, shapes.Reloaded, "write", lambda b, r: b.rotate_key(), "a new cluster key"),
    Operation(
        "fs_put",
        Put,
        shapes.Written,
        "write",
        lambda b, r: b.fs_put(r.path, r.data, None, r.operation_id),
        "write a whole file",
    ),
    Operation(
        "fs_cas",
        CompareAndSet,
        shapes.Written,
        "write",
        lambda b, r: b.fs_put(r.path, r.data, r.revision, r.operation_id),
        "write a whole file if its revision is the one seen; 0 = it must not exist",
    ),
    Operation(
        "fs_write",
        Write,
        shapes.Written,
        "write",
        lambda b, r: b.fs_write(r.path, r.offset, r.data, r.truncate, r.operation_id),
        "write a part of a file",
    ),
    Operation(
        "fs_rm",
        Remove,
        shapes.Changed,
        "write",
        lambda b, r: b.fs_rm(r.path, r.recursive, r.operation_id),
        "remove an entry",
    ),
    Operation(
        "fs_mkdir",
        MakeDirectory,
        shapes.Changed,
        "write",
        lambda b, r: b.fs_mkdir(r.path, r.parents, r.operation_id),
        "make a directory",
    ),
    Operation(
        "fs_mv", Move, shapes.Changed, "write", lambda b, r: b.fs_mv(r.path, r.to, r.operation_id), "rename an entry"
    ),
    Operation("fs_cat", Cat, shapes.FileData, "read", lambda b, r: b.fs_cat(r.path, r.linearizable), "a file's bytes"),
    Operation("fs_stat", Stat, shapes.Entry, "read", lambda b, r: b.fs_stat(r.path), "one entry"),
    Operation(
        "fs_ls",
        List,
        shapes.Listing,
        "read",
        lambda b, r: b.fs_ls(r.path, r.recursive, r.after, r.limit),
        "a page of a directory",
    ),
    Operation("fs_watch", WatchFiles, shapes.Change, "read", None, "changes of the tree, in order"),
    Operation(
        "fs_discarded", Nothing, shapes.Discarded, "read", lambda b, r: b.fs_discarded(), "what merges set aside"
    ),
    Operation(
        "fs_outcome",
        OutcomeOf,
        shapes.Outcome,
        "read",
        lambda b, r: b.fs_outcome(r.operation_id),
        "what became of an operation",
    ),
    Operation("lab_cuts", CutList, shapes.Cuts, "lab", _cuts, "drop datagrams on purpose (only with --lab)"),
]

OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _TABLE}
