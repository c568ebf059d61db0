"""What the scripted world of the store is made of: hosts, their rings and messages, and what clients asked of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cfs.messages import Operation, Result
from cfs.replica import Replica
from tests.sim.disk import SimDisk
from transport.ids import RingId


@dataclass
class Sent:
    sender: int
    payload: bytes
    safe: bool
    received: set[int]


@dataclass
class Ring:
    id: RingId
    members: tuple[int, ...]
    messages: list[Sent] = field(default_factory=list)
    claims: dict[int, int] = field(default_factory=dict)
    alive: bool = True
    cut: dict[int, Any] | None = None  # once broken: node -> part; equal parts hear each other
    token: tuple[Any, float] = (None, 0.0)  # once broken: which part can still put messages on the ring, until when

    def hears(self, one: int, other: int) -> bool:
        return self.cut is None or (one in self.cut and other in self.cut and self.cut[one] == self.cut[other])


@dataclass
class Attempt:
    """One operation of a client: what was asked, when, and what came of it."""

    node: int
    operation: Operation
    began: float
    ended: float | None = None
    result: Result | None = None
    unknown: bool = False
    refused: str = ""


class Node:
    """One host: the disk stays, the process comes and goes."""

    def __init__(self, number: int, disk: SimDisk) -> None:
        self.id = number
        self.disk = disk
        self.replica: Replica | None = None
        self.ring: Ring | None = None  # the last one installed
        self.next_ring: Ring | None = None  # formed, not yet installed
        self.gathering = False  # knows that its ring is broken
        self.delivered = 0  # messages of `ring` delivered
        self.queue: list[tuple[bytes, bool]] = []  # submitted, not on a ring yet
        self.life = 0
        self.shown = 0  # the highest log index a local read could have seen
        self.seen_claims: dict[int, int] = {}
        self.timer: float | None = None
        self.attempts: dict[bytes, Attempt] = {}
        self.barriers: dict[int, int] = {}  # token -> index that must be visible
