"""The exclusion rule: nobody is left out while it may still trust a verdict (CONTRACT of the lease, DESIGN Q4)."""

from __future__ import annotations

import dataclasses

import pytest

from transport.ids import NO_RING, RingId
from transport.totem.exclusion import Echoes
from transport.totem.joins import Join, View
from transport.totem.views import Views

T = 0.6
NODES = {1: 1, 2: 1, 3: 1}


def view(incarnation: int, birth: int = 0, stamp: int = 1, left: bool = False) -> View:
    return View(incarnation, birth, stamp, frozenset(), 1, NO_RING, NO_RING, left, 0.0)


def heard(views: Views, node: int, now: float, said: View) -> bool:
    return views.merge(Join(node, True, 0, (node,), {node: said}), NODES, now)


def echoes_and_views() -> tuple[Echoes, Views]:
    echoes = Echoes((1, 2), 1, now=0.0)
    views = Views(1, 99, 0, 1, 0.0)
    heard(views, 2, 10.0, view(7, birth=1024))
    echoes.note(2, 7, 10.0)
    return echoes, views


def test_a_silent_member_is_left_out_after_t_excl() -> None:
    """q installs a ring without X only when now >= last_echo[X] + T_excl."""
    echoes, views = echoes_and_views()
    assert echoes.free_at((1,), views, T) == 10.6
    assert echoes.free_at((1, 2), views, T) == 0.0
    echoes.note(2, 7, 9.0)  # an older one known later changes nothing
    assert echoes.free_at((1,), views, T) == 10.6


def test_a_fresh_process_waits_for_all_it_may_have_echoed_before() -> None:
    """It does not know what the process before it echoed."""
    assert Echoes((1, 2, 3), 1, now=5.0).free_at((1, 2), Views(1, 9, 0, 1, 5.0), T) == 5.6


def test_who_left_is_left_out_at_once() -> None:
    """X left: an authenticated leave, of the incarnation that was echoed."""
    echoes, views = echoes_and_views()
    assert heard(views, 2, 10.1, view(7, 1024, stamp=2, left=True))
    assert echoes.free_at((1,), views, T) == 0.0


def test_who_restarted_is_left_out_at_once_if_it_is_certain() -> None:
    """A higher birth proves that the old process is gone; an equal or lower one proves nothing."""
    echoes, views = echoes_and_views()
    assert heard(views, 2, 10.1, view(8, birth=2048))
    assert echoes.free_at((1,), views, T) == 0.0
    echoes, views = echoes_and_views()
    assert not heard(views, 2, 10.1, view(8, birth=0))
    assert echoes.free_at((1,), views, T) == 10.6


def test_a_late_datagram_brings_no_dead_incarnation_back() -> None:
    """An incarnation born earlier is believed only if it goes on talking while the present one is silent."""
    _, views = echoes_and_views()
    old = view(5, birth=10)
    assert not heard(views, 2, 10.1, old)
    assert heard(views, 2, 10.2, view(7, 1024, stamp=2))
    assert not heard(views, 2, 10.45, old)  # the present one spoke in between
    assert views.incarnation(2) == 7
    assert not heard(views, 2, 10.6, old)
    assert heard(views, 2, 10.8, old)  # a disk was lost: birth starts again at 0
    assert views.incarnation(2) == 5


def third_tells(views: Views, of_two: View, heard_at: float, now: float, stamp: int = 1) -> None:
    row = dataclasses.replace(of_two, heard_at=heard_at)
    assert views.merge(Join(3, True, 0, (3,), {3: view(1, stamp=stamp), 2: row}), NODES, now)


def emptied() -> tuple[Echoes, Views]:
    """Node 2 came back with an empty disk as 8, born "before" 7, and was in a ring with us until just now."""
    echoes, views = echoes_and_views()
    assert not heard(views, 2, 12.0, view(8, birth=0))
    assert heard(views, 2, 12.4, view(8, birth=0, stamp=2))
    echoes.note(2, 8, 15.0)
    return echoes, views


@pytest.mark.parametrize("birth", [0, 1024])
def test_a_process_that_others_know_is_believed_at_its_first_word(birth: int) -> None:
    """Its disk was lost. Who was away while it came back need not wait until it has gone on saying so: the ring would
    form without one of the two. It frees nobody from a wait: nothing says that it was born later."""
    echoes, views = echoes_and_views()
    third_tells(views, view(8, birth), heard_at=10.65, now=11.0)
    assert heard(views, 2, 11.0, view(8, birth))
    assert echoes.free_at((1,), views, 6.0) == 16.0


def test_a_process_that_others_heard_of_just_as_lately_is_not_believed_at_its_first_word() -> None:
    """The datagrams may have come late, to them and to us."""
    _, views = echoes_and_views()
    third_tells(views, view(8, birth=1024), heard_at=10.5, now=10.5)
    assert views.incarnation(2) == 8
    assert not heard(views, 2, 11.0, view(8, birth=1024))


def test_a_story_of_the_process_before_the_disk_was_emptied_brings_it_not_back() -> None:
    """Of two incarnations the one born later wins, unless the other was heard long after it."""
    _, views = emptied()
    third_tells(views, view(7, birth=1024, stamp=9), heard_at=11.0, now=15.1)
    assert views.incarnation(2) == 8


def test_who_was_born_later_frees_nobody_but_by_its_own_word() -> None:
    """Certainly restarted means: a later birth, heard from that process itself since the other was echoed."""
    echoes, views = emptied()
    third_tells(views, view(7, birth=1024, stamp=9), heard_at=12.3, now=15.1)
    assert views.incarnation(2) == 7  # too close to tell: the birth decides
    assert echoes.free_at((1,), views, T) == 15.6
    third_tells(views, view(7, birth=1024, stamp=10), heard_at=15.05, now=15.1, stamp=2)  # came late to the third
    assert echoes.free_at((1,), views, T) == 15.6
    assert heard(views, 2, 15.2, view(9, birth=2048))
    assert echoes.free_at((1,), views, T) == 0.0


def test_second_hand_rows() -> None:
    """Rows travel: the higher stamp within an incarnation, the later born of two, never over what we are ourselves."""
    _, views = echoes_and_views()
    rumour = view(7, 1024, stamp=9)
    join = Join(3, True, 0, (3,), {3: view(1), 2: rumour, 1: view(98, birth=9999)})
    assert views.merge(join, NODES, 11.0)
    assert views.table[2].stamp == 9
    assert 1 not in views.table
    older = Join(3, True, 0, (3,), {3: view(1, stamp=2), 2: view(5, birth=10, stamp=50)})
    assert views.merge(older, NODES, 11.1)
    assert views.incarnation(2) == 7
    assert views.own.ring == RingId(0, 0, 0)


def test_a_goodbye_from_before_a_start_tells_a_fresh_process_nothing() -> None:
    """The process before it may have echoed a later one of who left; a row that came late must not free it."""
    views = Views(1, 99, 0, 1, 5.0)
    echoes = Echoes((1, 2), 1, now=5.0)
    third = Join(3, True, 0, (3,), {3: view(1), 2: dataclasses.replace(view(7, left=True), heard_at=1.0)})
    assert views.merge(third, NODES, 5.1)
    assert echoes.free_at((1, 3), views, T) == 5.6
    assert heard(views, 2, 5.2, view(7, stamp=2, left=True))  # it says so now
    assert echoes.free_at((1, 3), views, T) == 0.0
