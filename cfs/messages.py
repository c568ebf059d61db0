"""Ordered operations on the store, what became of them, and the changes they made.

An Operation is what a node proposes, the body of a log record of kind OPERATION, and what State.apply judges. Its
encoding starts with a version and a kind, so that later kinds (transactions, leases) fit in.  Sizes: data at most
INLINE_BYTES.

Encoding, big-endian: u8 version=1, u8 kind, u8 flags, u8 present (bit 0: condition), id 16 bytes, u16 writer, u64 time,
u64 since, u64 condition if present, u16 + path; then WRITE: u64 offset; RENAME: u16 + to; STAGE: 16 bytes staging, u64
offset;
PUT_STAGED: 16 bytes staging, u64 size; and for PUT, WRITE, STAGE, SET_LIMITS the data to the end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from cfs.errors import NameInvalid
from cfs.limits import INLINE_BYTES, PATH_BYTES
from transport.codec import Reader
from transport.errors import BadArgument, TooLarge, WireError
from transport.ids import NodeId

VERSION = 1
ID_BYTES = 16
MAX_TIME = (1 << 63) - 1  # nanoseconds: the year 2262; SQLite's integers are signed
MAX_OPERATION = INLINE_BYTES + 2 * PATH_BYTES + 128  # bytes of the longest encoding


class Kind(IntEnum):
    """What to do. Numbers are on the wire and on disk: never reused. 32 and above: kept for transactions and leases."""

    PUT = 1  # the whole content of a file, new or not
    WRITE = 2  # a part of an existing file at `offset`; flag TRUNCATE: the file ends after it
    MKDIR = 3  # a directory; flag PARENTS: missing parents too, and an existing directory is fine
    RENAME = 4  # path -> to, replacing a file or an empty directory there; flag NO_REPLACE: refuse instead
    DELETE = 5  # a file or an empty directory; flag RECURSIVE: with everything below
    SET_TIME = 6  # the entry's mtime becomes `time`
    STAGE = 7  # the next chunk of the upload `staging`, which must begin at its present length `offset`
    PUT_STAGED = 8  # PUT with the staged chunks, `size` bytes in all
    DROP_STAGED = 9  # the client gave its upload up
    SET_LIMITS = 10  # data = Limits


class Flag(IntFlag):
    """Options of an operation; one that its kind does not know is refused as malformed."""

    NONE = 0
    TRUNCATE = 1
    PARENTS = 2
    RECURSIVE = 4
    NO_REPLACE = 8
    ONLY_FILE = 16  # DELETE as unlink(2): a directory is refused
    ONLY_DIRECTORY = 32  # DELETE as rmdir(2): a file is refused


_FLAGS = {
    Kind.WRITE: Flag.TRUNCATE,
    Kind.MKDIR: Flag.PARENTS,
    Kind.RENAME: Flag.NO_REPLACE,
    Kind.DELETE: Flag.RECURSIVE | Flag.ONLY_FILE | Flag.ONLY_DIRECTORY,
}
_CONDITIONAL = frozenset({Kind.PUT, Kind.WRITE, Kind.RENAME, Kind.DELETE, Kind.SET_TIME, Kind.PUT_STAGED})
_KINDS = {int(kind): kind for kind in Kind}  # plain dicts: an enum's call and its bit operators cost microseconds
_ALLOWED = {int(kind): int(_FLAGS.get(kind, 0)) for kind in Kind}
_FLAG_SETS = {bits: Flag(bits) for bits in range(64)}
_HEAD = struct.Struct("!BBBB16sHQQ")
_U64 = struct.Struct("!Q")
_U16 = struct.Struct("!H")


@dataclass(slots=True)
class Operation:
    """One ordered operation.

    id: 16 random bytes of the client's; a retry carries the same, and is applied once.
    writer: the node that proposes it.  time: client's clock, Unix nanoseconds, 0..MAX_TIME; becomes mtime, decides
    nothing.
    since: a log index committed before it was *first* proposed, 0 = not told; every retry says the same. Applied more
        than OUTCOMES indexes later, or not behind it, the operation is refused as EXPIRED: an earlier outcome may be
        forgotten. That makes exactly-once strict; too small a number only refuses earlier.
    condition: None, or the revision the entry at `path` must have; 0 = it must not exist.
    """

    id: bytes
    kind: Kind
    path: str = ""
    data: bytes = b""
    to: str = ""
    offset: int = 0
    size: int = 0
    condition: int | None = None
    flags: Flag = Flag.NONE
    staging: bytes = b""
    writer: NodeId = 0
    time: int = 0
    since: int = 0

    def encode(self) -> bytes:
        """Raises TooLarge (data or path), NameInvalid (not UTF-8) or BadArgument (a number out of range)."""
        try:
            path, to = self.path.encode(), self.to.encode()
        except UnicodeEncodeError as error:
            raise NameInvalid(f"{self.path!r}: not UTF-8") from error
        staging = self.staging if self.kind in (Kind.STAGE, Kind.PUT_STAGED, Kind.DROP_STAGED) else bytes(ID_BYTES)
        if not 0 <= self.time <= MAX_TIME:
            raise BadArgument(f"time {self.time}, 0 to {MAX_TIME} nanoseconds are allowed")
        if len(self.id) != ID_BYTES or len(staging) != ID_BYTES:
            raise BadArgument(f"operation and staging ids have {ID_BYTES} bytes")
        if len(self.data) > INLINE_BYTES:
            raise TooLarge(f"{len(self.data)} bytes in one operation, at most {INLINE_BYTES}: stage it in chunks")
        if len(path) > PATH_BYTES or len(to) > PATH_BYTES:
            raise TooLarge(f"path of {max(len(path), len(to))} bytes, at most {PATH_BYTES}")
        try:
            return self._packed(path, to)
        except struct.error as error:
            raise BadArgument(f"operation on {self.path!r}: a number is out of its range") from error

    def _packed(self, path: bytes, to: bytes) -> bytes:
        conditional = self.condition is not None
        parts = [
            _HEAD.pack(VERSION, self.kind, self.flags, conditional, self.id, self.writer, self.time, self.since),
            _U64.pack(self.condition) if self.condition is not None else b"",
            _U16.pack(len(path)),
            path,
        ]
        match self.kind:
            case Kind.WRITE:
                parts.append(_U64.pack(self.offset))
            case Kind.RENAME:
                parts += (_U16.pack(len(to)), to)
            case Kind.STAGE:
                parts += (self.staging, _U64.pack(self.offset))
            case Kind.PUT_STAGED:
                parts += (self.staging, _U64.pack(self.size))
            case Kind.DROP_STAGED:
                parts.append(self.staging)
        parts.append(self.data)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Operation:
        """Raises WireError and nothing else; what comes out is bounded and fit for State.apply."""
        if not _HEAD.size + 2 <= len(data) <= MAX_OPERATION:
            raise WireError(f"operation: {len(data)} bytes, {_HEAD.size + 2} to {MAX_OPERATION} expected")
        version, number, flags, present, ident, writer, time, since = _HEAD.unpack_from(data)
        kind = _KINDS.get(number)
        if version != VERSION or kind is None or present > 1 or time > MAX_TIME:
            raise WireError(f"operation: version {version}, kind {number}, fields {present} not known")
        if flags & ~_ALLOWED[number] or (present and kind not in _CONDITIONAL):
            raise WireError(f"operation: flags {flags:#x} or condition not known for {kind.name}")
        reader = Reader(data, _HEAD.size)
        made = cls(ident, kind, writer=writer, time=time, since=since, flags=_FLAG_SETS[flags])
        if present:
            made.condition = reader.u64()
        made.path = _path(reader)
        match kind:
            case Kind.WRITE:
                made.offset = reader.u64()
            case Kind.RENAME:
                made.to = _path(reader)
            case Kind.STAGE:
                made.staging, made.offset = reader.raw(ID_BYTES), reader.u64()
            case Kind.PUT_STAGED:
                made.staging, made.size = reader.raw(ID_BYTES), reader.u64()
            case Kind.DROP_STAGED:
                made.staging = reader.raw(ID_BYTES)
        if kind in (Kind.PUT, Kind.WRITE, Kind.STAGE, Kind.SET_LIMITS):
            if reader.left > INLINE_BYTES:
                raise WireError(f"operation: {reader.left} bytes of data, at most {INLINE_BYTES}")
            made.data = reader.rest()
        reader.end()
        return made


def _path(reader: Reader) -> str:
    size = reader.u16()
    if size > PATH_BYTES:
        raise WireError(f"path of {size} bytes, at most {PATH_BYTES}")
    try:
        return reader.raw(size).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError("path is not UTF-8") from error


class Code(IntEnum):
    """What became of an operation. Numbers are on disk and in transfers: never reused."""

    OK = 0
    NO_SUCH_ENTRY = 1
    EXISTS = 2
    NOT_EMPTY = 3
    IS_DIRECTORY = 4
    NOT_DIRECTORY = 5
    CONFLICT = 6
    TOO_LARGE = 7
    TOO_DEEP = 8
    NAME_INVALID = 9
    NO_SPACE = 10
    STAGING_GONE = 11
    INVALID = 12
    EXPIRED = 13


_RESULT = struct.Struct("!BQQQ")
RESULT_BYTES = _RESULT.size


@dataclass(slots=True)
class Result:
    """The stored outcome of an operation: 25 bytes.

    index: where in the log it was first applied.  revision: when OK, the revision of the (last) change it made, or of
    the entry it found already as asked.  detail: CONFLICT: the entry's current revision (0 = none); TOO_LARGE,
    TOO_DEEP, NO_SPACE: the limit passed; EXPIRED: 1 = `since` is not behind the log, 0 = too far behind; OK of a
    recursive delete: entries removed; OK of STAGE: bytes staged so far.
    """

    code: Code
    index: int = 0
    revision: int = 0
    detail: int = 0

    @property
    def ok(self) -> bool:
        return self.code == Code.OK

    def encode(self) -> bytes:
        return _RESULT.pack(self.code, self.index, self.revision, self.detail)

    @classmethod
    def decode(cls, data: bytes) -> Result:
        """Raises WireError."""
        if len(data) != _RESULT.size:
            raise WireError(f"result: {len(data)} bytes, {_RESULT.size} expected")
        code, index, revision, detail = _RESULT.unpack(data)
        try:
            return cls(Code(code), index, revision, detail)
        except ValueError as error:
            raise WireError(f"result: code {code} not known") from error


@dataclass(slots=True)
class Change:
    """One change of the tree, as `fs watch` tells it; each has its own revision.

    op: put | mkdir | rm | mv (a new mtime is told as put or mkdir of the entry). rm of a directory takes all below it.
    to: the new path of mv, else None.  time: Unix nanoseconds of the client that made it.
    """

    revision: int
    op: str
    path: str
    to: str | None
    writer: NodeId
    time: int


@dataclass(slots=True)
class Applied:
    """What State.apply says.  repeated: the id was known, `result` is the stored one and nothing changed."""

    result: Result
    changes: tuple[Change, ...] = ()
    repeated: bool = False
