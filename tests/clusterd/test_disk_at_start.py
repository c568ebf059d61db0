"""A node whose disk does not answer when it starts: the others do not hear of it, and its log says why."""

from clusterd.events import NodeEvent
from clusterd.node import DISK_PATIENCE
from tests.clusterd.memory import Memory
from transport.core import SilentLog
from transport.events import Persist


class Told(SilentLog):
    """Keeps what is for everybody to read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, **_: object) -> None:
        self.lines.append(message)

    def warning(self, message: str, **_: object) -> None:
        self.lines.append(message)


class Hanging(Memory):
    """The small files of node 3 are written when `answer` is called."""

    def __init__(self) -> None:
        self.held: list[Persist] = []
        super().__init__(3)

    def _serve(self, n: int, event: NodeEvent) -> None:
        if n == 3 and isinstance(event, Persist):
            self.held.append(event)
        else:
            super()._serve(n, event)

    def answer(self) -> None:
        held, self.held = self.held, []
        for event in held:
            self.give(3, lambda event=event: self.hosts[3].node.file_written(event.receipt, self.now))


def test_nothing_is_sent_or_heard_before_a_ring_number_is_on_disk():
    """L4: who cannot enter a ring must not make the others leave theirs. It begins where the disk answers."""
    memory = Hanging()
    memory.hosts[3].node._log = log = Told()
    memory.run(0.9 * DISK_PATIENCE)
    assert not log.lines
    memory.run(10.0)
    hung, others = memory.hosts[3].node, [memory.hosts[n].node for n in (1, 2)]
    assert [node.endpoint.srp.members for node in others] == [(1, 2)] * 2
    assert {node.endpoint.srp.stats.rings for node in others} == {1}
    assert not hung.endpoint.links.reachable() and hung.next_timeout() is None
    (line,) = log.lines
    assert "until then the others do not hear of us" in line
    memory.answer()
    memory.run(2.0)
    assert hung.endpoint.srp.members == (1, 2, 3) and hung.quorate(memory.now)
    assert "the disk has answered" in log.lines[1]


def test_it_can_be_ended_all_the_same():
    """SIGTERM while the disk hangs: the goodbye has nobody to go to, and is over at once."""
    memory = Hanging()
    memory.run(1.0)
    memory.give(3, lambda: memory.hosts[3].node.leave(memory.now))
    memory.run(1.0)
    assert memory.hosts[3].node.left
    memory.answer()
    memory.run(2.0)
    assert memory.hosts[1].node.endpoint.srp.members == (1, 2)
