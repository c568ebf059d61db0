"""A watcher of the simulator does what a client of the local socket can do, no more."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.sim.clock import Clock
from tests.sim.history import History
from tests.sim.watchers import REFUSALS, Watcher
from transport.ids import RingId


class Tree:
    """One that is at a revision."""

    def __init__(self, revision: int) -> None:
        self.revision = revision

    def since(self, revision: int) -> list[Any]:
        return []


class Shown:
    """A node, and what it shows."""

    def __init__(self, revision: int) -> None:
        self.process_number = 1
        self.state = Tree(revision)

    def can_connect(self) -> bool:
        return True

    def tree(self) -> Any:
        return self.state, RingId(1, 1, 1)


def test_who_knows_more_than_the_node_is_refused_and_reads_anew_in_the_end() -> None:
    """`Backend.fs_changes` refuses a revision ahead of the tree; of one set aside none is ever reached."""
    clock, node = Clock(), Shown(9)
    watcher = Watcher(clock, Random(1), {1: node}, History({1: 1}))
    watcher.start()
    clock.run(1.0)
    watcher.check_up_to_date(clock.now, (1,))
    node.state, node.process_number = Tree(5), 2
    clock.run(clock.now + 2.0 * REFUSALS)
    watcher.check_up_to_date(clock.now, (1,))
    assert watcher._known == 5
