"""Networks that went wrong once, and a few of all others; every one of 4 and 5 nodes: python -m ...totem.shapes."""

from __future__ import annotations

import pytest

from tests.transport.totem.net import Net
from tests.transport.totem.shapes import shape
from transport.config import TotemConfig

# Two rings that overlap are possible, and only whom the last primary bound tells which: members formed theirs anew.
WENT_WRONG = [(4, 175), (5, 3042), (5, 3116)]
# A node that is alone took the repeated joins of one gather for an invitation each.
IMPATIENT = [(4, 171)]


@pytest.mark.parametrize(("nodes", "number"), [*WENT_WRONG, *IMPATIENT, (4, 29), (5, 1722)])
def test_rings_of_a_network_stop_changing(nodes: int, number: int) -> None:
    """DESIGN L4: in bounded time, and they are those that follow from rows, votes and primaries."""
    shape(nodes, number, arcs=False).run()


def test_rings_of_a_network_with_arcs_in_one_direction_stop_changing() -> None:
    """DESIGN L4: however asymmetric."""
    shape(5, 207, arcs=True).run()


def test_members_do_not_wait_longer_for_a_better_ring_than_those_who_gather_for_it() -> None:
    """L1, L4: a node that the better ring needs gathers until `consensus` is over. Members that settle for longer than
    that never met it: it left them out for a while, and both began anew, out of step, as long as the cut lasted."""
    net = Net(4, 1, TotemConfig(token=0.45, hold=0.05, consensus=0.54), votes={1: 1, 2: 1, 3: 1, 4: 2})
    net.start([1, 2, 3])
    net.until(lambda: net.formed([1, 2, 3]), 2.0)
    net.cut(3, 4)
    net.boot(4)
    net.until(lambda: net.formed([1, 2, 4]), 2.0)


def test_another_configuration_ends_what_failed_under_the_one_before() -> None:
    """L1: a node that was away while another was added cannot agree with a ring of both, and leaves its members out.
    Told of the new configuration it begins anew with all of them."""
    net = Net(4, 1)
    net.start([1, 2, 4])
    net.until(lambda: net.formed([1, 2, 4]), 2.0)
    for node in (1, 2, 4):
        net.nodes[node].srp.set_primary((1, 2, 4), net.now)
    votes, net.votes = net.votes, {1: 1, 2: 1, 3: 1}
    net.boot(3)
    for _ in range(3):  # it is left out for longer each time
        failed = sum("no agreement" in line for _, _, line in net.log)
        net.until(lambda failed=failed: sum("no agreement" in line for _, _, line in net.log) > failed)  # type: ignore[misc]
    net.votes = votes
    net.nodes[3].srp.reconfigure(net.config, dict(votes), net.now)
    net.pump(net.nodes[3])
    net.until(lambda: net.formed(net.ids), 1.0)


def test_what_others_choose_by_is_told_when_it_changes() -> None:
    """L4: votes and the last primary, as well as rows; a ring in operation chooses by them."""
    net = Net(3, 1)
    net.start()
    net.until(lambda: net.formed(net.ids), 2.0)
    net.run(0.5)
    one = net.nodes[1]
    one.srp.set_primary((1, 2, 3), net.now)
    one.srp.reconfigure(net.config, {1: 5, 2: 1, 3: 1}, net.now)
    net.pump(one)
    net.run(0.1)
    for other in (2, 3):
        view = net.nodes[other].srp._membership.views.table[1]
        assert (view.votes, view.primary) == (5, one.srp.ring_id)
