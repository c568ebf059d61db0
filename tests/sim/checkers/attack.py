"""X1: without a cluster key nobody reads, forges or replays a packet, nor makes a daemon crash, grow or log without
bound.

Crashes show as exceptions, and an invention or repeat that got through as E1 to E15 broken. Here: the tables that
strangers could fill keep to the bounds that docs/protocol-security.md and the modules name, at any moment of any run.
And where somebody without keys is the only trouble of a run: the ring is not formed again, each of their packets is
refused and counted, nobody gets more bytes from a node than they sent it, the log stays quiet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from clusterd.node import Node
from tests.sim.history import Violation
from transport.handshake import MAX_SOURCES
from transport.ids import NodeId, RingId
from transport.link.fragments import MAX_PARTIAL_BYTES, MAX_PARTIAL_FRAMES
from transport.peering import MAX_SENDS, MAX_TOMBSTONES
from transport.security import MAX_TOLD
from transport.sender_keys import MAX_KEYS
from transport.session import MAX_PENDING

SESSIONS = MAX_PENDING + 2  # of one pair: answered calls, the session in use and the one before
LINES = 4  # of the log, however short the attack
LINES_A_MINUTE = 20


@dataclass(frozen=True, slots=True)
class Look:
    """A node at one moment. process: which life.  lines: of its log since it started."""

    at: float
    node: NodeId
    process: int
    ring: RingId
    dropped: dict[str, int]
    lines: int


def look(at: float, node: NodeId, process: int, running: Node, lines: int) -> Look:
    return Look(at, node, process, running.endpoint.srp.ring_id, asdict(running.endpoint.security.dropped), lines)


def tables(node: Node) -> Iterable[tuple[str, int, int]]:
    """Each table that others can put something into: its name, its size now, and its bound."""
    security = node.endpoint.security
    peering, pairs = security._peering, len(security._peering.pairs) + len(security._peering.tombs)
    yield "sessions", len(peering.sessions), SESSIONS * pairs
    yield "calls under way", len(peering.initiations), MAX_PENDING * pairs
    yield "removed nodes remembered", len(peering.tombs), MAX_TOMBSTONES
    yield "answers to be sent", len(peering.sends), MAX_SENDS
    yield "addresses that showed a cookie", len(peering._gate._sources), MAX_SOURCES
    yield "words to be told", len(security.told), MAX_TOLD
    yield "sender keys", len(security._peer_keys), MAX_KEYS * pairs
    for sender, partial in sorted(node.endpoint._reassembler._senders.items()):
        yield f"frames begun by node {sender}", len(partial.partial), MAX_PARTIAL_FRAMES
        yield f"bytes of frames begun by node {sender}", partial.cost, MAX_PARTIAL_BYTES


def check_tables(at: float, me: NodeId, found: Iterable[tuple[str, int, int]]) -> None:
    """Raises Violation."""
    for name, size, bound in found:
        if size > bound:
            raise Violation(at, "X1", f"node {me} keeps {size} {name}, at most {bound} allowed")


def check_alone(before: Look, after: Look, arrived: int) -> None:
    """Nobody but strangers troubled this node between the two looks; `arrived`: packets of theirs that it was given."""
    at, who = after.at, f"node {after.node}"
    if after.process != before.process:
        raise Violation(at, "X1", f"{who} ended while strangers were the only trouble")
    if after.ring != before.ring:
        text = f"the ring of {who} was formed again ({before.ring}, then {after.ring})"
        raise Violation(at, "X1", f"{text} while strangers were the only trouble")
    refused = sum(after.dropped.values()) - sum(before.dropped.values())
    if refused < arrived:
        raise Violation(at, "X1", f"{who} was given {arrived} packets by strangers, and counted {refused} as refused")
    lines = after.lines - before.lines
    if lines > LINES + LINES_A_MINUTE * (after.at - before.at) / 60:
        text = f"{who} logged {lines} lines in {after.at - before.at:.1f} s"
        raise Violation(at, "X1", f"{text} while strangers were the only trouble")


def check_answers(at: float, amplified: Iterable[tuple[NodeId, str]]) -> None:
    """amplified: nodes, and addresses of strangers to which they sent more bytes than they had from there."""
    for node, address in amplified:
        raise Violation(at, "X1", f"node {node} sent more bytes to the stranger at {address} than it had from there")


def check_strangers(at: float, name: str, members: Iterable[NodeId], theirs: Iterable[NodeId]) -> None:
    """members: of every ring that a node of another cluster ever installed, by its ids."""
    wrong = sorted(set(members) - set(theirs))
    if wrong:
        raise Violation(at, "X1", f"a node of another cluster ({name}) has had members of ours, {wrong}, in its ring")
