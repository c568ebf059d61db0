"""The synchronisation barrier: one place in the order at which all services activate."""

from transport.core import SilentLog
from transport.events import ConfigurationChange, Delivery
from transport.groups import MAX_LOCAL_MEMBERS, Groups, Multicast
from transport.ids import RingId
from transport.sync import HELD_BYTES, HELD_COST, Sync, decode, encode

RING = RingId(4, 1)


class Fixed:
    """A service whose state is a constant."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob

    def sync_state(self) -> bytes:
        return self.blob


def sync_of(me: int, blob: bytes = b"state") -> Sync:
    return Sync(me, {"quorum": Fixed(blob)}, SilentLog())


def regular(ring: RingId = RING, members: tuple[int, ...] = (1, 2)) -> ConfigurationChange:
    return ConfigurationChange(regular=True, ring_id=ring, members=members)


def test_done_at_the_last_members_message():
    """All lists are in, then and only then do services activate (totem.md, section 9)."""
    one, two = sync_of(1, b"one"), sync_of(2, b"two")
    for s in (one, two):
        s.begin(regular())
    first, second = one.poll(), two.poll()
    assert first and second
    assert one.receive(1, first) is None and one.missing == [2]
    done = one.receive(2, second)
    assert done is not None and done.blobs == {"quorum": {1: b"one", 2: b"two"}}
    assert one.done and one.missing == []


def test_message_of_another_ring_is_ignored():
    """A SYNC message ordered late for an ended configuration counts for nothing."""
    one = sync_of(1)
    one.begin(regular())
    stale = one.poll()
    assert stale
    one.abandon()
    one.begin(regular(RingId(8, 1)))
    assert one.receive(1, stale) is None and one.receive(2, stale) is None
    assert one.missing == [1, 2]


def test_malformed_message_counts_as_heard_without_state():
    """A broken member must not block the others."""
    one = sync_of(1)
    one.begin(regular())
    mine = one.poll()
    assert mine
    one.receive(1, mine)
    done = one.receive(2, b"\xff\x00")
    assert done is not None and done.blobs == {"quorum": {1: b"state"}} and one.malformed == 1


def test_a_service_may_hold_our_message_back():
    """A quorum device is asked before the barrier: the message leaves when the service is ready."""
    one = sync_of(1)
    one.begin(regular(), wait_for={"quorum"})
    assert one.poll() is None
    one.ready("quorum")
    assert one.poll() is not None and one.poll() is None


def test_second_message_of_a_member_is_ignored():
    """Each member speaks once per configuration."""
    one = sync_of(1)
    one.begin(regular(members=(1, 2, 3)))
    mine = one.poll()
    assert mine
    one.receive(1, mine)
    assert one.receive(1, mine) is None
    assert one.missing == [2, 3]


def test_all_groups_of_a_full_node_fit_the_barrier() -> None:
    """A message that is refused counts its sender as without votes: local processes must not bring that about."""
    groups = Groups(1, SilentLog())
    for number in range(MAX_LOCAL_MEMBERS):
        groups.join(b"%0128d" % number, 1)
    while isinstance(event := groups.next_event(), Multicast):
        groups.deliver(1, event.payload)
    state = groups.sync_state()
    assert decode(encode(RING, {"groups": state})) == (RING, {"groups": state})


def test_what_waits_for_the_barrier_is_bounded_for_each_sender():
    """A member that never says its part, or one that talks without end, costs a bounded amount; others lose nothing."""
    one = sync_of(1)
    one.begin(regular())
    for number in range(200_000):
        one.hold(Delivery(2, b"x" * 100, RING, number, False, False))
    one.hold(Delivery(1, b"mine", RING, 1, False, False))
    assert sum(len(held.payload) + HELD_COST for held in one.held) <= HELD_BYTES + 4 + HELD_COST
    assert one.too_much > 0 and one.held[-1].payload == b"mine"
    assert len(one.abandon()) > 1000
    one.begin(regular(RingId(8, 1)))
    one.hold(Delivery(2, b"again", RING, 1, False, False))
    assert len(one.held) == 1
