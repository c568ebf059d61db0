"""Configurations for tests."""

from clusterd.config.schema import ClusterConfig, Who, load

BASE = """\
totem {
  version: 2
  cluster_name: lab
  config_version: 3
}
quorum {
  provider: corosync_votequorum
}
"""


def identity(number: int) -> str:
    return f"{number:02x}" * 32


def node(number: int, *extra: str, name: str = "") -> str:
    lines = [
        f"nodeid: {number}",
        f"name: {name or f'n{number}'}",
        f"ring0_addr: 10.0.0.{number}",
        f"identity: {identity(number)}",
        *extra,
    ]
    return "  node {\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def nodelist(*nodes: str) -> str:
    return "nodelist {\n" + "".join(nodes) + "}\n"


def three(extra: str = "") -> str:
    return BASE + nodelist(node(1), node(2), node(3)) + extra


def config_of(text: str, me: str = "n1") -> ClusterConfig:
    return load(text.encode(), Who(node=me))
