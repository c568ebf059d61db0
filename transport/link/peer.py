"""A peer's paths: which of them data uses.

Source: DESIGN 6 (link_mode), facts/knet.md section 3 for the meaning and section 16 point 2 for the hysteresis.

    passive   one path: the highest priority number, ties: the lowest link; back to a better one once it has settled
    active    every path that is up, each datagram on all of them
    rr        the next settled path for each datagram
"""

from __future__ import annotations

from transport.ids import LinkId, NodeId
from transport.link.events import Address
from transport.link.path import NEVER, Path

Route = tuple[LinkId, Address, int]  # link, address, largest UDP payload of the path


class Peer:
    """The paths to one node and the choice among them; `select` after anything changed."""

    __slots__ = ("_all", "_current", "_one", "_turn", "mode", "node", "paths", "settles_at", "used")

    def __init__(self, node: NodeId, mode: str) -> None:
        self.node = node
        self.mode = mode
        self.paths: dict[LinkId, Path] = {}
        self.used: list[Path] = []  # where data goes now
        self.settles_at = NEVER  # when the choice may change by time alone
        self._current: Path | None = None
        self._one: list[Route] = []
        self._all: list[Route] = []
        self._turn = 0

    @property
    def reachable(self) -> bool:
        return bool(self._all)

    def select(self, now: float) -> None:
        """Choose again; paths that carry no data become standby."""
        up = sorted((path for path in self.paths.values() if path.up), key=_rank)
        settled = [path for path in up if path.settled_at <= now]
        self.settles_at = min((path.settled_at for path in up if path.settled_at > now), default=NEVER)
        if self.mode == "active":
            self.used = up
        elif self.mode == "rr":
            self.used = settled or up
        else:
            self.used = self._passive(up, settled)
        for path in up:
            path.standby = path not in self.used
        self._all = [(path.link, path.address, path.mtu.payload) for path in up]
        self._one = [(path.link, path.address, path.mtu.payload) for path in self.used]

    def _passive(self, up: list[Path], settled: list[Path]) -> list[Path]:
        current = self._current if self._current in up else None
        if current is None or (settled and _rank(settled[0]) < _rank(current)):
            current = next(iter(settled or up), None)
        self._current = current
        return [current] if current is not None else []

    def route(self, redundant: bool) -> list[Route]:
        """Where a datagram goes now; empty while no path is up. The caller does not change the list."""
        if redundant:
            return self._all
        if self.mode == "rr" and len(self._one) > 1:
            self._turn = (self._turn + 1) % len(self._one)
            return [self._one[self._turn]]
        return self._one

    def payload(self) -> int:
        """The UDP payload that fits every path in use; 0 while there is none."""
        return min((route[2] for route in self._one), default=0)


def _rank(path: Path) -> tuple[int, int]:
    return -path.timing.priority, path.link
