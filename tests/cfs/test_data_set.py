"""Whose disks carry acknowledgements, and how that changes, one node at a time (DESIGN 7, "Data set")."""

from __future__ import annotations

from tests.cfs.scenes import settled, write


def test_added_nodes_become_data_members_when_whole():
    """A new node is a learner until its disk holds the state at the entry that admits it."""
    cluster = settled(1)
    write(cluster, 1, 10)
    cluster.add(2)
    cluster.run(2.0)
    assert cluster.replica(1).status().data_set == {1: 1, 2: 1}
    cluster.add(3)
    cluster.run(2.0)
    assert cluster.replica(3).status().data_set == {1: 1, 2: 1, 3: 1}
    cluster.crash(1)
    cluster.run(1.0)
    attempt = cluster.put(3, "without-1")
    cluster.run(0.5)
    assert attempt.result is not None
    cluster.finish()


def test_removed_node_leaves_the_data_set():
    """The list changes by a log entry, one node at a time."""
    cluster = settled(3)
    cluster.crash(3)
    cluster.run(0.5)
    del cluster.votes[3]
    cluster.tell_nodes()
    cluster.run(1.0)
    assert cluster.replica(1).status().data_set == {1: 1, 2: 1}
    assert cluster.replica(1).status().writable


def test_data_set_is_lowered_as_nodes_are_let_go_and_grows_as_they_return():
    """last_man_standing lowers the data set the same way: a majority of old and new has it on disk."""
    cluster = settled(5, quorate=lambda part: len(part) >= 2)
    for gone in (5, 4, 3):
        cluster.crash(gone)
        cluster.run(1.0)
        for n in cluster.up:
            up = frozenset(cluster.up)
            cluster._call(cluster.nodes[n], lambda r, up=up: r.lower_data_set(up, cluster.now))
        cluster.run(1.0)
    status = cluster.replica(1).status()
    assert status.data_set == {1: 1, 2: 1}
    assert (status.writable, status.kind) == (True, "majority")
    cluster.finish()
    cluster.run(1.0)
    assert cluster.replica(1).status().data_set == dict.fromkeys(range(1, 6), 1)


def test_a_new_node_that_cannot_take_the_state_costs_the_others_nothing():
    """L1; DESIGN 7, "Data set": it is a learner "until its disk holds the state at the entry that admits it", so with
    one of three others gone the two that are left are still a data majority."""
    cluster = settled(3)
    cluster.add(4)
    cluster.nodes[4].disk.full = True
    cluster.run(1.0)
    cluster.crash(3)
    cluster.run(1.0)
    assert set(cluster.replica(1).status().data_set) == {1, 2, 3}
    attempt = cluster.put(1, "a")
    cluster.run(0.5)
    assert attempt.result is not None
    assert attempt.result.ok
    cluster.finish()
    assert set(cluster.replica(1).status().data_set) == {1, 2, 3, 4}


def test_who_comes_back_learns_from_the_others_that_a_change_is_in_force():
    """A restarted node has the change in its log and does not know it committed; those who know may be too few for the
    set before it. It can write like them all the same."""
    cluster = settled(4)
    cluster.crash(4)
    cluster.run(0.5)
    del cluster.votes[4]
    cluster.tell_nodes()
    while 4 in cluster.replica(1).status().data_set:
        cluster.run(0.01)
    cluster.run(0.01)
    for node in (2, 3):
        cluster.crash(node)
    cluster.run(0.5)
    cluster.start(2)
    cluster.run(1.0)
    assert cluster.replica(1).status().writable
    assert cluster.replica(2).status().writable
    attempt = cluster.put(2, "a")
    cluster.run(0.5)
    assert attempt.result is not None and attempt.result.ok
    assert cluster.replica(2).status().data_set == {1: 1, 2: 1, 3: 1}
