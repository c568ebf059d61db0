"""How long one input holds a replica with a store as large as promised: `python -m tests.cfs.large [ENTRIES]`.

Three replicas on the scripted ring and simulated disks; of every call of a replica the CPU time is taken. What would
take longer than a token lives makes the node a silent one to the others (docs/performance.md has the figures).
"""

from __future__ import annotations

import gc
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cfs.digest import make_entry
from cfs.entries import DIRECTORY, FILE, Entry, StateImage
from cfs.io.database import Database
from cfs.records import LogPosition, LogRecord
from cfs.replica import Replica
from cfs.state import State
from cfs.status import StoreSettings
from cfs.tree import Tree
from clusterd.realtime import freeze_garbage
from tests.cfs.building import mkdir, put, records, rm, run
from tests.cfs.cluster import Cluster
from tests.cfs.hosts import Node
from tests.sim.generation import Generation

ENTRIES = 262_144
SIZE = 100  # bytes of a file
DIRECTORIES = 512


def forest(count: int, revision: int = 0) -> tuple[int, dict[str, Entry]]:
    """That many entries in DIRECTORIES directories, and the tree's revision."""
    entries: dict[str, Entry] = {}
    for number in range(count):
        revision += 1
        directory = number < DIRECTORIES
        path = f"d{number}" if directory else f"d{number % DIRECTORIES}/file-{number}.conf"
        kind, data = (DIRECTORY, b"") if directory else (FILE, b"%d" % number * SIZE)
        entries[path] = make_entry(
            path, kind, data[:SIZE], revision=revision, created=revision, mtime=revision, writer=1
        )
    return revision, entries


class Timed(Cluster):
    """Keeps the longest calls of each node's replica; what the simulated disks do is not among them."""

    def begin(self) -> None:
        self.longest: dict[int, float] = dict.fromkeys(self.nodes, 0.0)

    def _timed(self, node: Node, what: Callable[[], None]) -> None:
        began = time.thread_time()
        what()
        self.longest[node.id] = max(self.longest[node.id], time.thread_time() - began)

    def _call(self, node: Node, call: Callable[[Replica], None]) -> None:
        replica = node.replica
        if replica is not None:
            self._timed(node, lambda: call(replica))
            self._pump(node)

    def _timer(self, node: Node, life: int, when: float) -> None:
        replica = node.replica
        if node.life != life or replica is None:
            return
        if node.timer == when:
            node.timer = None
        if answers := node.disk.poll(self.now):
            self._call(node, lambda r: r.persisted(answers, self.now))
        due = replica.next_timeout()
        if due is not None and self.now >= due:
            self._timed(node, lambda: replica.handle_timeout(self.now))
        self._pump(node)

    def _show(self, node: Node) -> None:
        """Left to the other tests: it would digest the tree at each step."""

    def told(self, what: str) -> None:
        held = ", ".join(f"node {n} {1000 * seconds:.1f} ms" for n, seconds in sorted(self.longest.items()))
        print(f"{what:58} longest input: {held}", flush=True)
        self.begin()


def grown(count: int, settings: StoreSettings) -> Timed:
    """Three nodes, the first two with a tree of `count` entries, the third switched off and without a store."""
    cluster = Timed(1, 3, settings=settings, start=False)
    cluster.begin()
    for node in (1, 2, 3):
        cluster.start(node)
    assert cluster.run_until(cluster.settled)
    for node in (1, 2, 3):
        cluster.crash(node)
    revision, entries = forest(count)
    for node in (1, 2, 3):
        store = cluster.nodes[node].disk._store
        assert store is not None
        end = store.end()
        image = StateImage(end.index, revision, entries=dict(entries))
        cluster.nodes[node].disk._store = Generation(
            store.number, image, end, store.lineage, store.first, store.log, end.index
        )
    return cluster


@contextmanager
def clocked(what: str) -> Iterator[None]:
    began = time.thread_time()
    yield
    print(f"{what:58} {1000 * (time.thread_time() - began):.1f} ms", flush=True)


def joins(count: int) -> None:
    """Transfers of state, from nothing and by difference."""
    cluster = grown(count, StoreSettings(retain_records=100))
    cluster.nodes[3].disk.lose()
    for node in (1, 2, 3):
        with clocked(f"replica of node {node} made at start"):
            cluster.start(node)
    freeze_garbage()
    cluster.begin()
    cluster.run_until(lambda: cluster.settled(), 120.0)
    assert cluster.settled()
    cluster.told(f"takes over {count} entries, from nothing")
    cluster.crash(3)
    for number in range(200):
        cluster.put(1, f"d1/new-{number}")
        cluster.run(0.01)
    cluster.start(3)
    cluster.begin()
    cluster.run_until(lambda: cluster.settled(), 120.0)
    assert cluster.settled()
    cluster.told(f"takes over 200 new ones of {count}, by difference")
    cluster.replica(3)._store.distrust(cluster.replica(3).log.end)  # as found to be another tree at the same place
    cluster.crash(2)
    cluster.start(2)
    cluster.begin()
    cluster.run_until(lambda: cluster.settled(), 120.0)
    cluster.told("takes all anew, and lets its own tree go")


def follows(count: int) -> None:
    """A member that was away for `count` writes, with as long a log as is kept."""
    cluster = Timed(1, 3, settings=StoreSettings(retain_records=2 * count, max_pending=1 << 20))
    cluster.begin()
    assert cluster.run_until(cluster.settled)
    cluster.crash(3)
    cluster.run(1.0)
    for _ in range(count // 500):
        for number in range(500):
            cluster.put(1, f"f{number}")
        cluster.run(0.1)
    cluster.run(1.0)
    cluster.start(3)
    cluster.begin()
    cluster.run_until(lambda: cluster.settled(), 120.0)
    assert cluster.settled()
    cluster.told(f"catches up {count} records by the log")


def stalls(count: int) -> None:
    """A disk that answers late: everything becomes visible at one moment."""
    cluster = Timed(1, 1, settings=StoreSettings(max_pending=1 << 20, deadline=60.0))
    cluster.begin()
    assert cluster.run_until(cluster.settled)
    cluster.nodes[1].disk.latency = (1.9, 1.9)
    cluster.put(1, "first")
    cluster.run(0.1)
    for number in range(count):
        cluster.put(1, f"f{number}")
    cluster.begin()
    cluster.run_until(lambda: cluster.settled() and cluster.replica(1).state.entries > count, 60.0)
    cluster.told(f"{count} writes become visible after a stall")


def parts(count: int) -> None:
    """What is not cut into turns."""
    revision, entries = forest(count)
    image = StateImage(revision, revision, entries=entries)
    with clocked(f"a tree of {count} entries in one go"):
        state = State(image)
    with clocked("its image, for a transfer"):
        state.image()
    with clocked("its digest and bucket sums"):
        state.digest(), state.buckets()
    flat = State()
    run(flat, mkdir("all"), *(put(f"all/{number * 7919 % count}") for number in range(32_000)))
    with clocked("the first page of a directory of 32,000"):
        flat.page("all", False, "", 100)
    with clocked("delete a directory of 32,000, recursive"):
        run(flat, rm("all", recursive=True))
    tree = Tree(revision, entries.values())
    with clocked("the first page of all, recursive"):
        list(zip(range(100), tree.after("", "", True), strict=False))
    with clocked("a full garbage collection with all this in its sight"):
        gc.collect()
    made = records([put(f"f{number}") for number in range(100_000)])
    with clocked("100,000 log records decoded and checked"):
        end = LogPosition()
        for record in made:
            assert LogRecord.decode(record.encode()).follows(end) or end.index == 0
            end = record.position


def disk(count: int) -> None:
    """SQLite on a thread, and how long the loop's thread then waits to run again after each system call."""
    revision, entries = forest(count)
    image = StateImage(revision, revision, entries=entries)
    from cfs.records import START, Lineage

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree.db"
        done = threading.Event()

        def create() -> None:
            Database.create(path, image, START, Lineage()).close()
            done.set()

        for interval in (0.005, 0.0005):
            sys.setswitchinterval(interval)
            path.unlink(missing_ok=True)
            done.clear()
            began = time.perf_counter()
            threading.Thread(target=create).start()
            waits = []
            while not done.is_set():
                before = time.perf_counter()
                time.sleep(0.001)
                waits.append(time.perf_counter() - before - 0.001)
            waits.sort()
            took = time.perf_counter() - began
            print(
                f"database of {count} made in {took:.1f} s, switch interval {1000 * interval:g} ms: another thread "
                f"waits {1000 * waits[len(waits) // 2]:.1f} ms, p99 {1000 * waits[len(waits) * 99 // 100]:.1f}, "
                f"at most {1000 * waits[-1]:.1f} ms",
                flush=True,
            )
        with clocked("and loaded, every checksum looked at"):
            Database(path).load()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    freeze_garbage()
    for measure, size in ((parts, count), (disk, count), (joins, count), (follows, 50_000), (stalls, 20_000)):
        measure(size)


if __name__ == "__main__":
    main()
