"""The checker of exactly-once accepts repeated requests and catches an operation that was applied twice."""

from __future__ import annotations

from cfs.records import EpochKind, EpochRecord
from tests.sim.checkers import once
from tests.sim.histories import RINGS, broken, history_of, ident
from tests.sim.history import Applied, History
from transport.ids import NO_RING, RingId


def applied(number: int, index: int, revision: int, epoch: RingId = RINGS[0], node: int = 1) -> Applied:
    return Applied(1.0, node, ident(number), epoch, index, (revision,))


def three_epochs() -> History:
    """RINGS[0] up to index 9; from there on two branches: RINGS[1] and RINGS[2]."""
    history = history_of()
    for ring, parent, first in ((RINGS[0], NO_RING, 1), (RINGS[1], RINGS[0], 10), (RINGS[2], RINGS[0], 10)):
        history.epochs[ring] = EpochRecord(ring, parent, first, 1, EpochKind.NARROW, 0, (1,))
    return history


def test_all_nodes_apply_one_record_alike() -> None:
    """The same record, the same revisions; two operations at one place are not the same history (S4)."""
    history = three_epochs()
    history.applied = [applied(1, 5, 3), applied(1, 5, 3, node=2), applied(2, 6, 4)]
    assert once.check(history) == 2
    history.applied.append(applied(2, 5, 3, node=3))
    assert broken(once.check, history) == "S4"


def test_an_operation_applied_twice_is_caught() -> None:
    """Within one epoch, and across two of one line (S3)."""
    history = three_epochs()
    history.applied = [applied(1, 5, 3), applied(1, 7, 4)]
    assert broken(once.check, history) == "S3"
    history.applied = [applied(1, 5, 3), applied(1, 12, 9, RINGS[2])]
    assert broken(once.check, history) == "S3"


def test_branches_are_lines_of_their_own() -> None:
    """What was set aside may be asked for, and done, again."""
    history = three_epochs()
    history.applied = [applied(1, 12, 9, RINGS[1]), applied(1, 12, 9, RINGS[2])]
    once.check(history)
    history.applied = [applied(1, 10, 9, RINGS[0]), applied(1, 12, 9, RINGS[2])]  # a tail that the fork cut off
    once.check(history)
