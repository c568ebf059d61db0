"""Configuration changes among members that say anything: proposals, verdicts, the word of who runs a newer one."""

from __future__ import annotations

from clusterd.promises import Promises, decode
from clusterd.reconfigure import Apply, Kind, Multicast, Reconfigure
from tests.fuzz.draws import Draws
from tests.fuzz.mutation import changed
from transport.codec import Writer
from transport.core import SilentLog
from transport.errors import Refused
from transport.events import Persist
from transport.ids import NodeId

NODES = (1, 2, 3)
MAX_STEPS = 60


def _judge(kind: Kind, body: bytes, runs: bool) -> list[str] | None:
    """Objects to some, cannot say of some, takes the rest."""
    return {0: ["no"], 1: None}.get(len(body) % 4, [])


def _describe(body: bytes) -> tuple[int, frozenset[NodeId]]:
    """Some list us, some do not."""
    return len(body), frozenset(NODES if len(body) % 3 else (1, 3))


def reconfigure(data: bytes) -> None:
    """Any messages of the configuration channel."""
    draw = Draws(data)
    core = Reconfigure(2, lambda node: f"n{node}", _judge, _describe, Promises(), bytes, SilentLog())
    core.configuration(NODES)
    informed, outside = Writer().u8(1).u8(4).u64(5).blob(b"text").done(), Writer().u8(1).u8(5).u64(5).done()
    said: list[bytes] = [informed, outside]
    now = 0.0
    for _ in range(MAX_STEPS):
        if not draw.more:
            break
        now += 0.1
        match draw.below(6):
            case 0:
                try:
                    core.propose(draw.of((Kind.CONFIG, Kind.KEY)), draw.blob(8), now)
                except Refused:
                    pass
            case 1:
                core.configuration(draw.of((NODES, (2,), (1, 2))))
            case 2:
                blobs = {node: changed(draw, [core.sync_state()]) for node in (1, 3)} | {2: core.sync_state()}
                core.shortest_exclusion(blobs)
                core.sync_activate(blobs)
            case 3:
                now += draw.of((0.0, 11.0, 40.0))
                core.handle_timeout(now)
                core.poke()
                core.verdict(draw.of((True, False)))
                core.handed(1, draw.below(9), draw.blob(8))
            case _:
                core.receive(draw.of((1, 2, 3, 9)), changed(draw, said), now)
        while (event := core.next_event()) is not None:
            if isinstance(event, Multicast):
                said = [*said[-15:], event.payload]
                core.receive(2, event.payload, now)
            elif isinstance(event, Persist):
                decode(event.value)
                if draw.below(2):
                    core.saved(event.receipt)
            elif isinstance(event, Apply) and event.kind is Kind.CONFIG:
                core.version, core.text = core.version + 1, event.body
