"""Who was removed, across restarts (clusterd/removals.py), and the rotation that follows (clusterd/rotation.py)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.removals import Removal, Removals, RemovalsChanged, decode
from tests.clusterd.memory import Memory, private, text_of
from transport.errors import WireError
from transport.exchange import RemovedNotice
from transport.noise import public_key
from transport.peering import MAX_TOMBSTONES


def removal(node: int, generation: int = 1, by: str = "n1") -> Removal:
    return Removal(node, bytes([node % 256]) * 32, 1_700_000_000, generation, by)


def test_what_is_written_is_read() -> None:
    """The file `removed` keeps every field."""
    removals = Removals([removal(3), removal(7, generation=4, by="nœud")])
    assert list(decode(removals.encode())) == list(removals)
    assert removals.generation == 4


def test_the_last_ones_are_kept_and_a_node_once() -> None:
    """As many as the transport tells (64); the newest word about a node counts."""
    removals = Removals(removal(node) for node in range(1, MAX_TOMBSTONES + 10))
    removals.add(removal(20, generation=9))
    known = list(removals)
    assert len(known) == MAX_TOMBSTONES and known[-1].generation == 9
    assert sorted(one.node for one in known) == list(range(10, MAX_TOMBSTONES + 10))


def test_a_long_name_is_cut_once_and_for_all() -> None:
    """What is in memory is what a restart finds: 64 characters of by whom."""
    removals = Removals([removal(3, by="n" * 200)])
    assert [one.by for one in removals] == ["n" * 64]
    assert list(decode(removals.encode())) == list(removals)


def test_who_is_listed_again_is_not_removed() -> None:
    """A node added again is a member like any other."""
    removals = Removals([removal(3), removal(4)])
    assert removals.forget([1, 2, 3]) and [one.node for one in removals] == [4]
    assert not removals.forget([1, 2, 3])


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    """A damaged file is a WireError, never another exception."""
    try:
        decode(data)
    except WireError:
        return


def test_another_version_is_refused() -> None:
    """The first byte is the version."""
    with pytest.raises(WireError):
        decode(b"\x02" + Removals().encode()[1:])


def last_written(memory: Memory, n: int) -> Removals:
    data = [event.data for event in memory.hosts[n].events if isinstance(event, RemovalsChanged)]
    return decode(data[-1]) if data else Removals()


def removed(nodes: int) -> Memory:
    """The last of them was removed by node 1 a moment ago."""
    memory = Memory(nodes)
    memory.run(3.0)
    text = text_of(nodes - 1, version=2)
    memory.give(1, lambda: memory.hosts[1].node.change_config(text, memory.now))
    memory.run(0.1)
    memory.text = text
    return memory


def generations(memory: Memory, *nodes: int) -> list[int]:
    return [memory.hosts[n].node.endpoint.security.current_key.generation for n in nodes]


def test_the_key_is_rotated_also_if_who_removed_the_node_dies_at_once() -> None:
    """X2: by keys. All who put the removal in force know that a rotation is due; another one makes the key."""
    memory = removed(4)
    memory.kill(1)
    memory.kill(4)
    memory.run(8.0)
    assert generations(memory, 2, 3, 4) == [2, 2, 1]


def test_the_key_is_rotated_also_if_all_restart_at_once() -> None:
    """That a rotation is due is on disk with the removal."""
    memory = removed(3)
    on_disk = {n: last_written(memory, n) for n in (1, 2)}
    for n in (1, 2, 3):
        memory.kill(n)
    for n in (1, 2):
        assert [one.identity for one in on_disk[n]] == [public_key(private(3))]
        memory.boot(n, on_disk[n])
    memory.run(8.0)
    assert generations(memory, 1, 2) == [2, 2]


def test_one_that_was_told_by_another_rotates_too() -> None:
    """At the barrier each says what it knows: the lowest makes the key, also if it never heard of the removal."""
    memory = removed(4)
    on_disk = last_written(memory, 2)
    for n in (1, 2, 3, 4):
        memory.kill(n)
    memory.boot(1)
    memory.boot(2, on_disk)
    memory.boot(3)
    memory.run(8.0)
    assert generations(memory, 1, 2, 3) == [2, 2, 2]


def test_a_removed_node_is_told_also_after_a_restart_of_all_others() -> None:
    """DESIGN 6: a removed identity gets one bounded notice, whatever happened since."""
    memory = removed(3)
    on_disk = {n: last_written(memory, n) for n in (1, 2)}
    for n in (1, 2, 3):
        memory.kill(n)
    for n in (1, 2):
        memory.boot(n, on_disk[n])
    old = memory.text
    memory.text = text_of(3)
    memory.boot(3)
    memory.text = old
    memory.run(3.0)
    notices = [event for event in memory.hosts[3].events if isinstance(event, RemovedNotice)]
    assert {notice.by for notice in notices} == {"n1"} and notices[0].date == 1_700_000_000
