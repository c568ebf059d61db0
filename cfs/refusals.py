"""The one table from an operation's outcome to the error its caller gets, with a text that says what to do."""

from __future__ import annotations

from cfs.errors import (
    BadArgument,
    Conflict,
    Exists,
    Expired,
    IsDirectory,
    NameInvalid,
    NoSpace,
    NoSuchEntry,
    NotDirectory,
    NotEmpty,
    StagingGone,
    TooDeep,
    TooLarge,
)
from cfs.messages import Code, Kind, Operation, Result
from transport.errors import OutcomeUnknown, Refused


def refusal(operation: Operation, result: Result) -> Refused | OutcomeUnknown | None:
    """None when it was done; else the error to raise. Made of code and detail alone, so a retry gets the same text."""
    path = operation.path
    match result.code:
        case Code.OK:
            return None
        case Code.NO_SUCH_ENTRY if operation.kind in (Kind.PUT, Kind.PUT_STAGED, Kind.MKDIR):
            return NoSuchEntry(f"{path}: its directory does not exist; make it first")
        case Code.NO_SUCH_ENTRY:
            also = f", or the directory of {operation.to} does not" if operation.to else ""
            return NoSuchEntry(f"{path}: no such entry{also}")
        case Code.EXISTS:
            return Exists(f"{operation.to or path}: exists already")
        case Code.NOT_EMPTY:
            return NotEmpty(f"{path}{' or ' + operation.to if operation.to else ''}: the directory is not empty")
        case Code.IS_DIRECTORY:
            return IsDirectory(f"{operation.to or path}: is a directory")
        case Code.NOT_DIRECTORY:
            return NotDirectory(f"{operation.to or path}: a part of it is a file where a directory is needed")
        case Code.CONFLICT:
            there = f"is at revision {result.detail}" if result.detail else "does not exist"
            asked = f"revision {operation.condition}" if operation.condition else "that it does not exist"
            return Conflict(f"{path}: {there}, the condition was {asked}", result.detail)
        case Code.TOO_LARGE if operation.kind is Kind.DELETE:
            return TooLarge(f"{path}: more than {result.detail} entries below; delete it in parts")
        case Code.TOO_LARGE:
            return TooLarge(f"{path}: larger than a file may be, {result.detail} bytes")
        case Code.TOO_DEEP:
            return TooDeep(f"{path}: more than {result.detail} levels deep")
        case Code.NAME_INVALID:
            return NameInvalid(f"{operation.to and operation.to + ' or '}{path or 'the root'}: not a valid name here")
        case Code.NO_SPACE:
            return NoSpace(f"{path}: the tree is full, its limit is {result.detail}")
        case Code.STAGING_GONE:
            return StagingGone(f"{path or operation.staging.hex()}: the uploaded parts are not all there; upload again")
        case Code.INVALID if operation.kind is Kind.STAGE:
            return BadArgument(
                f"upload {operation.staging.hex()}: a chunk at {operation.offset}, {result.detail} staged"
            )
        case Code.INVALID:
            return BadArgument(f"{path}: not possible as asked" if path else "limits out of their range")
        case Code.EXPIRED:
            return expired(operation, ahead=bool(result.detail))


def expired(operation: Operation, ahead: bool = False) -> Expired:
    """ahead: its log index is not behind the log, so an earlier attempt cannot have been judged in this history."""
    name = operation.path or operation.staging.hex()
    if ahead:
        text = f"{name}: begun when the log was longer, in a history that was set aside; not done in this one"
    else:
        text = f"{name}: begun so long ago that what became of earlier attempts is forgotten; not done now"
    return Expired(text, operation.id.hex(), never=ahead)
