"""Configuration changes: every member applies the same bytes at the same place of the order, or nobody does."""

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.promises import Promises
from clusterd.reconfigure import Apply, Concluded, Kind, Multicast, Reconfigure
from tests.transport.security_world import ListLog
from transport.codec import Writer
from transport.core import SilentLog
from transport.errors import Refused
from transport.events import Persist


def entropy_of(node: int) -> Callable[[int], bytes]:
    count = iter(range(1 << 30))
    return lambda size: hashlib.shake_128(f"{node}/{next(count)}".encode()).digest(size)


class Ring:
    """Members over a perfect order. reasons: node -> its objections (None: cannot say yet)."""

    def __init__(self, *nodes: int) -> None:
        self.reasons: dict[int, list[str] | None] = {n: [] for n in nodes}
        self.order: list[tuple[int, bytes]] = []
        self.seen: dict[int, list[Apply | Concluded]] = {n: [] for n in nodes}
        self.nodes = {n: self.make(n) for n in nodes}
        for node in self.nodes.values():
            node.configuration(nodes)

    def make(self, node: int) -> Reconfigure:
        made = Reconfigure(
            node,
            lambda n: f"n{n}",
            lambda _kind, _body, _late: self.reasons[node],
            lambda _body: (1, frozenset(self.reasons)),
            Promises(),
            entropy_of(node),
            SilentLog(),
        )
        made.was_quorate = True
        return made

    def run(self, now: float = 0.0) -> None:
        moved = True
        while moved:
            moved = False
            for number, node in self.nodes.items():
                while (event := node.next_event()) is not None:
                    moved = True
                    if isinstance(event, Persist):
                        node.saved(event.receipt)
                    elif isinstance(event, Multicast):
                        self.order.append((number, event.payload))
                    else:
                        self.seen[number].append(event)
            while self.order:
                sender, payload = self.order.pop(0)
                moved = True
                for node in self.nodes.values():
                    node.receive(sender, payload, now)


def test_all_agree_all_apply():
    """Every node validates the same bytes, all say yes, then one ordered commit (votequorum.md, 12.2)."""
    ring = Ring(1, 2, 3)
    change = ring.nodes[1].propose(Kind.CONFIG, b"text", 0.0)
    ring.run()
    apply = Apply(Kind.CONFIG, b"text", 1)
    assert ring.seen[1] == [apply, Concluded(change, ())]
    assert ring.seen[2] == [apply] and ring.seen[3] == [apply]


def test_a_change_cut_short_by_the_membership_is_unknown():
    """All members or none, but a member that went another way may have heard the last agreement before: never told as
    refused what may be in force somewhere (STYLE, "Errors")."""
    ring = Ring(1, 2, 3)
    change = ring.nodes[1].propose(Kind.CONFIG, b"text", 0.0)
    event = ring.nodes[1].next_event()
    assert isinstance(event, Multicast)
    ring.nodes[1].receive(1, event.payload, 0.0)
    ring.nodes[1].configuration((1,))
    concluded = [event for event in iter(ring.nodes[1].next_event, None) if isinstance(event, Concluded)]
    assert [(event.change_id, event.unknown) for event in concluded] == [(change, True)]


def test_one_objection_changes_nothing_and_names_the_node():
    """A node that cannot take it refuses for all, and the initiator is told who and why."""
    ring = Ring(1, 2, 3)
    change = ring.nodes[1].propose(Kind.CONFIG, b"text", 0.0)
    ring.reasons[3] = ["address 10.0.0.3 is not on this host"]
    ring.run()
    assert ring.seen[1] == [Concluded(change, ("n3: address 10.0.0.3 is not on this host",))]
    assert ring.seen[2] == [] and ring.seen[3] == []


def test_without_quorum_all_members_are_not_enough():
    """Asked for in time, but ordered in a ring that is not quorate: whoever is left there cannot change the cluster."""
    ring = Ring(1, 2, 3)
    change = ring.nodes[1].propose(Kind.KEY, b"g", 0.0)
    alone = ring.nodes[1]
    ring.nodes = {1: alone}
    alone.configuration((1,))
    alone.was_quorate = False
    ring.run()
    (only,) = ring.seen[1]
    assert isinstance(only, Concluded) and only.change_id == change and "not quorate" in only.reasons[0]


def test_membership_change_ends_it():
    """All or nothing: without every member's word nothing happens."""
    ring = Ring(1, 2)
    ring.reasons[2] = None
    ring.nodes[1].propose(Kind.KEY, b"g", 0.0)
    ring.run()
    ring.nodes[1].configuration((1,))
    ring.run()
    (only,) = ring.seen[1]
    assert isinstance(only, Concluded) and "membership changed" in only.reasons[0]


def test_member_that_waits_answers_when_poked():
    """A key that travels beside the ring may arrive after the proposal."""
    ring = Ring(1, 2)
    ring.reasons[2] = None
    ring.nodes[1].propose(Kind.KEY, b"g", 0.0)
    ring.run()
    assert ring.seen[2] == []
    ring.reasons[2] = []
    ring.nodes[2].poke()
    ring.run()
    assert ring.seen[2] == [Apply(Kind.KEY, b"g", 1)]


def test_silence_ends_after_ten_seconds_for_all():
    """Never a hang: the initiator calls it off, in order, and says who was silent."""
    ring = Ring(1, 2)
    ring.reasons[2] = None
    ring.nodes[1].propose(Kind.KEY, b"g", 0.0)
    ring.run()
    due = ring.nodes[1].next_timeout()
    assert due == 10.0
    ring.nodes[1].handle_timeout(due)
    ring.run(due)
    (only,) = ring.seen[1]
    assert isinstance(only, Concluded) and only.reasons[0].startswith("n2 did not answer")
    assert ring.nodes[2].next_timeout() is None


def test_second_change_is_refused_while_one_is_under_way():
    """One at a time in the whole cluster, whoever starts it."""
    ring = Ring(1, 2)
    first = ring.nodes[1].propose(Kind.CONFIG, b"a", 0.0)
    second = ring.nodes[2].propose(Kind.CONFIG, b"b", 0.0)
    ring.run()
    assert Concluded(first, ()) in ring.seen[1]
    assert ring.seen[2] == [Concluded(second, ("n1 is changing the configuration now",)), Apply(Kind.CONFIG, b"a", 1)]


def apart(*nodes: int) -> Ring:
    """Members that just met, none of which could act before."""
    ring = Ring(*nodes)
    for node in ring.nodes.values():
        node.was_quorate = False
    return ring


def synchronise(ring: Ring) -> None:
    blobs = {n: node.sync_state() for n, node in ring.nodes.items()}
    for node in ring.nodes.values():
        node.sync_activate(blobs)
    ring.run()


def test_member_that_was_away_gets_the_configuration_in_force():
    """The side that could act has the right version, and its lowest member tells the others."""
    ring = apart(1, 2, 3)
    for n in (2, 3):
        ring.nodes[n].version, ring.nodes[n].text, ring.nodes[n].was_quorate = 5, b"five", True
    ring.nodes[1].version, ring.nodes[1].text = 4, b"four"
    synchronise(ring)
    assert ring.seen == {1: [Apply(Kind.CONFIG, b"five", 2, late=True)], 2: [], 3: []}


def test_member_that_was_away_resolves_new_host_names_first():
    """What it cannot judge yet it takes when it can: not only after the next change of the membership."""
    ring = apart(1, 2)
    ring.nodes[2].version, ring.nodes[2].text, ring.nodes[2].was_quorate = 5, b"five", True
    ring.reasons[1] = None
    synchronise(ring)
    assert ring.seen[1] == []
    ring.reasons[1] = []
    ring.nodes[1].poke()
    ring.run()
    assert ring.seen[1] == [Apply(Kind.CONFIG, b"five", 2, late=True)]


def test_who_runs_the_configuration_in_force_is_known():
    """That of the side that could act; a file edited on a joiner is not, whatever its number."""
    ring = apart(1, 2, 3, 4)
    for n, version in enumerate((4, 5, 5, 9), 1):
        ring.nodes[n].version = version
    ring.nodes[2].was_quorate = True
    blobs = {n: node.sync_state() for n, node in ring.nodes.items()}
    assert ring.nodes[1].newest(blobs) == {2, 3}
    ring.nodes[2].was_quorate = False
    blobs = {n: node.sync_state() for n, node in ring.nodes.items()}
    assert ring.nodes[1].newest(blobs) == {4}


def test_the_same_version_with_another_text_is_told():
    """Also by a member that could not act: nobody will send it a text of a version it has."""
    ring = apart(1, 2, 3)
    log = ring.nodes[2]._log = ListLog()
    for n in (1, 2, 3):
        ring.nodes[n].version, ring.nodes[n].text = 5, b"five"
    ring.nodes[1].text = b"other"
    ring.nodes[2].was_quorate = ring.nodes[3].was_quorate = True
    synchronise(ring)
    assert [line.removesuffix(" {}") for line in log.lines] == [
        "configuration version 5 differs between n1, n2, n3: raise config_version"
    ]


def test_an_edited_file_of_a_joiner_changes_nobody():
    """A higher number written on one machine is no decision of the cluster."""
    ring = apart(1, 2, 3)
    for n in (2, 3):
        ring.nodes[n].version, ring.nodes[n].was_quorate = 5, True
    ring.nodes[1].version = 9
    synchronise(ring)
    assert ring.seen == {1: [], 2: [], 3: []}


@given(st.binary(max_size=80))
def test_any_bytes_are_counted_not_raised(payload: bytes):
    """Nothing a peer can send makes a core raise."""
    node = Ring(1, 2).nodes[1]
    node.receive(2, payload, 0.0)
    node.receive(2, b"\x01" + payload, 0.0)
    node.sync_activate({1: node.sync_state(), 2: payload})


def test_the_shortest_exclusion_of_the_members_is_known():
    """Files may differ: a verdict must end before the most impatient member leaves us out (Q4)."""
    ring = apart(1, 2)
    ring.nodes[1].exclusion, ring.nodes[2].exclusion = 3.0, 0.6
    blobs = {n: node.sync_state() for n, node in ring.nodes.items()}
    assert ring.nodes[1].shortest_exclusion(blobs) == 0.6


def test_an_exclusion_no_configuration_can_say_tells_nothing():
    """A member must not bring everybody's lease to zero by a number below every limit."""
    ring = Ring(1, 2)
    ring.nodes[2].exclusion = 0.0
    blobs = {n: node.sync_state() for n, node in ring.nodes.items()}
    assert ring.nodes[1].shortest_exclusion(blobs) == 0.6


def inform(version: int, text: bytes) -> bytes:
    return Writer().u8(1).u8(4).u64(version).blob(text).done()


def test_a_newer_configuration_is_taken_once_and_only_from_whom_it_is_due():
    """All compute at the barrier who tells whom; anybody else's word, or a second one, changes and logs nothing."""
    ring = Ring(1, 2, 3)
    log = ring.nodes[1]._log = ListLog()
    for n in (2, 3):
        ring.nodes[n].version, ring.nodes[n].text, ring.nodes[n].was_quorate = 5, b"five", True
    one = ring.nodes[1]
    one.receive(3, inform(5, b"before the barrier"), 0.0)
    blobs = {n: node.sync_state() for n, node in ring.nodes.items()}
    one.sync_activate(blobs)
    for sender, version in ((3, 5), (2, 9), (2, 5), (2, 5), (3, 6)):
        one.receive(sender, inform(version, b"five"), 0.0)
    assert one.next_event() == Apply(Kind.CONFIG, b"five", 2, late=True)
    assert one.next_event() is None and log.lines == []


def test_a_change_its_initiator_forgot_is_ended_by_another_member():
    """Else one member could keep all others from changing anything for as long as the ring lasts."""
    ring = Ring(1, 2, 3)
    ring.reasons[3] = None
    ring.order.append((1, Writer().u8(1).u8(1).raw(bytes(16)).u8(1).blob(b"text").done()))
    ring.run()
    with pytest.raises(Refused, match="n1 is changing"):
        ring.nodes[2].propose(Kind.CONFIG, b"other", 5.0)
    due = ring.nodes[2].next_timeout()
    assert due is not None and due > 10.0  # the initiator's own patience comes first
    ring.nodes[2].handle_timeout(due)
    ring.run()
    ring.reasons[3] = []
    change = ring.nodes[2].propose(Kind.CONFIG, b"other", due)
    ring.run()
    assert ring.seen[2][-1] == Concluded(change, ())
