"""As root: a network namespace for each tortured daemon, with an interface to a switch per link, and a disk of its own.

nft rules lose, slow down and drop what comes in; the state lies on a small tmpfs. All names have this process's pid, so
that what a killed run left behind is known and goes at the next start.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

from clusterd.lab.layout import Lab
from tests.torture.place import Place
from tests.torture.plan import KINDS, Step

PREFIX = "clusterd-torture"
DISK = "192m"  # what is set aside stays: an hour of it must fit
TOOLS = ("ip", "nft", "mount", "umount")


class Wired(Place):
    """Nodes 1..n, each in a network namespace: 10.77.LINK.NODE, a switch for each link. Needs root, ip and nft."""

    kind = "a network namespace each, veth to a switch per link, nft drops, state on tmpfs"
    can = frozenset(KINDS)

    def _lab(self, shape: dict[str, Any]) -> Lab:
        remove_stale()
        self._spaces: list[str] = []
        self._mounts: list[Path] = []
        self._in_force: dict[int, str] = {}  # rules of each node
        return _WiredLab("torture", str(self.directory), shape)

    def build(self) -> None:
        """Make namespaces, switches, cables and disks. Raises CalledProcessError."""
        switch = self._space(0)
        for link in range(self.lab.links):
            _ip("-n", switch, "link", "add", f"br{link}", "type", "bridge")
            _ip("-n", switch, "link", "set", f"br{link}", "up")
        for node in self.ids:
            space = self._space(node)
            for link, address in enumerate(self.lab.addresses(node)):
                port = f"p{link}n{node}"
                end = ["type", "veth", "peer", "name", f"eth{link}", "netns", space]
                _ip("link", "add", port, "netns", switch, *end)
                _ip("-n", switch, "link", "set", port, "master", f"br{link}", "up")
                _ip("-n", space, "addr", "add", f"{address}/24", "dev", f"eth{link}")
                _ip("-n", space, "link", "set", f"eth{link}", "up")
            state = Path(self.lab.node_dir(node)) / "state"
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "none", state], check=True)
            self._mounts.append(state)

    def _space(self, number: int) -> str:
        name = f"{PREFIX}-{os.getpid()}-{number}"
        _ip("netns", "add", name)
        self._spaces.append(name)
        _ip("-n", name, "link", "set", "lo", "up")
        return name

    def _wrap(self, node: int) -> list[str]:
        return ["ip", "netns", "exec", self._spaces[node]]

    def _obstruct_now(self) -> None:
        for node in self.ids:
            rules = self._rules(node)
            if self._in_force.get(node, "") != rules:
                _nft(self._spaces[node], rules)
                self._in_force[node] = rules

    def _rules(self, node: int) -> str:
        """What is dropped of all that comes in at a node, as nft reads it; one rule for each link of each obstacle."""
        rules = []
        for step in self.obstacles:
            sources: dict[int, list[str]] = defaultdict(list)
            for source, to, link in sorted(step.ways):
                if to == node:
                    sources[link].append(self.lab.addresses(source)[link])
            for link, addresses in sorted(sources.items()):
                rules.append(f'iifname "eth{link}" ip saddr {{ {", ".join(addresses)} }} {_dropped(step)}')
        return "; ".join(rules)

    def fill(self, node: int) -> None:
        with contextlib.suppress(OSError), self._ballast(node).open("wb", buffering=0) as file:
            for size in (1 << 16, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * size)

    def free(self, node: int) -> None:
        self._ballast(node).unlink(missing_ok=True)

    def _ballast(self, node: int) -> Path:
        return Path(self.lab.node_dir(node)) / "state" / "ballast"

    def _undo(self, keep_state: bool) -> None:
        for state in self._mounts:
            if keep_state:
                ignored = shutil.ignore_patterns("ballast")
                shutil.copytree(state, state.with_name("state.kept"), ignore=ignored, dirs_exist_ok=True)
            subprocess.run(["umount", "-l", state], check=False)
        for name in self._spaces:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _dropped(step: Step) -> str:
    """The end of a rule: which of the datagrams it is about."""
    match step.kind:
        case "loss":
            return f"numgen random mod 100 < {step.amount} drop"
        case "limit":
            return f"limit rate over {step.amount} kbytes/second burst 32 kbytes drop"
    return "drop"


class _WiredLab(Lab):
    def addresses(self, ident: int) -> list[str]:
        return [f"10.77.{link}.{ident}" for link in range(self.links)]


def remove_stale() -> None:
    """Namespaces and disks of a torture that was killed itself: their name has its pid, and nobody has that now."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for name in (line.split()[0] for line in listed.splitlines() if line.startswith(f"{PREFIX}-")):
        if _dead(name):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    for line in Path("/proc/mounts").read_text().splitlines():
        mount = line.split()[1]
        if mount.startswith(f"/var/tmp/{PREFIX}-") and _dead(mount.split("/")[3]):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)


def _dead(name: str) -> bool:
    pid = name.removeprefix(f"{PREFIX}-").partition("-")[0]
    return pid.isdigit() and not Path(f"/proc/{pid}").exists()


def why_not_wired() -> str:
    """Why the nodes cannot have networks of their own, "" when they can."""
    if os.geteuid() != 0:
        return "not root"
    for tool in TOOLS:
        if shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            return f"{tool} is missing"
    probe = f"{PREFIX}-{os.getpid()}-probe"
    try:
        _ip("netns", "add", probe)
        try:
            _nft(probe, 'iifname "lo" numgen random mod 100 < 1 drop; limit rate over 1 kbytes/second drop')
        finally:
            _ip("netns", "del", probe)
    except subprocess.CalledProcessError as error:
        told = error.stderr.decode(errors="replace").strip()
        return f"the kernel or this container does not let root have networks of its own: {told}"
    return ""


def make(directory: Path, nodes: int, links: int, settings: list[str], reason: str) -> Place:
    """The best place this user can have; nothing runs in it yet. reason: what `why_not_wired` said."""
    if reason:
        place = Place(directory, nodes, links, settings)
        place.kind += f" ({reason})"
        return place
    wired = Wired(directory, nodes, links, settings)
    try:
        wired.build()
    except BaseException:
        wired.close(keep_state=False)
        raise
    return wired


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _nft(space: str, rules: str) -> None:
    """Exactly these rules are in force in a namespace."""
    text = "add table inet torture\ndelete table inet torture\n"
    if rules:
        chain = f"type filter hook input priority 0; {rules};"
        text += f"table inet torture {{ chain obstacles {{ {chain} }}; }}\n"
    command = ["ip", "netns", "exec", space, "nft", "-f", "-"]
    subprocess.run(command, input=text.encode(), check=True, capture_output=True)
