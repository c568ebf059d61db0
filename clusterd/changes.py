"""Configuration and cluster keys of a running node: what may come, and putting it in force.

The ordered agreement itself is reconfigure.py; here is what a change means to this node's cores. All of it happens at
one place of the message order, inside one call, so no message meets a half-changed node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from clusterd.config.parser import ConfigError
from clusterd.config.reload import Difference, compare
from clusterd.config.schema import ClusterConfig, NotListed
from clusterd.control.errors import ConfigRefused
from clusterd.keystore import new_secret
from clusterd.reconfigure import Kind
from quorum.options import QuorumOptions
from transport.core import Entropy, Log
from transport.errors import BadArgument, Refused
from transport.ids import NodeId
from transport.keyring import ClusterKey, Keyring
from transport.link.links import Resolve


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration text, checked for this node. resolve: (node, link) -> numeric address, ours included.

    foreign: addresses it gives to this node that are not this host's.
    """

    config: ClusterConfig
    resolve: Resolve = field(hash=False)
    foreign: tuple[str, ...] = ()


Load = Callable[[bytes], Loaded | None]
"""Check a text for this node. Raises ConfigError; None while host names in it are being resolved."""


@dataclass(frozen=True, slots=True)
class ConfigApplied:
    """A new configuration is in force here: write it to disk, bind what it says. initiator: a node's name."""

    config: ClusterConfig
    difference: Difference
    initiator: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The configuration in force no longer lists this node. by: a node's name."""

    by: str


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """The cluster keys this node holds changed: write them to disk. message: for the log."""

    message: str


class Changes:
    """The configuration in force and the judge of the next one."""

    def __init__(
        self,
        loaded: Loaded,
        load: Load,
        keyring: Keyring,
        objection: Callable[[QuorumOptions], str],
        date: Callable[[], int],
        entropy: Entropy,
        log: Log,
    ) -> None:
        """objection: why a configuration with these quorum options may not come now, "" if it may.

        date: Unix seconds, for telling people.
        """
        self.config = loaded.config
        self.date = date
        self.resolve = loaded.resolve
        self._load = load
        self._objection = objection
        self._keyring = keyring
        self._entropy = entropy
        self._log = log
        self._described: tuple[bytes, int, frozenset[NodeId]] = b"", 0, frozenset()
        self._last_generation = 0  # of a key made or given up here: a number is never given to two secrets

    def judge(self, kind: Kind, body: bytes, in_force: bool) -> list[str] | None:
        """Reasons against a change; none: agreed; None: cannot say yet. in_force: the cluster runs it already."""
        if kind is Kind.KEY:
            self._forget_other_keys(body)
            return self._judge_key(body)
        try:
            loaded = self._load(body)
        except NotListed as absent:
            self._described = body, absent.version, absent.nodes
            return []  # to be removed is nothing a node may object to
        except ConfigError as error:
            return error.lines
        if loaded is None:
            return None
        self._described = body, loaded.config.config_version, frozenset(loaded.config.transport.nodes)
        # What is in force costs nobody's quorum any more, and is better run than not known.
        objection = "" if in_force else self._objection(loaded.config.quorum)
        known = set(self.config.transport.nodes[self.config.me].addresses.values())
        reasons = [f"address {a} is not on this host" for a in loaded.foreign if a not in known]
        return [*compare(self.config, loaded.config).refused, *reasons, *([objection] if objection else [])]

    def _judge_key(self, body: bytes) -> list[str] | None:
        generation = int.from_bytes(body[:8], "big")
        if any(key_name(key) == body for key in self._keyring.live()):
            return []
        current = self._keyring.current.generation
        if generation <= current:
            return [f"cluster key generation {current} is in use: two rotations met; try again"]
        if self._keyring.gave_up(generation, body[8:].decode("ascii", "replace")):
            return [f"cluster key generation {generation} was given up for another: two rotations met; try again"]
        return None  # it travels beside the ring and may come yet

    def _forget_other_keys(self, body: bytes) -> None:
        """This key's turn has come in the order: any other that is not in use belongs to a rotation that came to
        nothing, or will be refused. Whoever kept it could not take this one."""
        for key in self._keyring.live():
            if key.generation > self._keyring.current.generation and key_name(key) != body:
                self._give_up(key.generation)

    def _give_up(self, generation: int) -> None:
        self._keyring.drop(generation)
        self._last_generation = max(self._last_generation, generation)

    def describe(self, body: bytes) -> tuple[int, frozenset[NodeId]]:
        """config_version and nodes of the text that was judged last."""
        text, version, nodes = self._described
        return (version, nodes) if text == body else (0, frozenset())

    def difference(self, text: bytes) -> Difference:
        """What this text would change here. Raises ConfigRefused with every problem it has."""
        try:
            loaded = self._load(text)
        except NotListed:
            return Difference((f"node {self.config.name_of(self.config.me)} (this one) removed",), (), ())
        except ConfigError as error:
            raise ConfigRefused(error.lines[0], tuple(error.lines)) from error
        return Difference((), (), ()) if loaded is None else compare(self.config, loaded.config)

    def take(self, body: bytes) -> tuple[Loaded, Difference] | None:
        """The agreed text becomes the configuration in force; None: we are not listed any more.

        Raises Refused when what was judged good cannot be loaded any more (names do not resolve): then the node
        keeps what it has, and says so.
        """
        try:
            loaded = self._load(body)
        except NotListed:
            return None
        except ConfigError as error:
            raise Refused("; ".join(error.lines)) from error
        if loaded is None:
            raise Refused("host names in the new configuration do not resolve")
        difference = compare(self.config, loaded.config)
        self.config, self.resolve = loaded.config, loaded.resolve
        return loaded, difference

    def new_key(self, above: int) -> tuple[int, bytes]:
        """A generation beyond all known ones and `above`, and its secret. Raises Refused while the key before the
        current one is still live."""
        current = self._keyring.current.generation
        if any(key.generation < current for key in self._keyring.live()):
            raise Refused("the last key rotation is not over yet: two cluster keys are live; try again in a minute")
        self._forget_other_keys(b"")
        self._last_generation = max(current, above, self._last_generation) + 1
        return self._last_generation, new_secret(self._last_generation, self._entropy)

    def name_key(self, generation: int) -> bytes:
        """What the agreement calls a live generation."""
        return next(key_name(key) for key in self._keyring.live() if key.generation == generation)

    def give_up_key(self, name: bytes) -> None:
        """Forget the key of that name if it is here and did not come into use."""
        for key in self._keyring.live():
            if key.generation > self._keyring.current.generation and key_name(key) == name:
                self._give_up(key.generation)

    @property
    def live_keys(self) -> list[ClusterKey]:
        """The keys in force here, oldest generation first."""
        return self._keyring.live()

    @property
    def old_keys(self) -> list[int]:
        """Live generations before the current one."""
        current = self._keyring.current.generation
        return [key.generation for key in self._keyring.live() if key.generation < current]

    def drop_old_keys(self) -> list[int]:
        """Retire them; which they were."""
        old = self.old_keys
        for generation in old:
            self._keyring.drop(generation)
        return old

    def use_key(self, body: bytes) -> int:
        """The agreed generation. Raises BadArgument for bytes that are none, Refused for a key that is not here."""
        if len(body) < 8:
            raise BadArgument("a cluster key generation has 8 bytes")
        if self._judge_key(body) != []:
            raise Refused(f"cluster key generation {int.from_bytes(body[:8], 'big')} is not here")
        return int.from_bytes(body[:8], "big")


def key_name(key: ClusterKey) -> bytes:
    """Generation and fingerprint: the same number with another secret is another key."""
    return key.generation.to_bytes(8, "big") + key.fingerprint.encode()
