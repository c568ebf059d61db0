"""Two configurations, one in force after the other: need a majority under the one and one under the other meet?

A change comes into force at the last agreement of the members. Whoever is cut off just before it runs the old
configuration on, with the nodes that were away; the others run the new one. At most one of these parts is quorate (Q1)
if every majority under the old configuration shares a node with every majority under the new one. One node with one
vote more or less always leaves it so; two of five removed do not: {1,2} of the new {1,2,3}, {3,4,5} of the old.

This judges by what is configured: what an operator, last_man_standing, a clean leave or a tie breaker make of it at
run time promises nothing in the first place, and neither do expected votes below the sum of all (docs/quorum.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from quorum.electorate import configured_expected
from quorum.options import QuorumOptions
from transport.ids import NodeId

TOO_MUCH = (
    "too much at once: a majority by this configuration and one by the present one need not have a node in common, and "
    "both could be quorate; add or remove one node at a time (and start it before the next), or change its votes by one"
)
MOST_SUMS = 2000
"""Different sums of votes that are followed; with more the answer is that majorities need not meet. It takes votes
above that number, and unequal ones, to come there."""


@dataclass(frozen=True, slots=True)
class Electors:
    """Who votes under a configuration. expected: all votes, or what is configured for them. newcomer: a listed node
    that is not expected until it joins, 0 for none; expected_without: expected votes without it."""

    votes: Mapping[NodeId, int]
    expected: int
    newcomer: NodeId = 0
    expected_without: int = 0

    @property
    def ways(self) -> tuple[tuple[int, NodeId], ...]:
        """How a part gets its majority: the votes it takes, and who must not be in it (0: anybody may)."""
        whole = (self.expected // 2 + 1, 0)
        return (whole, (self.expected_without // 2 + 1, self.newcomer)) if self.newcomer else (whole,)

    def have_majority(self, members: Collection[NodeId]) -> bool:
        """Together these are one, by what is configured."""
        votes = sum(self.votes.get(node, 0) for node in members)
        return any(votes >= needed and without not in members for needed, without in self.ways)


def electors(options: QuorumOptions, newcomer: NodeId) -> Electors:
    """Who votes by configuration, a device apart."""
    return Electors(options.votes, configured_expected(options, 0), newcomer, configured_expected(options, newcomer))


def objection(
    present: QuorumOptions, newcomer: NodeId, then: QuorumOptions, then_newcomer: NodeId, members: Collection[NodeId]
) -> str:
    """Why the options `then` may not follow the `present` ones in one step, "" if they may. members: of the ring that
    is to change them; newcomer: who is not expected until it joins, now and then.

    They may where two parts can be quorate at one time anyway: by a device, by what is configured before or after, or
    because those who are here are no majority by what is configured.
    """
    if present.device or then.device:
        return ""
    old, new = electors(present, newcomer), electors(then, then_newcomer)
    if must_meet(old, new) or not old.have_majority(members) or not must_meet(old, old) or not must_meet(new, new):
        return ""
    return TOO_MUCH


def must_meet(one: Electors, other: Electors) -> bool:
    """Every majority under `one` has a node in common with every majority under `other`."""
    nodes = sorted(one.votes.keys() | other.votes.keys())
    for needed, without in one.ways:
        for other_needed, other_without in other.ways:
            votes = (0 if node == without else one.votes.get(node, 0) for node in nodes)
            other_votes = (0 if node == other_without else other.votes.get(node, 0) for node in nodes)
            if _can_part(list(zip(votes, other_votes, strict=True)), needed, other_needed):
                return False
    return True


def _can_part(pairs: Sequence[tuple[int, int]], needed: int, other_needed: int) -> bool:
    """Some nodes can be given to one part, the rest to the other, so that both have what they need. pairs: a node's
    votes in the one and in the other."""
    spare = sum(votes for _, votes in pairs) - other_needed  # what the first part may take of the other's votes
    if spare < 0 or sum(max(pair) for pair in pairs) < needed + other_needed:
        return False
    most = {0: 0}  # of the other's votes taken -> the most votes that the first part has by them
    for votes, cost in pairs:
        for taken, has in list(most.items()):
            if taken + cost <= spare and has + votes > most.get(taken + cost, -1):
                most[taken + cost] = has + votes
        if max(most.values()) >= needed or len(most) > MOST_SUMS:
            return True
    return False
