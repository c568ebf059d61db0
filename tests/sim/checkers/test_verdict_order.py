"""Q3: the place of a verdict. Right histories are taken, wrong ones found."""

from __future__ import annotations

from tests.sim.checkers import verdict_order
from tests.sim.histories import RINGS, broken, history_of, told
from tests.sim.history import Configured, Event, Heard
from transport.events import ConfigurationChange
from transport.ids import RingId


def configured(at: float, ring: RingId, *members: int) -> Configured:
    return Configured(at, ConfigurationChange(True, ring, members))


def test_a_verdict_stands_between_membership_and_messages() -> None:
    """Q3: not before the membership it is about, not after the first message."""
    history = history_of()
    events: list[Event] = [configured(1.0, RINGS[0], 1), told(1.1, True, RINGS[0], 1), Heard(1.2, "a change", RINGS[0])]
    history.processes[0].events = list(events)
    verdict_order.check(history)
    history.processes[0].events = [events[0], events[2], events[1]]
    assert broken(verdict_order.check, history) == "Q3"
    history.processes[0].events = [events[1], events[0]]
    assert broken(verdict_order.check, history) == "Q3"
