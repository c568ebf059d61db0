"""The checker of an administrator's changes accepts what keeps its promises and catches what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quorum.events import Verdict
from tests.sim.checkers import administration as admin
from tests.sim.checkers import one_component, removed
from tests.sim.checkers.changes import DONE, REFUSED, UNKNOWN, Change, InForce, Keys, Log, Notice
from tests.sim.history import Configured, History, Process, Stranger, Told, Violation
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


def history_of(*events: Configured | Told) -> History:
    return History({1: 1, 2: 1, 3: 1}, processes=[Process(1, 1, 0.0, Trace(1, 1), events=list(events))])


def installed(ring: RingId, at: float, *members: int) -> Configured:
    return Configured(at, ConfigurationChange(True, ring, members))


def test_a_ring_with_a_removed_node_is_caught() -> None:
    """X2: out at once for every member that removed it; the ring in which it was removed still ends."""
    log = log_of(runs(1, 1, FIRST), runs(1, 2, text(2, 1, 2), 2.0, RINGS[1]))
    removed.check_removed_stay_out(log, history_of(installed(RINGS[1], 1.5, 1, 2, 3), installed(RINGS[2], 3.0, 1, 2)))
    history = history_of(installed(RINGS[1], 1.5, 1, 2, 3), installed(RINGS[2], 3.0, 1, 2, 3))
    assert broken(removed.check_removed_stay_out, log, history) == "X2"


def test_a_removed_node_with_the_key_in_use_is_caught() -> None:
    """X2: by keys, not by courtesy."""
    log = log_of(*both(2, text(2, 1, 2)), runs(3, 1, FIRST), final={1: (2, b""), 2: (2, b"")})
    log.keys += [Keys(3.0, 3, 1, KEYS[1], (KEYS[1],))]
    assert broken(removed.check_removed_have_no_key, log) == "X2"
    log.keys[:2] = [Keys(9.0, node, 1, KEYS[2], (KEYS[2],)) for node in (1, 2)]
    removed.check_removed_have_no_key(log)


def test_a_removed_node_that_was_never_told_is_caught() -> None:
    """DESIGN 6: a removed identity that calls gets a notice."""
    log = log_of(*both(2, text(2, 1, 2)))
    log.called = (3,)
    assert broken(removed.check_removed_are_told, log) == "X2"
    log.notices = [Notice(3.0, 3, itself=False)]
    removed.check_removed_are_told(log)


def told(ring: RingId, at: float, *members: int) -> Told:
    return Told(at, Verdict(True, ring, members, 3, 3, len(members), 2, (), ""))


def test_a_quorate_minority_of_the_configuration_in_force_is_caught() -> None:
    """Q1 with votes that change: more than half of those of the configuration that its members run."""
    log = log_of(runs(1, 1, FIRST), runs(1, 2, text(2, 1, 2, 3, 4, 5), 2.0))
    one_component.check_votes(log, history_of(told(RINGS[0], 1.5, 1, 2), told(RINGS[1], 3.0, 1, 2, 3)))
    assert broken(one_component.check_votes, log, history_of(told(RINGS[1], 3.0, 1, 2))) == "Q1"


def test_one_new_node_need_not_be_counted_before_it_joins() -> None:
    """Q2: expected votes rise when an added node first joins, not when its name is written."""
    log = log_of(runs(1, 1, FIRST), runs(1, 2, text(2, 1, 2, 3, 4), 1.2), runs(1, 3, text(3, 1, 2, 3, 4), 1.3))
    one_component.check_votes(log, history_of(told(RINGS[1], 3.0, 1, 2)))


def test_quorate_rings_without_a_common_member_are_caught() -> None:
    """Q1: a quorate ring shares a member with the one before it, whatever the votes became."""
    log = log_of(runs(1, 1, text(1, 1, 2)), runs(1, 2, text(2, 3, 4), 2.0))
    history = history_of(told(RINGS[0], 1.5, 1, 2), told(RINGS[1], 3.0, 3, 4))
    assert broken(one_component.check_votes, log, history) == "Q1"


def test_what_a_removed_node_sends_afterwards_is_not_heard() -> None:
    """X2: what it sent before its removal still ends with the ring; what it sends after that nobody is given."""
    without = text(2, 1, 2, mark="b")
    log = log_of(runs(1, 1, FIRST, 1.0), runs(1, 2, without, 5.0))
    sender, receiver = Process(3, 1, 0.0, Trace(3, 1)), Process(1, 1, 0.0, Trace(1, 1))
    sender.ring.sent, sender.sent_at = [(0, b"early", False), (0, b"late", False)], [4.9, 5.1]
    history = History({1: 1, 2: 1, 3: 1}, processes=[sender, receiver])
    receiver.strangers = [Stranger(5.2, 3, b"early", RINGS[1]), Stranger(5.2, 3, b"late", RINGS[0])]
    assert removed.check_removed_are_not_heard(log, history) == 2
    receiver.strangers.append(Stranger(5.3, 3, b"late", RINGS[1]))
    assert broken(removed.check_removed_are_not_heard, log, history) == "X2"
    log.in_force.append(runs(1, 3, text(3, 1, 2, 3, mark="c"), 5.05))  # listed again before it sent that
    removed.check_removed_are_not_heard(log, history)


def test_a_change_in_a_calm_is_done_and_disturbs_no_ring() -> None:
    """A2 and L4: once everything has healed there is nothing that may be in its way."""
    rings = {1: RINGS[0], 2: RINGS[0]}
    done, unknown = changed(FIRST, DONE), changed(FIRST, UNKNOWN)
    admin.check_calm(9.0, [done], rings, dict(rings))
    admin.check_calm(9.0, [], rings, {1: RINGS[1]})  # nothing was asked for
    assert broken(admin.check_calm, 9.0, [done, unknown], rings, dict(rings)) == "A2"
    assert broken(admin.check_calm, 9.0, [done], rings, {1: RINGS[1], 2: RINGS[1]}) == "L4"
