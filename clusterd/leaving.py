"""A clean leave under way: what the goodbye waits for, and for how long."""

from __future__ import annotations

from cfs.replica import Replica
from clusterd.channels import Outbox
from transport.core import earliest
from transport.totem.srp import Srp

GOODBYE_WAIT = 0.2
"""Seconds that a clean leave waits for its last ordered message to be sent; under allow_downscale, to be had by all."""
OUTCOMES_WAIT = 0.05
"""Seconds that it waits for the outcomes of writes under way: they take milliseconds, a leave less than 0.1 s."""


class Leaving:
    """From the moment a node is told to leave until it says goodbye."""

    def __init__(self, replica: Replica, farewell: bool, now: float) -> None:
        """farewell: our votes go only if the others hear so in order."""
        self._replica = replica
        self._farewell = farewell
        self._outcomes_until: float | None = now + OUTCOMES_WAIT
        self._goodbye_at = now + GOODBYE_WAIT

    def next_timeout(self) -> float | None:
        return earliest(self._outcomes_until, self._goodbye_at)

    def handle_timeout(self, now: float) -> bool:
        """True: nothing is waited for any more."""
        if self._outcomes_until is not None and now >= self._outcomes_until:
            self._outcomes_until = None
            self._replica.left(now)
        return now >= self._goodbye_at

    def may_go(self, srp: Srp, outbox: Outbox) -> bool:
        """All that was said is sent, nobody waits for an outcome, and who must have heard us has."""
        if srp.backlog_bytes or outbox.waiting or self._replica.waiting:
            return False
        # A goodbye that overtakes our last message, or outlives it, ends the ring without it.
        return not self._farewell or not any(srp.lag(member) for member in srp.members)
