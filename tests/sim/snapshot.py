"""A virtual machine put back to an earlier moment: its disk with what was under way, and the reading of its clock.

Where its hypervisor tells, what it had in memory is gone at once: the daemon ends when it is told of a new generation
id, and starts anew from its disk (clusterd/daemon.py). That disk and this node's own marker agree with each other: only
the others know better. Where nobody tells, the process of then goes on (tests/sim/shadow.py).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field

from clusterd.node import Node
from tests.sim.disk import SimDisk
from tests.sim.history import Process
from tests.sim.storage import Answered, Storage
from transport.events import Persist


@dataclass(frozen=True, slots=True)
class Memory:
    """node: a copy of the process.  process: the life it is of.  waiting: the marks of what it had given to the ring
    and not had back."""

    node: Node
    process: Process
    waiting: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """reading: what the machine's clock said.  memory: of the process, where one ran and it is kept; asked, under_way:
    what it had asked of the disk.  at: true time."""

    reading: float
    disk: SimDisk
    files: dict[str, bytes]
    at: float = 0.0
    memory: Memory | None = None
    asked: dict[int, Answered] = field(default_factory=dict)
    under_way: list[Persist] = field(default_factory=list)


def take(storage: Storage, reading: float, at: float = 0.0, memory: Memory | None = None) -> Snapshot:
    """Everything as it is now; the machine goes on."""
    asked, under_way = dict(storage._asked), list(storage._files_under_way)
    return Snapshot(reading, _copy(storage.store), dict(storage.files), at, memory, asked, under_way)


def put_back(storage: Storage, snapshot: Snapshot) -> None:
    """The disk as it was, and then the process ends at once: of what was under way a part may be there."""
    _disk_of(storage, snapshot)
    storage.crash()


def go_back(storage: Storage, snapshot: Snapshot) -> None:
    """The disk as it was, for a process that waits for what it asked of it then."""
    _disk_of(storage, snapshot)
    storage._forget()
    storage._asked.update(snapshot.asked)
    storage._files_under_way.clear()
    storage._read_again()
    for file in snapshot.under_way:
        storage.persist(file)
    storage._arm()


def _disk_of(storage: Storage, snapshot: Snapshot) -> None:
    present = storage.store
    storage.store = _copy(snapshot.disk)
    storage.store.did, storage.store.discarded = present.did, present.discarded
    storage.store.full, storage.store.broken, storage.store.hung = present.full, present.broken, present.hung
    storage.files = dict(snapshot.files)


def _copy(disk: SimDisk) -> SimDisk:
    """Its chance is the world's: another moment does not bring the same luck again."""
    return deepcopy(disk, {id(disk._random): disk._random})
