"""A fault that never did anything over many runs fails the session, and is named."""

from __future__ import annotations

from tests.sim.asked import LEAST, asked_from
from tests.sim.effects import FAULTS, KEY, missing, told
from tests.sim.telling import WORDS
from tests.sim.troubles import ATTACKS, DEVICE, KINDS, STRANGERS


def test_every_kind_of_fault_is_counted_and_can_be_told() -> None:
    drawn = {*KINDS, *DEVICE, *ATTACKS, *STRANGERS, "disk-hung", "clock-jump", "address-gone", "too-big"}
    assert drawn == set(FAULTS) and drawn <= set(WORDS)


def test_a_kind_without_effect_is_named() -> None:
    """Rare ones only after many more runs."""
    counts = {KEY + name: 2.0 for name in FAULTS}
    assert missing(lambda name: counts.get(name, 1.0), LEAST) == []
    counts[KEY + "clog"] = counts[KEY + "rot"] = 0.0
    assert missing(lambda name: counts.get(name, 1.0), LEAST - 1) == []
    assert missing(lambda name: counts.get(name, 1.0), LEAST) == ["this never happened: clog"]
    assert len(missing(lambda name: counts.get(name, 1.0), asked_from("rot"))) == 2
    assert "2 kill" in told(lambda name: counts.get(name, 1.0))
