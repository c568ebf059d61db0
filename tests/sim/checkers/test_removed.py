"""X2: a removed node is out, told so, and heard by nobody. Right logs are taken, wrong ones found."""

from __future__ import annotations

from tests.sim.checkers import removed
from tests.sim.checkers.changes import Keys, Notice
from tests.sim.history import History, Process, Stranger
from tests.sim.logs import FIRST, KEYS, RINGS, both, broken, history_of, installed, log_of, runs, text
from tests.transport.totem.evs import Trace


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
