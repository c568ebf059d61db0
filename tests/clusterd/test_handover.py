"""A configuration handed to a node that cannot come into the ring by its own (clusterd/handover.py)."""

from hypothesis import given
from hypothesis import strategies as st

from clusterd.handover import INTERVAL, PATIENCE, PIECE, QUORATE, Handover, Taken, Tell
from tests.clusterd.memory import Memory, text_of

NEW = bytes(range(256)) * 20


def tells(handover: Handover) -> list[Tell]:
    return [event for event in iter(handover.next_event, None) if isinstance(event, Tell)]


def offered(now: float = QUORATE, quorate: bool = True) -> list[Tell]:
    """What a member that runs version 5 says to node 2, outside since 0.0."""
    member = Handover()
    member.outside(frozenset({2}), 0.0)
    member.handle_timeout(now, 5, quorate)
    return tells(member)


def given_to(node: Handover, payload: bytes, now: float = 1.0, version: int = 4, least: int | None = 5) -> list[Tell]:
    node.receive(1, payload, now, version, b"old", least)
    return tells(node)


def test_a_node_that_was_off_while_another_was_added_comes_back() -> None:
    """It does not know the new node, so no ring with both can form: what it lacks it gets from a member alone."""
    memory = Memory(3)
    memory.run(3.0)
    memory.kill(2)
    memory.run(2.0)
    old, memory.text = memory.text, text_of(4, version=2)
    memory.give(1, lambda: memory.hosts[1].node.change_config(memory.text, memory.now))
    memory.run(0.5)
    memory.boot(4)
    memory.run(3.0)
    memory.text = old
    memory.boot(2)
    memory.run(5.0)
    node = memory.hosts[2].node
    assert node.changes.config.config_version == 2
    assert node.endpoint.srp.members == (1, 2, 3, 4) and node.quorate(memory.now)


def test_an_older_version_is_asked_for_and_put_together_in_any_order() -> None:
    """OFFER, WANT, as many PIECEs as it takes; none is lost for good, and none counts twice."""
    (offer,) = offered()
    node, member = Handover(), Handover()
    (want,) = given_to(node, offer.payload)
    member.receive(2, want.payload, 1.0, 5, NEW, None)
    pieces = tells(member)
    assert len(pieces) == -(-len(NEW) // PIECE)
    for piece in [*reversed(pieces[1:]), pieces[1]]:
        assert given_to(node, piece.payload) == []
    (again,) = given_to(node, offer.payload, now=1.0 + INTERVAL)
    assert again == want
    node.receive(1, pieces[0].payload, 1.0 + INTERVAL, 4, b"old", 5)
    assert node.next_event() == Taken(1, 5, NEW)


def test_who_is_quorate_or_newer_asks_for_nothing() -> None:
    """Taken is a higher version only, by a node that is not quorate, or one that agreed to it."""
    (offer,) = offered()
    assert given_to(Handover(), offer.payload, version=5, least=6) == []
    assert given_to(Handover(), offer.payload, least=None) == []
    assert len(given_to(Handover(), offer.payload, least=5)) == 1


def test_without_quorum_one_offers_only_after_a_while() -> None:
    """The configuration in force is that of the side that can act; after a full stop, the newest."""
    assert offered(quorate=False) == []
    assert len(offered(PATIENCE, quorate=False)) == 1


def test_nobody_outside_nothing_to_do() -> None:
    """An idle cluster wakes up for nothing."""
    member = Handover()
    member.outside(frozenset({2}), 0.0)
    assert member.next_timeout() == INTERVAL
    member.outside(frozenset(), 0.5)
    assert member.next_timeout() is None


def test_another_offers_in_turn_when_the_first_falls_silent() -> None:
    """One configuration at most is being put together."""
    (offer,) = offered()
    node = Handover()
    assert len(given_to(node, offer.payload, now=1.0)) == 1
    node.receive(3, offer.payload, 1.0 + INTERVAL, 4, b"old", 5)
    assert tells(node) == []
    node.receive(3, offer.payload, 1.0 + 3 * INTERVAL, 4, b"old", 5)
    assert [tell.peer for tell in tells(node)] == [3]


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_are_counted_not_raised(payloads: list[bytes]) -> None:
    """Nothing a peer can send makes a core raise."""
    node = Handover()
    for payload in payloads:
        node.receive(1, payload, 1.0, 4, b"old", 5)
        node.receive(1, b"\x01\x01" + payload, 1.0, 4, b"old", 5)
        node.receive(1, b"\x01\x03" + payload, 1.0, 4, b"old", 5)
