"""Who was removed from the cluster, as this node remembers it across restarts.

A removed node that calls is told so, once it is known who it is; and the newest cluster key it may hold says whether a
rotation is still due: until a newer one is in use. All who put a removal in force remember it, so the rotation that
DESIGN 6 asks for does not depend on the node at which it was asked for.

The file `removed` in the state directory, sealed (clusterd/sealed.py), big-endian: u8 version 1, u16 count, then for
each, oldest first: u16 node, 32 bytes identity, u64 date (seconds since 1970), u64 generation, text by whom. Without
such a file nobody was removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from transport.codec import Reader, Writer
from transport.errors import WireError
from transport.ids import NodeId
from transport.peering import MAX_TOMBSTONES

NAME = "removed"
_VERSION = 1
_MAX_BY = 256  # bytes; as many characters fit as may have four each


@dataclass(frozen=True, slots=True)
class Removal:
    """date: seconds since 1970. generation: the newest cluster key that was live when it was removed. by: a name."""

    node: NodeId
    identity: bytes
    date: int
    generation: int
    by: str


@dataclass(frozen=True, slots=True)
class RemovalsChanged:
    """Write the file: before the configuration that removes the node, which alone would not say whom to tell."""

    data: bytes


class Removals:
    """The last 64 of them. True between any two calls: one for a node at most."""

    def __init__(self, known: Iterable[Removal] = ()) -> None:
        self._known: dict[NodeId, Removal] = {}
        for removal in known:
            self.add(removal)

    def __iter__(self) -> Iterator[Removal]:
        return iter(list(self._known.values()))

    def add(self, removal: Removal) -> None:
        """The newest one; one too many pushes out the oldest."""
        self._known.pop(removal.node, None)
        self._known[removal.node] = replace(removal, by=removal.by[: _MAX_BY // 4])
        while len(self._known) > MAX_TOMBSTONES:
            del self._known[next(iter(self._known))]

    def forget(self, listed: Iterable[NodeId]) -> bool:
        """Who is listed again is not removed; whether anybody was."""
        again = [node for node in listed if node in self._known]
        for node in again:
            del self._known[node]
        return bool(again)

    @property
    def generation(self) -> int:
        """The newest cluster key that a removed node may hold; 0 without one."""
        return max((removal.generation for removal in self._known.values()), default=0)

    def encode(self) -> bytes:
        """The file's content, without its seal."""
        writer = Writer().u8(_VERSION).u16(len(self._known))
        for removal in self._known.values():
            writer.u16(removal.node).raw(removal.identity).u64(removal.date).u64(removal.generation)
            writer.text(removal.by)
        return writer.done()


def decode(data: bytes) -> Removals:
    """What `encode` made. Raises WireError for anything else."""
    reader = Reader(data)
    if (version := reader.u8()) != _VERSION:
        raise WireError(f"removals of version {version}, {_VERSION} expected")
    known = []
    for _ in range(reader.u16()):
        node, identity, date, generation = reader.u16(), reader.raw(32), reader.u64(), reader.u64()
        known.append(Removal(node, identity, date, generation, reader.text(_MAX_BY)))
    reader.end()
    return Removals(known)
