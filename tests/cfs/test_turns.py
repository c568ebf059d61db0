"""What takes long is done in turns, and the ring is served in between (cfs/turns.py)."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from cfs import turns, wire
from cfs.entries import Entry
from cfs.log import Log
from cfs.receiving import Receiver
from cfs.records import LogPosition
from cfs.replica import Replica
from cfs.state import State
from cfs.status import StoreSettings
from cfs.transfer import Sender, differing
from cfs.tree import Tree
from tests.cfs.building import mkdir, put, rm, run, tree
from tests.cfs.cluster import Cluster


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns so small that small trees take many."""
    for name, size in (("ENTRIES", 5), ("LOOKS", 10), ("APPLIED", 4)):
        monkeypatch.setattr(turns, name, size)


def forest(count: int) -> State:
    return tree(mkdir("d"), *(put(f"d/f{n}" if n % 2 else f"f{n}", b"%d" % n) for n in range(count)))


@pytest.mark.usefixtures("small")
def test_a_tree_is_filled_a_few_entries_at_a_time() -> None:
    """No turn takes more than its share, in whatever order the entries come."""
    state = forest(101)
    taken = 0

    def entries() -> Iterator[Entry]:
        nonlocal taken
        for entry in reversed(state.image().entries.values()):
            taken += 1
            yield entry

    work = Tree.filled(state.revision, entries())
    while True:
        before = taken
        try:
            next(work)
        except StopIteration as end:
            made = end.value
            break
        assert taken - before <= turns.ENTRIES
    assert made.entries == state.image().entries
    assert made.digest.buckets() == state.buckets()
    assert sorted(made.below("")) == sorted(made.entries)


@pytest.mark.parametrize("image", ["twice", "no directory", "in a file", "later revision"])
def test_entries_that_are_no_tree_are_refused(image: str) -> None:
    """What a member sent is believed only when it is a tree."""
    state = tree(mkdir("d"), put("d/f"), put("g"))
    entries = list(state.image().entries.values())
    revision = state.revision
    match image:
        case "twice":
            entries.append(entries[-1])
        case "no directory":
            del entries[0]
        case "in a file":
            entries[0] = put_entry(entries[2], "d")
        case "later revision":
            revision -= 1
    with pytest.raises(ValueError, match=r"d:|g:"):
        turns.finish(Tree.filled(revision, entries))


def put_entry(like: Entry, path: str) -> Entry:
    return Entry(path, like.type, like.data, like.revision, like.created, like.mtime, like.writer, like.digest)


def test_a_state_is_freed_without_the_collector() -> None:
    """A tree in a reference cycle would stay until a full collection, which then stops the loop for as long."""
    state = forest(10)
    gone = weakref.ref(state)
    gc.disable()
    try:
        del state
        assert gone() is None
    finally:
        gc.enable()


def test_a_recursive_delete_leaves_an_empty_directory_s_worth_of_nothing() -> None:
    """One pass over what goes; digest, size and what is dirty are as after deleting one by one."""
    state, other = forest(20), forest(20)
    run(state, mkdir("d/e"), put("d/e/x"), rm("d", recursive=True))
    assert [entry.path for entry in state.ls("")] == sorted(f"f{n}" for n in range(0, 20, 2))
    anew = State(state.image())
    assert (anew.digest(), anew.bytes, anew.entries) == (state.digest(), state.bytes, state.entries)
    assert state.take_delta().entries["d/e/x"] is None
    assert other.page("d", False, "", 3)
    run(other, rm("d", recursive=True), mkdir("d"), put("d/new"))
    assert [entry.path for entry in other.page("d", False, "", 9)] == ["d/new"]


@pytest.mark.usefixtures("small")
def test_a_sender_looks_through_its_tree_in_turns() -> None:
    """One entry of many differs: nothing to send is found for long, and the ring must not wait for it."""
    state = forest(100)
    mine = State(state.image())
    run(state, put("f0", b"new"))
    need = wire.Need(1, LogPosition(), 0, False, (), b"".join(mine.buckets()))
    start = wire.Start(1, 1, 2, 0, differing(state, need))
    sender = Sender(start, need, state, Log(LogPosition(state.index)), state.index)
    sender.have(turns.finish(Receiver(start, need, mine, None).have()))
    pauses = 0
    while (chunk := sender.next_chunk()) is None:
        assert sender.paused
        sender.resume()
        pauses += 1
    assert pauses == state.entries // turns.LOOKS
    assert len(chunk.data) < 100 * 41 + 1000  # the outcomes, and hardly more


def turns_of(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each of its turns is."""
    found: list[float] = []
    turn = replica._turn

    def noted() -> None:
        found.append(replica._now)
        turn()

    monkeypatch.setattr(replica, "_turn", noted)
    return found


@pytest.mark.usefixtures("small")
def test_a_tree_is_taken_over_in_turns_while_the_others_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes over a large tree stays a member: it was built in one go, longer than a token lives."""
    cluster = Cluster(1, 3, settings=StoreSettings(retain_records=20))
    assert cluster.run_until(cluster.settled)
    for number in range(120):
        cluster.put(1, f"f{number}")
    cluster.run(1.0)
    cluster.crash(3)
    cluster.nodes[3].disk.lose()
    cluster.start(3)
    taken = turns_of(cluster.replica(3), monkeypatch)
    for number in range(60):
        cluster.put(2, f"late{number}")
        cluster.run(0.005)
    cluster.finish()
    assert len(taken) >= 120 // turns.ENTRIES
    assert len(set(taken)) == len(taken)  # never two at one moment


@pytest.mark.usefixtures("small")
def test_what_becomes_visible_at_once_is_applied_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that answers after a while lets many records become visible at one moment."""
    cluster = Cluster(1, 1, settings=StoreSettings(deadline=20.0))
    assert cluster.run_until(cluster.settled)
    cluster.nodes[1].disk.latency = (1.5, 1.5)
    cluster.put(1, "first")
    cluster.run(0.1)
    attempts = [cluster.put(1, f"f{number}") for number in range(40)]
    taken = turns_of(cluster.replica(1), monkeypatch)
    cluster.nodes[1].disk.latency = (0.001, 0.001)
    cluster.run(3.0)
    assert all(attempt.result is not None for attempt in attempts)
    assert len(taken) >= 40 // turns.APPLIED - 1
    cluster.finish()
