"""systemd: readiness, status line, watchdog (sd_notify(3), sd_watchdog_enabled(3)).

The protocol is one datagram to the socket named in NOTIFY_SOCKET; without that variable every call does nothing.
"""

from __future__ import annotations

import os
import socket
from collections import deque


class Notifier:
    """Speaks to the service manager, if there is one. Never blocks and never raises."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        pid = os.environ.pop("WATCHDOG_PID", str(os.getpid()))
        usec = os.environ.pop("WATCHDOG_USEC", "")
        mine = usec.isdigit() and pid == str(os.getpid())
        self.watchdog_interval: float | None = int(usec) / 1e6 / 3 if mine else None
        """Seconds between two `alive` calls (a third of the limit), None when the manager does not watch."""
        self._unsent: deque[str] = deque(maxlen=8)
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    def _send(self, message: str, keep: bool = True) -> None:
        """keep: a manager that has no room now must hear it at the next occasion, in order."""
        if self._socket is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        self._unsent.append(message)
        while self._unsent:
            try:
                self._socket.sendto(self._unsent[0].encode(), address)
            except BlockingIOError:
                if not keep:
                    self._unsent.pop()
                return
            except OSError:
                pass  # nobody is there to be told
            self._unsent.popleft()

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={status}")

    def reloading(self, monotonic_usec: int) -> None:
        """A reload began; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_usec}")

    def stopping(self, status: str) -> None:
        self._send(f"STOPPING=1\nSTATUS={status}")

    def alive(self) -> None:
        self._send("WATCHDOG=1", keep=False)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
