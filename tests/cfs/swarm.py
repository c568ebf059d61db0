"""A run of random faults and writes from one seed: `python -m tests.cfs.swarm [first] [count] [profile]`.

Profiles say which promises hold whole: `majority` (no narrow epochs, so every check is strict), `disks` (as that, with
stores lost, damaged, full and slow, never more than a minority at once), `narrow` (a half may be quorate, an operator
may force a minority: acknowledged writes are in the tree at the end, or set aside), `members` (the nodelist changes),
`window` (as `majority`, but outcomes are soon forgotten, and clients ask again whenever they like), `hangs` (as
`majority`, with disks that do not answer for a while, and nodes that soon give up keeping up with them).
"""

from __future__ import annotations

import sys
import traceback
from random import Random

from cfs import journal, readiness, turns
from cfs.messages import Kind, Operation
from cfs.status import StoreSettings
from tests.cfs.checks import Broken
from tests.cfs.cluster import Cluster

WINDOW = 24  # outcomes kept in `window`: a few seconds' writes
PROFILES = ("majority", "disks", "narrow", "members", "window", "hangs")


class Swarm:
    """One run."""

    def __init__(self, seed: int, profile: str, seconds: float = 6.0) -> None:
        self.random = Random(seed * 7 + PROFILES.index(profile))
        self.profile = profile
        self.seconds = seconds
        size = self.random.choice([1, 2, 3, 3, 3, 4, 5, 5] if profile != "narrow" else [2, 2, 3, 4, 4, 5])
        if profile in ("disks", "members", "hangs"):
            size = max(3, size)
        latency = self.random.choice([(0.0003, 0.004), (0.001, 0.02), (0.0, 0.0005), (0.0, 0.15)])
        delay = self.random.choice([(0.0001, 0.003), (0.0001, 0.003), (0.0, 0.03)])
        self.fault_rate = self.random.choice([0.03, 0.06, 0.12])
        self.burst = self.random.choice([1, 1, 3])
        votes = dict.fromkeys(range(1, size + 1), 1)
        if self.random.random() < 0.2:
            votes[self.random.randint(1, size)] = 2
        self.forced: set[frozenset[int]] = set()
        self.cluster = Cluster(
            seed,
            votes,
            strict=profile != "narrow",
            settings=StoreSettings(outcomes=WINDOW) if profile == "window" else None,
            latency=latency,
            delay=delay,
            quorate=self._quorate,
        )
        self.token = 0
        self.paths = [f"f{n}" for n in range(12)]
        self.harmed: int | None = None  # the one node whose disk was harmed and is not resynced yet
        self.rolled_back = False  # only the others' memory tells that a disk went back within an epoch: keep it
        self.knowing: set[int] = set()  # whose memory that is

    def _quorate(self, part: frozenset[int]) -> bool:
        cluster = self.cluster
        votes = cluster.votes
        have, total = sum(votes.get(n, 0) for n in part), sum(votes.values())
        if 2 * have > total:
            return self.profile != "members" or self._data_majority(part)
        if self.profile != "narrow":
            return False
        lowest = min(votes) in part
        return (2 * have == total and lowest) or part in self.forced

    def _data_majority(self, part: frozenset[int]) -> bool:
        """New nodes have votes before they hold data: two such in a minority would make it quorate, hence narrow."""
        sets = [cluster.log.data_sets(cluster.committed)[0] for cluster in map(self.cluster.replica, self.cluster.up)]
        newest = max(sets, key=lambda one: one.version)
        return 2 * sum(newest.votes.get(n, 0) for n in part) > sum(newest.votes.values())

    def go(self) -> dict[str, int]:
        cluster, random = self.cluster, self.random
        cluster.run_until(cluster.settled, 5.0)
        end = cluster.now + self.seconds
        while cluster.now < end:
            for _ in range(random.randint(1, self.burst)):
                self._work()
            if random.random() < self.fault_rate:
                self._fault()
            while random.random() < self.fault_rate * 2:  # and another in the middle of what that one began
                cluster.run(random.uniform(0.0, 0.03))
                self._fault()
            cluster.run(random.uniform(0.001, 0.04))
        cluster.finish()
        return cluster.counts

    def _work(self) -> None:
        cluster, random = self.cluster, self.random
        node = random.choice(list(cluster.nodes))
        roll = random.random()
        if roll < 0.7:
            size = random.choice([1, 10, 100, 3000, 20000])
            cluster.put(node, random.choice(self.paths), random.randbytes(size))
        elif roll < 0.8:
            path = random.choice(self.paths)
            entry = cluster.replica(node).state.find(path) if node in cluster.up else None
            cluster.put(node, path, b"cas", condition=entry.revision if entry else 0)
        elif roll < 0.9:
            self.token += 1
            cluster.barrier(node, self.token)
        elif cluster.history:
            self._retry(node)

    def _retry(self, node: int) -> None:
        """A client tries again under the same id, perhaps elsewhere."""
        cluster, random = self.cluster, self.random
        last = random.choice(cluster.history if self.profile == "window" else cluster.history[-20:])
        if last.ended is not None and (last.unknown or self.profile == "window"):
            old = last.operation
            again = Operation(old.id, Kind.PUT, old.path, old.data, condition=old.condition, writer=old.writer)
            again.time, again.since = old.time, old.since
            cluster.propose(node, again)

    def _fault(self) -> None:
        cluster, random = self.cluster, self.random
        kinds = ["partition"] * 3 + ["heal"] * 3 + ["crash"] * 3 + ["start"] * 5 + ["power"]
        more = {"disks": ["disk"] * 4, "hangs": ["disk"] * 4, "narrow": ["force"] * 2, "members": ["members"] * 2}
        kinds += more.get(self.profile, [])
        kind = random.choice(kinds)
        nodes = list(cluster.nodes)
        if self.rolled_back and self.harmed is not None and kind in ("crash", "power"):
            kind = "disk"
        match kind:
            case "partition":
                cut = {n: random.randrange(random.choice([2, 2, 3])) for n in nodes}
                if self.harmed is not None and self._believed(self.harmed):
                    cut |= dict.fromkeys(self.knowing, cut[self.harmed])
                cluster.partition(*({n for n in nodes if cut[n] == part} for part in set(cut.values())))
            case "heal":
                cluster.heal()
            case "crash" if cluster.up:
                cluster.crash(random.choice(cluster.up))
            case "start":
                for n in nodes:
                    if n not in cluster.up and random.random() < 0.7:
                        cluster.start(n)
            case "power":
                for n in cluster.up:
                    cluster.crash(n)
                for n in nodes:
                    if random.random() < 0.8:
                        cluster.start(n)
            case "force" if len(nodes) > 1:
                self.forced = {frozenset(part) for part in cluster.parts if random.random() < 0.4}
                for n in cluster.up:
                    ring = cluster.nodes[n].ring
                    if ring is not None:
                        verdict = self._quorate(frozenset(ring.members))
                        cluster._call(cluster.nodes[n], lambda r, v=verdict: r.set_quorate(v, cluster.now))
            case "disk":
                self._harm()
            case "members":
                self._members()
        cluster.count(kind)

    def _believed(self, harmed: int) -> bool:
        """Has a node whose disk went back not been told so yet? Where all who know are away it would count, and the
        others could go on with it without acknowledged writes: no promise covers that (docs/protocol-store.md)."""
        replica = self.cluster.nodes[harmed].replica
        return self.rolled_back and (replica is None or replica.status().state != "damaged")

    def _harm(self) -> None:
        """Lose, damage, fill, break or mend a disk; one node at a time until it is whole again."""
        cluster, random = self.cluster, self.random
        if self.harmed is not None:
            node = cluster.nodes[self.harmed]
            node.disk.full = node.disk.broken = node.disk.hung = False
            if node.replica is not None:
                cluster._arm(node)
            if self.harmed in cluster.up and cluster.replica(self.harmed).status().state == "synced":
                self.harmed, self.rolled_back = None, False
            return
        n = random.choice(list(cluster.nodes))
        disk = cluster.nodes[n].disk
        self.harmed = n
        match "hang" if self.profile == "hangs" else random.choice(["lose", "rot", "full", "broken", "old"]):
            case "hang":
                disk.hung = True
            case "lose":
                cluster.crash(n)
                disk.lose()
                cluster.nodes[n].shown = 0
            case "rot":
                cluster.crash(n)
                if disk._store is not None and disk._store.log:
                    disk.rot(random.randint(disk._store.first.index + 1, disk._store.end_index()))
            case "full":
                disk.full = True
            case "broken":
                disk.broken = True
            case "old":
                self.rolled_back = True
                saved = disk.backup()
                self.knowing = next(set(part) for part in cluster.parts if n in part) & set(cluster.up)
                cluster.run(random.uniform(0.05, 0.5))
                cluster.crash(n)
                disk.restore(saved)
                cluster.nodes[n].shown = 0  # until it hears of others, nothing tells it that it is older

    def _members(self) -> None:
        """Add a node, remove one, or change a vote; all nodes are told."""
        cluster, random = self.cluster, self.random
        kind = random.choice(["add", "vote"])
        if kind == "add" and len(cluster.nodes) < 7:
            cluster.add(max(cluster.nodes) + 1)
        elif kind == "vote":
            n = random.choice(list(cluster.votes))
            cluster.votes[n] = random.choice([1, 2])
            cluster.tell_nodes()


def run(seed: int, profile: str, seconds: float = 6.0) -> dict[str, int]:
    """Raises Broken, or whatever the replica raised."""
    usual = turns.ENTRIES, turns.LOOKS, turns.APPLIED, journal.STALLED, readiness.MAX_UNWRITTEN
    size = Random(seed).choice([1, 2, 5, 1000])  # these trees are small, so turns are to be too
    turns.ENTRIES, turns.LOOKS, turns.APPLIED = size, 4 * size, max(1, size // 2)
    if profile == "hangs":
        journal.STALLED, readiness.MAX_UNWRITTEN = 0.3, 3
    try:
        return Swarm(seed, profile, seconds).go()
    finally:
        turns.ENTRIES, turns.LOOKS, turns.APPLIED, journal.STALLED, readiness.MAX_UNWRITTEN = usual


def main() -> None:
    first, count = int(sys.argv[1]), int(sys.argv[2])
    profiles = sys.argv[3:] or PROFILES
    totals: dict[str, int] = {}
    failed = 0
    for seed in range(first, first + count):
        for profile in profiles:
            try:
                for what, times in run(seed, profile).items():
                    totals[what] = totals.get(what, 0) + times
            except Broken as error:
                failed += 1
                print(f"seed {seed} {profile}: {str(error)[:700]}", flush=True)
            except Exception:
                failed += 1
                print(f"seed {seed} {profile}:", traceback.format_exc()[-300:], flush=True)
    print(f"{failed} failed;", dict(sorted(totals.items())))


if __name__ == "__main__":
    main()
