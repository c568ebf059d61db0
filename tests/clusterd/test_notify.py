"""What the service manager is told (sd_notify(3))."""

import os
import socket

import pytest

from clusterd.notify import Notifier


def test_nothing_important_is_lost_when_the_manager_has_no_room(monkeypatch: pytest.MonkeyPatch):
    """READY that meets a full queue is told at the next occasion, in order; a watchdog beat is not worth keeping."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0clusterd-notify-{os.getpid()}")
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@clusterd-notify-{os.getpid()}")
        notifier = Notifier()
        for _ in range(10_000):
            notifier.alive()
        notifier.reloading(5)
        notifier.ready("done")
        said: list[str] = []
        while len(said) < 10_002:
            try:
                said.append(manager.recv(4096).decode())
            except BlockingIOError:
                break
        assert "READY=1\nSTATUS=done" not in said
        notifier.alive()
        told = [manager.recv(4096).decode() for _ in range(3)]
        assert told == ["RELOADING=1\nMONOTONIC_USEC=5", "READY=1\nSTATUS=done", "WATCHDOG=1"]
        notifier.close()


def test_without_a_manager_every_call_does_nothing(monkeypatch: pytest.MonkeyPatch):
    """Started by hand there is no NOTIFY_SOCKET."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    notifier.ready("x")
    notifier.close()
