"""S4 from the log alone: the records of the line that the cluster ended on, applied to an empty tree, make every
node's tree, and come to the outcomes that each node remembers.

Records are noted as they reach any disk. A run in which one of the line was on no disk is not judged.
"""

from __future__ import annotations

from cfs.messages import Operation
from cfs.state import State
from tests.sim.history import FinalStore, History, Violation
from transport.ids import NO_RING, RingId


def check(history: History) -> int:
    """Raises Violation; returns how many nodes' trees were compared."""
    return sum(_compare(history, store) for store in history.final)


def _compare(history: History, store: FinalStore) -> bool:
    line = line_of(history, store.epoch, store.index)
    if line is None:
        return False
    state = State()
    for index, body in enumerate(line, 1):
        if body is None:
            state.advance(index)
        else:
            state.apply(Operation.decode(body), index)
    at = max((call.ended or 0.0 for call in history.calls), default=0.0)
    if (state.revision, state.digest()) != (store.revision, store.digest):
        text = f"the log up to {store.index} makes revision {state.revision}, node {store.node} has {store.revision}"
        raise Violation(at, "S4", text if state.revision != store.revision else f"{text}, with another tree")
    for ident, found in sorted(store.outcomes.items()):
        result = state.outcome(ident)
        if result is None or (result.code.name, result.revision) != found:
            text = f"node {store.node} has operation {ident.hex()} as {found}, by the log it is {result}"
            raise Violation(at, "S4", text)
    return True


def line_of(history: History, ring: RingId, end: int) -> list[bytes | None] | None:
    """The operations at log indexes 1 to `end` of the line that ends in epoch `ring`, None for another record; no list
    when one of them is not known."""
    line: list[bytes | None] = []
    while ring != NO_RING:
        epoch = history.epochs.get(ring)
        if epoch is None or epoch.parent >= ring:
            return None
        places = [(ring, index) for index in range(end, epoch.first_index - 1, -1)]
        if any(place not in history.records for place in places):
            return None
        line += [history.records[place] for place in places]
        end, ring = min(end, epoch.first_index - 1), epoch.parent
    return line[::-1] if not end else None
