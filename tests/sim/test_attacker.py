"""The attacker of the simulator has the power that its text gives it, and uses it."""

from __future__ import annotations

from random import Random

from tests.sim.attacker import HEADERS, KEPT, Attacker, forged
from tests.sim.clock import Clock
from tests.sim.network import Address, Conditions, Network, address_of
from transport.handshake import COOKIE_SIZE, INIT_SIZE, RESPONSE_SIZE

MTUS = {0: 1500, 1: 1500}
SIZES = {1: INIT_SIZE, 2: RESPONSE_SIZE, 3: COOKIE_SIZE, 4: 90, 5: 400}


class Machine:
    """Takes down what it is given."""

    process_number = 1
    up = True

    def __init__(self) -> None:
        self.got: list[tuple[int, Address, bytes]] = []

    def inject(self, link: int, address: Address, data: bytes) -> bool:
        self.got.append((link, address, data))
        return True


class Scene:
    """Two machines on two links, and an attacker who heard a packet of each type from 1 to 2 on link 0."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.machines = {1: Machine(), 2: Machine()}
        network = Network(self.clock, Random(1), lambda *_: True, lambda *_: None)
        network.add([1, 2], [0, 1], lambda _: Conditions())
        self.attacker = Attacker(self.clock, lambda name: Random(name), network, self.machines, [0, 1], MTUS)
        self.packets = [bytes((1, kind)) + Random(kind).randbytes(size - 2) for kind, size in SIZES.items()]
        for packet in self.packets:
            self.attacker.hear(1, 2, 0, packet)

    def attack(self, kind: str) -> None:
        self.attacker.begin(kind, 0, 2.0)
        self.clock.run(3.0)

    def got(self, node: int) -> list[tuple[int, Address, bytes]]:
        return self.machines[node].got


def test_a_forged_packet_differs_in_one_field_or_behind_its_header() -> None:
    """Every field of every outer header is changed now and then."""
    random, changed = Random(3), set()
    for kind, starts in HEADERS.items():
        packet = bytes((1, kind)) + random.randbytes(SIZES[kind] - 2)
        bounds = [*starts, len(packet)]
        for _ in range(400):
            made = forged(packet, random)
            assert len(made) == len(packet)
            fields = [
                i for i, start in enumerate(starts) if made[start : bounds[i + 1]] != packet[start : bounds[i + 1]]
            ]
            assert len(fields) <= 1
            changed |= {(kind, field) for field in fields}
    assert changed == {(kind, field) for kind, starts in HEADERS.items() for field in range(len(starts))}


def test_replays_go_where_they_went_before() -> None:
    """The same bytes to the same machine and link; the source is the old one, or one of the attacker's."""
    scene = Scene()
    scene.attack("replay")
    assert not scene.got(1) and len(scene.got(2)) > 100
    assert {(link, data) for link, _, data in scene.got(2)} == {(0, packet) for packet in scene.packets}
    assert {address_of(1, 0)} < {address for _, address, _ in scene.got(2)}


def test_reflected_packets_come_back_to_their_sender() -> None:
    scene = Scene()
    scene.attack("reflect")
    assert not scene.got(2) and {link for link, _, _ in scene.got(1)} == {0, 1}
    assert {address for _, address, _ in scene.got(1)} == {address_of(2, 0)}


def test_copies_reach_other_machines_and_links_and_overtake_originals() -> None:
    scene = Scene()
    scene.attack("copy")
    assert {(node, link) for node in (1, 2) for link, _, _ in scene.got(node)} == {(1, 0), (1, 1), (2, 0), (2, 1)}
    scene.attacker.begin("copy", 1, 4.0)
    before = len(scene.got(2))
    for _ in range(400):
        scene.attacker.hear(1, 2, 0, scene.packets[4])
    scene.clock.run(3.0 + 50e-6)  # less than any packet takes
    assert len(scene.got(2)) > before + 5


def test_a_flood_is_thousands_a_second_with_calls_from_many_addresses() -> None:
    scene = Scene()
    scene.attack("flood")
    found = scene.got(1) + scene.got(2)
    assert len(found) > 4000
    calls = {address for _, address, data in found if data == scene.packets[0]}
    assert len(calls) > 100


def test_a_call_that_nobody_was_there_to_hear_need_not_be_refused() -> None:
    """Flooded with it, the node sees it for the first time; X1 counts those packets only that it must refuse."""
    for life, must_refuse in ((0, False), (1, True)):
        scene = Scene()
        scene.machines[2].process_number = life
        scene.attacker._calls.clear()
        scene.attacker.hear(1, 2, 0, scene.packets[0])
        scene.machines[2].process_number = 1
        scene.attack("flood")
        calls = sum(1 for _, _, data in scene.got(2) if data == scene.packets[0])
        junk = len(scene.got(2)) - calls
        assert calls > 100 and scene.attacker.arrived[2, 1] == junk + calls * must_refuse


def test_what_passes_nowhere_is_not_heard() -> None:
    """It is lost to the node it was sent to: copied to another link, it would be new there."""
    scene = Scene()
    known = len(scene.attacker._packets)
    scene.attacker.hear(1, 2, 0, bytes((1, 5)) + bytes(MTUS[0]))
    assert len(scene.attacker._packets) == known


def test_what_is_kept_of_the_traffic_is_bounded_and_reaches_far_back() -> None:
    scene = Scene()
    for number in range(3 * KEPT):
        scene.attacker.hear(1, 2, 0, bytes((1, 5)) + number.to_bytes(4, "big") + bytes(30))
    scene.attack("replay")
    numbers = [int.from_bytes(data[2:6], "big") for _, _, data in scene.got(2) if len(data) == 36]
    assert min(numbers) < KEPT / 4 and max(numbers) > KEPT


def test_more_bytes_out_than_in_is_told() -> None:
    scene = Scene()
    assert scene.attacker.answered(1, ("10.0.66.1", 5405), b"\x01\x04 more")
    assert not scene.attacker.answered(1, ("10.0.67.1", 5405), b"\x01\x04 more")
    assert scene.attacker.amplified() == [(1, "10.0.66.1")]
