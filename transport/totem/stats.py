"""Counters of one node's Totem core, and the shape of what it sends. Read by `clusterctl` and the simulator."""

from __future__ import annotations

from dataclasses import dataclass

from transport.ids import NodeId


@dataclass(slots=True)
class Send:
    """One frame to be sealed and sent. kind: token, mcast, join, merge, commit, want, progress.

    redundant: a resend, worth every path that is up. session: goes pairwise (`to` is one node), and the frame is
    the payload behind the session's own type byte.
    """

    to: tuple[NodeId, ...]
    frame: bytes
    kind: str
    redundant: bool = False
    session: bool = False


@dataclass(slots=True)
class Stats:
    """Counts since the start; frames unless said."""

    tokens: int = 0
    tokens_ignored: int = 0  # resent, or of another ring
    tokens_resent: int = 0
    tokens_lost: int = 0
    rests: int = 0
    wants_sent: int = 0
    progress_sent: int = 0
    mcasts_sent: int = 0
    bytes_sent: int = 0
    accelerated: int = 0  # multicasts sent after the token
    mcasts_received: int = 0
    duplicates: int = 0
    asked: int = 0  # multicasts asked for again
    answered: int = 0  # multicasts sent again because asked for
    foreign: int = 0  # of a ring this node is not in
    malformed: int = 0
    unknown_type: int = 0
    unknown_sender: int = 0
    joins_sent: int = 0
    joins_received: int = 0
    joins_ignored: int = 0  # of an earlier incarnation, or older than one seen
    gathers: int = 0
    commits: int = 0  # commit tokens issued
    recoveries: int = 0
    recoveries_with_messages: int = 0
    recovered: int = 0  # old messages multicast again on a new ring
    rings: int = 0  # regular configurations installed
    merges: int = 0  # of these, with members that came from another ring
    waits_to_exclude: int = 0  # commit tokens held back until a silent member may be left out
    delivered: int = 0  # messages
    partial_dropped: int = 0  # multicast bodies that did not parse
