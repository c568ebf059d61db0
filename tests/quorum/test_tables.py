"""The tables of votequorum, n = 1..8 (votequorum.md section 5)."""

from __future__ import annotations

import pytest

from tests.quorum.world import World, options_of
from transport.errors import Refused
from transport.ids import RingId

# 5.1: n -> (expected, quorum, row for k = 1..n): Q quorate, t tie, h smaller half of an odd number, - not quorate.
ONE_VOTE_EACH = {
    1: (1, 1, "Q"),
    2: (2, 2, "tQ"),
    3: (3, 2, "hQQ"),
    4: (4, 3, "-tQQ"),
    5: (5, 3, "-hQQQ"),
    6: (6, 4, "--tQQQ"),
    7: (7, 4, "--hQQQQ"),
    8: (8, 5, "---tQQQQ"),
}
CELLS = [
    (n, k, expected, quorum, row[k - 1])
    for n, (expected, quorum, row) in ONE_VOTE_EACH.items()
    for k in range(1, n + 1)
]


@pytest.mark.parametrize(("n", "k", "expected", "quorum", "cell"), CELLS)
def test_one_vote_each(n: int, k: int, expected: int, quorum: int, cell: str) -> None:
    """5.1: k of n alive after a full cluster; without a tie breaker t and h are not quorate."""
    world = World(options_of(n))
    world.ring(*range(1, n + 1))
    world.ring(*range(1, k + 1))
    assert world.numbers(1) == (expected, k, quorum, cell == "Q")


@pytest.mark.parametrize(("n", "k", "expected", "quorum", "cell"), [c for c in CELLS if c[0] % 2 == 0])
def test_tie_is_broken_for_the_lowest_only(n: int, k: int, expected: int, quorum: int, cell: str) -> None:
    """5.1, t: quorate only with auto_tie_breaker and the right node."""
    world = World(options_of(n, auto_tie_breaker="lowest"))
    world.ring(*range(1, n + 1))
    low, high = tuple(range(1, k + 1)), tuple(range(n - k + 1, n + 1))
    world.ring(*low)
    assert world.quorate(1) is (cell in "Qt")
    world.ring(*range(1, n + 1))
    world.ring(*high)
    assert world.quorate(n) is (cell == "Q")


@pytest.mark.parametrize(("n", "after_earlier_loss"), [(5, True), (5, False), (7, True), (7, False)])
def test_smaller_half_of_odd_needs_an_earlier_loss(n: int, after_earlier_loss: bool) -> None:
    """5.1, h: the smaller half wins a tie only if previous - k < q; with n - k >= q lost at once it does not."""
    world = World(options_of(n, auto_tie_breaker="lowest", wait_for_all=True))
    world.ring(*range(1, n + 1))
    k, quorum = n // 2, n // 2 + 1
    if after_earlier_loss:
        world.ring(*range(1, n))
    world.ring(*range(1, k + 1))
    assert world.quorate(1) is (after_earlier_loss and n - 1 - k < quorum)


@pytest.mark.parametrize(("n", "k"), [(n, k) for n in range(1, 9) for k in range(1, n + 1)])
def test_wait_for_all_row(n: int, k: int) -> None:
    """5.1, WFA: until all n were present once every row is "-" except k = n; again after a loss of quorum."""
    world = World(options_of(n, wait_for_all=True))
    world.ring(*range(1, k + 1))
    assert world.quorate(1) is (k == n)
    if k < n:
        assert world.last(1).reason == f"waiting for all: {k} of {n} votes present"
    world.ring(*range(1, n + 1))
    assert world.quorate(1)
    if n > 1:
        for node in range(1, n + 1):
            world.ring(node)
        world.ring(*range(1, n))
        assert not world.quorate(1)
        world.ring(*range(1, n + 1))
        assert world.quorate(1)


def test_two_node_survivor_is_quorate_once_both_were_seen() -> None:
    """5.1: two_node only for n = 2: k = 1 is Q after all were seen once."""
    world = World(options_of(2, two_node=True))
    world.ring(1)
    assert not world.quorate(1)
    world.ring(1, 2)
    assert world.numbers(1) == (2, 2, 1, True)
    world.ring(2)
    world.ring(1)
    assert world.quorate(1)
    assert world.quorate(2)


@pytest.mark.parametrize(
    ("n", "chain"),
    [
        (3, [(3, 2), (2, 2)]),
        (4, [(4, 3), (3, 2), (2, 2)]),
        (5, [(5, 3), (3, 2), (2, 2)]),
        (6, [(6, 4), (4, 3), (3, 2), (2, 2)]),
        (7, [(7, 4), (4, 3), (3, 2), (2, 2)]),
        (8, [(8, 5), (5, 3), (3, 2), (2, 2)]),
    ],
)
def test_last_man_standing_chain(n: int, chain: list[tuple[int, int]]) -> None:
    """5.3: after each window expected := members; the largest loss survived each time; the last one of two stops."""
    world = World(options_of(n, last_man_standing=True))
    world.ring(*range(1, n + 1))
    for members, quorum in chain[1:]:
        world.ring(*range(1, members + 1))
        assert world.quorate(1), "the loss is survived at once"
        world.pass_time(10.2)
        assert world.numbers(1) == (members, members, quorum, True)
    world.ring(1)
    world.pass_time(10.2)
    assert not world.quorate(1)


def test_last_man_standing_with_tie_breaker_ends_with_one() -> None:
    """4.4 [M]: with ATB 2 -> 1 works for the low node."""
    world = World(options_of(4, last_man_standing=True, auto_tie_breaker="lowest"))
    world.ring(1, 2, 3, 4)
    for members in ((1, 2, 3), (1, 2)):
        world.ring(*members)
        world.pass_time(10.2)
    world.ring(1)
    assert world.quorate(1)
    world.pass_time(10.2)
    assert world.numbers(1) == (1, 1, 1, True)


def test_last_man_standing_window_not_over_keeps_the_old_threshold() -> None:
    """4.4 [M]: window not yet over -> old threshold."""
    world = World(options_of(5, last_man_standing=True))
    world.ring(1, 2, 3, 4, 5)
    world.ring(1, 2, 3)
    world.pass_time(9.0)
    world.ring(1, 2)
    assert world.numbers(1) == (5, 2, 3, False)


@pytest.mark.parametrize(("n", "present"), [(n, k) for n in range(1, 9) for k in range(1, n + 1)])
def test_set_expected(n: int, present: int) -> None:
    """5.4: accepted iff N >= present votes and (not quorate, or threshold(N) <= total): t <= N <= 2t - 1."""
    for value in range(-1, 18):
        world = World(options_of(n))
        world.ring(*range(1, n + 1))
        world.ring(*range(1, present + 1))
        if value < present or (world.quorate(1) and value > 2 * present - 1):
            with pytest.raises(Refused):
                world.nodes[1].set_expected(value)
            continue
        world.nodes[1].set_expected(value)
        world.deliver()
        for node in range(1, present + 1):
            assert world.numbers(node) == (value, present, value // 2 + 1, present > value // 2)


DEVICE = {
    # 5.2: n -> votes 1 (expected, quorum, with, without), votes n - 1 (the same)
    2: ((3, 2, 1, 2), (3, 2, 1, 2)),
    3: ((4, 3, 2, 3), (5, 3, 1, 3)),
    4: ((5, 3, 2, 3), (7, 4, 1, 4)),
    5: ((6, 4, 3, 4), (9, 5, 1, 5)),
    6: ((7, 4, 3, 4), (11, 6, 1, 6)),
    7: ((8, 5, 4, 5), (13, 7, 1, 7)),
    8: ((9, 5, 4, 5), (15, 8, 1, 8)),
}


@pytest.mark.parametrize(
    ("n", "votes", "expected", "quorum", "needed", "casts"),
    [
        (n, votes, e, q, with_it if casts else without, casts)
        for n, (ffsplit, lms) in DEVICE.items()
        for votes, (e, q, with_it, without) in ((1, ffsplit), (n - 1, lms))
        for casts in (True, False)
    ],
)
def test_device(n: int, votes: int, expected: int, quorum: int, needed: int, casts: bool) -> None:
    """5.2: the device counts in expected always, in the total of who casts its vote."""
    for k in range(1, n + 1):
        world = World(options_of(n, device=True, device_votes=votes))
        world.ring(*range(1, n + 1))
        world.form(*range(1, k + 1))
        for node in range(1, k + 1):
            world.nodes[node].set_device(
                registered=True, alive=True, cast=casts, name="d", ring_id=RingId(world.seq, 1), now=world.now
            )
        world.activate(*range(1, k + 1))
        assert world.numbers(1) == (expected, k + votes * casts, quorum, k >= needed)
        assert "Qdevice" in world.last(1).flags
