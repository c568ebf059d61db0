"""S2 over all keys: the order of revisions, and what a node shows. Right histories are taken, wrong ones found."""

from __future__ import annotations

from dataclasses import replace

from tests.sim.checkers import alike, linearizability, real_time
from tests.sim.histories import RINGS, broken, call, history_of, ident, narrow_branch, stores
from tests.sim.history import (
    ACKED,
    StoreSample,
)


def test_in_memory_a_node_may_show_less_after_a_loss_of_power() -> None:
    """S2: what its disk had not got is gone; it is not told to read only what it once showed."""
    history = history_of(call(1, "put", 0.0, 1.0, ACKED, b"a", 7))
    history.samples = [StoreSample(1.5, 1, 0, 7, b"x"), StoreSample(3.0, 1, 1, 6, b"y")]
    history.in_memory = True
    assert broken(real_time.check_reads_never_go_back, history) == "S2"
    history.power_losses = [2.0]
    real_time.check_reads_never_go_back(history)
    history.in_memory = False
    assert broken(real_time.check_reads_never_go_back, history) == "S2"
    history.in_memory = True
    history.samples += [StoreSample(4.0, 1, 1, 8, b"z"), StoreSample(5.0, 1, 1, 7, b"x")]
    assert broken(real_time.check_reads_never_go_back, history) == "S2"


def test_a_branch_is_judged_by_itself() -> None:
    """S2 and S4 hold on the line; what was shown of a branch that was set aside does not bind anybody after."""
    branch = call(1, "put", 0.0, 1.0, ACKED, b"a", 7)
    branch.epoch = RINGS[1]
    after = call(2, "put", 2.0, 3.0, ACKED, b"b", 6)
    after.epoch = RINGS[2]
    history = history_of(branch, after)
    narrow_branch(history)
    history.final = stores({ident(2): ("OK", 6)}, discarded=frozenset([ident(1)]), epoch=RINGS[2])
    history.samples = [StoreSample(1.5, 1, 0, 7, b"x", RINGS[1]), StoreSample(3.5, 1, 0, 6, b"y", RINGS[2])]
    checks = (
        real_time.check_revisions_follow_real_time,
        real_time.check_reads_never_go_back,
        alike.check_digests,
        linearizability.check,
    )
    for check in checks:
        check(history)
    history.samples += [StoreSample(4.0, 2, 0, 7, b"y", RINGS[2]), StoreSample(5.0, 2, 0, 6, b"y", RINGS[2])]
    assert broken(real_time.check_reads_never_go_back, history) == "S2"
    history.samples = [StoreSample(1.5, 1, 0, 7, b"x", RINGS[1]), StoreSample(1.6, 2, 0, 7, b"y", RINGS[1])]
    assert broken(alike.check_digests, history) == "S4"


def test_revisions_follow_real_time_over_all_keys() -> None:
    """A write begun after another's ack has the higher revision, whatever the keys."""
    first = call(1, "put", 0.0, 1.0, ACKED, b"a", 5)
    later = replace(call(2, "put", 2.0, 3.0, ACKED, b"b", 4), key="other")
    assert broken(real_time.check_revisions_follow_real_time, history_of(first, later)) == "S2"
    real_time.check_revisions_follow_real_time(history_of(first, replace(later, revision=6)))


def test_a_node_never_shows_an_older_tree() -> None:
    """Local reads never go back, also across a restart, and see the node's own acknowledged writes."""
    history = history_of(call(1, "put", 0.0, 1.0, ACKED, b"a", 5))
    history.samples = [StoreSample(2.0, 1, 0, 5, b""), StoreSample(3.0, 1, 1, 6, b"")]
    real_time.check_reads_never_go_back(history)
    history.samples.append(StoreSample(4.0, 1, 2, 4, b""))
    assert broken(real_time.check_reads_never_go_back, history) == "S2"
    history.samples = [StoreSample(2.0, 1, 0, 4, b"")]
    assert broken(real_time.check_reads_never_go_back, history) == "S2"
