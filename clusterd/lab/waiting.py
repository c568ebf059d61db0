"""When is a lab ready? Asks the daemons until their answers agree, or says why they do not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from clusterd.client import Client, ClientError, ConfigRefused, Failed, NoDaemon, Timeout
from clusterd.control.codes import EXIT_STATUS
from clusterd.lab import cuts, layout, process
from clusterd.lab.layout import Lab

if TYPE_CHECKING:
    from clusterd.control.shapes import Status

_POLL = 0.05  # seconds between two rounds of questions
_SETTLE = 1.0  # seconds a ring must last when its members cannot be foretold
_PARTED = 3.0  # seconds a ring must last before we believe that somebody cannot be reached though nothing is cut
_WRITABLE = 2.0  # seconds more for the store to open; a store that may not (full disk) does not hold up `lab start`
_LOG_LINES = 15


class Progress:
    """Told what is being waited for, whenever that changes."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._last = ""

    def __call__(self, what: str) -> None:
        if what != self._last:
            self._last = what
            self._tell(what)


def answering(lab: Lab, nodes: list[int], deadline: float, progress: Progress) -> None:
    """Wait until the daemon of each node answers. Raises Failed when one ended, Timeout."""
    for ident in nodes:
        progress(f"node {ident} starts")
        while not _answers(lab, ident):
            alive(lab, [ident])
            _sleep(deadline, f"node {ident} does not answer yet", lab)


def whole(lab: Lab, deadline: float, progress: Progress) -> None:
    """Wait until all nodes are members of one ring, quorate, synced and writable."""

    def lacks(views: dict[int, Status]) -> str:
        for ident in lab.ids:
            view = views.get(ident)
            if view is None or view["ring"]["phase"] != "operational" or view["ring"]["members"] != lab.ids:
                members = _list(view["ring"]["members"]) if view is not None else "nobody"
                return f"node {ident} sees {members}, not yet all {len(lab.ids)}"
            if not view["quorum"]["quorate"]:
                return f"node {ident} is not quorate: {view['quorum']['reason']}"
            if view["store"]["state"] != "synced" or not view["store"]["writable"]:
                return f"the store of node {ident} is {view['store']['state']}, not yet writable"
        return _one_ring([views[ident] for ident in lab.ids])

    _until(lab, lab.ids, lacks, deadline, progress)


def stable(lab: Lab, started: list[int], deadline: float, progress: Progress) -> None:
    """Wait until the started nodes are in a stable ring with all running nodes they can reach, synced if quorate.

    Where reachability is not mutual among all (A-B cut, both see C) nobody can foretell who goes with whom: any ring
    on which its members agree will do, once it lasted a second. A node that is missing although nothing is cut (a
    firewall) is waited for until all paths to it have been down for some seconds.
    """
    watch = _Settling()

    def lacks(views: dict[int, Status]) -> str:
        running = sorted(views)
        reach = cuts.reachable(lab, running)
        for ident in started:
            if ident not in views:
                return f"node {ident} does not answer"
            view = views[ident]
            members = view["ring"]["members"]
            together = _together(reach, ident)
            clear = all(reach[node] == together for node in together)
            missing = clear and members != sorted(together)
            if missing and watch.age(ident, view["ring"]["id"]) >= _PARTED:
                missing = not _all_down(lab, ident, together - set(members))
            if view["ring"]["phase"] != "operational" or missing:
                return f"node {ident} sees {_list(members)}, not yet {_list(sorted(together))}"
            apart = _one_ring([views[node] for node in members if node in views])
            if apart:
                return apart
            if not clear and watch.age(ident, view["ring"]["id"]) < _SETTLE:
                return f"the ring of node {ident} is young"
            store = _store_lacks(view, watch.age(ident, view["ring"]["id"]))
            if store:
                return f"the store of node {ident} is {store}"
        return ""

    _until(lab, started, lacks, deadline, progress)


class _Settling:
    """Since when each node reports the ring it reports."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[str | None, float]] = {}

    def age(self, ident: int, ring: str | None) -> float:
        if self._since.get(ident, ("", 0.0))[0] != ring:
            self._since[ident] = (ring, time.monotonic())
        return time.monotonic() - self._since[ident][1]


def _store_lacks(view: Status, age: float) -> str:
    """Synced if quorate. A store that does not open although synced, or that is damaged, is waited for no longer."""
    state = view["store"]["state"]
    if not view["quorum"]["quorate"] or state not in ("syncing", "synced"):
        return ""
    opened = state == "synced" and (view["store"]["writable"] or age >= _WRITABLE)
    return "" if opened else state


def _all_down(lab: Lab, ident: int, others: set[int]) -> bool:
    """Whether a node says that no path to any of the others is up."""
    try:
        with Client(lab.socket(ident), timeout=1.0, name="lab") as client:
            return not any(row["state"] == "up" for row in client.links()["links"] if row["peer"] in others)
    except ClientError:
        return False


def views(lab: Lab, patience: float) -> dict[int, Status]:
    """What each running daemon says of itself; who does not answer within `patience` seconds is left out."""
    found: dict[int, Status] = {}
    for ident in lab.ids:
        if process.look(lab.node_dir(ident)).state != "running":
            continue
        try:
            with Client(lab.socket(ident), timeout=patience, name="lab") as client:
                found[ident] = client.status()
        except ClientError:
            continue
    return found


def alive(lab: Lab, nodes: list[int]) -> None:
    """Raises for a node whose daemon has ended: ConfigRefused with all problems, or Failed with the end of its log."""
    for ident in nodes:
        found = process.look(lab.node_dir(ident))
        if found.state not in ("running", "paused"):
            lines = last_lines(lab.log(ident), process.log_start(lab.node_dir(ident)))
            problems = [line for line in lines if line.startswith(lab.config(ident))]
            if found.exit == EXIT_STATUS["CONFIG"] and problems:
                raise ConfigRefused(f"node {ident} refuses its configuration", "", ident, problems=problems)
            status = "" if found.exit is None else f" with status {found.exit}"
            raise Failed(f"node {ident} ended{status}", f"its log: {lab.log(ident)}", ident, log=lines)


def last_lines(path: str, start: int = 0) -> list[str]:
    """The end of a log, nothing from before byte `start`."""
    try:
        with open(path, "rb") as file:
            file.seek(max(start, file.seek(0, 2) - 8192))
            return file.read().decode(errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        return []


def _until(
    lab: Lab, nodes: list[int], lacks: Callable[[dict[int, Status]], str], deadline: float, progress: Progress
) -> None:
    while True:
        alive(lab, nodes)
        lacking = lacks(views(lab, 1.0))
        if not lacking:
            return
        progress(lacking)
        _sleep(deadline, lacking, lab)


def _sleep(deadline: float, lacking: str, lab: Lab) -> None:
    if time.monotonic() >= deadline:
        hint = "cuts are in force" if layout.read_json(lab.cuts_file) else lab.command("status")
        raise Timeout(f"not ready in time: {lacking}", hint)
    time.sleep(_POLL)


def _answers(lab: Lab, ident: int) -> bool:
    try:
        with Client(lab.socket(ident), timeout=1.0, name="lab") as client:
            client.connect()
    except NoDaemon:
        return False
    return True


def _together(reach: dict[int, set[int]], start: int) -> set[int]:
    """All that can be reached from `start` over others."""
    found = {start}
    while grown := {node for known in found for node in reach[known]} - found:
        found |= grown
    return found


def _one_ring(views_: list[Status]) -> str:
    rings = {(view["ring"]["id"], view["ring"]["phase"]) for view in views_}
    return "" if len(rings) <= 1 else f"rings differ: {', '.join(sorted(str(ring) for ring, _ in rings))}"


def _list(nodes: list[int]) -> str:
    return ", ".join(str(node) for node in nodes) or "nobody"
