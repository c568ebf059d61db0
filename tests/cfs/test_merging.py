"""Parts that went on by themselves meet again: whose history leads, and what becomes of the other (DESIGN 7)."""

from __future__ import annotations

from tests.cfs.scenes import settled
from tests.transport.security_world import ListLog


def test_leader_of_a_merge_is_the_later_epoch_not_the_longer_log():
    """Rule 3: the majority's epoch wins over a longer tail of the one that was left behind."""
    cluster = settled()
    cluster.linger = (1, 0.5)
    cluster.partition({1}, {2, 3})
    for number in range(20):
        cluster.put(1, f"left{number}")
    cluster.run(0.2)
    won = cluster.put(2, "won")
    cluster.run(1.0)
    assert won.result is not None
    left = [attempt for attempt in cluster.history if attempt.operation.path.startswith("left")]
    assert all(attempt.unknown for attempt in left)
    cluster.finish()
    assert cluster.replica(1).state.find("won") is not None
    assert cluster.replica(1).state.find("left0") is None
    assert {attempt.operation.id for attempt in left} <= cluster.checks.discarded()  # S5


def test_narrow_primary_says_so_and_its_writes_survive_the_merge():
    """S1, narrow: held while any member of that component survives and nobody went on without it."""
    cluster = settled(2, strict=False, quorate=lambda part: 1 in part)
    cluster.crash(2)
    cluster.run(1.0)
    attempt = cluster.put(1, "alone")
    cluster.run(0.5)
    status = cluster.replica(1).status()
    assert attempt.result is not None
    assert (status.kind, status.held_only_by, status.writable) == ("narrow", (1,), True)
    cluster.start(2)
    cluster.finish()
    assert cluster.replica(2).state.find("alone") is not None
    assert cluster.replica(2).status().kind == "majority"


def test_majority_epoch_beats_a_later_narrow_one_which_is_set_aside():
    """Rules 3 and S5: a forced minority's writes lose to the majority's, and are set aside, logged and listed."""
    forced: set[frozenset[int]] = set()
    logs = {n: ListLog() for n in (1, 2, 3)}
    cluster = settled(
        3, strict=False, quorate=lambda part: len(part) >= 2 or part in forced, log=lambda node: logs[node.id]
    )
    cluster.partition({1, 2}, {3})
    cluster.run(1.0)
    kept = cluster.put(1, "majority")
    cluster.run(0.5)
    forced.add(frozenset({3}))
    cluster._call(cluster.nodes[3], lambda r: r.set_quorate(True, cluster.now))
    cluster.run(0.5)
    lost = cluster.put(3, "forced")
    cluster.run(0.5)
    assert kept.result is not None
    assert lost.result is not None
    assert cluster.replica(3).status().kind == "narrow"
    cluster.heal()
    cluster.finish()
    assert cluster.replica(3).state.find("majority") is not None
    assert cluster.replica(3).state.find("forced") is None
    assert lost.operation.id in cluster.checks.discarded()
    said = {n: [line for line in log.lines if "set aside" in line] for n, log in logs.items()}
    assert (said[1], said[2], len(said[3])) == ([], [], 1)
    assert "lists what was set aside" in said[3][0]


def test_narrow_writes_win_over_an_epoch_nobody_can_have_used():
    """One node opened a majority epoch just before the ring broke; nothing of it can be committed."""
    cluster = settled(4, strict=False, quorate=lambda part: len(part) >= 3 or (len(part) == 2 and 1 in part))
    cluster.crash(4)
    cluster.run(1.0)
    cluster.linger = (3, 0.3)
    cluster.partition({1, 2}, {3})
    cluster.run(1.0)
    attempt = cluster.put(1, "narrow")
    cluster.run(0.5)
    assert attempt.result is not None
    cluster.finish()
    assert cluster.replica(3).state.find("narrow") is not None
