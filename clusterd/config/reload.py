"""What a new configuration changes in a running node, in sentences, and what it may not change.

Source of what is live: facts/votequorum.md section 6 and 11, column "Live"; more is live here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clusterd.config.schema import ClusterConfig

# Keys (patterns over the dotted path) that a running cluster cannot change at all, and why.
_REFUSED = {
    r"totem\.cluster_name": "the cluster's name cannot be changed at run-time",
    r"totem\.transport|totem\.version|quorum\.provider": "it cannot be changed at run-time",
}
# Keys that are read when a daemon starts.
_RESTART = (
    r"quorum\.(wait_for_all|last_man_standing|last_man_standing_window|auto_tie_breaker|auto_tie_breaker_node"
    r"|allow_downscale|expected_votes_tracking)"
    r"|store\.durability|logging\..*|uidgid\..*|system\..*|totem\.keyfile"
)
_SECRET = re.compile(r"totem\.key$")


@dataclass(frozen=True, slots=True)
class Difference:
    """changed: every difference as a sentence.  needs_restart: those that wait for each daemon's next start.
    refused: why this configuration cannot follow the present one."""

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    refused: tuple[str, ...]


def compare(old: ClusterConfig, new: ClusterConfig) -> Difference:
    """What `new` changes. Equal texts differ in nothing, whatever their version."""
    changed = _nodes(old, new)
    restart: list[str] = []
    refused: list[str] = []
    for path in sorted({*old.flat, *new.flat}):
        before, after = old.flat.get(path), new.flat.get(path)
        if before == after or path == "totem.config_version" or _told_by_node(path, old, new):
            continue
        shown = "changed" if _SECRET.search(path) else f"{before or '(not set)'} -> {after or '(not set)'}"
        sentence = f"{_words(path, old, new)}: {shown}"
        reason = next((why for pattern, why in _REFUSED.items() if re.fullmatch(pattern, path)), None)
        if reason:
            refused.append(f"{sentence}: {reason}")
            continue
        changed.append(sentence)
        if re.fullmatch(_RESTART, path):
            restart.append(sentence)
    if new.text != old.text and new.config_version <= old.config_version:
        refused.append(
            f"config_version is {new.config_version}, but {old.config_version} is in force: "
            f"raise it to {old.config_version + 1} or more"
        )
    if refused:
        return Difference(tuple(changed), (), tuple(refused))
    return Difference(tuple(changed), tuple(restart), ())


def _nodes(old: ClusterConfig, new: ClusterConfig) -> list[str]:
    before, after = old.transport.nodes, new.transport.nodes
    sentences = [f"node {before[n].name} (id {n}) removed" for n in sorted(before.keys() - after.keys())]
    sentences += [f"node {after[n].name} (id {n}) added" for n in sorted(after.keys() - before.keys())]
    return sentences


def _told_by_node(path: str, old: ClusterConfig, new: ClusterConfig) -> bool:
    """A key of a node that comes or goes whole is not told key by key."""
    match = re.match(r"nodelist\.node\.(\d+)\.", path)
    if match is None:
        return False
    node = int(match[1])
    return (node in old.transport.nodes) != (node in new.transport.nodes)


def _words(path: str, old: ClusterConfig, new: ClusterConfig) -> str:
    """`node n2: ring1_addr`, `link 0: knet_link_priority`, else the dotted path."""
    if match := re.match(r"nodelist\.node\.(\d+)\.(.+)", path):
        known = new.transport.nodes.get(int(match[1])) or old.transport.nodes.get(int(match[1]))
        return f"node {known.name if known else match[1]}: {match[2]}"
    if match := re.match(r"totem\.interface\.(\d+)\.(.+)", path):
        return f"link {match[1]}: {match[2]}"
    return path
