"""A fault that never did anything over many runs fails the session, and is named."""

from __future__ import annotations

from tests.sim.effects import ENOUGH_FOR_RARE, ENOUGH_RUNS, FAULTS, KEY, RARE, missing, told
from tests.sim.telling import WORDS
from tests.sim.troubles import ATTACKS, DEVICE, KINDS, STRANGERS


def test_every_kind_of_fault_is_counted_and_can_be_told() -> None:
    drawn = {*KINDS, *DEVICE, *ATTACKS, *STRANGERS, "disk-hung", "clock-jump", "address-gone", "too-big"}
    assert drawn == set(FAULTS) and drawn <= set(WORDS)


def test_a_kind_without_effect_is_named() -> None:
    """Rare ones only after many more runs: 200 may well be without."""
    counts = {KEY + name: 2.0 for name in FAULTS}
    found = missing(lambda name: counts.get(name, 1.0), ENOUGH_RUNS)
    assert found == []
    counts[KEY + "clog"] = counts[KEY + RARE[0]] = 0.0
    assert missing(lambda name: counts.get(name, 1.0), ENOUGH_RUNS - 1) == []
    assert missing(lambda name: counts.get(name, 1.0), ENOUGH_RUNS) == ["no fault of these did anything: clog"]
    assert len(missing(lambda name: counts.get(name, 1.0), ENOUGH_FOR_RARE)) == 2
    assert "2 kill" in told(lambda name: counts.get(name, 1.0))
