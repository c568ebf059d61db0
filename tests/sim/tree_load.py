"""Clients of every other kind of operation: parts of files, times, parents, renames, removals, uploads, limits.

They work below a directory of their own, which no register key shares, and are drawn by a Random of their own. What
they come to is judged by the checkers that see each operation's id, by digests at equal revisions, and in the end by
the log applied again (tests/sim/checkers/replay.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from cfs.limits import Limits
from cfs.messages import ID_BYTES, Flag, Kind, Operation
from tests.sim.clock import Clock
from tests.sim.plan import Plan
from tests.sim.workload import Server, Workload
from transport.ids import NodeId

RATE = 4.0  # moments per second at which something of this is begun
ROOT = "t"
FILES, DIRECTORIES = 5, 3
FILE_BYTES = 8000  # at least what the register keys hold: limits that are set here never refuse those
KINDS = {
    "parents": 3,
    "make": 4,
    "part": 5,
    "time": 3,
    "file-move": 3,
    "directory-move": 2,
    "unlink": 1,
    "rmdir": 2,
    "rmtree": 2,
    "upload": 4,
    "limits": 1,
}
TRIED_FLAGS = {  # one of these is taken: what is refused is of interest too
    "part": (Flag.NONE, Flag.NONE, Flag.TRUNCATE),
    "file-move": (Flag.NONE, Flag.NO_REPLACE),
    "directory-move": (Flag.NONE, Flag.NO_REPLACE),
    "unlink": (Flag.NONE, Flag.ONLY_FILE, Flag.ONLY_DIRECTORY),
    "rmdir": (Flag.NONE, Flag.ONLY_FILE, Flag.ONLY_DIRECTORY),
    "rmtree": (Flag.RECURSIVE,),
}


class TreeLoad:
    """Begins operations until `stop`; `workload` asks them, asks again, and keeps the history."""

    def __init__(
        self, plan: Plan, clock: Clock, random: Random, servers: Mapping[NodeId, Server], workload: Workload
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._random = random
        self._servers = servers
        self._workload = workload
        self.stopped = False

    def start(self, at: float) -> None:
        self._clock.at(at, self._next)

    def stop(self) -> None:
        self.stopped = True

    def _next(self) -> None:
        if self.stopped:
            return
        node = self._random.choice(self._plan.nodes)
        kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
        for name, operation in draw(self._random, kind):
            if self._servers[node].can_connect():
                self._workload.ask(name, operation, node)
        self._clock.after(self._random.expovariate(RATE * self._plan.pace), self._next)


def draw(random: Random, kind: str) -> list[tuple[str, Operation]]:
    """What is asked at one moment of one node, in this order: mostly one operation, each with the name of its call."""
    made = Operation(random.randbytes(ID_BYTES), Kind.PUT, flags=random.choice(TRIED_FLAGS.get(kind, (Flag.NONE,))))
    file, other = (f"{ROOT}/f{number}" for number in random.sample(range(FILES), 2))
    directory = f"{ROOT}/d{random.randrange(DIRECTORIES)}"
    inner = f"{directory}/e{random.randrange(2)}"
    match kind:
        case "parents":
            made.kind, made.path, made.flags = Kind.MKDIR, inner, Flag.PARENTS
            return [("parents", made)]
        case "make":
            made.path, made.data = random.choice((file, f"{inner}/f")), random.randbytes(random.choice((0, 10, 2000)))
            return [("make", made)]
        case "part":
            made.kind, made.path, made.offset = Kind.WRITE, file, random.choice((0, 5, 1000, FILE_BYTES))
            made.data = random.randbytes(random.choice((0, 1, 500)))
            return [("part", made)]
        case "time":
            made.kind, made.path = Kind.SET_TIME, file
            return [("time", made)]
        case "file-move":
            made.kind, made.path, made.to = Kind.RENAME, file, other
            return [("move", made)]
        case "directory-move":
            made.kind, made.path, made.to = Kind.RENAME, inner, f"{ROOT}/d{random.randrange(DIRECTORIES)}/moved"
            return [("move", made)]
        case "unlink" | "rmdir" | "rmtree":
            made.kind, made.path = Kind.DELETE, file if kind == "unlink" else random.choice((directory, inner))
            return [("delete", made)]
        case "limits":
            made.kind, made.data = Kind.SET_LIMITS, limits(random).encode()
            return [("limits", made)]
    return upload(random, file)


def upload(random: Random, path: str) -> list[tuple[str, Operation]]:
    """A file in chunks; now and then one is missing, or the client gives up, or never comes back."""
    staging, chunks = random.randbytes(ID_BYTES), [random.randbytes(1500) for _ in range(random.randint(1, 3))]
    asked: list[tuple[str, Operation]] = []
    offset = 0
    for chunk in chunks:
        made = Operation(random.randbytes(ID_BYTES), Kind.STAGE, data=chunk, offset=offset, staging=staging)
        offset += len(chunk)
        if random.random() < 0.95:
            asked.append(("stage", made))
    end = random.random()
    last = Operation(random.randbytes(ID_BYTES), Kind.PUT_STAGED, path, size=offset, staging=staging)
    if end < 0.7:
        asked.append(("put-staged", last))
    elif end < 0.9:
        last.kind, last.path, last.size = Kind.DROP_STAGED, "", 0
        asked.append(("drop-staged", last))
    return asked


def limits(random: Random) -> Limits:
    """Small ones are soon passed; one that is refused, now and then."""
    staging = random.choice((FILE_BYTES, 2 * FILE_BYTES, FILE_BYTES - 1))
    return Limits(
        file_bytes=FILE_BYTES,
        staging_bytes=staging,
        staging_count=random.choice((1, 2, 64)),
        delete_entries=random.choice((1, 2, 1000)),
        depth=random.choice((3, 32)),
    )
