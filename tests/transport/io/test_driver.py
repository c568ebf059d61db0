"""Pump and timer over a core (transport/io/driver.py)."""

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest

from transport.endpoint import Transmit
from transport.ids import LinkId
from transport.io.driver import Driver, clock
from transport.link.events import Address

TO: Address = ("192.0.2.1", 5405)


class FakeCore:
    """Says what it is told to say; writes down what it was asked."""

    def __init__(self) -> None:
        self.out: list[Transmit] = []
        self.events: list[str] = []
        self.due: float | None = None
        self.fired: list[float] = []

    def receive(self, datagrams: Sequence[tuple[LinkId, Address, bytes]], now: float) -> None:
        self.events += [data.decode() for _, _, data in datagrams]

    def poll_transmit(self, now: float) -> Transmit | None:
        return self.out.pop(0) if self.out else None

    def next_event(self) -> str | None:
        return self.events.pop(0) if self.events else None

    def next_timeout(self) -> float | None:
        return self.due

    def handle_timeout(self, now: float) -> None:
        self.fired.append(now)
        self.due = None

    def say(self, data: bytes, now: float) -> None:
        self.out.append(Transmit(0, TO, data))


class World:
    """A core, its driver, and everything in the order it happened."""

    def __init__(self, on_event: Callable[["World", str], None] = lambda world, event: None) -> None:
        self.core = FakeCore()
        self.seen: list[str] = []

        def told(event: str) -> None:
            self.seen.append(f"event {event}")
            on_event(self, event)

        self.driver = Driver(asyncio.get_running_loop(), self.core, told)
        self.driver.attach(self)

    def send_batch(self, batch: list[tuple[LinkId, Address, bytes]]) -> None:
        self.seen += [f"sent {data.decode()}" for _, _, data in batch]

    def send_urgent(self, link: LinkId, address: Address, data: bytes) -> None:
        self.seen.append(f"urgent {data.decode()}")


async def test_sends_before_it_tells() -> None:
    """What the core has to send goes out first, then its events are told."""
    world = World()
    world.core.events = ["a"]
    world.driver.call(world.core.say, b"x")
    world.driver.close()
    assert world.seen == ["sent x", "event a"]


async def test_what_a_handler_puts_in_is_pumped_too() -> None:
    """An event handler may give the core more input, through call(); that is then pumped too."""

    def answer(world: World, event: str) -> None:
        if event == "ask":
            world.driver.call(world.core.say, b"answer")

    world = World(answer)
    world.driver.datagrams([(0, TO, b"ask"), (0, TO, b"more")])
    world.driver.close()
    assert world.seen == ["event ask", "event more", "sent answer"]


async def test_fires_when_due_and_not_before() -> None:
    """The core compares now >= deadline."""
    world = World()
    world.core.due = due = clock() + 0.0042
    world.driver.pump()
    async with asyncio.timeout(5):
        while not world.core.fired:
            await asyncio.sleep(0.001)
    world.driver.close()
    assert len(world.core.fired) == 1
    assert world.core.fired[0] >= due


async def test_a_deadline_that_moved_back_is_kept() -> None:
    """It fires, finds nothing due and is set anew."""
    world = World()
    world.core.due = clock() + 0.002
    world.driver.pump()
    world.core.due = due = clock() + 0.010
    world.driver.pump()
    async with asyncio.timeout(5):
        while not world.core.fired:
            await asyncio.sleep(0.001)
    world.driver.close()
    assert world.core.fired[0] >= due


async def test_a_handler_may_close_it() -> None:
    """Nothing is driven any more; closing twice is no error."""
    world = World(lambda world, event: world.driver.close())
    world.core.due = clock() - 1
    world.driver.datagrams([(0, TO, b"end")])
    world.driver.datagrams([(0, TO, b"late")])
    world.driver.close()
    await asyncio.sleep(0.005)
    assert world.seen == ["event end"]
    assert world.core.fired == []


async def test_a_step_of_the_wall_clock_is_told_before_the_next_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock jump means new keys before anything else is sealed (DESIGN 6)."""
    told: list[float] = []
    driver = Driver(asyncio.get_running_loop(), FakeCore(), lambda event: None, told.append)
    driver.datagrams([])
    assert told == []
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 100.0)
    driver.datagrams([])
    driver.datagrams([])
    monkeypatch.setattr(time, "time", real)
    driver.call(lambda now: told.append(0.0))  # a caller's request may be what wakes us
    driver.close()
    assert [round(jump) for jump in told] == [-100, 100, 0]
