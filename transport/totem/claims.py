"""What the token says the members' claims below: their head, which no single member may carry off.

Source: the aru vector of facts, totem.md section 14; docs/protocol-totem.md, "Token".
"""

from __future__ import annotations

REACH = 1 << 31  # the token says claims as u32 below its head; half of that leaves room for what rises meanwhile


def claims_head(claims: list[int | None], own: int | None) -> int:
    """The claim the token says all others below: the highest within reach of most; 0 without any.

    A claim above it, or out of its reach below, is not said: an absurd one costs only who made it. Where as many lie
    here as there, our own decides, then the lower one.
    """
    said = [claim for claim in claims if claim is not None]
    if not said:
        return 0
    head = max(said)
    if head - min(said) <= REACH:
        return head

    def standing(head: int) -> tuple[int, bool, int]:
        within = own is not None and head - REACH <= own <= head
        return sum(head - REACH <= claim <= head for claim in said), within, -head

    return max(said, key=standing)
