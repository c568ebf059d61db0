"""Q4: "quorate" is a lease. Judged while the run goes on, by true virtual time: `Leases` is told what each node answers
whenever it may have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.sim.history import Violation
from transport.ids import NodeId, RingId


@dataclass(slots=True)
class Answer:
    """What a node would answer now to "are we quorate?", and about which ring.

    total, needed: votes the verdict counted, and how many it takes.  votes: of each member, as the verdict counted
    them; whoever is not in it has as many as at the start.
    """

    quorate: bool
    ring: RingId
    members: tuple[NodeId, ...]
    total: int = 0
    needed: int = 0
    votes: dict[NodeId, int] = field(default_factory=dict)


class Leases:
    """Q4, by true time: a node says "quorate" only while members that with it keep the verdict yes could still be with
    it. Whoever installed a newer ring without it cannot: nobody does that before T_excl has passed since it was heard,
    and the lease is shorter.

    ask(node): the answer the node would give at this very moment, None when it cannot answer (down or paused).
    installed(node): ring and members of the configuration it is in, None when no process runs.
    votes: of the nodes.  exclusive: the options promise that at no moment two components are quorate (Q1).
    """

    def __init__(
        self,
        votes: dict[NodeId, int],
        ask: Callable[[NodeId], Answer | None],
        installed: Callable[[NodeId], tuple[RingId, tuple[NodeId, ...]] | None],
        exclusive: bool = True,
    ) -> None:
        self._votes = votes
        self._ask = ask
        self._installed = installed
        self._exclusive = exclusive
        self.judged = 0  # answers "quorate"
        self.woken = 0  # processes that stood still for longer than any lease of theirs

    def check(self, now: float) -> None:
        """Raises Violation when a node is believed quorate that others have gone on without at this moment."""
        asked = [(answer, node) for node in self._votes if (answer := self._ask(node)) is not None]
        quorate = sorted(((answer.ring, node, answer) for answer, node in asked if answer.quorate), key=lambda q: q[:2])
        if not quorate:
            return
        installed = {node: found for node in self._votes if (found := self._installed(node)) is not None}
        self.judged += len(quorate)
        for ring, node, answer in quorate:
            self._check_support(now, node, answer, installed)
            if self._exclusive:
                self._check_alone(now, ring, node, answer, quorate)

    def woke(self, now: float, node: NodeId, slept: float, lease: float) -> None:
        """A process goes on after `slept` seconds and is asked before anything else: no yes that needs others is left.

        lease: seconds that any yes may last.  Raises Violation.
        """
        answer = self._ask(node)
        if answer is None or slept <= lease:
            return
        self.woken += 1
        alone = len(answer.members) == 1 or answer.votes.get(node, 0) >= answer.needed
        if answer.quorate and not alone:
            text = f"node {node} stood still for {slept:.3f} s and says quorate in ring {answer.ring} of "
            text += f"{answer.members} when it wakes; a lease lasts {lease:.3f} s"
            raise Violation(now, "Q4", text)

    def _check_support(
        self, now: float, node: NodeId, answer: Answer, installed: dict[NodeId, tuple[RingId, tuple[NodeId, ...]]]
    ) -> None:
        left = [
            other
            for other in answer.members
            if other in installed and installed[other][0] > answer.ring and node not in installed[other][1]
        ]
        lost = sum(answer.votes.get(other, self._votes.get(other, 0)) for other in left)
        by_votes = answer.total >= answer.needed  # else by a special rule, which needs every member
        if left and (not by_votes or answer.total - lost < answer.needed):
            text = f"node {node} says quorate in ring {answer.ring} of {answer.members} by {answer.total} votes of "
            text += f"{answer.needed} needed, while {left} went on in {[str(installed[other][0]) for other in left]}"
            raise Violation(now, "Q4", text)

    def _check_alone(
        self,
        now: float,
        ring: RingId,
        node: NodeId,
        answer: Answer,
        quorate: list[tuple[RingId, NodeId, Answer]],
    ) -> None:
        for newer, other, theirs in quorate:
            if newer > ring and node not in theirs.members:
                text = (
                    f"node {node} says quorate in ring {ring} of {answer.members} "
                    f"while node {other} says so in ring {newer} of {theirs.members}"
                )
                raise Violation(now, "Q4", text)
