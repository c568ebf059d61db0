"""Whether this process goes on from a past of its own: other nodes remember more of it than it does itself.

A virtual machine put back to a snapshot with its memory, by a hypervisor that tells nobody (where it tells:
transport/io/fork.py). All that the process remembers is of the past then: its ring went on without it, its packet
counters are used, its log on disk lacks what it once claimed to have. It has to end, for a new one to start from disk.

What a peer tells (transport/link/memory.py) it alone can have told, and this process can check it: it never sent what
the peer says that it heard. But a hostile or broken peer could tell it for no reason, and end this daemon again and
again. So a teller's votes count for nothing here from then on, and the process believes them when

- with all nodes listed but the tellers it could not be quorate: who could end it can deny it quorum anyway; or
- for PATIENCE, with all it reaches but the tellers it cannot be quorate, or it reaches nobody but tellers.

So in a cluster of three or more that can do without any one of its nodes, one that lies ends nobody. Who is not
believed may be right: then the answers of others are needed for each yes of this node, and they remember no more of it.

A core without a clock, as in transport/core.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from transport.ids import NodeId

PATIENCE = 2.0
"""Seconds for which a word is not believed while others may only be late: after a start, all are found within one."""


@dataclass(frozen=True, slots=True)
class WentBack:
    """This process is to end at once: `tellers` remember more of it than it does. Nothing more goes out."""

    tellers: tuple[NodeId, ...]


class Past:
    """See the top of this file."""

    def __init__(self, me: NodeId) -> None:
        self.tellers: set[NodeId] = set()
        """Whose answers count for no verdict here."""
        self._me = me
        self._judge_at: float | None = None

    def told(self, peer: NodeId, now: float) -> bool:
        """`peer` remembers more of us than we do. True: that is news."""
        if peer in self.tellers:
            return False
        self.tellers.add(peer)
        self._judge_at = now + PATIENCE
        return True

    def next_timeout(self) -> float | None:
        """When `believes` is to be asked again."""
        return self._judge_at

    def believes(
        self, votes: Mapping[NodeId, int], reached: Set[NodeId], suffice: Callable[[int], bool], now: float
    ) -> bool:
        """Is it so?

        votes: of all nodes listed, our own too. reached: peers with a way to them. suffice: whether so many votes,
        with the device's, make this node quorate.
        """
        self.tellers &= votes.keys()  # who was removed does not count any more
        if not self.tellers:
            self._judge_at = None
            return False
        rest = sum(count for node, count in votes.items() if node not in self.tellers)
        if not suffice(rest):
            self._judge_at = None
            return True
        if self._judge_at is None or now < self._judge_at:
            return False
        self._judge_at = now + PATIENCE
        others = (reached & votes.keys()) - self.tellers - {self._me}
        near = votes.get(self._me, 0) + sum(votes[node] for node in others)
        if others and suffice(near):
            return False
        self._judge_at = None
        return True
