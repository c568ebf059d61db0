"""What is cut in a lab: a file that says it, and the running daemons told so.

A cut is one direction on one link. Both ends know all cuts and each drops at its own side, what it would send and
what it receives, so one running end is enough; a daemon that starts reads the file first (`CLUSTERD_LAB_CUTS`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from clusterd.client import Client, Failed, NoDaemon, NotFound, UsageError
from clusterd.lab import layout, process
from clusterd.lab.layout import Lab

if TYPE_CHECKING:
    from clusterd.control.shapes import Cut

_PATIENCE, _POLL = 5.0, 0.02  # seconds
ENVIRONMENT = "CLUSTERD_LAB_CUTS"

Way = tuple[int, int, int]  # from, to, link


def read(path: str) -> list[Cut]:
    """The cuts in a file, none when there is no file; what is no cut is left out."""
    rows = layout.read_json(path) or []
    ways = {(row["from"], row["to"], row["link"]) for row in rows if isinstance(row, dict)}
    return cast("list[Cut]", [{"from": a, "to": b, "link": link} for a, b, link in sorted(ways)])


def change(lab: Lab, ways: Iterable[Way], cut: bool) -> None:
    """Cut or heal these ways; on return it is in force on every running node. The lab is locked by the caller."""
    now = {(row["from"], row["to"], row["link"]) for row in read(lab.cuts_file)}
    wanted = now | set(ways) if cut else now - set(ways)
    layout.write_json(lab.cuts_file, [{"from": a, "to": b, "link": link} for a, b, link in sorted(wanted)])
    for ident in lab.ids:
        if process.look(lab.node_dir(ident)).state == "running":
            tell(lab, ident)


def tell(lab: Lab, ident: int) -> None:
    """Put the present cuts in force on one node; one that is just starting is waited for.

    Raises Failed when its daemon lives and does not take them.
    """
    deadline = time.monotonic() + _PATIENCE
    while process.look(lab.node_dir(ident)).state == "running":
        try:
            with Client(lab.socket(ident), name="lab") as client:
                client.set_cuts(read(lab.cuts_file))
            return
        except NoDaemon as error:
            if time.monotonic() >= deadline:
                raise Failed(f"node {ident} was not told what is cut: {error.message}", lab.log(ident), ident) from None
            time.sleep(_POLL)


def ways_between(lab: Lab, first: str, second: str, link: int | None, one_way: bool) -> list[Way]:
    """All ways from `first` to `second` (ids, comma lists, `all`), and back unless one_way.

    Raises NotFound, UsageError when that is no way at all.
    """
    sources, targets = lab.nodes([first]), lab.nodes([second])
    pairs = [(a, b) for a in sources for b in targets if a != b]
    if not pairs:
        raise UsageError("a node cannot be cut from itself")
    if not one_way:
        pairs += [(b, a) for a, b in pairs]
    return sorted({(a, b, k) for a, b in pairs for k in _links(lab, link)})


def _links(lab: Lab, link: int | None) -> list[int]:
    if link is not None and link >= lab.links:
        raise NotFound(f"lab {lab.name!r} has no link {link}", f"it has 0 to {lab.links - 1}")
    return list(range(lab.links)) if link is None else [link]


def reachable(lab: Lab, among: list[int]) -> dict[int, set[int]]:
    """For each node those it can talk with: some link is cut in neither direction. Each reaches itself."""
    cut = {(row["from"], row["to"], row["link"]) for row in read(lab.cuts_file)}
    return {
        a: {b for b in among if a == b or any((a, b, k) not in cut and (b, a, k) not in cut for k in range(lab.links))}
        for a in among
    }
