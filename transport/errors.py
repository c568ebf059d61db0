"""The error tree: who is at fault, and what may be done next.

WireError: a peer's bytes are no message of ours; counted and dropped at the edge, never logged per packet.
Refused: did not happen and will not. OutcomeUnknown: it may have happened; look before retrying.
"""

from __future__ import annotations


class ClusterError(Exception):
    """Every error raised on purpose by this project."""


class WireError(ClusterError):
    """Bytes from the network (or a damaged disk record) that decode to no message of ours."""


class Refused(ClusterError):  # noqa: N818  the field's word, read as `except Refused`
    """The request did not happen and will not; the text says why and what to do."""


class QueueFull(Refused):
    """A bounded queue is full: nothing was sent, try again later."""


class BadArgument(Refused):
    """The caller's argument is out of its documented range."""


class TooLarge(Refused):
    """Larger than a documented limit; the text names the limit."""


class NoQuorum(Refused):
    """This node is not quorate, or no primary is open: writes are refused."""


class OutcomeUnknown(ClusterError):  # noqa: N818
    """The configuration changed while it was in flight: it may have happened.

    operation_id: the id to ask about (`clusterctl fs outcome ID`) or to retry under.
    """

    def __init__(self, message: str, operation_id: str = "") -> None:
        super().__init__(message)
        self.operation_id = operation_id
