"""What only the simulated disk can do: lose power, keep a prefix, fail and heal on virtual time (tests/sim/disk.py)."""

from __future__ import annotations

from random import Random

from cfs.disk import Adopt, AppendLog, StoreHealth
from cfs.entries import StateImage
from cfs.records import START, Lineage, LogRecord
from tests.cfs.building import put, records
from tests.sim.disk import PROBE, SimDisk


def begun(seed: int, made: list[LogRecord]) -> SimDisk:
    """A store with `made` on disk."""
    disk = SimDisk(Random(seed), (0.001, 0.002))
    disk.open()
    disk.request(Adopt(1, StateImage(), START, Lineage(), tuple(made)), 0.0)
    assert disk.poll(1.0) == [(1, None)]
    return disk


def test_power_loss_keeps_what_was_answered_and_a_prefix_of_the_rest() -> None:
    """An append not answered yet survives in part or not at all; an answered one always (S1, S6)."""
    made = records([put(f"f{n}") for n in range(8)])
    kept = set()
    for seed in range(60):
        disk = begun(seed, made[:2])
        disk.request(AppendLog(2, tuple(made[2:4])), 2.0)
        assert disk.poll(3.0) == [(2, None)]
        disk.request(AppendLog(3, tuple(made[4:])), 4.0)
        disk.crash()
        image = disk.open()
        assert image.health is StoreHealth.OK
        assert image.tail == tuple(made[: len(image.tail)])
        kept.add(len(image.tail))
    assert kept >= {4, 8}
    assert len(kept) > 2
    assert min(kept) == 4


def test_a_record_torn_inside_is_none() -> None:
    """Of some of its sectors nothing got there: it is cut off, it is no damage, and others are written over it (S6)."""
    made = records([put(f"f{n}", bytes(1 + n % 255 for n in range(3000))) for n in range(6)])
    torn = 0
    for seed in range(40):
        disk = begun(seed, made[:2])
        disk.request(AppendLog(2, tuple(made[2:])), 2.0)
        disk.crash()
        torn += disk.did["torn inside"]
        image = disk.open()
        assert (image.health, image.message) == (StoreHealth.OK, "")
        assert image.tail == tuple(made[: len(image.tail)])
        rest = tuple(made[len(image.tail) :])
        if rest:
            disk.request(AppendLog(3, rest), 5.0)
            assert disk.poll(6.0) == [(3, None)]
        disk.crash()
        assert disk.open().tail == tuple(made)
    assert torn > 10


def test_appends_asked_together_end_together() -> None:
    """Group commit: what queued while the disk was busy shares the next fsync."""
    made = records([put(f"f{n}") for n in range(4)])
    disk = begun(1, [])
    before = disk.fsyncs
    for number, record in enumerate(made):
        disk.request(AppendLog(10 + number, (record,)), 2.0)
    answers = []
    now = 2.0
    while (due := disk.next_timeout()) is not None:
        now = due
        answers.append(disk.poll(now))
    assert [len(group) for group in answers if group] == [1, 3]
    assert disk.fsyncs > before


def test_a_full_disk_fails_and_heals_by_itself() -> None:
    """Receipt 0 tells the first failure and that it works again (cfs/disk.py)."""
    made = records([put("f"), put("g")])
    disk = begun(1, made[:1])
    disk.full = True
    disk.request(AppendLog(2, tuple(made[1:])), 2.0)
    (told, answered) = disk.poll(2.1)
    assert told == (0, "No space left on device")
    assert answered[0] == 2
    assert answered[1] is not None
    disk.full = False
    assert disk.poll(2.1 + 2 * PROBE) == [(0, None)]
    disk.request(AppendLog(3, tuple(made[1:])), 5.0)
    assert disk.poll(6.0) == [(3, None)]


def test_the_same_seed_gives_the_same_disk() -> None:
    """All chance comes from the random handed in."""
    made = records([put(f"f{n}") for n in range(6)])

    def story() -> list[object]:
        disk = begun(5, made[:1])
        disk.request(AppendLog(2, tuple(made[1:])), 2.0)
        due = disk.next_timeout()
        disk.crash()
        return [due, disk.open()]

    assert story() == story()
