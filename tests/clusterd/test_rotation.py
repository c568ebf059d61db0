"""Cluster key rotations on whole nodes in memory: what they leave behind when they end well, and when they do not."""

from clusterd.reconfigure import Concluded
from clusterd.rotation import DROP_OLD_KEY
from tests.clusterd.memory import Memory, text_of


def generations(memory: Memory, n: int) -> list[int]:
    return [key.generation for key in memory.hosts[n].node.endpoint.security._keyring.live()]


def rotate(memory: Memory, n: int) -> bytes:
    made: list[bytes] = []
    memory.give(n, lambda: made.append(memory.hosts[n].node.rotate_key(memory.now)))
    return made[0]


def concluded(memory: Memory, n: int, change_id: bytes) -> tuple[str, ...]:
    (found,) = [e for e in memory.hosts[n].events if isinstance(e, Concluded) and e.change_id == change_id]
    return found.reasons


def ring(nodes: int = 3) -> Memory:
    memory = Memory(nodes)
    memory.run(3.0)
    assert all(host.node.quorate(memory.now) for host in memory.hosts.values())
    return memory


def test_a_rotation_reaches_all_and_the_old_key_retires():
    """All use the new generation at one place of the order; 30 s later the old one is not live any more (DESIGN 6)."""
    memory = ring()
    change = rotate(memory, 1)
    memory.run(2.0)
    assert concluded(memory, 1, change) == ()
    assert all(generations(memory, n) == [1, 2] for n in (1, 2, 3))
    memory.run(DROP_OLD_KEY)
    assert all(generations(memory, n) == [2] for n in (1, 2, 3))


def test_a_rotation_that_comes_to_nothing_does_not_stand_in_the_way_of_the_next():
    """A member dies before it agreed: nothing was changed; another member then rotates at once."""
    memory = ring()
    memory.hosts[3].node.reconfigure._judge = lambda *_: None
    change = rotate(memory, 1)
    memory.run(0.3)
    memory.kill(3)
    memory.run(3.0)
    assert "membership" in concluded(memory, 1, change)[0]
    assert generations(memory, 1) == [1]
    change = rotate(memory, 2)
    memory.run(3.0)
    assert concluded(memory, 2, change) == ()
    assert generations(memory, 1) == generations(memory, 2) == [1, 3]


def test_two_at_once_never_split_the_cluster():
    """Two nodes rotate at the same moment: at most one goes through, all use the same key, and a later one works."""
    memory = ring()
    first, second = rotate(memory, 1), rotate(memory, 2)
    memory.run(12.0)
    assert concluded(memory, 1, first) or concluded(memory, 2, second)
    keys = {memory.hosts[n].node.endpoint.security.current_key for n in (1, 2, 3)}
    assert len(keys) == 1
    memory.run(DROP_OLD_KEY)
    change = rotate(memory, 2)
    memory.run(12.0)
    assert concluded(memory, 2, change) == ()
    assert len({memory.hosts[n].node.endpoint.security.current_key for n in (1, 2, 3)}) == 1


def test_removal_of_a_member_rotates_the_key_without_it():
    """The removed one still is in the ring when the change is made; the new key waits until it is out (X2)."""
    memory = ring()
    text = text_of(2, version=2)
    memory.give(1, lambda: memory.hosts[1].node.change_config(text, memory.now))
    memory.run(1.0)
    memory.kill(3)
    memory.run(6.0)
    assert [memory.hosts[n].node.endpoint.security.current_key.generation for n in (1, 2, 3)] == [2, 2, 1]


def test_two_removals_in_a_row_end_with_a_key_that_neither_saw():
    """The second rotation waits until the first is over, and is not forgotten."""
    memory = ring(4)
    for left in (3, 2):
        text = text_of(left, version=10 - left)
        memory.give(1, lambda text=text: memory.hosts[1].node.change_config(text, memory.now))
        memory.run(1.0)
        memory.kill(left + 1)
        memory.run(5.0)
    memory.run(DROP_OLD_KEY + 5.0)
    current = [memory.hosts[n].node.endpoint.security.current_key.generation for n in (1, 2)]
    assert current[0] == current[1] >= 3


def test_who_hears_late_of_a_removal_says_which_key_the_removed_node_may_have_from_it():
    """X2: a member that was off while another was removed may have handed that one the new key before it was told. It
    says so where it puts the removal in force, or the lowest member, who begins the rotation, would not know of it."""
    memory = ring(5)
    memory.kill(4)
    memory.kill(5)
    memory.run(3.0)
    memory.give(1, lambda: memory.hosts[1].node.change_config(text_of(4, version=2), memory.now))
    memory.run(3.0)
    before = memory.hosts[1].node.endpoint.security.current_key.generation
    memory.boot(4)
    memory.run(DROP_OLD_KEY + 5.0)
    assert 5 not in memory.hosts[4].node.changes.config.transport.nodes
    assert [memory.hosts[n].node.endpoint.security.current_key.generation for n in (1, 2, 3, 4)] == [before + 1] * 4


def test_a_key_outside_that_cannot_be_does_not_make_the_next_one_impossible():
    """A member that says a removed node holds the last of all generations is not believed; rotations go on."""
    memory = ring()
    rotation = memory.hosts[1].node.rotation
    rotation.told((1 << 64) - 1, memory.now)
    assert not rotation.due
    change = rotate(memory, 1)
    memory.run(2.0)
    assert concluded(memory, 1, change) == () and generations(memory, 1) == [1, 2]


def test_a_key_of_a_rotation_that_came_to_nothing_is_in_nobodys_way():
    """Another member kept the given-up key, of the number the next rotation takes or of a higher one: all forget it
    where the next one is proposed, and that one goes through."""
    for stale in (2, 9):
        memory = ring()
        memory.hosts[3].node.endpoint.security._keyring.learn(stale, b"x" * 32, False)
        change = rotate(memory, 1)
        memory.run(3.0)
        assert concluded(memory, 1, change) == ()
        assert all(generations(memory, n) == [1, 2] for n in (1, 2, 3))


def test_of_two_at_once_the_first_goes_through():
    """The key of the second is forgotten by all, also by who made it, when the first one's turn has come."""
    memory = ring()
    first, second = rotate(memory, 1), rotate(memory, 2)
    memory.run(12.0)
    assert concluded(memory, 1, first) == () and concluded(memory, 2, second)
    assert all(generations(memory, n) == [1, 2] for n in (1, 2, 3))
