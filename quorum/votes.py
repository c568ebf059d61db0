"""The arithmetic of votes: threshold, tie breaker, and what may be set at run time. Pure functions.

Source: facts/votequorum.md sections 3, 4.5 and 5. Numbers are wide: nothing wraps.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from quorum.options import MAX_VOTES
from transport.ids import NodeId


def threshold(expected: int, total: int, *, counted: int, two_node: bool, floor: int = 0) -> int:
    """Votes needed to be quorate: more than half of what is expected, or of what is here if that is more.

    counted: members, and one for the device if this node casts its vote. floor: the threshold in force, when it
    must not go down. two_node: either of at most two counted nodes suffices (4.2), whatever the floor.
    """
    needed = max(max(expected, total) // 2 + 1, floor)
    return 1 if two_node and counted <= 2 else needed


def tie_breaker(
    breaker: str | Sequence[NodeId],
    members: Collection[NodeId],
    previous: Collection[NodeId],
    lowest: NodeId,
    highest: NodeId,
) -> NodeId:
    """The member that breaks a tie for this component, 0 if none does (4.5).

    lowest, highest: the extreme ids remembered from the last moment this node was quorate, 0 before the first.
    A list: the first listed member decides, unless a node listed before it was here until now.
    """
    if isinstance(breaker, str):
        decider = {"lowest": lowest, "highest": highest}.get(breaker, 0)
        return decider if decider in members else 0
    for node in breaker:
        if node in members:
            return node
        if node in previous:
            return 0
    return 0


def objection_to_expected(value: int, total: int, *, counted: int, quorate: bool, two_node: bool) -> str:
    """Why expected votes may not be set to `value` with `total` votes present (5.4); "" if they may."""
    if not 1 <= value <= MAX_VOTES:
        return f"expected votes must be in the range (1..{MAX_VOTES}), but {value} was given"
    if value < total:
        return f"{total} votes are present: expected votes cannot be below that, but {value} was given"
    needed = threshold(value, total, counted=counted, two_node=two_node)
    if quorate and needed > total:
        return f"with {value} expected votes {needed} would be needed, {total} are present: quorum would be lost"
    return ""


def objection_to_votes(node: NodeId, value: int, present: Mapping[NodeId, int], total: int, needed: int) -> str:
    """Why the votes of `node` may not be `value`; "" if they may. total, needed: as they would be then."""
    if not 0 <= value <= MAX_VOTES:
        return f"votes must be in the range (0..{MAX_VOTES}), but {value} was given"
    if sum(present.values()) - present.get(node, 0) + value > MAX_VOTES:
        return f"more than {MAX_VOTES} votes in all cannot be counted"
    if not total // 2 <= needed <= total:
        return f"{needed} votes would be needed, {total} would be present"
    return ""
