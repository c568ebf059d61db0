"""Machines that are not, or no longer, where their peers saw them last (docs/protocol-links.md, "Addresses")."""

from tests.clusterd.memory import Memory


def test_who_was_seen_elsewhere_is_called_where_it_is_listed_too() -> None:
    """The configured address is tried again, every second time while the path is down: with calls as with pings."""
    memory = Memory(2)
    memory.run(2.0)
    for n in (1, 2):
        memory.moved[n, 0] = (f"10.9.9.{n}", 5405)
        memory.run(2.0)
    assert memory.hosts[1].node.endpoint.links.ways(2) == [(0, ("10.9.9.2", 5405))]
    assert memory.hosts[2].node.endpoint.links.ways(1) == [(0, ("10.9.9.1", 5405))]
    memory.cut = {(1, 2), (2, 1)}
    memory.moved.clear()
    for host in memory.hosts.values():
        host.node.renew_keys(memory.now)
    memory.run(2.0)
    memory.cut.clear()
    memory.run(3.0)
    assert {host.node.endpoint.srp.members for host in memory.hosts.values()} == {(1, 2)}
