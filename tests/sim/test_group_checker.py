"""The checker of closed process groups accepts what keeps its promises and catches what does not."""

from __future__ import annotations

import pytest

from tests.sim.checkers import groups
from tests.sim.checkers.groups import Changed, Event, Got, Life, Passed, Ring, Sent
from tests.sim.history import Violation
from transport.groups import GroupChange, Member, Reason
from transport.ids import RingId

G = b"group"
ONE, TWO = Member(1, 10), Member(2, 20)
RINGS = [RingId(4, 1, 1), RingId(8, 1, 1), RingId(12, 1, 1)]


def begun(ring: int, *together: int) -> list[Event]:
    return [Ring(0.0, RINGS[ring], together), Passed(0.0, RINGS[ring])]


def joined(*members: Member, new: Member) -> Changed:
    return Changed(1.0, GroupChange(G, members, joined=((new, Reason.JOIN),)))


def left(*members: Member, gone: Member, reason: Reason = Reason.LEAVE) -> Changed:
    return Changed(2.0, GroupChange(G, members, left=((gone, reason),)))


def sent(number: int, member: Member = ONE) -> Sent:
    return Sent(1.0, G, member.pid, b"%d" % number)


def got(number: int, sender: Member = ONE) -> Got:
    return Got(1.5, G, sender, b"%d" % number)


def lives(one: list[Event], two: list[Event]) -> list[Life]:
    """Nodes 1 and 2, each with a member that asked to be in the group and still is."""
    return [Life(m.node, 1, events, {(G, m.pid)}, {(G, m.pid)}) for m, events in ((ONE, one), (TWO, two))]


def both() -> tuple[list[Event], list[Event]]:
    """Node 1's member joins, then node 2's."""
    second = joined(ONE, TWO, new=TWO)
    return [*begun(0, 1, 2), joined(ONE, new=ONE), second], [*begun(0, 1, 2), second]


def check(found: list[Life]) -> int:
    return groups.check(found, (1, 2))


def broken(found: list[Life]) -> str:
    with pytest.raises(Violation) as caught:
        check(found)
    return caught.value.promise


def test_two_members_that_see_the_same_are_right() -> None:
    """Every process in a group sees one sequence of messages and changes of membership."""
    one, two = both()
    assert check(lives([*one, sent(1), sent(2), got(1), got(2)], [*two, got(1), got(2)])) == 4


def test_a_message_of_no_member_is_caught() -> None:
    """G1: a message comes from a process that is a member in the receiver's view."""
    one, two = both()
    assert broken(lives([*one, sent(1), got(1)], [*two, left(TWO, gone=ONE), got(1)])) == "G1"


def test_a_change_that_does_not_add_up_is_caught() -> None:
    """G2: a view is the one before it, less who left, and who joined."""
    one, two = both()
    wrong = Changed(2.0, GroupChange(G, (ONE,)))
    assert broken(lives([*one, wrong], two)) == "G2"


def test_a_member_that_never_asked_is_caught() -> None:
    """G2: nobody is in a view who never asked to be."""
    one, two = both()
    assert broken(lives([*one, joined(ONE, TWO, Member(2, 99), new=Member(2, 99))], two)) == "G2"


def test_a_gap_is_caught() -> None:
    """G3: while a view has a sender, its messages come one after the other."""
    one, two = both()
    whole = [*one, sent(1), sent(2), sent(3), got(1), got(2), got(3)]
    assert broken(lives(whole, [*two, got(1), got(3)])) == "G3"


def test_a_message_told_twice_is_caught() -> None:
    """G3: each once."""
    one, two = both()
    assert broken(lives([*one, sent(1), got(1)], [*two, got(1), got(1)])) == "G3"


def test_what_waited_in_a_snapshot_may_be_told_once_more() -> None:
    """O2: the process of the past sends it again; once for each going back, and nothing that had not waited."""
    one, two = both()

    def put_back(*pasts: tuple[float, float], again: tuple[Got, ...] = (got(1),)) -> list[Life]:
        found = lives([*one, sent(1), sent(2), got(1), got(2)], [*two, got(1), got(2), *again, left(TWO, gone=ONE)])
        found[0].ended, found[0].pasts = True, list(pasts)
        return found

    assert groups.check(put_back((1.2, 1.4)), (2,)) == 5
    assert broken(put_back((1.2, 1.6))) == "G3"  # told before
    assert broken(put_back((1.6, 1.7))) == "G3"  # it had not waited
    assert broken(put_back((1.2, 1.4), again=(got(1), got(1)))) == "G3"
    assert broken(put_back((1.2, 1.4), again=(got(3),))) == "G3"


def test_an_invented_message_is_caught() -> None:
    """G3: as they were sent."""
    one, two = both()
    assert broken(lives([*one, got(7)], two)) == "G3"


def test_who_left_and_came_back_may_have_missed_messages() -> None:
    """G3: only while the view has the sender; a new view may begin anywhere."""
    one, two = both()
    gone, back = left(TWO, gone=ONE, reason=Reason.NODEDOWN), joined(ONE, TWO, new=ONE)
    ring, passed = begun(2, 1)
    alone = [*begun(1, 1), left(ONE, gone=TWO, reason=Reason.NODEDOWN), sent(2), got(2)]
    first = [*one, sent(1), got(1), *alone, ring, joined(ONE, TWO, new=TWO), passed, sent(3), got(3)]
    second = [*two, got(1), *begun(1, 2), gone, begun(2, 2)[0], back, passed, got(3)]
    assert check(lives(first, second)) == 5


def test_another_order_is_caught() -> None:
    """G4: nobody sees the same in another order, wherever each went."""
    one, two = both()
    mine = [*one, sent(1), got(1), got(5, TWO), *begun(1, 1)]
    assert broken(lives(mine, [*two, sent(5, TWO), got(5, TWO), got(1), *begun(2, 2)])) == "G4"


def test_different_ends_are_caught_where_both_went_on_together() -> None:
    """G4: processes that go together from one ring to the next saw the same."""
    one, two = both()
    assert broken(lives([*one, sent(1), got(1), *begun(1, 1, 2)], [*two, *begun(1, 1, 2)])) == "G4"
    one, two = both()  # each alone: the last messages may differ
    assert check(lives([*one, sent(1), got(1), *begun(1, 1)], [*two, *begun(2, 2)])) == 1


def test_ones_own_message_that_never_came_is_caught() -> None:
    """G5: what a member sends is told to itself, unless its process dies."""
    one, two = both()
    assert broken(lives([*one, sent(1)], two)) == "G5"
    found = lives([*one, sent(1)], two)
    found[0].ended = True
    found[1].events.append(left(TWO, gone=ONE, reason=Reason.NODEDOWN))
    assert check(found) == 0


def test_a_member_that_one_node_does_not_see_is_caught() -> None:
    """G6: at the end all see the members that are there."""
    one, two = both()
    found = lives(one, two)
    found[0].members.clear()
    assert broken(found) == "G6"
