"""One process of the net: its core, what it gave out, and what the pings of its link layer found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.transport.totem.evs import Trace
from transport.events import Delivery
from transport.ids import NodeId
from transport.totem.srp import Srp


@dataclass
class Path:
    """One node's idea of the path to one peer, from pings answered."""

    pongs: int = 0
    heard: float = -1e9
    up: bool = False


@dataclass
class Node:
    """From its boot on; who boots again is another one."""

    id: NodeId
    srp: Srp
    trace: Trace
    incarnation: int
    alive: bool = True
    paused_until: float | None = None
    inbox: list[tuple[Any, ...]] = field(default_factory=list)
    paths: dict[NodeId, Path] = field(default_factory=dict)
    wake: float | None = None
    claims: dict[NodeId, int] = field(default_factory=dict)
    on_delivery: Callable[[Node, Delivery], None] | None = None
