"""The checker of an administrator's changes accepts what keeps its promises and catches what does not."""

from __future__ import annotations

from tests.sim.checkers import administration as admin
from tests.sim.checkers.changes import DONE, REFUSED, UNKNOWN, Change, InForce, Keys, Log
from tests.sim.history import History
from tests.sim.logs import FIRST, KEYS, RINGS, both, broken, changed, log_of, runs, text


def test_a_change_that_came_into_force_everywhere_is_right() -> None:
    """An accepted change is in force everywhere, a refused one nowhere."""
    body = text(2, 1, 2, 3, mark="a")
    log = log_of(runs(1, 1, FIRST), runs(2, 1, FIRST), *both(2, body))
    log.changes = [changed(body, DONE), changed(text(2, 1, 2, mark="b"), REFUSED, node=2)]
    admin.check(log, History({1: 1, 2: 1, 3: 1}), one_line=True, by_votes=True)


def test_a_process_that_goes_back_is_caught() -> None:
    """A1: a process never goes back to an older version."""
    log = log_of(runs(1, 2, text(2, 1)), runs(1, 1, FIRST, 2.0))
    assert broken(admin.check_never_back, log) == "A1"


def test_two_texts_of_one_version_are_caught() -> None:
    """A1: a version of the configuration is one text."""
    log = log_of(runs(1, 2, text(2, 1, mark="a")), runs(2, 2, text(2, 1, mark="b")))
    assert broken(admin.check_one_text, log) == "A1"


def test_a_text_that_was_lost_before_it_was_told_leaves_its_version_free() -> None:
    """A1: lost by all who ran it and never told as done; one of the two alone does not do."""
    lost, other = text(2, 1, mark="a"), text(2, 1, mark="b")
    log = log_of(runs(1, 2, lost, 2.0), runs(1, 1, FIRST, 3.0), runs(1, 2, other, 4.0))
    admin.check_one_text(log)
    log.changes = [changed(lost, DONE)]
    assert broken(admin.check_one_text, log) == "A1"
    log = log_of(runs(1, 2, lost, 2.0), runs(2, 2, lost, 2.0), runs(1, 1, FIRST, 3.0), runs(1, 2, other, 4.0))
    assert broken(admin.check_one_text, log) == "A1"


def test_a_done_change_that_nobody_ran_is_caught() -> None:
    """A2: what was answered as done is in force where it was asked for."""
    log = log_of(runs(1, 1, FIRST), runs(2, 1, FIRST))
    log.changes = [changed(text(2, 1, 2, 3), DONE)]
    assert broken(admin.check_done, log) == "A2"


def test_a_done_change_that_was_lost_is_caught() -> None:
    """A2: it, or a later one, is in force once all is healed."""
    body = text(2, 1, 2, 3)
    log = log_of(runs(1, 2, body), final={1: (1, FIRST), 2: (1, FIRST)})
    log.changes = [changed(body, DONE)]
    assert broken(admin.check_done, log) == "A2"


def test_a_done_rotation_that_was_lost_is_caught() -> None:
    """A2, for keys."""
    log = log_of(runs(1, 1, FIRST))
    log.changes = [Change(1.0, 1, 1, "rotate", outcome=DONE, generation=2)]
    assert broken(admin.check_done, log) == "A2"


def test_a_refused_change_in_force_anywhere_is_caught() -> None:
    """A3: a refused one is in force nowhere, ever."""
    body = text(2, 1, 2, 3)
    log = log_of(runs(1, 1, FIRST), runs(2, 2, body))
    log.changes = [changed(body, REFUSED)]
    assert broken(admin.check_refused, log) == "A3"


def asked_for_what_one_cannot(*members: int) -> Log:
    """Node 3 has to refuse; the text is in force at node 1, which was told these members last."""
    body = text(2, 1, 2, 3)
    log = log_of(runs(1, 1, FIRST), InForce(2.0, 1, 1, 2, body, RINGS[0], False, members))
    log.changes = [Change(1.0, 1, 1, "wrong-elsewhere", body, DONE, cannot=3)]
    return log


def test_what_a_member_cannot_take_in_force_is_caught() -> None:
    """A3: one no ends a change, whatever the others said and whoever is told what."""
    assert broken(admin.check_nobody_says_no, asked_for_what_one_cannot(1, 2, 3)) == "A3"


def test_what_a_node_that_is_away_cannot_take_may_be_in_force() -> None:
    """Nobody waits for the agreement of who is no member."""
    assert admin.check_nobody_says_no(asked_for_what_one_cannot(1, 2)) == 1


def test_two_done_under_one_version_are_caught() -> None:
    """A3: two different changes at the same moment are never both done."""
    one, other = text(2, 1, mark="a"), text(2, 1, mark="b")
    log = log_of(runs(1, 2, one), runs(2, 2, other))
    log.changes = [changed(one, DONE), changed(other, DONE, node=2)]
    assert broken(admin.check_done_once, log) == "A3"


def test_different_ends_are_caught() -> None:
    """A4: all listed nodes end with the same configuration and cluster key."""
    log = log_of(runs(1, 1, FIRST), runs(2, 2, text(2, 1, 2)))
    assert broken(admin.check_alike, log) == "A4"
    log = log_of(runs(1, 1, FIRST), runs(2, 1, FIRST))
    log.keys[1] = Keys(9.0, 2, 1, KEYS[2], (KEYS[2],))
    assert broken(admin.check_alike, log) == "A4"


def test_a_change_in_a_calm_is_done_and_disturbs_no_ring() -> None:
    """A2 and L4: once everything has healed there is nothing that may be in its way."""
    rings = {1: RINGS[0], 2: RINGS[0]}
    done, unknown = changed(FIRST, DONE), changed(FIRST, UNKNOWN)
    admin.check_calm(9.0, [done], rings, dict(rings))
    admin.check_calm(9.0, [], rings, {1: RINGS[1]})  # nothing was asked for
    assert broken(admin.check_calm, 9.0, [done, unknown], rings, dict(rings)) == "A2"
    assert broken(admin.check_calm, 9.0, [done], rings, {1: RINGS[1], 2: RINGS[1]}) == "L4"
