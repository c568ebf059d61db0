"""Q3: the place of a verdict among messages and memberships."""

from __future__ import annotations

from tests.sim.history import Configured, Heard, History, Told, Violation
from transport.ids import NO_RING


def check(history: History) -> int:
    """A verdict comes after the membership it is about and before any message of the new configuration. Raises
    Violation; returns how many were judged."""
    judged = 0
    for process in history.processes:
        ring = told = NO_RING
        for event in process.events:
            if isinstance(event, Configured) and event.change.regular:
                ring = event.change.ring_id
            elif isinstance(event, Told) and event.verdict.ring_id != NO_RING:
                told = event.verdict.ring_id
                judged += 1
                if told != ring:
                    text = f"node {process.node} was told a verdict of ring {told} while in {ring}"
                    raise Violation(event.at, "Q3", text)
            elif isinstance(event, Heard) and event.ring == ring != told:
                text = f"node {process.node} gave out {event.what} of ring {ring} before its verdict"
                raise Violation(event.at, "Q3", text)
    return judged
