"""What counts as an effect of a fault is what that fault did: one that does nothing is not counted, whatever goes on
beside it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from tests.sim.clock import Clock
from tests.sim.disk import SimDisk
from tests.sim.effects import KEY
from tests.sim.host import Host
from tests.sim.inbox import Inbox
from tests.sim.network import Change, Conditions, Network, address_of
from tests.sim.plan import Plan, draw
from tests.sim.run import run_plan
from tests.sim.storage import Storage
from tests.sim.troubles import Fault

SPOILT = (
    Fault("delay", 2.5, 3.5, (1,), amount=0.005, number=0),
    Fault("slow-node", 3.5, 4.5, (2,), amount=10.0, number=1),
    Fault("clock-jump", 4.5, 5.0, (3,), amount=-1.0, number=2),
    Fault("address-gone", 5.0, 5.5, (1,), (0,), number=3),
    Fault("slow-disk", 5.5, 6.5, (2,), amount=50.0, number=4),
    Fault("disk-hung", 6.5, 7.5, (3,), number=5),
    Fault("noise", 7.5, 8.5, (1,), amount=0.1, number=6),
    Fault("mtu-hole", 8.5, 9.5, (2,), amount=600.0, number=7),
    Fault("too-big", 9.5, 10.5, (3,), amount=600.0, number=8),
    Fault("clog", 10.5, 11.5, (1,), number=9),
)


def plan(faults: tuple[Fault, ...]) -> Plan:
    """Three nodes with two links, a network that loses nothing by itself, and nothing else."""
    drawn = replace(draw(0x1003, 3)[0], faults=faults, faults_end=12.0, links=(0, 1), lengths=(1.0, 1.0))
    conditions = replace(drawn.conditions, loss=0.0, mtu=1500)
    return replace(drawn, actions=(), drills=(), memory_rot=False, conditions=conditions, value_bytes=1000)


def counted(faults: tuple[Fault, ...]) -> set[str]:
    report = run_plan(plan(faults))
    assert report.failure is None, report.failure
    return {fault.kind for fault in faults if report.counts.get(KEY + fault.kind)}


def test_each_fault_is_counted() -> None:
    """Each of them, alone for a second, did what it is about."""
    assert counted(SPOILT) == {fault.kind for fault in SPOILT}


def test_a_fault_that_is_not_carried_out_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run, and nothing comes of any: packets go on being delivered and the disk being asked all the while."""
    monkeypatch.setattr(Network, "change", lambda self, key, **values: Change(values))
    monkeypatch.setattr(Network, "clog", lambda self, key: None)
    monkeypatch.setattr(Inbox, "cost_factor", property(lambda self: 1.0, lambda self, factor: None))
    monkeypatch.setattr(Host, "clock_jumped", lambda self, seconds: None)
    monkeypatch.setattr(Host, "set_address", lambda self, link, gone: None)
    monkeypatch.setattr(Storage, "slow", property(lambda self: 1.0, lambda self, factor: None), raising=False)
    monkeypatch.setattr(SimDisk, "hung", property(lambda self: False, lambda self, hung: None), raising=False)
    assert counted(SPOILT) == set()


def test_a_cut_beside_it_is_no_effect_of_a_small_mtu_and_neither_the_reverse() -> None:
    """Packets that a partition swallowed are none that were too big; nor is a hole for big ones a cut."""
    whole = Fault("mtu-hole", 4.0, 6.0, (1,), amount=9000.0, number=0)  # bigger than any packet
    assert counted((whole, Fault("partition", 4.0, 6.0, (1,), (2, 3), number=1))) == {"partition"}
    nobody = Fault("one-way", 4.0, 6.0, (1,), (1,), number=1)
    assert counted((replace(whole, amount=600.0), nobody)) == {"mtu-hole"}


@pytest.mark.parametrize("name, value", [("loss", 1.0), ("duplicate", 1.0), ("delay", 0.01), ("mtu", 100)])
def test_of_two_troubles_on_different_paths_each_is_counted_by_its_own(name: str, value: float) -> None:
    """Packets from 1 to 2 say nothing of what was made of the way from 1 to 3."""
    clock = Clock()
    network = Network(clock, Random(1), lambda *packet: True, lambda *packet: None)
    network.add([1, 2, 3], [0], lambda key: Conditions())
    there, elsewhere = network.change((1, 2, 0), **{name: value}), network.change((1, 3, 0), **{name: value})
    later = network.change((1, 2, 0), jitter=0.001)
    network.send(1, 0, address_of(2, 0), bytes(200))
    assert (there.did, elsewhere.did, later.did) == (1, 0, 0)
