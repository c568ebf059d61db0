"""The configuration and keys that the nodes of one run share, and a node made of them as the daemon makes one."""

from __future__ import annotations

from random import Random

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cfs.disk import StoreImage
from clusterd.build import Remembered, build
from clusterd.changes import Loaded
from clusterd.config.schema import Who, load
from clusterd.node import Node
from quorum.events import SavedState
from tests.sim.network import Address, address_of
from tests.sim.plan import Plan
from transport.core import Entropy, Log
from transport.ids import LinkId, NodeId
from transport.keyring import Keyring
from transport.totem.reserve import NAME as RING_SEQ

QUORUM_FILE = "votequorum"


class Recipe:
    """What all nodes of one run share: configuration text, addresses and keys, drawn once."""

    def __init__(self, plan: Plan, random: Random) -> None:
        self.plan = plan
        self._secret = random.randbytes(256)
        self._private = {node: random.randbytes(32) for node in plan.nodes}
        self.resolve: dict[tuple[NodeId, LinkId], Address] = {
            (node, link): address_of(node, link) for node in plan.nodes for link in plan.links
        }
        self.text = self._text().encode()

    def _text(self) -> str:
        plan = self.plan
        nodes = "\n".join(
            f"  node {{\n    nodeid: {node}\n    name: n{node}\n    quorum_votes: {plan.votes[node]}\n"
            f"    identity: {public_half(self._private[node]).hex()}\n"
            + "".join(f"    ring{link}_addr: {address_of(node, link)[0]}\n" for link in plan.links)
            + "  }"
            for node in plan.nodes
        )
        return f"{plan.settings.text(plan.conditions.mtu)}nodelist {{\n{nodes}\n}}\n"

    def make(
        self, me: NodeId, image: StoreImage, files: dict[str, bytes], entropy: Entropy, now: float, log: Log
    ) -> Node:
        """A process that starts on this machine with what its disk holds."""
        who = Who(node=str(me))
        saved = SavedState(*map(int, files[QUORUM_FILE].split())) if QUORUM_FILE in files else None
        remembered = Remembered(int.from_bytes(files.get(RING_SEQ, b""), "big"), saved, image)
        return build(
            Loaded(load(self.text, who), self.resolve),
            lambda text: Loaded(load(text, who), self.resolve),
            self._private[me],
            Keyring(1, self._secret),
            remembered,
            lambda: int(now),
            entropy,
            now,
            log,
        )


def public_half(private: bytes) -> bytes:
    key = X25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
