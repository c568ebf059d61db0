"""Q1: at most one component is quorate, as far as its options promise it: a quorate ring has the votes they ask for."""

from __future__ import annotations

from itertools import pairwise

from tests.sim.checkers.changes import InForce, Log, runs_of
from tests.sim.history import History, Process, Told, Violation
from tests.sim.texts import votes_in
from transport.ids import NO_RING, NodeId, RingId


def check(history: History) -> int:
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


def check_votes(log: Log, history: History) -> int:
    """Q1 with votes that change: by the configuration in force where the verdict was told. A node that never joined
    yet need not be counted (Q2)."""
    runs = runs_of(log)
    quorate: dict[RingId, tuple[float, tuple[NodeId, ...]]] = {}
    for process in history.processes:
        for event in process.events:
            if isinstance(event, Told) and event.verdict.quorate and event.verdict.ring_id != NO_RING:
                _check_verdict(process, event, runs.get((process.node, process.number), []))
                quorate.setdefault(event.verdict.ring_id, (event.at, event.verdict.members))
    for (before, (_, were)), (ring, (at, members)) in pairwise(sorted(quorate.items())):
        if not set(were) & set(members):
            raise Violation(at, "Q1", f"ring {ring} of {members} is quorate after ring {before} of {were}")
    return len(quorate)


def _check_verdict(process: Process, event: Told, runs: list[InForce]) -> None:
    verdict = event.verdict
    around = [one for one in runs if one.at <= event.at]
    around = around[-2:] if around and around[-1].at == event.at else around[-1:]  # in the turn of a change: either
    for one in around:
        votes = votes_in(one.text)
        absent = {node: count for node, count in votes.items() if node not in verdict.members}
        newcomer = 1 if 1 in absent.values() else 0
        present = sum(votes.get(node, 0) for node in verdict.members)
        if 2 * present > sum(votes.values()) - newcomer:
            return
    if around:
        text = f"node {process.node} is quorate in ring {verdict.ring_id} of {verdict.members}"
        raise Violation(event.at, "Q1", f"{text}, with votes {votes_in(around[-1].text)}")
