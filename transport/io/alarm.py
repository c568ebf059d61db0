"""One deadline on CLOCK_BOOTTIME, to some tens of microseconds, as a file descriptor that the loop watches.

Event loops count in whole milliseconds: libuv fires a timer of 0.3 ms at once and one of 0.6 ms after 1.1 ms. The
ring waits for fractions of a millisecond, so with their timers it either spins or is late. The kernel's timer
(timerfd_create(2)) is exact, and on CLOCK_BOOTTIME it is also due after the machine was suspended.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

_TFD_TIMER_ABSTIME = 1
_NS = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


class _Itimerspec(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


_libc = ctypes.CDLL(None, use_errno=True)
_settime = _libc.timerfd_settime
_settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Itimerspec), ctypes.c_void_p)


class Alarm:
    """Calls `callback` from the loop once after the time that was set last.

    Raises OSError when the kernel has no such timer to give.
    """

    __slots__ = ("_callback", "_descriptor", "_loop", "_pointer", "_spec")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._descriptor: int = _libc.timerfd_create(time.CLOCK_BOOTTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"timerfd_create: {os.strerror(code)}")
        self._spec = _Itimerspec()
        self._pointer = ctypes.pointer(self._spec)
        self._loop = loop
        self._callback = callback
        loop.add_reader(self._descriptor, self._ready)

    def set(self, when: float) -> None:
        """Ring at `when`, CLOCK_BOOTTIME seconds, instead of any earlier setting; in the past: at the next turn."""
        # Zero would switch it off, and below zero is refused.
        sec, nsec = divmod(max(1, int(when * _NS)), _NS)
        value = self._spec.value
        value.sec, value.nsec = sec, nsec
        _settime(self._descriptor, _TFD_TIMER_ABSTIME, self._pointer, None)

    def close(self) -> None:
        """No more calls. Once only."""
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _ready(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:  # set anew since the loop saw it
            return
        self._callback()
