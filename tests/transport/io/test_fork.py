"""A changed generation id of the virtual machine is heard (DESIGN 6: "a changed VM generation id means a new key")."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from transport.io import fork

NEW = b"change@/devices/platform/VMGENCTR:00\0ACTION=change\0SUBSYSTEM=platform\0NEW_VMGENID=1\0SEQNUM=991\0"


def test_the_uevent_of_a_new_generation_is_known_from_others() -> None:
    assert fork.is_fork(NEW)
    assert not fork.is_fork(NEW.replace(b"NEW_VMGENID=1", b"NEW_VMGENID=10"))
    assert not fork.is_fork(b"add@/devices/virtual/net/tap1\0ACTION=add\0INTERFACE=NEW_VMGENID=1\0")
    assert not fork.is_fork(b"")
    assert not fork.is_fork(b"libudev\0" + bytes(100))


def test_only_a_driver_with_its_device_watches_a_generation(tmp_path: Path) -> None:
    drivers = tmp_path / "vmgenid"
    drivers.mkdir()
    (drivers / "bind").touch()
    assert not fork.has_generation((str(drivers), str(tmp_path / "none")))
    (drivers / "VMGENCTR:00").symlink_to(tmp_path)
    assert fork.has_generation((str(drivers),))


class _Kernel:
    """A socket in the kernel's place: what it hands out, one by one, then nothing."""

    def __init__(self, *answers: tuple[bytes, tuple[int, int]] | OSError) -> None:
        self._answers = list(answers)

    def recvfrom(self, size: int) -> tuple[bytes, tuple[int, int]]:
        answer = self._answers.pop(0) if self._answers else BlockingIOError()
        if isinstance(answer, OSError):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (((NEW, (0, 1)),), [True]),
        (((NEW, (0, 1)), (NEW, (0, 1))), [True]),  # one turn, one word
        (((NEW, (4711, 1)),), []),  # a process's word, not the kernel's
        (((b"add@/devices/x\0", (0, 1)),), []),
        ((OSError(105, "No buffer space available"), (b"add@/devices/x\0", (0, 1))), [False]),  # perhaps it was that
    ],
)
async def test_the_kernels_word_alone_counts_and_what_was_lost_may_have_been_it(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[tuple[bytes, tuple[int, int]] | OSError, ...], told: list[bool]
) -> None:
    calls: list[bool] = []
    watch = fork.ForkWatch(asyncio.get_running_loop(), calls.append)
    real = watch._socket
    try:
        monkeypatch.setattr(watch, "_socket", _Kernel(*answers))
        watch._readable()
    finally:
        monkeypatch.setattr(watch, "_socket", real)
        watch.close()
    assert calls == told


async def test_the_socket_hears_the_kernel_and_is_closed_with_the_watch() -> None:
    watch = fork.ForkWatch(asyncio.get_running_loop(), lambda sure: None)
    real: socket.socket = watch._socket
    assert real.getsockname()[1] & 1
    watch.close()
    assert real.fileno() == -1
