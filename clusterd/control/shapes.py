"""The JSON shapes of the command line contract, as types: what the backend returns and every client receives.

Names, types and meanings are promises (contract 1): fields may be added, never changed. Seconds are floats, `time` is
Unix time, ids are ints, lists sort by id, ring ids are "REP.SEQHEX", unknown is None and never absent.
"""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

EntryType = Literal["file", "dir", "link"]


class Votes(TypedDict):
    expected: int
    highest: int
    total: int
    quorum: int


class Quorum(TypedDict):
    """flags: votequorum's words, in its order. reason: one sentence. lease_s: seconds this answer stays true."""

    time: float
    node_id: int
    ring_id: str | None
    quorate: bool
    members: list[int]
    votes: Votes
    flags: list[str]
    reason: str
    lease_s: float


class Node(TypedDict):
    """One configured node, member or not. lag: messages it is behind the newest one, None when unknown."""

    id: int
    name: str
    votes: int
    online: bool
    local: bool
    addresses: list[str]
    lag: int | None


class Nodes(TypedDict):
    nodes: list[Node]


class NodeInfo(TypedDict):
    id: int
    name: str
    pid: int
    version: str
    uptime_s: float


class ClusterInfo(TypedDict):
    name: str
    config_version: int
    transport: str
    secure_auth: bool


class RingInfo(TypedDict):
    """detection_s: time from a node's death to the new membership, with the timeouts in force."""

    id: str | None
    phase: str
    members: list[int]
    detection_s: float


class StoreInfo(TypedDict):
    """reason: why writes are refused, "" if not. kind: of the open epoch. held_only_by: who has a narrow epoch's
    writes. received: bytes of a transfer that came in so far. alarm: two histories disagree, the operator chooses."""

    state: str  # synced, syncing, damaged or disk_error
    writable: bool
    revision: int
    digest: str
    entries: int
    bytes: int
    durable_revision: int
    durable_on: list[int]
    durability: str
    reason: str
    kind: str | None
    held_only_by: list[int]
    received: int | None
    alarm: bool


class SocketCounts(TypedDict):
    """The local socket since the daemon's start. turned_away: too many clients; garbage: connections ended for bytes
    that are not our protocol; slow: clients that did not read; bugs: operations that failed by a mistake of ours."""

    accepted: int
    turned_away: int
    garbage: int
    slow: int
    bugs: int


class Status(TypedDict):
    """socket: added by the server that answers."""

    contract: int
    time: float
    node: NodeInfo
    cluster: ClusterInfo
    ring: RingInfo
    quorum: Quorum
    nodes: list[Node]
    store: StoreInfo
    socket: NotRequired[SocketCounts]


class Link(TypedDict):
    """One path: peer, link. active: data goes this way now. Counters since the daemon's start; loss 0..1."""

    peer: int
    name: str
    link: int
    local: str
    remote: str
    state: str  # up, down or disabled
    active: bool
    priority: int
    latency_s: float | None
    jitter_s: float | None
    loss: float | None
    mtu: int | None
    since: float
    reason: str | None
    tx_packets: int
    rx_packets: int
    tx_bytes: int
    rx_bytes: int


class Dropped(TypedDict):
    not_authentic: int
    replayed: int
    malformed: int
    unknown_sender: int


class Links(TypedDict):
    links: list[Link]
    dropped: Dropped


class Event(TypedDict):
    time: float
    node_id: int
    type: Literal["membership", "quorum", "link", "store", "config"]
    message: str
    data: dict[str, object]


class Reloaded(TypedDict):
    config_version: int
    changed: list[str]
    needs_restart: list[str]


class Written(TypedDict):
    path: str
    revision: int
    size: int
    durable_on: list[int]


class Changed(TypedDict):
    path: str
    revision: int


class FileData(TypedDict):
    path: str
    revision: int
    size: int
    mtime: float
    data: bytes


class Entry(TypedDict):
    path: str
    type: EntryType
    size: int
    revision: int
    mtime: float
    writer: int | None


class Listing(TypedDict):
    """One page of a directory. more: there are entries after the last one here. revision: the tree's."""

    path: str
    revision: int
    entries: list[Entry]
    more: bool


class Change(TypedDict):
    """One step of the tree. to: the new path of a `mv`."""

    revision: int
    op: str  # put, mkdir, rm or mv
    path: str
    to: str | None
    writer: int | None


class SetAside(TypedDict):
    time: float
    id: str
    revisions: list[int]
    entries: int
    file: str


class Discarded(TypedDict):
    discarded: list[SetAside]


class Outcome(TypedDict):
    """What became of an operation id. revision: of the change, when done. message: why it was refused."""

    id: str
    outcome: Literal["done", "refused", "unknown"]
    revision: int | None
    message: str | None


class Pong(TypedDict):
    """log_index: a place of the log that every operation first proposed from now on comes behind."""

    contract: int
    version: str
    log_index: int


Cut = TypedDict("Cut", {"from": int, "to": int, "link": int})
"""Datagrams from one node to another on one link are lost, this direction only."""


class Cuts(TypedDict):
    cuts: list[Cut]
