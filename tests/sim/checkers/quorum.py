"""What a verdict promises: Q1 one quorate component, Q3 its place among messages, Q4 it is a lease, Q5 one line.

Q4 is judged while the run goes on, by true virtual time: `Leases` is told what each node answers whenever it may have
changed. The others are judged from the history. Q5 is in store.py, where the epochs are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.sim.history import Configured, Heard, History, Told, Violation
from transport.ids import NO_RING, NodeId, RingId


def check(history: History) -> None:
    """Raises Violation for the first promise found broken."""
    check_one_component(history)
    check_order(history)


def check_one_component(history: History) -> None:
    """Q1: quorate rings follow one another: any two of them share a member, and carry more than half of the votes.
    Members of one ring are told the same members."""
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
    if not history.exact_quorum:
        return
    total = sum(history.votes.values())
    for ring, at in sorted(quorate.items()):
        present = sum(history.votes.get(node, 0) for node in members[ring])
        if 2 * present <= total:
            raise Violation(at, "Q1", f"ring {ring} of {members[ring]} is quorate with {present} of {total} votes")


def check_order(history: History) -> None:
    """Q3: a verdict comes after the membership it is about and before any message of the new configuration."""
    for process in history.processes:
        ring = told = NO_RING
        for event in process.events:
            if isinstance(event, Configured) and event.change.regular:
                ring = event.change.ring_id
            elif isinstance(event, Told) and event.verdict.ring_id != NO_RING:
                told = event.verdict.ring_id
                if told != ring:
                    text = f"node {process.node} was told a verdict of ring {told} while in {ring}"
                    raise Violation(event.at, "Q3", text)
            elif isinstance(event, Heard) and event.ring == ring != told:
                text = f"node {process.node} gave out {event.what} of ring {ring} before its verdict"
                raise Violation(event.at, "Q3", text)


@dataclass(slots=True)
class Answer:
    """What a node would answer now to "are we quorate?", and about which ring."""

    quorate: bool
    ring: RingId
    members: tuple[NodeId, ...]


class Leases:
    """Q4: while a newer component without a node says "quorate", that node does not.

    ask(node): the answer the node would give at this very moment, None when it cannot answer (down or paused).
    """

    def __init__(self, nodes: list[NodeId], ask: Callable[[NodeId], Answer | None]) -> None:
        self._nodes = nodes
        self._ask = ask
        self.checks = 0

    def check(self, now: float) -> None:
        """Raises Violation when two components are quorate at this moment of true time."""
        self.checks += 1
        asked = [(answer, node) for node in self._nodes if (answer := self._ask(node)) is not None]
        quorate = sorted(((answer.ring, node, answer) for answer, node in asked if answer.quorate), key=lambda q: q[:2])
        for index, (ring, node, answer) in enumerate(quorate):
            for newer, other, theirs in quorate[index + 1 :]:
                if newer != ring and node not in theirs.members:
                    text = (
                        f"node {node} says quorate in ring {ring} of {answer.members} "
                        f"while node {other} says so in ring {newer} of {theirs.members}"
                    )
                    raise Violation(now, "Q4", text)
