"""A seeded run of a few nodes under faults, judged by the checker.

python -m tests.transport.totem.chaos --runs 200
python -m tests.transport.totem.chaos --seed 17        one run, with its log
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections import Counter

from tests.transport.totem.evs import check
from tests.transport.totem.net import Net
from transport.ids import NodeId

KINDS = ["partition", "partition", "cut", "oneway", "pause", "pause", "crash", "crash", "restart", "leave"]
KINDS += ["heal"] * 6 + ["boot"] * 5


def run(seed: int, nodes: int | None = None, seconds: float = 12.0, log: bool = False) -> tuple[Net, Counter[str]]:
    """One run: faults and traffic for `seconds`, then all is healed and must come to rest. Raises on a violation."""
    rng = random.Random(seed * 7919 + 1)
    n = nodes or rng.choice([2, 3, 3, 3, 4, 5, 5, 7])
    spread = rng.choice([0.0001, 0.0005, 0.003, 0.02])
    net = Net(
        n,
        seed,
        delay=(0.0001, 0.0001 + spread),
        loss=rng.choice([0.0, 0.0, 0.01, 0.05, 0.15]),
        duplicate=rng.choice([0.0, 0.05]),
        late=rng.choice([0.0, 0.0, 0.01, 0.05]),
        votes={node: rng.choice([1, 1, 1, 2, 0]) for node in range(1, n + 1)},
        copies=(0.0, 0.0, 0.05, 0.5)[seed % 4],
        held=(0.0005, 0.05, 1.0)[seed % 3],
        keeps_reports=seed % 5 == 4,
    )
    faults: Counter[str] = Counter()
    end = net.now + seconds
    cruelty = rng.choice([0.0, 0.0, 0.05, 0.2])

    def strike(node: int, line: str) -> None:
        """Something bad just when a node changes phase."""
        if rng.random() >= cruelty or net.now >= end or not line.startswith(("commit:", "recovery:", "operational:")):
            return
        kind = rng.choice(["crash", "cut", "mute", "pause"])
        victim = rng.choice([node, rng.choice(net.ids)])
        other = rng.choice(net.ids)
        faults["strike"] += 1

        def hit() -> None:
            if net.now >= end:
                return
            alive = victim in net.nodes and net.nodes[victim].alive
            if kind == "crash" and alive and len(net.alive()) > 1:
                net.crash(victim)
            elif kind == "cut" and victim != other:
                net.cut(victim, other)
            elif kind == "mute":
                net.cuts |= {(victim, peer) for peer in net.ids if peer != victim}
            elif kind == "pause" and alive:
                net.pause(victim, rng.choice([0.3, 0.7, 1.5]))

        net.at(net.now + rng.random() * rng.choice([0.0002, 0.002, 0.02]), hit)

    if log:
        net.trace = print
    net.on_log = strike
    net.start(rng.sample(net.ids, rng.randint(1, n)))
    rate = rng.choice([0.005, 0.02, 0.1])
    safe_share = rng.choice([0.0, 0.3, 1.0])

    def traffic() -> None:
        if net.now >= end:
            return
        alive = [node.id for node in net.alive() if node.paused_until is None]
        if alive:
            for _ in range(rng.choice([1, 1, 1, 5, 30])):
                net.send(rng.choice(alive), rng.choice([10, 10, 10, 200, 200, 1400, 6000]), rng.random() < safe_share)
        net.at(net.now + rate * rng.expovariate(1.0), traffic)

    def fault() -> None:
        if net.now >= end:
            return
        alive = [node.id for node in net.alive()]
        dead = [node for node in net.ids if node not in alive]
        kind = rng.choice(KINDS)
        if kind == "partition":
            net.partition(*_groups(rng, net.ids))
        elif kind == "heal":
            net.heal()
        elif kind in ("cut", "oneway") and n > 1:
            a, b = rng.sample(net.ids, 2)
            net.cut(a, b, both=kind == "cut")
        elif kind == "pause" and alive:
            net.pause(rng.choice(alive), rng.choice([0.1, 0.4, 0.8, 2.0]))
        elif kind == "crash" and len(alive) > 1:
            net.crash(rng.choice(alive))
        elif kind == "boot" and dead:
            net.boot(rng.choice(dead))
        elif kind == "restart" and alive:
            node = rng.choice(alive)
            net.crash(node)
            net.boot(node)
        elif kind == "leave" and len(alive) > 1:
            node = rng.choice(alive)
            if net.nodes[node].paused_until is None:
                net.leave(node)
        faults[kind] += 1
        if log:
            print(f"{net.now:10.4f} -- {kind}; cut: {sorted(net.cuts)}")
        net.at(net.now + rng.choice([0.002, 0.05, 0.3, 1.0, 2.0]) * rng.random(), fault)

    holes = random.Random(seed * 104729 + 5)  # of its own: runs without holes stay as they are
    if n > 2 and holes.random() < 0.25:
        net.at(net.now + 1.0, lambda: _hole(net, holes, end, faults))
    net.at(net.now + 0.5, traffic)
    net.at(net.now + rng.random(), fault)
    net.run(seconds)
    net.heal()
    net.drop, net.on_log = None, strike
    net.loss, net.late = min(net.loss, 0.05), 0.0
    for node in net.ids:
        if not net.nodes.get(node) or not net.nodes[node].alive:
            net.boot(node)
    net.until(lambda: all(node.paused_until is None for node in net.alive()), 5.0)
    faults["slowest"] = int(1000 * net.until(lambda: net.formed(net.ids), 10.0))
    net.until(net.quiet, 8.0)
    gathers = sum(node.srp.stats.gathers for node in net.nodes.values())
    net.run(1.0)
    if net.loss == 0 and sum(node.srp.stats.gathers for node in net.nodes.values()) != gathers:
        raise AssertionError("a ring of all, with nothing wrong, was given up")
    faults["beats"] = net.leases.check()
    faults["deliveries"] = check(net.traces)
    for trace_node in net.nodes.values():
        stats = trace_node.srp.stats
        faults["gathers"] += stats.gathers
        faults["recoveries with messages"] += stats.recoveries_with_messages
        faults["merges"] += stats.merges
        faults["tokens lost"] += stats.tokens_lost
        faults["waits to exclude"] += stats.waits_to_exclude
        faults["accelerated"] += stats.accelerated
        faults["rests"] += stats.rests
        faults["malformed"] += stats.malformed + stats.partial_dropped
    return net, faults


def _hole(net: Net, rng: random.Random, end: float, faults: Counter[str]) -> None:
    """A gap that nobody can fill: nothing a node sends arrives but its tokens, and with a message out it dies. Others
    send behind the gap, and while they recover from it, who has installed the next ring is cut off from who has not."""
    if net.now >= end:
        return
    alive = [node for node in net.alive() if node.paused_until is None and node.srp.phase == "operational"]
    victim = rng.choice(alive) if len(alive) > 2 else None
    if victim is None or victim.srp.members != tuple(sorted(node.id for node in alive)):
        net.heal()
        for node in net.ids:
            if not net.nodes.get(node) or not net.nodes[node].alive:
                net.boot(node)
        net.at(net.now + 0.5 * rng.random(), lambda: _hole(net, rng, end, faults))
        return
    ring, numbered = victim.srp.ring_id, victim.srp.stats.mcasts_sent

    def silent(source: NodeId, to: NodeId, kind: str, frame: bytes) -> bool:
        if source == victim.id and kind == "token" and victim.srp.stats.mcasts_sent > numbered:
            net.at(net.now, die)
        return source == victim.id and kind == "mcast"

    def die() -> None:
        if net.drop is not silent:
            return
        net.drop = None
        net.crash(victim.id)
        faults["holes"] += 1
        for node in alive:
            if node is not victim and node.alive:
                net.send(node.id, safe=rng.random() < 0.7)

    hear = net.on_log

    def installed(node: NodeId, line: str) -> None:
        if hear is not None:
            hear(node, line)
        if net.on_log is installed and line.startswith("operational") and net.nodes[node].srp.ring_id != ring:
            net.on_log = hear
            others = [other.id for other in alive if other is not victim and other.id != node]
            cut = rng.sample(others, rng.randint(1, len(others)))
            net.partition(cut, [other for other in net.ids if other not in cut])

    net.drop, net.on_log = silent, installed
    net.send(victim.id)
    net.at(net.now + 1.5, lambda: _hole(net, rng, end, faults))


def _groups(rng: random.Random, ids: list[int]) -> list[list[int]]:
    groups: list[list[int]] = [[] for _ in range(rng.choice([2, 2, 3]))]
    for node in ids:
        rng.choice(groups).append(node)
    return groups


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="run this one only, and print its log")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=None)
    arguments = parser.parse_args()
    seeds = [arguments.seed] if arguments.seed is not None else range(arguments.first, arguments.first + arguments.runs)
    totals: Counter[str] = Counter()
    failed = []
    slowest = 0
    start = time.monotonic()
    for seed in seeds:
        try:
            _, faults = run(seed, arguments.nodes, log=arguments.seed is not None)
            if faults["slowest"] > 2000:
                print(f"seed {seed} took {faults['slowest']} ms to form one ring")
            slowest = max(slowest, faults.pop("slowest"))
            totals += faults
        except Exception as error:
            failed.append(seed)
            print(f"seed {seed} failed: {type(error).__name__}: {str(error)[: 6000 if arguments.seed else 200]}")
            if arguments.seed is not None:
                traceback.print_exc()
    print(
        f"{len(list(seeds))} runs in {time.monotonic() - start:.0f} s, formed after {slowest} ms at most, "
        f"failed: {failed}; {dict(totals)}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
