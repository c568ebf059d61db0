"""Large files take turns: a bounded number at once, first come, first served, nobody forgotten."""

from __future__ import annotations

import asyncio

import pytest

from clusterd.uploads import Share, Uploads
from transport.errors import NoQuorum, QueueFull


def uploads(size: int = 10, count: int = 2, waiting: int = 100) -> Uploads:
    return Uploads(asyncio.get_running_loop(), lambda: Share(size, count), waiting)


async def begin(queue: Uploads, size: int) -> asyncio.Task[None]:
    task = asyncio.ensure_future(queue.enter(size))
    await asyncio.sleep(0)
    return task


async def test_as_many_as_fit_go_at_once():
    """By number and by bytes."""
    queue = uploads(size=10, count=3)
    tasks = [await begin(queue, size) for size in (4, 6, 1)]
    assert [task.done() for task in tasks] == [True, True, False]
    queue.leave(4)
    await asyncio.sleep(0)
    assert tasks[2].done()


async def test_one_alone_always_may():
    """A share smaller than a file must not mean that it can never be written."""
    queue = uploads(size=10)
    assert (await begin(queue, 50)).done()


async def test_they_go_in_the_order_they_came():
    """A small one behind a large one waits: else the large one might wait for ever."""
    queue = uploads(size=10)
    first, large, small = [await begin(queue, size) for size in (6, 8, 2)]
    assert (first.done(), large.done(), small.done()) == (True, False, False)
    queue.leave(6)
    await asyncio.sleep(0)
    assert (large.done(), small.done()) == (True, True)


async def test_who_gives_up_lets_the_next_one_go():
    """A client's deadline passed, or it went away."""
    queue = uploads(size=10)
    await begin(queue, 6)
    large, small = await begin(queue, 8), await begin(queue, 2)
    large.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (large.cancelled(), small.done()) == (True, True)


async def test_who_gives_up_at_the_moment_its_turn_comes_does_not_keep_it():
    """Else the room would be lost for good."""
    queue = uploads(size=10)
    await begin(queue, 10)
    second, third = await begin(queue, 10), await begin(queue, 10)
    queue.leave(10)
    second.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (second.cancelled(), third.done()) == (True, True)


async def test_what_waits_is_bounded():
    """It is held in memory."""
    queue = uploads(size=10, waiting=20)
    await begin(queue, 10)
    await begin(queue, 15)
    with pytest.raises(QueueFull):
        await queue.enter(6)
    assert not (await begin(queue, 5)).done()


async def test_all_that_wait_can_be_refused():
    """The node is leaving."""
    queue = uploads(size=10)
    await begin(queue, 10)
    waiting = [await begin(queue, 5) for _ in range(3)]
    queue.refuse(NoQuorum("leaving"))
    await asyncio.sleep(0)
    assert all(isinstance(task.exception(), NoQuorum) for task in waiting)
    queue.leave(10)
    assert (await begin(queue, 10)).done()
