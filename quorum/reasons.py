"""A verdict in one plain sentence for an administrator, and in votequorum's words.

Source of the words and their order: corosync-quorumtool, facts/votequorum.md sections 7 and 8.
"""

from __future__ import annotations

from collections.abc import Callable

from quorum.electorate import Electorate, Rule
from quorum.events import Verdict
from quorum.lease import Lease
from transport.ids import NodeId, RingId

_NAMED = 8  # names in a sentence before "and N more"

NOT_IN_A_RING = "this node is not in a ring yet"
LEFT = "this node has left the cluster"


def flags(electorate: Electorate, quorate: bool) -> tuple[str, ...]:
    """Votequorum's flags. The option flags are those of this node."""
    options = electorate.options
    said = (
        (options.two_node, "2Node"),
        (quorate, "Quorate"),
        (options.waits_for_all, "WaitForAll"),
        (electorate.last_man_standing, "LastManStanding"),
        (bool(options.auto_tie_breaker), "AutoTieBreaker"),
        (options.allow_downscale, "AllowDownscale"),
        (electorate.device.registered, "Qdevice"),
    )
    return tuple(word for is_set, word in said if is_set)


def votes(electorate: Electorate, device_due: bool, name_of: Callable[[NodeId], str]) -> str:
    """Why the votes say yes or no. device_due: the device has not voted in this ring yet."""
    here, expected = electorate.total, electorate.most_expected
    if electorate.rule is Rule.WAITING:
        sentence = f"waiting for all: {here} of {electorate.own.expected} votes present"
    elif electorate.rule is Rule.TIE:
        sentence = (
            f"{here} of {electorate.own.expected} votes present, the tie is broken by {name_of(electorate.breaker)}"
        )
    else:
        two = " (two_node)" if electorate.options.two_node and electorate.quorum == 1 else ""
        sentence = f"{electorate.quorum} of {expected} votes needed{two}, {here} present"
    if electorate.rule is Rule.MASTER:
        return f"{sentence}, but the quorum device has chosen this side"
    if device_due and not electorate.quorate:
        return f"{sentence}; the quorum device has not voted in this ring yet"
    return sentence


def turned_away(verdict: Verdict) -> str:
    """The verdict for a writer it turns away: the votes needed are said also when those of the membership would do."""
    if verdict.quorate or verdict.total < verdict.quorum:
        return verdict.reason
    return f"{verdict.reason}; {verdict.quorum} of {verdict.expected} votes needed"


def lapsed(lease: Lease, ring_id: RingId, name_of: Callable[[NodeId], str], now: float) -> str:
    """Why a yes by votes does not hold any longer, or not yet."""
    nodes, age = lease.silent(now)
    names = ", ".join(name_of(node) for node in nodes[:_NAMED])
    if len(nodes) > _NAMED:
        names += f" and {len(nodes) - _NAMED} more"
    if age is None:
        return f"not confirmed yet: nothing heard from {names} in ring {ring_id}"
    return f"lease expired: nothing heard from {names} for {age:.1f} s"
