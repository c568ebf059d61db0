"""A change is in force from its place in the order on: for the next message, not for the next turn."""

from clusterd.channels import CONFIG
from clusterd.promises import Promises
from clusterd.reconfigure import Kind, Multicast, Reconfigure
from tests.clusterd.memory import Memory, entropy_of, text_of
from transport.core import SilentLog
from transport.events import Delivery


def test_a_change_that_comes_with_the_end_of_another_is_judged_by_it() -> None:
    """Two changes of one version, ordered one after the other and read in one turn: only the first can be taken."""
    memory = Memory(1)
    memory.run(2.0)
    node = memory.hosts[1].node
    ring = node.endpoint.srp.ring_id
    first, second = text_of(1, version=2, extra="# first"), text_of(1, version=2, extra="# second")
    author = Reconfigure(
        1,
        str,
        lambda _kind, _body, _late: [],
        lambda _body: (2, frozenset()),
        Promises(),
        entropy_of("author"),
        SilentLog(),
    )
    author.was_quorate = True
    author.configuration((1,))
    order: list[bytes] = []

    def say() -> bytes:
        said = [event.payload for event in iter(author.next_event, None) if isinstance(event, Multicast)]
        order.extend(said)
        return said[0]

    author.propose(Kind.CONFIG, first, memory.now)
    author.receive(1, say(), memory.now)  # the proposal
    author.receive(1, say(), memory.now)  # the only member's yes
    author.propose(Kind.CONFIG, second, memory.now)
    say()
    for payload in order:
        node._route(Delivery(1, bytes((CONFIG,)) + payload, ring, 1), memory.now)
    memory.give(1, lambda: node.pump(memory.now))
    memory.run(1.0)
    assert node.changes.config.text == first
