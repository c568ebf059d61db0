"""The simulated network does what a fault plan asks of it, and the same every time."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from tests.sim.clock import Clock
from tests.sim.network import MAX_CLOGGED, Conditions, Network, address_of


class World:
    """Two nodes, one link, and what arrived where."""

    def __init__(self, conditions: Conditions | None = None, seed: int = 1) -> None:
        self.clock = Clock()
        self.got: list[tuple[float, int, bytes]] = []
        self.refusals: list[tuple[int, int]] = []
        self.listening = {1, 2}
        self.network = Network(self.clock, Random(seed), self._deliver, self._refused)
        self.network.add([1, 2], [0], lambda key: conditions or Conditions())

    def _deliver(self, target: int, source: int, link: int, data: bytes) -> bool:
        if target not in self.listening:
            return False
        self.got.append((self.clock.now, target, data))
        return True

    def _refused(self, source: int, target: int, link: int) -> None:
        self.refusals.append((source, target))

    def send(self, count: int, size: int = 100) -> None:
        for number in range(count):
            self.network.send(1, 0, address_of(2, 0), number.to_bytes(2, "big") * (size // 2))


def test_a_datagram_takes_the_delay_of_its_path() -> None:
    """One datagram, one arrival, within delay and jitter."""
    world = World(Conditions(delay=0.01, jitter=0.002))
    world.send(1)
    world.clock.run(1.0)
    assert [target for _, target, _ in world.got] == [2]
    assert 0.01 <= world.got[0][0] <= 0.012


def test_loss_duplication_damage_and_reordering_are_drawn_per_datagram() -> None:
    """Each trouble happens about as often as asked, and is counted."""
    world = World(Conditions(loss=0.1, duplicate=0.1, corrupt=0.1, truncate=0.1, reorder=0.1))
    world.send(2000)
    world.clock.run(1.0)
    counts = world.network.counts
    for share in (counts.lost, counts.duplicated, counts.reordered):
        assert 120 < share < 300
    assert 250 < counts.damaged < 600
    assert counts.delivered == len(world.got) == 2000 - counts.lost + counts.duplicated
    numbers = [int.from_bytes(data[:2], "big") for _, _, data in world.got if len(data) == 100]
    assert numbers != sorted(numbers)


def test_a_cut_is_one_way_and_counted_per_fault() -> None:
    """Two faults may hold one path closed: it opens when both have ended."""
    world = World()
    world.network.cut((1, 2, 0))
    world.network.cut((1, 2, 0))
    world.network.heal((1, 2, 0))
    world.send(1)
    world.network.send(2, 0, address_of(1, 0), b"back")
    world.clock.run(1.0)
    assert [(target, data) for _, target, data in world.got] == [(1, b"back")]
    world.network.heal((1, 2, 0))
    world.send(1)
    world.clock.run(2.0)
    assert world.got[-1][1] == 2


def test_an_mtu_hole_swallows_only_large_datagrams() -> None:
    """What does not fit vanishes without a word, headers counted."""
    world = World(Conditions(mtu=600))
    world.send(1, 572)
    world.send(1, 574)
    world.clock.run(1.0)
    assert [len(data) for _, _, data in world.got] == [572]
    assert world.network.counts.too_big == 1


def test_a_clogged_path_gives_everything_at_once_when_opened() -> None:
    """Swizzle-clogging: packets wait, a bounded number of them, and come out of order."""
    world = World()
    world.network.clog((1, 2, 0))
    world.send(MAX_CLOGGED + 10)
    world.clock.run(1.0)
    assert world.got == []
    world.network.unclog((1, 2, 0))
    world.clock.run(2.0)
    assert len(world.got) == MAX_CLOGGED
    numbers = [int.from_bytes(data[:2], "big") for _, _, data in world.got]
    assert numbers != sorted(numbers)


def test_a_machine_without_a_listener_refuses() -> None:
    """As ICMP port unreachable: the sender hears of it unless the way back is cut."""
    world = World()
    world.listening = {1}
    world.send(1)
    world.clock.run(1.0)
    assert world.refusals == [(1, 2)]
    world.network.cut((2, 1, 0))
    world.send(1)
    world.clock.run(2.0)
    assert len(world.refusals) == 1


@pytest.mark.parametrize("first", [0, 1])
def test_troubles_that_overlap_end_each_for_itself(first: int) -> None:
    """Whichever of two ends first, the other goes on; behind both the path is as it was."""
    world, key = World(), (1, 2, 0)
    before = replace(world.network.paths[key].conditions)
    noise, hole = world.network.change(key, loss=0.5, mtu=9000), world.network.change(key, mtu=100)
    made = world.network.paths[key].conditions
    assert (made.loss, made.mtu) == (0.5, 100)
    world.network.change_back(key, (noise, hole)[first])
    made = world.network.paths[key].conditions
    assert (made.loss, made.mtu) == ((before.loss, 100), (0.5, 9000))[first]
    world.network.change_back(key, (hole, noise)[first])
    assert world.network.paths[key].conditions == before


def test_calm_ends_every_trouble() -> None:
    """After it each datagram arrives once and whole."""
    world = World(Conditions(loss=0.5, duplicate=0.5))
    world.network.cut((1, 2, 0))
    world.network.clog((1, 2, 0))
    world.network.change((1, 2, 0), mtu=100)
    world.network.calm()
    world.send(50, 1000)
    world.clock.run(1.0)
    assert len(world.got) == 50


def test_the_same_seed_gives_the_same_arrivals() -> None:
    """Nothing but the seed decides."""
    runs = []
    for _ in range(2):
        world = World(Conditions(loss=0.1, duplicate=0.1, corrupt=0.1, reorder=0.2), seed=7)
        world.send(300)
        world.clock.run(1.0)
        runs.append(world.got)
    assert runs[0] == runs[1]
