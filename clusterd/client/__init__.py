"""Talk to clusterd on this host: `Client` waits, `AsyncClient` is awaited. Described in docs/client.md.

Imports no daemon code and, besides the standard library, only msgpack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clusterd.client.errors import (
    ClientError,
    ConfigRefused,
    Conflict,
    Denied,
    Failed,
    LimitExceeded,
    Missed,
    NoDaemon,
    NoQuorum,
    NotFound,
    OutcomeUnknown,
    Timeout,
    UsageError,
)
from clusterd.client.sync import Client

if TYPE_CHECKING:
    from clusterd.client.aio import AsyncClient

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "ConfigRefused",
    "Conflict",
    "Denied",
    "Failed",
    "LimitExceeded",
    "Missed",
    "NoDaemon",
    "NoQuorum",
    "NotFound",
    "OutcomeUnknown",
    "Timeout",
    "UsageError",
]


def __getattr__(name: str) -> Any:
    """AsyncClient brings asyncio along, which costs more than all the rest: loaded when asked for."""
    if name == "AsyncClient":
        from clusterd.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
