"""A node that was away while the configuration changed, on whole nodes in memory."""

from itertools import product

from tests.clusterd.memory import Memory, text_of


def grown() -> Memory:
    """Nodes 4, 5 and 6 were added one by one while node 3 was stopped: 1, 2, 4, 5, 6 are the cluster."""
    memory = Memory(3)
    memory.run(3.0)
    memory.kill(3)
    memory.run(2.0)
    for new in (4, 5, 6):
        memory.text = text_of(new, version=new)
        memory.give(1, lambda: memory.hosts[1].node.change_config(memory.text, memory.now))
        memory.run(0.5)
        memory.boot(new)
        memory.run(2.0)
    return memory


def quorate(memory: Memory) -> list[int]:
    return [n for n, host in sorted(memory.hosts.items()) if host.alive and host.node.quorate(memory.now)]


def test_with_one_of_the_others_it_is_no_quorum():
    """Q1: 2 of 3 by its own configuration, 2 of 6 by that of the node it meets; on the other side are 4 of 6."""
    memory = grown()
    assert quorate(memory) == [1, 2, 4, 5, 6]
    memory.cut |= {pair for one, two in product((2, 3), (1, 4, 5, 6)) for pair in ((one, two), (two, one))}
    memory.hosts[3].alive = True
    memory.run(3.0)
    assert memory.hosts[3].node.configuration is not None
    assert memory.hosts[3].node.configuration.members == (2, 3)
    assert quorate(memory) == [1, 4, 5, 6]
    assert memory.hosts[3].node.changes.config.config_version == 6
    memory.cut.clear()
    memory.run(3.0)
    assert quorate(memory) == [1, 2, 3, 4, 5, 6]
    assert {host.node.votequorum.view().verdict.expected for host in memory.hosts.values()} == {6}
