"""corosync.conf to typed settings; every error at once, each with its line.

Source: corosync.conf(5) and facts/votequorum.md sections 10 and 11; deliberate differences: two_node only with two
nodes, encryption cannot be switched off, words that are neither yes nor no are errors, unknown keys are warned of.
Timing defaults are ours (docs/timing.md); a value given in the file is obeyed as written.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from clusterd.config.parser import ConfigError, Key, Problem, Problems, Section, parse
from clusterd.config.quorum import quorum_options
from clusterd.config.sections import (
    Device,
    Interface,
    Logging,
    NodeSection,
    QuorumSection,
    SectionModel,
    Store,
    System,
    Totem,
    UidGid,
)
from clusterd.config.timing import link_config, mtu_cap, totem_config
from quorum.options import QuorumOptions
from transport.config import NodeConfig, TransportConfig
from transport.ids import MAX_LINKS, MAX_NODE_ID, MAX_RING_MEMBERS, NodeId

_Model = TypeVar("_Model", bound=SectionModel)

_SECTIONS = {"totem", "nodelist", "quorum", "logging", "store", "uidgid", "system", "resources", "nozzle", "pload"}


_GUESSES = 100
_NO_EFFECT_TOTEM = {"ip_dscp", "ip_version", "block_unlisted_ips", "cancel_token_hold_on_retransmit"}


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """A checked configuration, as one node sees it.

    text: the file, byte for byte.  flat: every key by its path (nodes by id, interfaces by link), for comparing.
    detection: seconds from a node's death to the new membership.  gids: groups that may change things (X3).
    realtime: ask for SCHED_RR.
    """

    text: bytes
    transport: TransportConfig
    quorum: QuorumOptions
    cluster_name: str
    config_version: int
    durability: str
    debug: bool
    keyfile: str
    gids: tuple[str, ...]
    uids: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    flat: dict[str, str] = field(default_factory=dict, hash=False, repr=False)
    detection: float = 0.0
    realtime: bool = True

    @property
    def me(self) -> NodeId:
        return self.transport.me

    @property
    def votes(self) -> dict[NodeId, int]:
        return {n.id: n.votes for n in self.transport.nodes.values()}

    def name_of(self, node: NodeId) -> str:
        listed = self.transport.nodes.get(node)
        return listed.name if listed else f"node {node}"


class NotListed(ConfigError):  # noqa: N818  the way errors are named here
    """Everything else is in order, but this node is not in the nodelist."""

    version = 0
    """Its config_version."""
    nodes: frozenset[NodeId] = frozenset()
    """Who is listed."""


@dataclass(slots=True)
class Who:
    """How to find ourselves in the nodelist: by a name given, else by host name, else by address."""

    node: str | None = None
    hostname: str = ""
    addresses: tuple[str, ...] = ()


def load(text: bytes, who: Who, file: str = "corosync.conf") -> ClusterConfig:
    """Raises ConfigError with every problem found; NotListed when the only one is that this node is not in it."""
    return _Loader(text, who, file).load()


class _Loader:
    def __init__(self, text: bytes, who: Who, file: str) -> None:
        self.file, self.text, self.who = file, text, who
        self.problems = Problems()
        self.warnings = Problems()
        self.root = parse(text, self.problems)

    def load(self) -> ClusterConfig:
        known = [s for s in self.root.sections if s.name in _SECTIONS]
        for section in self.root.sections:
            if section.name not in _SECTIONS:
                self._unknown("section", section.name, section.line, _SECTIONS)
        for key in self.root.keys:
            self._unknown("key", key.name, key.line, ())
        totem_at = _merged(known, "totem")
        totem = self._model(Totem, totem_at)
        interfaces = self._interfaces(totem_at)
        nodelist_at = _merged(known, "nodelist")
        nodes = self._nodes(nodelist_at)
        quorum_at = _merged(known, "quorum")
        quorum = self._model(QuorumSection, quorum_at)
        device = self._model(Device, _merged(quorum_at.sections, "device"))
        logging = self._model(Logging, _merged(known, "logging"))
        store = self._model(Store, _merged(known, "store"))
        system = self._model(System, _merged(known, "system"))
        access = [self._model(UidGid, s) for s in known if s.name == "uidgid"]
        if totem is None or quorum is None or device is None or logging is None or store is None or system is None:
            raise ConfigError(self.file, self.problems)

        self._check_totem(totem, totem_at)
        self._without_effect(totem_at, totem, _NO_EFFECT_TOTEM)
        self._without_effect(quorum_at, quorum, {"votes", "leaving_timeout"})
        self._without_effect(_merged(known, "logging"), logging, {"to_logfile", "logfile"})
        for section, one in zip((s for s in known if s.name == "uidgid"), access, strict=True):
            if one is not None:
                self._without_effect(section, one, {"uid"})
        if device.model:
            self._warn(quorum_at, "", "quorum.device: its votes are expected, but no device client runs to cast them")
        settings = totem_config(totem, totem_at, len(nodes), self.problems, self.warnings)
        used = sorted({link for _, n in nodes for link in n.addresses()})
        if not used and not self.problems:
            self._problem(nodelist_at, "No interfaces defined")
        links = {k: link_config(k, *interfaces.get(k, (Interface(), totem_at)), settings, self.problems) for k in used}
        votes = {n.nodeid or 0: n.quorum_votes for _, n in nodes}
        whole = len(nodes) == len(nodelist_at.named("node"))  # else its sums would be wrong, and so what they say
        options = quorum_options(quorum, quorum_at, device, votes, settings.token, self.problems) if whole else None
        if self.problems or options is None:
            raise ConfigError(self.file, self.problems)
        me = self._find_me(nodes, nodelist_at)
        if me is None:
            absent = NotListed(self.file, self.problems)
            absent.version, absent.nodes = totem.config_version, frozenset(votes)
            raise absent
        listed = {
            n.nodeid: NodeConfig(n.nodeid, n.name, n.addresses(), n.quorum_votes, n.identity)
            for _, n in nodes
            if n.nodeid is not None
        }
        transport = TransportConfig(
            totem.cluster_name, me, listed, links, settings, totem.link_mode, mtu_cap(totem.netmtu, totem.knet_mtu)
        )
        return ClusterConfig(
            self.text,
            transport,
            options,
            totem.cluster_name,
            totem.config_version,
            store.durability,
            logging.debug in ("on", "yes", "trace"),
            totem.keyfile,
            tuple(a.gid for a in access if a and a.gid),
            tuple(a.uid for a in access if a and a.uid),
            tuple(self.warnings.lines(self.file)),
            _flat(self.root),
            round(settings.token + 0.24, 3),
            system.sched_rr,
        )

    # -- sections --------------------------------------------------------------------------------------------

    def _model(self, model: type[_Model], section: Section) -> _Model | None:
        """The section's keys, checked; later keys win. None when a value is wrong (the problems say which)."""
        if self.problems.full:  # nobody reads on, and looking costs
            self.problems.more += 1
            return None
        keys = {key.name: key for key in section.keys}
        for name, key in keys.items():
            if name not in model.model_fields and model is not NodeSection:
                self._unknown("key", name, key.line, model.model_fields)
        try:
            return model.model_validate({name: key.value for name, key in keys.items()})
        except ValidationError as error:
            for detail in error.errors():
                name = str(detail["loc"][0]) if detail["loc"] else ""
                line = keys[name].line if name in keys else section.end
                self.problems.append(Problem(line, detail["msg"].replace("KEY", name)))
            return None

    def _interfaces(self, totem: Section) -> dict[int, tuple[Interface, Section]]:
        found: dict[int, tuple[Interface, Section]] = {}
        for section in totem.named("interface"):
            model = self._model(Interface, section)
            if model is None:
                continue
            if model.linknumber >= MAX_LINKS:
                sentence = f"interface ring number {model.linknumber} is bigger than allowed maximum {MAX_LINKS - 1}"
                self._problem(section, sentence)
            elif model.linknumber in found:
                self._problem(section, f"Link {model.linknumber} has two interface sections")
            for name in ("bindnetaddr", "mcastaddr", "broadcast"):
                if getattr(model, name):
                    self._warn(section, name, f"{name} has no effect: links take their addresses from the nodelist")
            if model.ttl is not None:
                self._problem(
                    section, f"Can only set ttl on multicast transport types for interface {model.linknumber}", "ttl"
                )
            found[model.linknumber] = (model, section)
        return found

    def _nodes(self, nodelist: Section) -> list[tuple[Section, NodeSection]]:
        listed = nodelist.named("node")
        if len(listed) > MAX_RING_MEMBERS:
            self._problem(nodelist, f"{len(listed)} nodes, at most {MAX_RING_MEMBERS} are supported")
            listed = listed[:MAX_RING_MEMBERS]
        nodes = [(s, m) for s in listed if (m := self._model(NodeSection, s)) is not None]
        if not nodes and not self.problems:
            self._problem(nodelist, "No nodelist with a node in it: every node of the cluster is listed there")
        ids: set[int] = set()
        names: set[str] = set()
        keys: dict[bytes, int] = {}
        for section, node in nodes:
            for key in section.keys:
                if key.name.startswith("ring") and key.name not in NodeSection.model_fields:
                    self._problem(section, f"{key.name}: links are numbered 0 to {MAX_LINKS - 1}", key.name)
            first = next(iter(node.addresses().values()), "?")
            if node.nodeid is None:
                self._problem(section, f"Knet requires an explicit nodeid to be specified for address '{first}'.")
            elif not 1 <= node.nodeid <= MAX_NODE_ID:
                self._problem(
                    section, f"Knet requires nodeid to be less than {MAX_NODE_ID + 1} for address '{first}'.", "nodeid"
                )
            elif node.nodeid in ids:
                self._problem(section, f"Nodeid {node.nodeid} appears twice in corosync.conf", "nodeid")
            if not node.name:
                self._problem(section, "Every node must have a 'name' attribute")
            elif node.name in names:
                self._problem(section, f"Two nodes have the name {node.name}", "name")
            if not node.addresses():
                self._problem(section, "A node needs at least one address, ring0_addr to ring7_addr")
            if not node.identity:
                self._problem(section, "A node needs its identity: the public half of its identity.key, 64 hex digits")
            elif node.identity in keys:
                self._problem(section, f"The identity is that of node {keys[node.identity]} too", "identity")
            ids.add(node.nodeid or 0)
            names.add(node.name)
            keys[node.identity] = node.nodeid or 0
        if len({frozenset(n.addresses()) for _, n in nodes}) > 1:
            self._problem(nodelist, "Not all nodes have the same number of links")
        self._check_families(nodelist, nodes)
        return nodes

    def _check_families(self, nodelist: Section, nodes: list[tuple[Section, NodeSection]]) -> None:
        for link in range(MAX_LINKS):
            seen: dict[str, str] = {}
            for _, node in nodes:
                address = node.addresses().get(link, "")
                family = "IPv6" if ":" in address else "IPv4" if address.replace(".", "").isdigit() else ""
                if family:
                    seen.setdefault(family, address)
            self._check_addresses(nodelist, link, [(s, n) for s, n in nodes if link in n.addresses()])
            if len(seen) > 1:
                one, two = seen.values()
                self._problem(nodelist, f"Nodes for link {link} have different IP families (compared {one} with {two})")

    def _check_addresses(self, nodelist: Section, link: int, nodes: list[tuple[Section, NodeSection]]) -> None:
        """All nodes use the same port on a link, so an address belongs to one of them."""
        owners: dict[str, NodeSection] = {}
        for section, node in nodes:
            owner = owners.setdefault(node.addresses()[link], node)
            if owner is not node:
                sentence = f"Nodes {owner.name} and {node.name} have the same address {node.addresses()[link]}"
                self._problem(section, sentence, f"ring{link}_addr")

    def _without_effect(self, section: Section, model: SectionModel, names: Iterable[str]) -> None:
        for name in sorted(model.model_fields_set & set(names)):
            self._warn(section, name, f"{name} is accepted and has no effect here")

    def _check_totem(self, totem: Totem, section: Section) -> None:
        if totem.version != 2:
            self._problem(section, "This totem parser can only parse version 2 configurations.", "version")
        if not totem.secauth:
            self._problem(section, "There is no plaintext mode: traffic is always encrypted; remove secauth", "secauth")
        for name in ("crypto_cipher", "crypto_hash"):
            if getattr(totem, name) == "none":
                self._problem(section, f"There is no plaintext mode: traffic is always encrypted; remove {name}", name)
        if totem.key:
            self._problem(section, "The key belongs into a file of its own, readable by its owner only", "key")
        if not totem.cluster_name:
            self._problem(section, "No cluster_name: give the cluster a name", "cluster_name")
        if totem.nodeid is not None:
            self._warn(
                section, "nodeid", "nodeid in totem is obsolete and without effect: it belongs into the nodelist"
            )
        if totem.knet_compression_model != "none":
            self._warn(section, "knet_compression_model", "Compression is not supported: packets go uncompressed")

    def _find_me(self, nodes: list[tuple[Section, NodeSection]], nodelist: Section) -> NodeId | None:
        """By the name given; else by host name, short host name, a name whose short form matches; else by address."""
        who = self.who
        tries: list[tuple[str, list[NodeSection]]] = []
        models = [n for _, n in nodes]
        if who.node is not None:
            tries = [(f"named {who.node}", [n for n in models if who.node in (n.name, str(n.nodeid))])]
        else:
            short = who.hostname.partition(".")[0]
            tries = [
                (f"named {who.hostname}", [n for n in models if n.name == who.hostname]),
                (f"named {short}", [n for n in models if n.name == short]),
                (f"named {short}.*", [n for n in models if n.name.partition(".")[0] == short]),
                (
                    "with an address of this host",
                    [n for n in models if any(a in who.addresses for a in n.addresses().values())],
                ),
            ]
        for how, fitting in tries:
            if len(fitting) == 1:
                return fitting[0].nodeid
            if fitting:
                names = ", ".join(n.name for n in fitting)
                self._problem(nodelist, f"Several nodes are {how}: {names}; say which one this is with --node")
                return None
        wanted = f"No node is named {who.node}" if who.node is not None else "No valid name found for local host"
        names = ", ".join(n.name for n in models)
        self._problem(nodelist, f"{wanted}; the nodes are {names}; say which one this is with --node")
        return None

    # -- words -----------------------------------------------------------------------------------------------

    def _problem(self, section: Section, sentence: str, key: str = "") -> None:
        if self.problems.full:
            self.problems.more += 1  # without looking for the line
        else:
            self.problems.append(Problem(_line_of(section, key), sentence))

    def _warn(self, section: Section, key: str, sentence: str) -> None:
        self.warnings.append(Problem(_line_of(section, key), sentence))

    def _unknown(self, what: str, name: str, line: int, known: Iterable[str]) -> None:
        # Not for a file full of them: a guess costs half a millisecond, and the loop waits for it.
        near = difflib.get_close_matches(name, list(known), 1) if len(self.warnings) < _GUESSES else []
        hint = f"; is {near[0]} meant?" if near else ""
        self.warnings.append(Problem(line, f"The {what} {name} is not known and has no effect{hint}"))


def _line_of(section: Section, key: str) -> int:
    """The line of a key, the last one where it is repeated; of the section's closing brace without one."""
    return next((k.line for k in reversed(section.keys) if k.name == key), section.end or section.line or 1)


def _merged(sections: list[Section], name: str) -> Section:
    """Repeated sections of a name are one; lines are those of the last."""
    merged = Section(name)
    for section in sections:
        if section.name == name:
            merged.line, merged.end = section.line, section.end
            merged.keys += section.keys
            merged.sections += section.sections
    return merged


def _flat(root: Section) -> dict[str, str]:
    """Every key by path; a node section by its id, an interface by its link, so that order does not matter."""
    flat: dict[str, str] = {}

    def walk(section: Section, path: str) -> None:
        for key in section.keys:
            flat[f"{path}.{key.name}"] = key.value
        for position, sub in enumerate(section.sections):
            label = sub.name
            if sub.name == "node":
                label = f"node.{_value(sub.keys, 'nodeid', f'@{position}')}"
            elif sub.name == "interface":
                label = f"interface.{_value(sub.keys, 'linknumber', '0')}"
            elif sub.name in ("logger_subsys", "uidgid"):
                label = f"{sub.name}.{position}"
            walk(sub, f"{path}.{label}" if path else label)

    walk(root, "")
    return flat


def _value(keys: list[Key], name: str, default: str) -> str:
    return next((k.value for k in reversed(keys) if k.name == name), default)
