"""What this machine does without any clusterd: no figure of the suites can be better than these."""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
import time
from pathlib import Path

_ROUND_TRIPS = 5000
_WARM_UP = 500
_SYNCS = 300
_MESSAGE = 64  # bytes
_WRITE = 1024  # bytes


def udp_round_trip() -> list[float]:
    """Seconds from sendto to the answer of another process, 64 bytes over loopback; blocking sockets, no encryption."""
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with here, there:
        here.bind(("127.0.0.1", 0))
        there.bind(("127.0.0.1", 0))
        here.settimeout(5.0)
        echo = multiprocessing.get_context("fork").Process(target=_echo, args=(there,), daemon=True)
        echo.start()
        try:
            address = there.getsockname()
            payload = bytes(_MESSAGE)
            samples = []
            for _ in range(_WARM_UP + _ROUND_TRIPS):
                start = time.monotonic_ns()
                here.sendto(payload, address)
                here.recv(2048)
                samples.append((time.monotonic_ns() - start) / 1e9)
        finally:
            echo.kill()
            echo.join()
    return samples[_WARM_UP:]


def _echo(sock: socket.socket) -> None:
    while True:
        data, source = sock.recvfrom(2048)
        sock.sendto(data, source)


def synced_write(directory: Path) -> list[float]:
    """Seconds to append 1 kB to a file in `directory` and fdatasync it."""
    samples = []
    payload = os.urandom(_WRITE)
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(_SYNCS):
            start = time.monotonic_ns()
            file.write(payload)
            os.fdatasync(file.fileno())
            samples.append((time.monotonic_ns() - start) / 1e9)
    return samples
