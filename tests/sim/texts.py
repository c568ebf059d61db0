"""Editing a configuration file as an administrator does: read what is in force, change lines, raise the version."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from transport.ids import LinkId, NodeId


@dataclass(slots=True)
class Section:
    """items: keys with values, and sections, in the file's order."""

    name: str
    items: list[tuple[str, str] | Section] = field(default_factory=list)

    def get(self, key: str) -> str | None:
        found = [item[1] for item in self.items if isinstance(item, tuple) and item[0] == key]
        return found[-1] if found else None

    def set(self, key: str, value: str | None) -> None:
        """None: without the key."""
        place = next((i for i, item in enumerate(self.items) if isinstance(item, tuple) and item[0] == key), None)
        if value is None:
            self.items = [item for item in self.items if not (isinstance(item, tuple) and item[0] == key)]
        elif place is None:
            keys = sum(1 for item in self.items if isinstance(item, tuple))
            self.items.insert(keys and len(self.items), (key, value))
        else:
            self.items[place] = (key, value)

    def sections(self, name: str) -> list[Section]:
        return [item for item in self.items if isinstance(item, Section) and item.name == name]

    def section(self, name: str) -> Section:
        """The first of that name; made when there is none."""
        for item in self.sections(name):
            return item
        made = Section(name)
        self.items.append(made)
        return made

    def lines(self, indent: str = "") -> list[str]:
        found: list[str] = []
        for item in self.items:
            if isinstance(item, tuple):
                found.append(f"{indent}{item[0]}: {item[1]}")
            else:
                found += [f"{indent}{item.name} {{", *item.lines(indent + "  "), f"{indent}}}"]
        return found


class Draft:
    """A configuration being edited. number: goes into a comment, so that no two texts are ever equal."""

    def __init__(self, text: bytes, number: int) -> None:
        self.root = Section("")
        open_sections = [self.root]
        for raw in text.decode().splitlines():
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            if line.endswith("{"):
                made = Section(line[:-1].strip())
                open_sections[-1].items.append(made)
                open_sections.append(made)
            elif line == "}":
                open_sections.pop()
            else:
                key, _, value = line.partition(":")
                open_sections[-1].items.append((key.strip(), value.strip()))
        self._number = number
        self.totem = self.root.section("totem")
        self.quorum = self.root.section("quorum")
        self.nodelist = self.root.section("nodelist")

    def text(self) -> bytes:
        return "\n".join([f"# change {self._number}", *self.root.lines(), ""]).encode()

    @property
    def version(self) -> int:
        return int(self.totem.get("config_version") or 0)

    @version.setter
    def version(self, value: int) -> None:
        self.totem.set("config_version", str(value))

    @property
    def nodes(self) -> dict[NodeId, Section]:
        return {int(node.get("nodeid") or 0): node for node in self.nodelist.sections("node")}

    @property
    def votes(self) -> dict[NodeId, int]:
        return {node: int(section.get("quorum_votes") or 1) for node, section in self.nodes.items()}

    @property
    def links(self) -> list[LinkId]:
        first = next(iter(self.nodes.values()))
        return [link for link in range(8) if first.get(f"ring{link}_addr")]

    def interface(self, link: LinkId) -> Section:
        for found in self.totem.sections("interface"):
            if int(found.get("linknumber") or 0) == link:
                return found
        made = Section("interface", [("linknumber", str(link))])
        self.totem.items.append(made)
        return made

    def add(self, node: NodeId, identity: bytes, addresses: dict[LinkId, str]) -> None:
        keys = [("nodeid", str(node)), ("name", f"n{node}"), ("quorum_votes", "1"), ("identity", identity.hex())]
        self.nodelist.items.append(
            Section("node", [*keys, *((f"ring{link}_addr", ip) for link, ip in sorted(addresses.items()))])
        )

    def remove(self, node: NodeId) -> None:
        section = self.nodes[node]
        self.nodelist.items = [item for item in self.nodelist.items if item is not section]


@cache
def votes_in(text: bytes) -> dict[NodeId, int]:
    """The nodes a text lists, and their votes."""
    return Draft(text, 0).votes
