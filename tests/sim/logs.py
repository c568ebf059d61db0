"""Short logs of what administrators did, written by hand, for the tests of the checkers that read them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quorum.events import Verdict
from tests.sim.checkers.changes import Change, InForce, Keys, Log
from tests.sim.history import Configured, History, Process, Told, Violation
from tests.transport.totem.evs import Trace
from transport.events import ConfigurationChange
from transport.ids import RingId
from transport.keyring import ClusterKey

RINGS = [RingId(4, 1, 1), RingId(8, 1, 1), RingId(12, 1, 1)]
KEYS = {generation: ClusterKey.derive(generation, bytes([generation]) * 32) for generation in range(1, 5)}


def text(version: int, *nodes: int, mark: str = "", votes: int = 1) -> bytes:
    listed = "".join(f"node {{\nnodeid: {node}\nquorum_votes: {votes}\n}}\n" for node in nodes)
    return f"# {mark}\ntotem {{\nconfig_version: {version}\n}}\nnodelist {{\n{listed}}}\n".encode()


FIRST = text(1, 1, 2, 3)


def runs(node: int, version: int, body: bytes, at: float = 1.0, ring: RingId = RINGS[0]) -> InForce:
    return InForce(at, node, 1, version, body, ring, version == 1)


def log_of(*in_force: InForce, final: dict[int, tuple[int, bytes]] | None = None) -> Log:
    """A log in which nodes 1 and 2 end with what they ran last, under generation 1, unless told otherwise."""
    log = Log(FIRST, in_force=list(in_force))
    last = {one.node: (one.version, one.text) for one in in_force}
    log.final = last if final is None else final
    log.keys = [Keys(9.0, node, 1, KEYS[1], (KEYS[1],)) for node in sorted(log.final)]
    return log


def changed(body: bytes, outcome: str, node: int = 1) -> Change:
    return Change(1.0, node, 1, "votes", body, outcome, ended=1.1)


def broken(check: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(Violation) as caught:
        check(*arguments)
    return caught.value.promise


def both(version: int, body: bytes) -> list[InForce]:
    return [runs(1, version, body, 2.0), runs(2, version, body, 2.0)]


def history_of(*events: Configured | Told) -> History:
    return History({1: 1, 2: 1, 3: 1}, processes=[Process(1, 1, 0.0, Trace(1, 1), events=list(events))])


def installed(ring: RingId, at: float, *members: int) -> Configured:
    return Configured(at, ConfigurationChange(True, ring, members))


def told(ring: RingId, at: float, *members: int) -> Told:
    return Told(at, Verdict(True, ring, members, 3, 3, len(members), 2, (), ""))
