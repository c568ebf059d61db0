"""How long a yes stays true: the verdict as a lease (DESIGN Q4).

A beat says that a peer has answered, in the present ring, something we sent at `sent_at`; nobody who answered then
installs a ring without us before sent_at + t_excl. So a yes holds until t0 + 0.8 * t_excl, t0 being the newest moment
since which members that with us reach the threshold have answered. A yes by a special rule (tie breaker, master) needs
all members. When nobody else is needed t0 is now, whenever it is asked.

Times are CLOCK_BOOTTIME seconds. Beats of an older ring never count: `clear` at each new ring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from transport.ids import NodeId

SHARE = 0.8
"""The part of t_excl that a lease lasts: the rest covers clock rates 1 % apart and the way to a subscriber."""


@dataclass(slots=True)
class Lease:
    """t_excl: seconds. own, others, needed: votes, as last given to `demand`."""

    t_excl: float
    own: int = 0
    others: dict[NodeId, int] = field(default_factory=dict)
    needed: int = 0
    _everyone: bool = False
    _beats: dict[NodeId, float] = field(default_factory=dict)

    @property
    def length(self) -> float:
        """Seconds a lease lasts from its t0."""
        return SHARE * self.t_excl

    @property
    def free(self) -> bool:
        """Nobody else is needed: the lease has no end."""
        return self.own >= self.needed

    def clear(self) -> None:
        """A new ring: nothing heard so far counts."""
        self._beats.clear()

    def demand(self, own: int, others: dict[NodeId, int], needed: int, everyone: bool) -> None:
        """What keeps the verdict a yes. own: our votes, with the device's if we cast it. others: the other members."""
        self.others, self._everyone = others, everyone
        if everyone:
            # One vote each, all needed: the rule hangs on who is here, not on how many votes they have.
            self.own, self.needed = 1, 1 + len(others)
            self.others = dict.fromkeys(others, 1)
        else:
            self.own, self.needed = own, needed

    def without(self, device: int) -> None:
        """The device's votes, counted as ours, are gone. A yes that needs every member does not count votes."""
        if not self._everyone:
            self.own -= device

    def beat(self, peer: NodeId, sent_at: float) -> None:
        """`peer` answered in this ring what we sent at `sent_at`."""
        if sent_at > self._beats.get(peer, -math.inf):
            self._beats[peer] = sent_at

    def until(self, now: float) -> float:
        """The end of the lease; infinity when nobody else is needed, minus infinity when too few were heard at all."""
        votes = self.own
        if votes >= self.needed:
            return math.inf
        heard = sorted(((self._beats[peer], peer) for peer in self.others if peer in self._beats), reverse=True)
        for sent_at, peer in heard:
            votes += self.others[peer]
            if votes >= self.needed:
                return min(sent_at, now) + self.length
        return -math.inf

    def silent(self, now: float) -> tuple[list[NodeId], float | None]:
        """Members whose last beat is too old, and the seconds since the newest of those beats (None: none)."""
        nodes = [n for n in sorted(self.others) if self._beats.get(n, -math.inf) + self.length <= now]
        last = max((self._beats[n] for n in nodes if n in self._beats), default=None)
        return nodes, None if last is None else now - last
