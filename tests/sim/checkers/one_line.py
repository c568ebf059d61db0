"""Q5: the epochs of the store form one line. That only a quorate node takes a write is judged where it is asked
(tests/sim/local_socket.py).
"""

from __future__ import annotations

from itertools import pairwise

from tests.sim.history import History, Violation, ancestors


def check(history: History) -> int:
    """Q5: the epochs that acknowledged anything stand in one line of parents, unless they are narrow or forced; one
    that calls itself a majority's was opened by a data majority."""
    used = {ack.epoch for ack in history.durable}
    line = sorted(ring for ring in used if ring in history.epochs and history.epochs[ring].kind.name == "MAJORITY")
    for older, newer in pairwise(line):
        if older not in ancestors(history.epochs, newer):
            at = max(ack.at for ack in history.durable if ack.epoch == newer)
            raise Violation(at, "Q5", f"epoch {newer} acknowledged writes and does not descend from {older}")
    for ring in line:
        epoch = history.epochs[ring]
        lists = [dict(votes) for votes in history.data_sets.get(epoch.data_set, ())]
        if lists and not any(2 * sum(votes.get(n, 0) for n in epoch.holders) > sum(votes.values()) for votes in lists):
            at = min(ack.at for ack in history.durable if ack.epoch == ring)
            text = f"epoch {ring} says that it is a majority's, and was opened by {epoch.holders} of {lists}"
            raise Violation(at, "Q5", text)
    return len(line)
