"""The files a lab's nodes start with: cluster key, identities, corosync.conf."""

from __future__ import annotations

import os

from clusterd.client.errors import UsageError
from clusterd.lab.layout import FIRST_PORT, Lab

AUTHKEY_BYTES = 128
MTU = 1500  # loopback would carry 64 KiB and hide fragmentation

Section = dict[str, str]


class Settings:
    """`--set SECTION.KEY=VALUE`, sorted by section. `totem.interface.K.KEY` is of link K."""

    def __init__(self, lines: list[str]) -> None:
        """Raises UsageError."""
        self.sections: dict[str, Section] = {}
        for line in lines:
            name, equals, value = line.partition("=")
            section, dot, key = name.rpartition(".")
            if not equals or not dot or not section or not key or any(c in line for c in "\n{}"):
                raise UsageError(f"--set {line}: SECTION.KEY=VALUE is needed, like totem.token=1000")
            if section.split(".")[0] == "nodelist":
                raise UsageError(f"--set {line}: the node list is the lab's own; see --votes and --links")
            self.sections.setdefault(section, {})[key] = value

    def over(self, section: str, **defaults: str) -> Section:
        """A section's lines: the defaults, then what was set."""
        return {**defaults, **self.sections.get(section, {})}

    def below(self, section: str) -> dict[str, Section]:
        """Sub-sections that were set, without the interfaces."""
        start = section + "."
        return {
            name[len(start) :]: lines
            for name, lines in self.sections.items()
            if name.startswith(start) and not name.startswith("totem.interface.")
        }

    def others(self) -> list[str]:
        """Top-level sections that were set and that a lab does not write of itself."""
        return sorted({name.split(".")[0] for name in self.sections} - {"totem", "quorum", "logging"})


def write(lab: Lab) -> None:
    """Make every node's directory. Raises OSError, UsageError."""
    private = {ident: os.urandom(32) for ident in lab.ids}
    public = {ident: _public_half(key) for ident, key in private.items()}
    authkey = os.urandom(AUTHKEY_BYTES)
    text = configuration(lab, public)
    for ident in lab.ids:
        directory = lab.node_dir(ident)
        os.makedirs(f"{directory}/state", mode=0o700, exist_ok=True)
        _secret(f"{directory}/authkey", authkey)
        _secret(f"{directory}/identity.key", private[ident])
        with open(f"{directory}/corosync.conf", "w", encoding="utf-8") as file:
            file.write(text)


def configuration(lab: Lab, identities: dict[int, bytes]) -> str:
    """corosync.conf, the same for all nodes. identities: public keys, 32 bytes each."""
    settings = Settings(lab.settings)
    lines: list[str] = []
    totem = settings.over(
        "totem",
        version="2",
        cluster_name="lab" if lab.name == "default" else lab.name,
        config_version="1",
        transport="knet",
        secauth="on",
        link_mode="passive",
        netmtu=str(MTU),
    )
    links = [
        settings.over(f"totem.interface.{link}", linknumber=str(link), mcastport=str(FIRST_PORT + link))
        for link in range(lab.links)
    ]
    lines += _block("totem", totem, [("interface", link) for link in links] + list(settings.below("totem").items()))
    nodes = [("node", _node(lab, ident, identities[ident])) for ident in lab.ids]
    lines += _block("nodelist", {}, nodes)
    quorum = settings.over("quorum", provider="corosync_votequorum")
    lines += _block("quorum", quorum, list(settings.below("quorum").items()))
    logging = settings.over("logging", to_stderr="yes")
    lines += _block("logging", logging, list(settings.below("logging").items()))
    for name in settings.others():
        lines += _block(name, settings.over(name), list(settings.below(name).items()))
    return "\n".join(lines) + "\n"


def _node(lab: Lab, ident: int, identity: bytes) -> Section:
    addresses = {f"ring{link}_addr": address for link, address in enumerate(lab.addresses(ident))}
    votes = str(lab.votes[ident - 1])
    return {"nodeid": str(ident), "name": f"n{ident}", "quorum_votes": votes, **addresses, "identity": identity.hex()}


def _block(name: str, lines: Section, inner: list[tuple[str, Section]], depth: int = 0) -> list[str]:
    pad = "    " * depth
    body = [f"{pad}    {key}: {value}" for key, value in lines.items()]
    for inner_name, inner_lines in inner:
        body += _block(inner_name, inner_lines, [], depth + 1)
    return [f"{pad}{name} {{", *body, f"{pad}}}"]


def _secret(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _public_half(private: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
