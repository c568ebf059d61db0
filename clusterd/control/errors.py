"""From our errors to the codes of the command line contract: one table, used here at the edge and nowhere else."""

from __future__ import annotations

from typing import Any

from cfs import errors as cfs
from transport.errors import BadArgument, NoQuorum, OutcomeUnknown, QueueFull, Refused, TooLarge


class ConfigRefused(Refused):
    """A configuration that cannot be applied.

    problems: every reason, each `FILE:LINE: sentence` or `node N: reason`.
    """

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


_UNCHANGED = "nothing was changed"

CODES: list[tuple[type[BaseException], str, str]] = [
    (NoQuorum, "NO_QUORUM", "nothing was changed; `clusterctl quorum` says what is missing"),
    (cfs.Expired, "OUTCOME_UNKNOWN", "look before you do it anew; asking again under this id does nothing"),
    (OutcomeUnknown, "OUTCOME_UNKNOWN", "it may have happened: look before retrying"),
    (cfs.NoSuchEntry, "NOT_FOUND", ""),
    (cfs.Conflict, "CONFLICT", "read it again and decide anew"),
    (cfs.Exists, "CONFLICT", _UNCHANGED),
    (cfs.NotEmpty, "CONFLICT", "remove what is in it first, or use -r"),
    (cfs.Denied, "DENIED", ""),
    (cfs.NameInvalid, "USAGE", ""),
    (cfs.TooDeep, "LIMIT", _UNCHANGED),
    (cfs.NoSpace, "LIMIT", _UNCHANGED),
    (cfs.StagingGone, "FAILED", "nothing was changed; send it again under a new id"),
    (cfs.DiskFailed, "LIMIT", "nothing was changed; `clusterctl status` names the disks"),
    (cfs.Compacted, "FAILED", "read the tree, then watch from its revision"),
    (ConfigRefused, "CONFIG", _UNCHANGED),
    (QueueFull, "LIMIT", "nothing was changed; try again later"),
    (TooLarge, "LIMIT", _UNCHANGED),
    (BadArgument, "USAGE", ""),
    (Refused, "FAILED", ""),
]
"""First match wins: (class, code, hint)."""


def describe(error: BaseException, node: int | None) -> dict[str, Any]:
    """The error object for an error raised on purpose. Its own fields (current_revision, ...) are added."""
    code, hint = next(((code, hint) for kind, code, hint in CODES if isinstance(error, kind)), ("FAILED", ""))
    answer = make(code, str(error), hint, node)
    if code == "CONFLICT":
        answer["current_revision"] = getattr(error, "current_revision", None)
    if isinstance(error, OutcomeUnknown):
        answer["operation_id"] = error.operation_id
        if error.operation_id and not isinstance(error, cfs.Expired):
            answer["hint"] = f"it may have happened: ask `clusterctl fs outcome {error.operation_id}` before retrying"
    if isinstance(error, cfs.StagingGone):  # a reason is what a client can do something about by itself
        answer["reason"] = "staging_gone"
    if isinstance(error, cfs.Expired):
        answer["reason"] = "stale" if error.never else "expired"
    if isinstance(error, ConfigRefused):
        answer["problems"] = list(error.problems)
    return answer


def make(code: str, message: str, hint: str, node: int | None) -> dict[str, Any]:
    """An error object with the four fields that every error has."""
    return {"code": code, "message": message, "hint": hint, "node": node}
