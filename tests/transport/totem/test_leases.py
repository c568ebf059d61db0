"""What the checker of Q4 on the ring hears of pings."""

from __future__ import annotations

import pytest

from tests.transport.totem.leases import Leases
from tests.transport.totem.net import Net
from tests.transport.totem.node import Node


class Heard(Leases):
    """Keeps how long after a ping was sent its echo was given."""

    def __init__(self) -> None:
        super().__init__(0.6)
        self.waits: list[float] = []

    def beat(self, node: Node, peer: int, sent_at: float, echoed_at: float) -> None:
        self.waits += [echoed_at - sent_at] if echoed_at > sent_at else []


def test_an_echo_is_of_the_moment_at_which_it_was_given() -> None:
    """A ring without X only when now >= last_echo[X] + T_excl (Q4): an echo given before, and heard after, counts."""
    net = Net(2, delay=(0.04, 0.04))
    net.leases = heard = Heard()
    net.start()
    net.run(3.0)
    assert heard.waits == pytest.approx([0.04] * len(heard.waits))
    assert len(heard.waits) > 20
