"""What a verdict promises: Q1 one quorate component, Q3 its place among messages, Q4 it is a lease, Q5 one line.

Q4 is judged while the run goes on, by true virtual time: `Leases` is told what each node answers whenever it may have
changed. The others are judged from the history. Q5 is in store.py, where the epochs are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.sim.history import Configured, Heard, History, Told, Violation
from transport.ids import NO_RING, NodeId, RingId


def check(history: History) -> dict[str, int]:
    """Raises Violation for the first promise found broken; returns how often each was judged."""
    return {"Q1": check_one_component(history), "Q3": check_order(history)}


def check_one_component(history: History) -> int:
    """Q1: a quorate ring has the votes that its options ask for: more than half where at most one component may be
    quorate, so that any two quorate rings share a member. Members of one ring are told the same members."""
    members: dict[RingId, tuple[NodeId, ...]] = {}
    quorate: dict[RingId, float] = {}
    for process in history.processes:
        for event in process.events:
            if not isinstance(event, Told):
                continue
            verdict = event.verdict
            if not verdict.ring_id or verdict.ring_id == NO_RING:
                continue
            known = members.setdefault(verdict.ring_id, verdict.members)
            if known != verdict.members:
                text = f"nodes of ring {verdict.ring_id} were told members {known} and {verdict.members}"
                raise Violation(event.at, "Q1", text)
            if verdict.quorate:
                quorate.setdefault(verdict.ring_id, event.at)
    for ring, at in sorted(quorate.items()):
        present = sum(history.votes.get(node, 0) for node in members[ring])
        if present < history.votes_needed:
            text = f"is quorate with {present} votes, at least {history.votes_needed} are needed"
            raise Violation(at, "Q1", f"ring {ring} of {members[ring]} {text}")
    return len(quorate) if history.votes_needed > 1 else 0


def check_order(history: History) -> int:
    """Q3: a verdict comes after the membership it is about and before any message of the new configuration."""
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
