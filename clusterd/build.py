"""Putting a node together from its configuration: the same for the daemon and the simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cfs.disk import StoreImage
from cfs.replica import Replica
from cfs.status import StoreSettings
from clusterd.changes import Changes, Load, Loaded
from clusterd.node import Node
from clusterd.promises import Promises
from clusterd.removals import Removals
from quorum.options import QuorumOptions
from quorum.votequorum import SavedState, Votequorum
from transport.core import Entropy, Log
from transport.endpoint import Endpoint
from transport.keyring import Keyring
from transport.link.links import Links
from transport.security import Security
from transport.totem.srp import Srp


@dataclass(slots=True)
class Remembered:
    """What a node's disk says at start. ring_seq: reserved up to, 0 when there is no such file."""

    ring_seq: int = 0
    quorum: SavedState | None = None
    store: StoreImage = field(default_factory=StoreImage)
    removals: Removals = field(default_factory=Removals)
    promises: Promises = field(default_factory=Promises)


def build(
    loaded: Loaded,
    load: Load,
    private_key: bytes,
    keyring: Keyring,
    remembered: Remembered,
    date: Callable[[], int],
    entropy: Entropy,
    now: float,
    log: Log,
) -> Node:
    """A node that has not started. date: Unix seconds now, for telling people.

    Raises BadArgument when an identity in the nodelist is no usable key.
    """
    config = loaded.config
    transport = config.transport
    me = transport.me
    peers = {node.id: node.identity for node in transport.nodes.values() if node.id != me}
    replica = Replica(me, remembered.store, StoreSettings(durable=config.durability == "disk"), entropy, now, log)
    replica.set_nodes(config.votes, now)
    ring_seq = max(remembered.ring_seq, replica.highest_ring_seq)
    security = Security(me, private_key, peers, keyring, entropy, now, log, birth=ring_seq)
    remembered.removals.forget(transport.nodes)
    for removed in remembered.removals:
        security.bury(removed.node, removed.identity, removed.date, removed.by)
    # Names are those of the configuration in force when one is asked for, not of the one at start.
    endpoint = Endpoint(
        security,
        Links(transport, loaded.resolve, entropy, now, log),
        Srp(
            me,
            transport.totem,
            config.votes,
            entropy,
            now,
            log,
            ring_seq_reserved=ring_seq,
            incarnation=int.from_bytes(entropy(4), "big"),
            name=lambda node: changes.config.name_of(node),
        ),
        first_fragment=int.from_bytes(entropy(4), "big"),
    )
    saved = remembered.quorum or SavedState()
    votequorum = Votequorum(me, config.quorum, saved, lambda node: changes.config.name_of(node), log)

    def objection(options: QuorumOptions) -> str:
        if trouble := replica.disk_trouble():
            return f"{trouble}; it would forget the change when it restarts: mend the disk, or stop this node meanwhile"
        return votequorum.objection(options)

    changes = Changes(loaded, load, keyring, objection, date, entropy, log)
    return Node(me, endpoint, votequorum, replica, changes, remembered.removals, remembered.promises, entropy, log)
