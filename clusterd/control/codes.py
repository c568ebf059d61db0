"""The words of the local protocol that server and clients share: versions, error codes, exit statuses.

No imports: the command line loads this on its fast path.
"""

from __future__ import annotations

from typing import Final

PROTOCOL: Final = 1
"""Version of the hello; the two sides must name the same number."""

CONTRACT: Final = 1
"""Version of the JSON shapes: fields may be added, never changed."""

DEFAULT_SOCKET: Final = "/run/clusterd/clusterd.sock"

EXIT_STATUS: Final[dict[str, int]] = {
    "FAILED": 1,
    "USAGE": 2,
    "CONFIG": 2,
    "NO_DAEMON": 3,
    "NO_QUORUM": 4,
    "OUTCOME_UNKNOWN": 5,
    "CONFLICT": 6,
    "NOT_FOUND": 7,
    "DENIED": 8,
    "LIMIT": 9,
    "TIMEOUT": 124,
}
"""Every error code and the exit status a command ends with for it."""
