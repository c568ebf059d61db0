"""How a call can end other than well. One class per error code of the command line contract."""

# ruff: noqa: N818  the words of the contract, read as `except NoQuorum`

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clusterd.control.codes import EXIT_STATUS


class ClientError(Exception):
    """Anything that went wrong; the message is one sentence for a person.

    code: a key of EXIT_STATUS.  hint: what to do, or "".  node: id of the node that answered, None when none did.
    """

    code = "FAILED"

    def __init__(self, message: str, hint: str = "", node: int | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.node = node
        self.details = details

    @property
    def spent(self) -> bool:
        """If the operation's id was sent once, nothing was done under it, nor will be: doing it needs a new one."""
        return self.details.get("reason") in ("stale", "staging_gone")

    @property
    def exit_status(self) -> int:
        return EXIT_STATUS[self.code]

    def as_dict(self) -> dict[str, Any]:
        """The error object of `--json`."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "node": self.node, **self.details}


class Failed(ClientError):
    """Anything that has no class of its own."""


class Missed(Failed):
    """A stream lost events because its reader was too slow, or the history asked for is gone. dropped: at least."""

    def __init__(self, dropped: int, node: int | None = None) -> None:
        super().__init__(
            f"{dropped} events were missed: read too slowly", "read the state again", node, dropped=dropped
        )
        self.dropped = dropped


class UsageError(ClientError):
    """An argument is out of its range."""

    code = "USAGE"


class ConfigRefused(ClientError):
    """The configuration was not applied. problems: all reasons."""

    code = "CONFIG"

    @property
    def problems(self) -> list[str]:
        return list(self.details.get("problems", ()))


class NoDaemon(ClientError):
    """Nobody answers on the socket. A call that raises this has not happened."""

    code = "NO_DAEMON"


class NoQuorum(ClientError):
    """The node is not quorate, or its store may not write: refused, nothing happened."""

    code = "NO_QUORUM"


class OutcomeUnknown(ClientError):
    """It may have happened. operation_id: repeat the call with it (done at most once), or ask `outcome`.

    expired: it was repeated so late that its outcome may be forgotten. Repeating it does nothing; look what is there.
    """

    code = "OUTCOME_UNKNOWN"

    @property
    def expired(self) -> bool:
        return self.details.get("reason") in ("expired", "stale")

    @property
    def operation_id(self) -> str:
        return str(self.details.get("operation_id", ""))


class Conflict(ClientError):
    """Compare-and-set lost, exists already, not empty. current_revision: 0 = no such entry, None = not told."""

    code = "CONFLICT"

    @property
    def current_revision(self) -> int | None:
        return self.details.get("current_revision")


class NotFound(ClientError):
    """No such entry, node, link or lab."""

    code = "NOT_FOUND"


class Denied(ClientError):
    """The daemon does not let this user do that."""

    code = "DENIED"


class LimitExceeded(ClientError):
    """Too large, too deep, a full disk, a full queue, too many clients."""

    code = "LIMIT"


class Timeout(ClientError):
    """The time given passed; nothing was changed."""

    code = "TIMEOUT"


_KINDS: tuple[type[ClientError], ...] = (
    UsageError,
    ConfigRefused,
    NoDaemon,
    NoQuorum,
    OutcomeUnknown,
    Conflict,
    NotFound,
    Denied,
    LimitExceeded,
    Timeout,
)
_BY_CODE = {kind.code: kind for kind in _KINDS}


def from_wire(error: Mapping[str, Any]) -> ClientError:
    """The error object of a response as an exception; an unknown code (a newer daemon) is Failed."""
    kind = _BY_CODE.get(str(error.get("code")), Failed)
    details = {key: value for key, value in error.items() if key not in ("code", "message", "hint", "node")}
    return kind(str(error.get("message", "")), str(error.get("hint", "")), error.get("node"), **details)
