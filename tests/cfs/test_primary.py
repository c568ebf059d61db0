"""Required sets and the commit index."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cfs import wire
from cfs.catchup import CatchUp
from cfs.epochs import Choice
from cfs.primary import Primary, enough, majority_index
from cfs.records import DataSet, EpochKind, LogPosition
from tests.cfs.scenes import settled
from transport.core import SilentLog
from transport.ids import RingId


@pytest.mark.parametrize(
    ("nodes", "votes", "members", "answer"),
    [
        ({1, 2}, {1: 1, 2: 1, 3: 1}, (1, 2, 3), True),
        ({1}, {1: 1, 2: 1, 3: 1}, (1, 2, 3), False),
        ({1, 2}, {1: 1, 2: 1, 3: 1, 4: 1}, (1, 2, 3, 4), False),  # half is no majority
        ({1}, {1: 2, 2: 1}, (1, 2), False),  # two members: on both while both are present
        ({1}, {1: 2, 2: 1}, (1,), True),
        ({1, 9}, {1: 1, 2: 1, 3: 1}, (1, 2, 3, 9), False),  # a learner has no data votes
        ({1}, {1: 1}, (1, 2), True),
        ({2}, {1: 1, 2: 0}, (1, 2), False),
        ({1}, {1: 1, 2: 0}, (1, 2), True),  # a node without a vote is not one of two members
        (set(), {}, (1,), False),
    ],
)
def test_data_majority(nodes: set[int], votes: dict[int, int], members: tuple[int, ...], answer: bool):
    """DESIGN 7, "Required set"."""
    assert enough(nodes, DataSet(1, votes), members) is answer


@pytest.mark.parametrize(
    ("claims", "votes", "index"),
    [
        ({1: 9, 2: 7, 3: 5}, {1: 1, 2: 1, 3: 1}, 7),
        ({1: 9}, {1: 1, 2: 1, 3: 1}, 0),
        ({1: 9, 2: 7, 3: 5, 4: 3}, {1: 1, 2: 1, 3: 1, 4: 1}, 5),
        ({1: 9, 2: 7, 3: 5}, {1: 3, 2: 1, 3: 1}, 9),
        ({1: 9, 4: 9}, {1: 1, 2: 1, 3: 1}, 0),
        ({1: 9, 2: 7}, {1: 2, 2: 1}, 7),  # both of two
    ],
)
def test_index_on_disk_on_a_majority(claims: dict[int, int], votes: dict[int, int], index: int):
    """The highest index that a required set has."""
    assert majority_index(claims, DataSet(1, votes), tuple(votes)) == index


def test_what_was_there_at_the_opening_is_on_the_disks_of_all_that_were_ready() -> None:
    """S1: what an answer says of the disks that hold a write. A retry may be answered before anybody has claimed."""
    primary = Primary(RingId(7, 1, 1), (1, 2, 3))
    assert primary.holding(4) == set()
    primary.opened, primary.first_index, primary.holders, primary.ready = True, 5, (1, 2), {1, 2, 3}
    assert (primary.holding(4), primary.holding(5)) == ({1, 2, 3}, set())
    primary.claims = {1: 6, 2: 4}
    assert (primary.holding(5), primary.holding(6)) == ({1}, {1})


def test_a_narrow_write_is_on_every_disk_that_status_names() -> None:
    """DESIGN 7: "on *every* member with a good store"; S1: it "holds while any member of that component survives". Node
    4 holds the state but is in no data set yet; who says LOST is named no longer and not waited for."""
    primary = Primary(RingId(7, 1, 1), (1, 4))
    data_set = DataSet(1, {1: 1, 2: 1, 3: 1})
    primary.choice = Choice(leader=1, kind=EpochKind.NARROW, data_set=data_set, good=frozenset({1, 4}))
    primary.opened, primary.first_index, primary.ready = True, 5, {1, 4}
    primary.claims = {1: 9, 4: 7}
    assert primary.committed((data_set, None)) == 7
    primary.say_lost(4)
    assert primary.committed((data_set, None)) == 9
    primary.say_lost(1)
    assert primary.committed((data_set, None)) == 0


def test_a_transfer_of_an_earlier_choice_answers_nobody_who_asks_in_the_next() -> None:
    """A member that is not whole says NEED, and the server answers. Reports that come again make another choice on the
    same ring; a chunk sent for the one before, the last of its transfer, may be behind the new NEED in the order."""
    replica = settled().replica(1)
    primary = Primary(RingId(7, 1, 1), (1, 2))
    need = wire.Need(1, LogPosition(), 0, False, (), bytes(wire.SUM_BYTES))
    primary.report(1, wire.Report())
    for attempt in (1, 2):
        primary.report(2, wire.Report())
        catchup = CatchUp(1, primary, replica._store, lambda message: None, SilentLog())
        catchup.on_need(2, replace(need, attempt=attempt))
        if attempt == 1:
            catchup.on_start(1, wire.Start(1, 1, 2, 0, None), 0.0)
    catchup.on_chunk(1, wire.Chunk(1, 1, True, b""), 0.0)
    catchup.on_start(1, wire.Start(2, 2, 2, 0, None), 0.0)
    assert (primary.transfer, primary.source, primary.target) == (2, 1, 2)
