"""What a member agreed to outlives its process and its ring, until it is known how the change ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.promises import MAX_HELD, Promise, Promises, decode
from clusterd.reconfigure import Apply, Concluded, Kind, Multicast, Reconfigure
from tests.clusterd.memory import entropy_of
from tests.transport.security_world import ListLog
from transport.errors import Refused, WireError
from transport.events import Persist
from transport.ids import RingId


def text(version: int, nodes: Iterable[int], extra: str = "") -> bytes:
    """What `describe` below reads."""
    return f"{version}/{','.join(map(str, nodes))}/{extra}".encode()


def describe(body: bytes) -> tuple[int, frozenset[int]]:
    version, nodes, _ = body.decode().split("/")
    return int(version), frozenset(map(int, nodes.split(",")))


@dataclass
class Machine:
    """A disk, and the process on it. late: its files are asked for and not written yet."""

    me: int
    promises: bytes | None = None
    config: bytes = text(1, (1, 2, 3))
    objections: list[str] = field(default_factory=list)
    late: bool = False
    log: ListLog = field(default_factory=ListLog)
    asked: list[Persist] = field(default_factory=list)
    done: list[Concluded] = field(default_factory=list)

    def start(self) -> Machine:
        held = Promises() if self.promises is None else decode(self.promises)
        judge: Callable[..., list[str]] = lambda _kind, _body, _late: self.objections  # noqa: E731
        self.core = Reconfigure(
            self.me, lambda n: f"n{n}", judge, describe, held, entropy_of(f"{self.me} {self.promises!r}"), self.log
        )
        self.core.version, self.core.text = describe(self.config)[0], self.config
        self.asked.clear()
        return self

    def write(self) -> None:
        for file in self.asked:
            self.promises = file.value
            self.core.saved(file.receipt)
        self.asked.clear()

    def serve(self) -> list[bytes]:
        """What it multicasts, and what it is told done."""
        said = []
        while (event := self.core.next_event()) is not None:
            match event:
                case Multicast():
                    said.append(event.payload)
                case Persist():
                    self.asked.append(event)
                    if not self.late:
                        self.write()
                case Apply(kind=Kind.CONFIG) if self.me in describe(event.body)[1]:
                    self.core.version, self.core.text = describe(event.body)[0], event.body
                    self.config = event.body  # on disk: a test that wants it lost puts the old one back
                case Concluded():
                    self.done.append(event)
        return said


class World:
    """Machines in rings of perfect order; `lost` do not hear any more."""

    def __init__(self, *nodes: int) -> None:
        self.machines = {n: Machine(n, config=text(1, nodes)).start() for n in nodes}
        self.lost: set[int] = set()
        self.seq = 0

    def __getitem__(self, node: int) -> Machine:
        return self.machines[node]

    def ring(self, *members: int, quorate: bool = True) -> None:
        """They go through a barrier."""
        self.seq += 1
        self.members = members
        for n in members:
            self[n].core.configuration(members, RingId(self.seq, members[0]))
        blobs = {n: self[n].core.sync_state() for n in members}
        for n in members:
            self[n].core.verdict(quorate)
            self[n].core.sync_activate(blobs)
        self.run()

    def run(self, ends: Callable[[int, int], bool] = lambda node, count: False) -> None:
        """Deliver all that is said; ends: who hears no more messages, having heard so many."""
        counts = dict.fromkeys(self.members, 0)
        order: list[tuple[int, bytes]] = []
        while True:
            for n in self.members:
                order += [(n, payload) for payload in self[n].serve()]
            if not order:
                return
            sender, payload = order.pop(0)
            for n in self.members:
                if not ends(n, counts[n]):
                    counts[n] += 1
                    self[n].core.receive(sender, payload, 0.0)

    def restart(self, node: int) -> None:
        self[node].start()

    def cut_short(self, change: bytes, knows: tuple[int, ...] = (3,), at: int = 1) -> None:
        """All agree, and only `knows` hear the last yes: the proposal and as many as there are members, less one."""
        self[at].core.propose(Kind.CONFIG, change, 0.0)
        self.run(ends=lambda node, count: node not in knows and count == len(self.members))

    def versions(self) -> dict[int, int]:
        return {n: machine.core.version for n, machine in self.machines.items()}


def test_a_yes_is_on_disk_before_it_is_said() -> None:
    """Or it would not be known any more, after a loss of power, to have been the last one."""
    world = World(1, 2)
    world.ring(1, 2)
    world[2].late = True
    world[1].core.propose(Kind.CONFIG, text(2, (1, 2)), 0.0)
    world.run()
    assert world.versions() == {1: 1, 2: 1}
    world[2].write()
    world.run()
    assert world.versions() == {1: 2, 2: 2}


def test_who_is_removed_writes_nothing_down() -> None:
    """It may be its disk for which it is removed."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world[3].late = True
    world[1].core.propose(Kind.CONFIG, text(2, (1, 2)), 0.0)
    world.run()
    assert world.versions() == {1: 2, 2: 2, 3: 1} and world[3].asked == []


@pytest.mark.parametrize("restarted", [(), (1, 2)])
def test_what_one_of_them_runs_all_take_though_they_are_quorate_without(restarted: tuple[int, ...]) -> None:
    """n3 alone had the last yes. The two others went on by the old configuration, which they agreed to leave; also
    after a loss of power."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world.cut_short(text(2, (1, 2, 3)))
    assert world.versions() == {1: 1, 2: 1, 3: 2}
    for n in restarted:
        world.restart(n)
    world.ring(3, quorate=False)
    world.ring(1, 2)
    assert world.versions() == {1: 1, 2: 1, 3: 2}
    world.ring(1, 2, 3)
    assert world.versions() == {1: 2, 2: 2, 3: 2}


def test_who_died_before_the_new_file_was_written_finishes_the_change() -> None:
    """It was answered as done, and all lose power before any disk has the new configuration."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world[1].core.propose(Kind.CONFIG, text(2, (1, 2, 3)), 0.0)
    world.run()
    assert [end.reasons for end in world[1].done] == [()]
    for n in (1, 2, 3):
        world[n].config = text(1, (1, 2, 3))
        world.restart(n)
    world.ring(1, 2)
    assert world.versions() == {1: 1, 2: 1, 3: 1}
    world.ring(1, 2, 3)
    assert world.versions() == {1: 2, 2: 2, 3: 2}


def test_one_alone_finishes_it() -> None:
    """The lowest of them, or each would refuse the others' as a change under way."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world.cut_short(text(2, (1, 2, 3)), knows=())
    world.ring(1, 2, 3)
    assert [len(world[n].done) for n in (1, 2, 3)] == [2, 0, 0]


def test_who_tells_others_what_is_in_force_finishes_it_too() -> None:
    """n3 was away since the change before; n1 has both to do at one barrier."""
    world = World(1, 2, 3)
    world.ring(1, 2)
    world[1].core.propose(Kind.CONFIG, text(2, (1, 2, 3)), 0.0)
    world.run()
    world.cut_short(text(3, (1, 2, 3)), knows=())
    world.ring(1, 2, 3)
    assert world.versions() == {1: 3, 2: 3, 3: 3}


def test_without_quorum_nothing_is_finished_until_there_is() -> None:
    """All who agreed are here, and a device's vote is still to come."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world.cut_short(text(2, (1, 2, 3)), knows=())
    world.ring(1, 2, 3, quorate=False)
    assert world.versions() == {1: 1, 2: 1, 3: 1}
    for n in (1, 2, 3):
        world[n].core.verdict(True)
    world.run()
    assert world.versions() == {1: 2, 2: 2, 3: 2}


def test_a_rotation_under_way_does_not_keep_it_from_being_finished() -> None:
    """It is proposed again while another change is ordered before it, and refused for that: its turn comes after."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world.cut_short(text(2, (1, 2, 3)), knows=())
    world.ring(1, 2, 3, quorate=False)
    world[1].core.propose(Kind.KEY, b"a key", 0.0)
    for n in (1, 2, 3):
        world[n].core.verdict(True)
    world.run()
    assert world.versions() == {1: 2, 2: 2, 3: 2}
    assert [one.reasons for one in world[1].done].count(()) == 2  # the rotation and this


def test_no_other_change_of_that_version_is_agreed_to_while_it_may_be_in_force() -> None:
    """Two texts under one version: each of two parts would call the other one's old."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world.cut_short(text(2, (1, 2, 3), "first"))
    world.restart(1)
    world.ring(1, 2)
    with pytest.raises(Refused, match=r"version 2 was agreed to, and may be in force on n3: raise config_version to 3"):
        world[1].core.propose(Kind.CONFIG, text(2, (1, 2, 3), "second"), 0.0)
    world[1].core.propose(Kind.CONFIG, text(3, (1, 2, 3), "second"), 0.0)
    world.run()
    world.ring(1, 2, 3)
    assert world.versions() == {1: 3, 2: 3, 3: 3}


def test_the_same_change_may_be_asked_for_again() -> None:
    """The administrator was told that its end is not known, and repeats it."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world.cut_short(text(2, (1, 2, 3)), knows=())
    world.ring(1, 2)
    world[1].core.propose(Kind.CONFIG, text(2, (1, 2, 3)), 0.0)
    world.run()
    assert world.versions() == {1: 2, 2: 2, 3: 1}


def test_one_who_did_not_agree_shows_that_it_came_to_nothing() -> None:
    """It is in force nowhere, and whoever had agreed forgets it."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world[3].late = True
    world[1].core.propose(Kind.CONFIG, text(2, (1, 2, 3), "first"), 0.0)
    world.run()
    world.restart(3)
    world.ring(1, 2, 3)
    world[3].late = False
    world[2].core.propose(Kind.CONFIG, text(2, (1, 2, 3), "second"), 0.0)
    world.run()
    assert {machine.core.text for machine in world.machines.values()} == {text(2, (1, 2, 3), "second")}


def test_who_had_not_said_yes_when_the_ring_ended_has_not_agreed() -> None:
    """Its disk was slow: nobody heard it, so nobody can have heard all."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world[3].late = True
    world[1].core.propose(Kind.CONFIG, text(2, (1, 2, 3)), 0.0)
    world.run()
    world.ring(1, 2, 3)
    world[3].write()
    assert all(decode(machine.promises or b"").doubtful(1) == [] for machine in world.machines.values())


def test_an_empty_disk_shows_nothing() -> None:
    """n2 agreed, and its disk was replaced: that it knows nothing of the change does not say that it never did."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world.cut_short(text(2, (1, 2, 3)))
    world[2].promises = None
    world.restart(2)
    world.ring(1, 2)
    with pytest.raises(Refused, match="may be in force on n3"):
        world[1].core.propose(Kind.CONFIG, text(2, (1, 2, 3), "second"), 0.0)


@pytest.mark.parametrize("emptied", [1, 3])
def test_an_empty_disk_does_not_keep_the_others_from_finishing(emptied: int) -> None:
    """All are back, and one of them cannot say: the lowest that still knows proposes it again. Else the cluster would
    be in doubt for good, though it is whole."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world.cut_short(text(2, (1, 2, 3)), knows=(emptied,))
    world[emptied].promises, world[emptied].config = None, text(1, (1, 2, 3))
    world.restart(emptied)
    world.ring(1, 2, 3)
    assert world.versions() == {1: 2, 2: 2, 3: 2}


def test_what_a_newcomer_refuses_comes_to_nothing_when_it_was_in_force_nowhere() -> None:
    """n3 was away, and cannot take it (an address that is not its own). All who had agreed are here, and none runs it:
    with the no it is over, and the version free for another text. Else it would be proposed, and refused, for good."""
    world = World(1, 2, 3)
    world.ring(1, 2)
    world.cut_short(text(2, (1, 2, 3), "first"), knows=())
    world[3].objections = ["not my address"]
    world.ring(1, 2, 3)
    assert world.versions() == {1: 1, 2: 1, 3: 1}
    world[3].objections = []
    world[2].core.propose(Kind.CONFIG, text(2, (1, 2, 3), "second"), 0.0)
    world.run()
    assert {machine.core.text for machine in world.machines.values()} == {text(2, (1, 2, 3), "second")}


def test_a_no_does_not_end_what_one_who_is_away_may_run() -> None:
    """n2 alone had the last yes, and is away: asked for again, and refused by n4, it stays in doubt."""
    world = World(1, 2, 3, 4)
    world.ring(1, 2, 3)
    world.cut_short(text(2, (1, 2, 3, 4), "first"), knows=(2,))
    world[4].objections = ["not my address"]
    world.ring(1, 3, 4)
    world[1].core.propose(Kind.CONFIG, text(2, (1, 2, 3, 4), "first"), 0.0)
    world.run()
    world[4].objections = []
    with pytest.raises(Refused, match="may be in force on n2"):
        world[1].core.propose(Kind.CONFIG, text(2, (1, 2, 3, 4), "second"), 0.0)


def test_a_refused_change_is_forgotten() -> None:
    """One no, in its place of the order: all know that it is in force nowhere."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world[3].objections = ["no"]
    world[1].core.propose(Kind.CONFIG, text(2, (1, 2, 3), "first"), 0.0)
    world.run()
    assert all(decode(machine.promises or b"").doubtful(1) == [] for machine in world.machines.values())


def test_what_came_beside_the_ring_is_not_undone_by_an_agreement_before_it() -> None:
    """The last yes of version 2 comes when version 3 was already taken from somebody outside."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world[1].core.propose(Kind.CONFIG, text(2, (1, 2, 3)), 0.0)
    world.run(ends=lambda node, count: node == 2 and count == 3)
    world[2].core.verdict(False)
    world[2].core.version, world[2].core.text = 3, text(3, (1, 2, 3))
    (change,) = [end.change_id for end in world[1].done]
    for sender in (1, 2, 3):
        world[2].core._verdict(sender, change, [])
    world[2].serve()
    assert world[2].core.version == 3


def test_from_outside_only_what_was_agreed_to_is_taken_while_quorate() -> None:
    """A member runs it that cannot come into our ring: then it is in force, and is asked for in ours."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world.cut_short(text(2, (1, 3)))
    world.ring(1, 2)
    assert world[1].core.least_wanted() == 2 and world[2].core.least_wanted() is None
    world[1].core.handed(3, 2, text(2, (1, 3), "another"))
    world.run()
    assert world.versions() == {1: 1, 2: 1, 3: 2}
    world[1].core.handed(3, 2, text(2, (1, 3)))
    world.run()
    assert world.versions() == {1: 2, 2: 1, 3: 2}


def test_nothing_older_is_taken_than_what_was_agreed_to() -> None:
    """Of three changes the second may be in force elsewhere, by a majority that this node would have belonged to."""
    world = World(1, 2, 3)
    world.ring(1, 2, 3)
    world.cut_short(text(3, (1, 2, 3)), knows=())
    world[1].core.configuration((1,), RingId(9, 1))
    world[1].core.verdict(False)
    assert world[1].core.least_wanted() == 3
    world[1].core.handed(3, 2, text(2, (1, 2, 3)))
    world[1].serve()
    assert world[1].core.version == 1
    assert any("a newer one was agreed to here" in line for line in world[1].log.lines)


def test_the_change_in_force_stays_in_the_file_until_the_one_after_the_next() -> None:
    """The new configuration is another file, which may be written later than this one."""
    world = World(1, 2)
    world.ring(1, 2)
    for version in (2, 3, 4):
        world[1].core.propose(Kind.CONFIG, text(version, (1, 2)), 0.0)
        world.run()
    assert [promise.version for promise in decode(world[1].promises or b"").doubtful(0)] == [3, 4]


def test_so_many_in_doubt_and_no_more() -> None:
    """Bounded memory: each has a text."""
    held = [Promise(bytes([n]) * 16, 2 + n, 1, (1, 2), text(2 + n, (1, 2))) for n in range(MAX_HELD)]
    world = World(1, 2)
    world[1].promises = Promises(1, held).encode()
    world.restart(1)
    world.ring(1)
    with pytest.raises(Refused, match="start the nodes that are away"):
        world[1].core.propose(Kind.CONFIG, text(9, (1, 2)), 0.0)


def test_members_of_before_write_nothing_down_and_prove_nothing() -> None:
    """A ring of two versions: whoever does not say since when it remembers is not expected to."""
    world = World(1, 2, 3)
    world.seq = 1
    world.members = (1, 2, 3)
    for n in (1, 2, 3):
        world[n].core.configuration((1, 2, 3), RingId(1, 1))
    blobs = {n: world[n].core.sync_state() for n in (1, 2, 3)}
    blobs[2] = blobs[2][:-9]  # ends behind the cluster key
    for n in (1, 2, 3):
        world[n].core.verdict(True)
        world[n].core.sync_activate(blobs)
    world.run()
    world.cut_short(text(2, (1, 2, 3)))
    (promise,) = decode(world[1].promises or b"").doubtful(1)
    assert promise.holders == (1, 3)


promises = st.builds(
    Promise,
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.lists(st.integers(0, 2**16 - 1), max_size=5).map(tuple),
    st.binary(max_size=50),
)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    """A damaged file is a WireError, never another exception."""
    with contextlib.suppress(WireError):
        decode(b"\x01" + data)


@given(st.integers(0, 2**64 - 1), st.lists(promises, max_size=4))
def test_the_file_says_what_was_written(since: int, held: list[Promise]) -> None:
    """And nothing else is such a file."""
    data = Promises(since, held).encode()
    again = decode(data)
    assert (again.since, again.doubtful(-1)) == (since, held)
    with pytest.raises(WireError):
        decode(data + b"x")
    with pytest.raises(WireError):
        decode(data[:-1])
