"""A virtual machine put back to an earlier moment: its disk with what was under way, and the reading of its clock.

What it had in memory is gone at once: the daemon ends when it is told of a new generation id, and starts anew from its
disk (clusterd/daemon.py). That disk and this node's own marker agree with each other: only the others know better.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

from tests.sim.disk import SimDisk
from tests.sim.storage import Storage


@dataclass(frozen=True, slots=True)
class Snapshot:
    """reading: what the machine's clock said."""

    reading: float
    disk: SimDisk
    files: dict[str, bytes]


def take(storage: Storage, reading: float) -> Snapshot:
    """Everything as it is now; the machine goes on."""
    return Snapshot(reading, _copy(storage.store), dict(storage.files))


def put_back(storage: Storage, snapshot: Snapshot) -> None:
    """The disk as it was, and then the process ends at once: of what was under way a part may be there."""
    present = storage.store
    storage.store = _copy(snapshot.disk)
    storage.store.did, storage.store.discarded = present.did, present.discarded
    storage.store.full, storage.store.broken, storage.store.hung = present.full, present.broken, present.hung
    storage.files = dict(snapshot.files)
    storage.crash()


def _copy(disk: SimDisk) -> SimDisk:
    """Its chance is the world's: another moment does not bring the same luck again."""
    return deepcopy(disk, {id(disk._random): disk._random})
