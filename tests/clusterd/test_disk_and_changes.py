"""A node whose disk takes no writes, and changes of the configuration: what it agrees to, it must be able to keep."""

from clusterd.reconfigure import Concluded
from tests.clusterd.memory import Memory, text_of

NOT_WRITTEN = "n3: the disk of this node does not take writes: Input/output error; it would forget the change "
"""Why n3 says no, in its beginning."""


def with_a_broken_disk() -> Memory:
    """Three nodes; the third one's disk answers every write with an error."""
    memory = Memory(3)
    memory.run(3.0)
    memory.give(3, lambda: memory.hosts[3].node.disk_answered([(0, "Input/output error")], memory.now))
    return memory


def change(memory: Memory, text: bytes, at: int = 1) -> tuple[str, ...]:
    """Propose it at a node; the reasons against it, none if it was done."""
    memory.give(at, lambda: memory.hosts[at].node.change_config(text, memory.now))
    memory.run(0.5)
    (told,) = [event for event in memory.hosts[at].events if isinstance(event, Concluded)]
    return told.reasons


def versions(memory: Memory) -> list[int]:
    return [host.node.changes.config.config_version for host in memory.hosts.values()]


def test_who_cannot_write_a_change_down_refuses_it() -> None:
    """All members or none: who agreed and forgot it at its next start would run the old configuration again."""
    memory = with_a_broken_disk()
    reasons = change(memory, text_of(3, version=2, extra="# new"))
    assert len(reasons) == 1 and reasons[0].startswith(NOT_WRITTEN)
    assert versions(memory) == [1, 1, 1]


def test_it_can_be_removed_all_the_same() -> None:
    """To be removed is nothing a node may object to, whatever is wrong with it."""
    memory = with_a_broken_disk()
    assert change(memory, text_of(2, version=2)) == ()
    assert versions(memory)[:2] == [2, 2]


def test_once_its_disk_works_again_it_agrees() -> None:
    memory = with_a_broken_disk()
    memory.give(3, lambda: memory.hosts[3].node.disk_answered([(0, None)], memory.now))
    memory.run(1.0)
    assert change(memory, text_of(3, version=2)) == ()
    assert versions(memory) == [2, 2, 2]
