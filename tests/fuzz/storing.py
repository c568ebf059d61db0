"""The store among members that say anything, and with files that hold anything.

A replica is taken from an honest cluster at some moment; the others' messages are what an honest run said, changed, and
said in its present configuration, in any order, under any name.
"""

from __future__ import annotations

import pickle
import tempfile
from functools import cache
from pathlib import Path

from cfs import wire
from cfs.disk import Adopt, AppendLog, Checkpoint, TruncateTail
from cfs.entries import StateImage
from cfs.io.database import Database, DatabaseDamaged
from cfs.io.logfile import LogFile, read_log
from cfs.records import START, Lineage
from cfs.replica import Replica
from cfs.status import Multicast
from tests.cfs.building import put, records
from tests.cfs.cluster import Cluster
from tests.fuzz.draws import Draws
from tests.fuzz.mutation import changed
from transport.errors import Refused
from transport.events import ConfigurationChange
from transport.ids import NO_RING, RingId

ME = 2
HEAD = 18  # version, type, ring id
MAX_STEPS = 40
MAX_EVENTS = 20_000


class _Recorded:
    """Replicas as pickles, each with the time, and what was said on the way there."""

    def __init__(self) -> None:
        self.moments: list[bytes] = []
        self.said: list[bytes] = []
        cluster = Cluster(7, 3)
        self._keep(cluster)
        for number in range(6):
            cluster.run(0.5)
            for path in (f"f{number}", "same"):
                cluster.propose(1 + number % 3, put(path, bytes([number]) * 30))
            cluster.run(0.003 * number)
            self._keep(cluster)
            if number == 3:
                cluster.crash(3)
                cluster.run(1.0)
                self._keep(cluster)
                cluster.start(3)
        self.said = [payload for payload in dict.fromkeys(self.said) if len(payload) >= HEAD]

    def _keep(self, cluster: Cluster) -> None:
        node = cluster.nodes[ME]
        if node.ring is not None:
            self.said += [sent.payload for sent in node.ring.messages]
        replica = node.replica
        assert replica is not None
        self.moments.append(pickle.dumps((replica, cluster.now)))


@cache
def _recorded() -> _Recorded:
    return _Recorded()


def replica(data: bytes) -> None:
    """Any messages of the store's channel into a replica."""
    draw = Draws(data)
    recorded = _recorded()
    core: Replica
    core, now = pickle.loads(draw.of(recorded.moments))
    ring = core._primary.ring
    said = recorded.said
    asked: list[int] = []
    for _ in range(MAX_STEPS):
        if not draw.more:
            break
        now += 0.01
        match draw.below(8):
            case 0:
                members = tuple(node for node in (1, 2, 3) if node == ME or draw.flag())
                ring = RingId(max(ring.seq, 1) + 1, members[0], 5)
                core.configuration(ConfigurationChange(regular=False, ring_id=NO_RING, members=members), now)
                core.configuration(ConfigurationChange(regular=True, ring_id=ring, members=members), now)
                core.set_quorate(draw.flag(), now)
            case 1:
                core.progress({node: draw.number((1, 5, 10)) for node in (1, 3)}, now)
            case 2:
                error = draw.of((None, None, None, "no space"))
                core.persisted([(receipt, error) for receipt in asked], now)
                asked.clear()
            case 3:
                now += draw.of((0.1, 1.0, 6.0))
                core.handle_timeout(now)
            case 4:
                try:
                    core.propose(put(f"x{draw.byte()}", draw.blob(20)), now)
                except Refused:
                    pass
            case _:
                message = bytearray(changed(draw, said))
                if draw.byte() < 240 and len(message) >= HEAD:
                    message[:HEAD] = message[:2] + wire.encode(ring, wire.Lost())[2:HEAD]
                core.deliver(draw.of((1, 3, 2, 9)), bytes(message), draw.byte() > 250, now)
        for _ in range(MAX_EVENTS):
            event = core.next_event()
            if event is None:
                break
            if isinstance(event, Multicast):
                said = [*said[-200:], event.payload]
                core.deliver(ME, event.payload, False, now)
            elif isinstance(event, AppendLog | Adopt | TruncateTail | Checkpoint):
                asked.append(event.receipt)
        else:
            raise AssertionError("one message makes events without end")


@cache
def _segment() -> tuple[str, bytes]:
    """A log of three frames, as a file."""
    with tempfile.TemporaryDirectory() as folder:
        log = LogFile.create(Path(folder) / "log", START)
        made = records([put(f"f{n}", bytes([n]) * 20) for n in range(6)])
        for number in (0, 2, 4):
            log.append(made[number : number + 2], number)
        log.close()
        (file,) = (Path(folder) / "log").glob("*.log")
        return file.name, file.read_bytes()


def log(data: bytes) -> None:
    """Any bytes as a log segment: records that follow on each other, or a damage that is told; never an exception."""
    draw = Draws(data)
    name, sound = _segment()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        (Path(folder) / name).write_bytes(changed(draw, [sound]) if draw.byte() < 200 else draw.rest())
        found, _ = read_log(Path(folder))
        before = found.first
        for record in found.records:
            assert record.position.index == before.index + 1
            before = record.position
        opened, again = LogFile.open(Path(folder))
        assert (opened is None) == bool(again.damage)
        if opened is not None:
            opened.close()


@cache
def _database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree.db"
        Database.create(path, StateImage(), START, Lineage()).close()
        return path.read_bytes()


def database(data: bytes) -> None:
    """Any bytes as tree.db: what it says, checked, or DatabaseDamaged."""
    draw = Draws(data)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "tree.db"
        path.write_bytes(changed(draw, [_database()]) if draw.byte() < 220 else draw.rest())
        try:
            opened = Database(path)
        except Exception:  # as cfs/io/opening.py takes it: sqlite tells damage by several classes
            return
        try:
            opened.load()
        except DatabaseDamaged:
            pass
        finally:
            opened.close()
