"""The configuration and keys that the nodes of one run share, and a node made of them as the daemon makes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cfs.disk import StoreImage
from clusterd import keystore, promises, removals
from clusterd.build import Remembered, build
from clusterd.changes import Loaded
from clusterd.config.schema import Who, load
from clusterd.hosts import resolve
from clusterd.node import Node
from clusterd.promises import Promises
from clusterd.removals import NAME as REMOVALS
from clusterd.removals import Removals
from quorum.events import SavedState
from tests.sim.network import address_of
from tests.sim.plan import Plan
from tests.sim.texts import Draft
from transport.core import Entropy, Log
from transport.ids import NodeId
from transport.keyring import Keyring
from transport.totem.reserve import NAME as RING_SEQ

QUORUM_FILE = "votequorum"
CONFIG, AUTHKEY, KEYRING = "corosync.conf", "authkey", "keyring"
MOVED = 100  # in the third part of an address: the one a machine may move to
FOREIGN = 101  # the one that it has not, unless it is given it


class Recipe:
    """What all nodes of one run share: configuration text, addresses and keys, drawn once."""

    def __init__(self, plan: Plan, random: Random) -> None:
        self.plan = plan
        self._secret = random.randbytes(256)
        self._private = {node: random.randbytes(32) for node in plan.nodes}
        spare = plan.random("spares")
        self._private |= {node: spare.randbytes(32) for node in plan.spares}
        self.text = self._text().encode()
        self.given: set[NodeId] = set()  # machines that have the other address as well
        self._loaded: dict[tuple[NodeId, bytes], Loaded] = {}  # what a text comes to on a machine; never changed

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

    def text_of(self, files: dict[str, bytes]) -> bytes:
        """The configuration on a disk."""
        return files.get(CONFIG, self.text)

    def version_of(self, files: dict[str, bytes]) -> int:
        return Draft(self.text_of(files), 0).version

    def authkey_of(self, files: dict[str, bytes]) -> bytes:
        return files.get(AUTHKEY, self._secret)

    def identity(self, node: NodeId) -> bytes:
        """The public half of a machine's key."""
        return public_half(self._private[node])

    def make(
        self,
        me: NodeId,
        image: StoreImage,
        files: dict[str, bytes],
        date: Callable[[], int],
        entropy: Entropy,
        now: float,
        log: Log,
    ) -> tuple[Node, Keyring]:
        """A process that starts on this machine with what its disk holds, and its cluster keys. date: as in `build`."""
        who = Who(node=str(me))

        def loader(text: bytes) -> Loaded:
            if (me, text) not in self._loaded:
                self._loaded[me, text] = fresh(text)
            loaded = self._loaded[me, text]
            return replace(loaded, foreign=()) if me in self.given else loaded

        def fresh(text: bytes) -> Loaded:
            config = load(text, who)
            foreign = tuple(ip for ip in config.transport.nodes[me].addresses.values() if ip not in self.host_ips(me))
            return Loaded(config, resolve(config.transport, {}), foreign)

        saved = None
        if QUORUM_FILE in files:
            highest, newcomer = map(int, files[QUORUM_FILE].split())
            saved = SavedState(highest, newcomer)
        removed = removals.decode(files[REMOVALS]) if REMOVALS in files else Removals()
        promised = promises.decode(files[promises.NAME]) if promises.NAME in files else Promises()
        keyring = keystore.restore(self.authkey_of(files), files.get(KEYRING))
        remembered = Remembered(int.from_bytes(files.get(RING_SEQ, b""), "big"), saved, image, removed, promised)
        node = build(
            loader(self.text_of(files)),
            loader,
            self._private[me],
            keyring,
            remembered,
            date,
            entropy,
            now,
            log,
        )
        node.rotation.retire_after = self.plan.retire_after
        return node, keyring

    @staticmethod
    def host_ips(node: NodeId) -> frozenset[str]:
        """The addresses that this machine has: on every link, and on each another it may move to."""
        return frozenset(address_of(node + moved, link)[0] for link in range(8) for moved in (0, MOVED << 8))


def public_half(private: bytes) -> bytes:
    key = X25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
