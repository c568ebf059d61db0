"""Finding nodes outside the ring (transport/totem/merging.py): what members tell each other of whom they reach."""

from __future__ import annotations

from transport.config import TotemConfig
from transport.core import SilentLog
from transport.totem.context import Context
from transport.totem.merging import ANNOUNCE_DELAY, Merging
from transport.totem.packing import Backlog
from transport.totem.views import Views

MEMBERS = (1, 2, 3)


def test_a_row_that_changed_while_a_ring_was_formed_is_told_once_it_works() -> None:
    """L4: rings follow from who reaches whom, so everybody must hear it. A node that comes back while the others form
    a ring without it changes their rows between gather and installation; told to nobody, it stayed outside for good."""
    config = TotemConfig()
    nodes = dict.fromkeys((1, 2, 3, 4), 1)
    context = Context(1, 1, config, nodes, bytes, SilentLog(), Backlog(1 << 20, 1 << 20))
    views = Views(1, 1, 1, 1, 0.0)
    merging = Merging(context, views, 0.0)
    merging.installed(False, 0.0)
    merging.announce_to(MEMBERS, 1.0)
    merging.stop(MEMBERS)  # a ring is being formed; meanwhile node 4 is reachable again
    views.own.row = frozenset({2, 3, 4})
    merging.installed(True, 2.0)
    timeout = merging.next_timeout()
    assert timeout is not None and timeout <= 2.0 + ANNOUNCE_DELAY
    assert merging.announce_to(MEMBERS, 2.0 + ANNOUNCE_DELAY) == {2, 3, 4}
