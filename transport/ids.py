"""Names of things on the ring: nodes, links, rings.

A node id is an int in 1..65535 (what knet allows and corosync.conf is checked for); a link id is 0..7.
"""

from __future__ import annotations

from typing import NamedTuple

NodeId = int
LinkId = int

MAX_NODE_ID = 65535
MAX_LINKS = 8
MAX_RING_MEMBERS = 64


class RingId(NamedTuple):
    """An installed (or attempted) configuration; compares by seq first, so a later ring is greater.

    seq: 64-bit, higher than that of any ring its members have seen.
    rep: the representative, lowest node id of the members.
    incarnation: random 32 bits of the representative's process, so that a lost state file can never
        make two different rings share a name (facts: totem.md section 8.6).
    """

    seq: int
    rep: NodeId
    incarnation: int = 0

    def __str__(self) -> str:
        """As corosync prints it: REP.SEQHEX, e.g. `1.1a8`."""
        return f"{self.rep}.{self.seq:x}"


NO_RING = RingId(0, 0, 0)
