"""Tells when this machine goes on from a snapshot or as a copy: the hypervisor gave it a new generation id.

Packet counters in memory may then have been used already by the machine that went on from the same point. A machine
restored with its memory need not see its clock step, so the clock alone (driver.py) does not tell. Linux tells user
space of a new id by a uevent of the vmgenid driver with NEW_VMGENID=1 (drivers/virt/vmgenid.c); older kernels keep it
to themselves, and then there is only the clock.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

DRIVERS = ("/sys/bus/platform/drivers/vmgenid", "/sys/bus/acpi/drivers/vmgenid")
_KOBJECT_UEVENT = 15  # netlink(7): NETLINK_KOBJECT_UEVENT
_FROM_KERNEL = 1  # its multicast group of what the kernel says; 2 is udev's
_LARGEST = 8192  # bytes; the kernel's uevents have at most 2 KiB of variables
_BATCH = 64  # read in one turn of the loop; the rest in the next


def has_generation(drivers: tuple[str, ...] = DRIVERS) -> bool:
    """Whether the hypervisor gives this machine a generation id that the kernel watches."""
    return any(path.is_symlink() for name in drivers for path in Path(name).glob("*:*"))


def is_fork(uevent: bytes) -> bool:
    """Whether this uevent, `ACTION@DEVPATH` and variables with a zero byte after each, tells of a new generation."""
    head, *variables = uevent.split(b"\0")
    return head.startswith(b"change@") and b"NEW_VMGENID=1" in variables


class ForkWatch:
    """Calls `on_fork(sure)` from the loop for each new generation id; not sure: uevents were lost, perhaps that one.

    Raises OSError when the kernel gives no such socket.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_fork: Callable[[bool], None]) -> None:
        self._loop = loop
        self._on_fork = on_fork
        kinds = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kinds, _KOBJECT_UEVENT)
        try:
            self._socket.bind((0, _FROM_KERNEL))
        except OSError:
            self._socket.close()
            raise
        loop.add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        """No more calls. Once only."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _readable(self) -> None:
        forked = doubtful = False
        for _ in range(_BATCH):
            try:
                data, (sender, _groups) = self._socket.recvfrom(_LARGEST)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: some were lost, perhaps that one
                doubtful = True
                continue
            forked |= sender == 0 and is_fork(data)
        if forked or doubtful:
            self._on_fork(forked)
