"""Closed process groups over an ordered channel (cpg_overview(8))."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.codec import Writer
from transport.core import SilentLog
from transport.errors import BadArgument, TooLarge
from transport.groups import (
    MAX_LOCAL_MEMBERS,
    MAX_MESSAGE,
    GroupChange,
    GroupMessage,
    Groups,
    Member,
    Multicast,
    Reason,
)

G = b"group"


class Net:
    """Group services over a perfect ring: what one sends, all deliver in one order."""

    def __init__(self, *nodes: int) -> None:
        self.nodes = {n: Groups(n, SilentLog()) for n in nodes}
        self.seen: dict[int, list[GroupChange | GroupMessage]] = {n: [] for n in nodes}

    def run(self) -> None:
        moved = True
        while moved:
            moved = False
            for node, groups in self.nodes.items():
                while (event := groups.next_event()) is not None:
                    moved = True
                    if isinstance(event, Multicast):
                        for other in self.nodes.values():
                            other.deliver(node, event.payload)
                    else:
                        self.seen[node].append(event)

    def sync(self, *members: int) -> None:
        blobs = {n: self.nodes[n].sync_state() for n in members}
        for n in members:
            self.nodes[n].sync_activate(members, blobs)
        self.run()


def test_join_is_told_in_order_to_members_only():
    """A join is an event for the group's members, the joiner among them, and for nobody else."""
    net = Net(1, 2, 3)
    net.nodes[1].join(G, 10)
    net.run()
    net.nodes[2].join(G, 20)
    net.run()
    both = (Member(1, 10), Member(2, 20))
    change = GroupChange(G, both, joined=((Member(2, 20), Reason.JOIN),))
    assert net.seen[1][-1] == change and net.seen[2] == [change] and net.seen[3] == []


def test_message_reaches_members_and_the_sender():
    """Closed group: members get it, the sender included; a node without a member gets nothing."""
    net = Net(1, 2, 3)
    net.nodes[1].join(G, 10)
    net.nodes[2].join(G, 20)
    net.run()
    net.nodes[1].mcast(G, 10, b"hello")
    net.run()
    message = GroupMessage(G, Member(1, 10), b"hello")
    assert net.seen[1][-1] == message and net.seen[2][-1] == message and net.seen[3] == []


def test_only_members_may_send():
    """The group is closed: a process outside it cannot send to it."""
    with pytest.raises(BadArgument):
        Net(1).nodes[1].mcast(G, 10, b"x")


def test_message_above_the_limit_is_refused():
    net = Net(1)
    net.nodes[1].join(G, 10)
    with pytest.raises(TooLarge):
        net.nodes[1].mcast(G, 10, b"x" * (MAX_MESSAGE + 1))


def test_process_end_says_procdown():
    """cpg_confchg_reason_t: a process that ended without leaving is PROCDOWN."""
    net = Net(1, 2)
    net.nodes[1].join(G, 10)
    net.nodes[2].join(G, 20)
    net.run()
    net.nodes[2].leave(G, 20, Reason.PROCDOWN)
    net.run()
    last = net.seen[1][-1]
    assert isinstance(last, GroupChange) and last.left == ((Member(2, 20), Reason.PROCDOWN),)


def test_partition_and_merge_are_nodedown_and_nodeup():
    """After the barrier the table is the union of what the present nodes have."""
    net = Net(1, 2)
    net.nodes[1].join(G, 10)
    net.nodes[2].join(G, 20)
    net.run()
    net.sync(1)
    last = net.seen[1][-1]
    assert isinstance(last, GroupChange) and last.left == ((Member(2, 20), Reason.NODEDOWN),)
    net.sync(2)
    net.sync(1, 2)
    last = net.seen[1][-1]
    assert isinstance(last, GroupChange) and last.joined == ((Member(2, 20), Reason.NODEUP),)
    assert net.nodes[1].members(G) == net.nodes[2].members(G)


def test_who_was_elsewhere_in_between_is_told_as_gone_first():
    """A barrier was never passed in the ring without node 2: what it said there was not told here, so its member is
    not the same one any more, though its number is (no gap in what a member of a view says)."""
    net = Net(1, 2)
    net.nodes[1].join(G, 10)
    net.nodes[2].join(G, 20)
    net.run()
    net.sync(1, 2)
    net.seen[1].clear()
    net.nodes[1].configuration((1,))  # a ring that ended before its barrier
    net.nodes[1].configuration((1,))
    net.nodes[2].configuration((2,))
    net.sync(1, 2)
    member, both = Member(2, 20), (Member(1, 10), Member(2, 20))
    assert net.seen[1] == [
        GroupChange(G, (Member(1, 10),), left=((member, Reason.NODEDOWN),)),
        GroupChange(G, both, joined=((member, Reason.NODEUP),)),
    ]


def test_before_the_barrier_a_newcomer_is_told_nowhere():
    """A message of a node that did not come with us, in a ring whose barrier was never passed, reaches nobody here."""
    net = Net(1, 2)
    net.nodes[1].join(G, 10)
    net.nodes[2].join(G, 20)
    net.run()
    net.sync(1, 2)
    net.seen[1].clear()
    net.nodes[1].configuration((1,))
    net.nodes[2].mcast(G, 20, b"from another ring")
    net.run()
    assert net.seen[1] == []


@given(st.binary(max_size=64))
def test_any_bytes_are_counted_not_raised(payload: bytes):
    """Nothing a peer can send makes a core raise."""
    groups = Groups(1, SilentLog())
    groups.deliver(2, payload)
    groups.sync_activate((1, 2), {2: payload})
    assert groups.next_event() is None or groups.malformed == 0


def test_a_node_has_no_more_memberships_than_a_node_may() -> None:
    """A member that joins more groups than the limit of every node is not followed: the table stays bounded."""
    one = Groups(1, SilentLog())
    for number in range(MAX_LOCAL_MEMBERS + 10):
        one.deliver(2, Writer().u8(1).u8(1).u32(number).blob(b"g%d" % (number % 7)).done())
    assert sum(len(one.members(name)) for name in one.names()) == MAX_LOCAL_MEMBERS and one.malformed == 10
    one.deliver(2, Writer().u8(1).u8(2).u32(0).blob(b"g0").done())
    one.deliver(2, Writer().u8(1).u8(1).u32(99_999).blob(b"g0").done())
    assert one.malformed == 10
