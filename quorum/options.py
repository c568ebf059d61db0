"""The quorum section of corosync.conf as one value, and which combinations of its keys make sense.

Source: votequorum(5); facts/votequorum.md sections 4 and 4.8. Deliberate differences: what the reference switches
off with a log line at run time is a configuration error here, two_node needs exactly two listed nodes, and numbers of
votes are wide integers with a limit on their sum (the reference keeps the threshold in eight bits, which makes two
components quorate above 255).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from transport.ids import MAX_NODE_ID, MAX_RING_MEMBERS, NodeId

MAX_VOTES = 1_000_000
"""Limit on the sum of all votes, the device's among them, and on expected votes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumOptions:
    """What the quorum section, the nodelist's votes and totem.token say. Times are seconds.

    votes: node id -> quorum_votes of every listed node.
    expected_votes: 0 = not set: the sum of the nodelist's votes and of the device's.
    wait_for_all: None = not set: on with two_node.
    auto_tie_breaker: "" (off), "lowest", "highest", or the node ids to walk in order.
    device: a quorum device is configured. device_votes: None = not set: one fewer than there are nodes.
    device_timeout: no word from the device for so long takes its vote away; device_sync_timeout: the same, after a
        change of the membership. master_wins: a member with the device's vote makes all its component quorate.
    t_excl: nobody is excluded from the ring sooner than this after he was heard last; the lease is 0.8 of it.
    """

    votes: Mapping[NodeId, int] = field(default_factory=dict)
    expected_votes: int = 0
    two_node: bool = False
    wait_for_all: bool | None = None
    last_man_standing: bool = False
    last_man_standing_window: float = 10.0
    auto_tie_breaker: str | tuple[NodeId, ...] = ""
    allow_downscale: bool = False
    expected_votes_tracking: bool = False
    device: bool = False
    device_votes: int | None = None
    device_timeout: float = 10.0
    device_sync_timeout: float = 30.0
    master_wins: bool = False
    t_excl: float = 0.6

    @property
    def waits_for_all(self) -> bool:
        """wait_for_all in force: two_node implies it unless the key says otherwise (4.2)."""
        return self.two_node if self.wait_for_all is None else self.wait_for_all

    @property
    def tracks_expected(self) -> bool:
        """expected_votes_tracking in force: allow_downscale implies it (4.6)."""
        return self.expected_votes_tracking or self.allow_downscale

    @property
    def votes_of_device(self) -> int:
        """0 without a device (4.7)."""
        if not self.device:
            return 0
        return len(self.votes) - 1 if self.device_votes is None else self.device_votes

    @property
    def configured_expected(self) -> int:
        """expected_votes, or else the sum of all votes (4.1)."""
        return self.expected_votes or sum(self.votes.values()) + self.votes_of_device


def check(options: QuorumOptions) -> list[tuple[str, str]]:
    """Everything wrong with `options` at once, as (key of the quorum section or "", sentence); empty when usable."""
    parts = (_numbers, _hopeless, _two_node, _tie_breaker, _device, _window)
    return [found for part in parts for found in part(options)]


def _numbers(options: QuorumOptions) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if not options.votes and not options.expected_votes:
        found.append(("", "nodelist or quorum.expected_votes must be configured"))
    elif options.configured_expected < 1:
        found.append(("", "no node has a vote: at least one needs quorum_votes above 0"))
    if len(options.votes) > MAX_RING_MEMBERS:
        found.append(("", f"{len(options.votes)} nodes are listed, at most {MAX_RING_MEMBERS} can be one cluster"))
    found += [
        ("", f"node id {node} is not in the range (1..{MAX_NODE_ID})")
        for node in sorted(options.votes)
        if not 1 <= node <= MAX_NODE_ID
    ]
    found += [
        ("", f"quorum_votes of node {node} is {votes}, at least 0 expected")
        for node, votes in sorted(options.votes.items())
        if votes < 0
    ]
    largest = max(options.configured_expected, sum(options.votes.values()) + options.votes_of_device)
    if largest > MAX_VOTES:
        found.append(("expected_votes", f"{largest} votes in all, at most {MAX_VOTES} can be counted"))
    if options.expected_votes < 0:
        found.append(("expected_votes", f"expected_votes is {options.expected_votes}, at least 1 expected"))
    if options.t_excl <= 0:
        found.append(("", f"the token timeout is {options.t_excl} s, more than 0 expected"))
    return found


def _hopeless(options: QuorumOptions) -> list[tuple[str, str]]:
    """More expected votes than all nodes and the device together can bring: nobody would be quorate again after a full
    stop (the reference takes such a file, and waits for good)."""
    expected, total = options.expected_votes, sum(options.votes.values()) + options.votes_of_device
    if not options.votes or expected <= total:
        return []
    have = f"but all nodes {'and the device ' if options.device else ''}have {total} together"
    needed = 1 if options.two_node else (expected + 1) // 2 if options.auto_tie_breaker else expected // 2 + 1
    if options.waits_for_all:
        return [("expected_votes", f"wait_for_all waits for {expected} votes (expected_votes), {have}")]
    if needed > total:
        return [("expected_votes", f"with expected_votes {expected} it takes {needed} votes to be quorate, {have}")]
    return []


def _two_node(options: QuorumOptions) -> list[tuple[str, str]]:
    if not options.two_node:
        return []
    found = []
    if len(options.votes) != 2:
        found.append(("two_node", f"two_node needs exactly two nodes in the nodelist, {len(options.votes)} are listed"))
    if options.device:
        found.append(("two_node", "two_node and quorum device cannot be configured at the same time"))
    if options.auto_tie_breaker:
        found.append(("two_node", "two_node and auto_tie_breaker cannot be configured at the same time"))
    return found


def _tie_breaker(options: QuorumOptions) -> list[tuple[str, str]]:
    breaker = options.auto_tie_breaker
    if not breaker:
        return []
    found = []
    if isinstance(breaker, str):
        if breaker not in ("lowest", "highest"):
            words = f'auto_tie_breaker_node is lowest, highest or a list of node ids, but "{breaker}" was given'
            found.append(("auto_tie_breaker_node", words))
    else:
        found += [
            ("auto_tie_breaker_node", f"auto_tie_breaker_node: node id {node} is not in the range (1..{MAX_NODE_ID})")
            for node in breaker
            if not 1 <= node <= MAX_NODE_ID
        ]
    if sum(options.votes.values()) % 2 and not options.waits_for_all:
        if options.last_man_standing:
            words = "auto_tie_breaker and last_man_standing are not available in an odd sized cluster"
        else:
            words = "auto_tie_breaker is not available in a cluster with an odd number of votes"
        found.append(("auto_tie_breaker", f"{words} without wait_for_all: 1"))
    return found


def _device(options: QuorumOptions) -> list[tuple[str, str]]:
    if not options.device:
        return []
    found = [
        (key, f"quorum.device is not compatible with {key}")
        for key in ("last_man_standing", "auto_tie_breaker", "allow_downscale")
        if getattr(options, key)
    ]
    if options.device_votes is None:
        if options.expected_votes:
            found.append(("device", "quorum.device.votes must be specified when quorum.expected_votes is set"))
        elif any(votes != 1 for votes in options.votes.values()):
            found.append(("device", "quorum.device.votes must be specified when not all nodes votes 1"))
    elif options.device_votes < 0:
        found.append(("device", f"quorum.device.votes is {options.device_votes}, at least 0 expected"))
    if options.configured_expected - options.votes_of_device < 2:
        found.append(("device", "quorum.device.votes is too high or expected_votes is too low"))
    if options.device_timeout <= 0 or options.device_sync_timeout <= 0:
        found.append(("device", "quorum.device.timeout and quorum.device.sync_timeout must be above 0"))
    return found


def _window(options: QuorumOptions) -> list[tuple[str, str]]:
    if not options.last_man_standing:
        return []
    heavy = sorted(node for node, votes in options.votes.items() if votes > 1)
    found = []
    if heavy:
        names = ", ".join(map(str, heavy))
        found.append(("last_man_standing", f"last_man_standing needs one vote a node, but node {names} has more"))
    if options.last_man_standing_window < 0:
        found.append(("last_man_standing_window", "last_man_standing_window must be at least 0"))
    return found
