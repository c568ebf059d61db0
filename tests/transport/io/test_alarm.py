"""The one timer of a node (transport/io/alarm.py)."""

import asyncio

import pytest

from transport.io.alarm import Alarm
from transport.io.driver import clock


class Bell:
    """An alarm and the times at which it rang."""

    def __init__(self) -> None:
        self.rang: list[float] = []
        self.alarm = Alarm(asyncio.get_running_loop(), lambda: self.rang.append(clock()))

    async def wait(self) -> None:
        async with asyncio.timeout(5):
            while not self.rang:
                await asyncio.sleep(0.001)


async def test_rings_once_and_never_early() -> None:
    """ "Calls `callback` from the loop once after the time that was set last." """
    bell = Bell()
    due = clock() + 0.0123
    bell.alarm.set(due)
    await bell.wait()
    await asyncio.sleep(0.02)
    bell.alarm.close()
    assert len(bell.rang) == 1
    assert bell.rang[0] >= due - 1e-6


@pytest.mark.parametrize("when", [-1.0, 0.0, 1.0])
async def test_the_past_rings_at_once(when: float) -> None:
    """ "in the past: at the next turn"; zero must not switch it off."""
    bell = Bell()
    bell.alarm.set(when)
    await bell.wait()
    bell.alarm.close()
    assert len(bell.rang) == 1


async def test_the_last_setting_counts() -> None:
    """ "instead of any earlier setting", to an earlier and to a later time."""
    bell = Bell()
    bell.alarm.set(clock() + 60)
    bell.alarm.set(clock() + 0.005)
    await bell.wait()
    bell.rang.clear()
    bell.alarm.set(clock() + 0.005)
    bell.alarm.set(clock() + 60)
    await asyncio.sleep(0.02)
    bell.alarm.close()
    assert bell.rang == []


async def test_closed_it_is_silent() -> None:
    """ "No more calls." """
    bell = Bell()
    bell.alarm.set(clock() + 0.001)
    bell.alarm.close()
    await asyncio.sleep(0.005)
    assert bell.rang == []
