"""Durable writes: puts of 1 kB through the local socket, each answered when it is on disk where it must be."""

from __future__ import annotations

import asyncio
import os
import time

import uvloop

from bench.arguments import Options
from bench.cluster import Cluster, Trouble
from bench.report import Report, number, spread
from bench.stats import Spread, Summary, median
from clusterd.client import AsyncClient

SIZE = 1024  # bytes
_FILES = 16  # per client; each is written again and again
_WARM_UP = 0.5  # seconds

CASES = (("1 client", 1, (1,)), ("64 clients of one node", 64, (1,)), ("64 clients over three nodes", 64, (1, 2, 3)))


def run(options: Options, report: Report) -> None:
    found: dict[str, list[tuple[float, Summary]]] = {name: [] for name, _, _ in CASES}
    with Cluster(options.directory, options.settings) as cluster:
        with cluster.client(1) as client:
            client.mkdir("bench")
        for turn in range(options.rounds):
            for name, clients, nodes in CASES:
                with report.doing(f"store: {name}, round {turn + 1} of {options.rounds}"):
                    sockets = [cluster.lab.socket(nodes[n % len(nodes)]) for n in range(clients)]
                    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                        samples = runner.run(_load(sockets, options.seconds))
                    found[name].append((len(samples) / options.seconds, Summary.of(samples)))
        _same_everywhere(cluster)
    rows = []
    for name, _, _ in CASES:
        rate = Spread.of(rate for rate, _ in found[name])
        p50, p99 = (Spread.of(getattr(summary, what) * 1e3 for _, summary in found[name]) for what in ("p50", "p99"))
        worst = max(summary.most for _, summary in found[name]) * 1e3
        rows.append([name, spread(rate), spread(p50), spread(p99), number(worst)])
        report.record(
            "store",
            name,
            {
                "rounds": len(found[name]),
                "writes_per_s": rate.median,
                "least_writes_per_s": rate.least,
                "most_writes_per_s": rate.most,
                "p50_ms": p50.median,
                "p99_ms": p99.median,
                "p999_ms": median(summary.p999 for _, summary in found[name]) * 1e3,
                "most_ms": worst,
            },
        )
    report.table(
        f"Durable writes of {SIZE} B",
        ["clients, each one write at a time", "writes/s", "p50 ms", "p99 ms", "most ms"],
        rows,
        f"Median of {options.rounds} rounds of {options.seconds:g} s (range). All three nodes' logs, and the clients, "
        "are on this one disk and these cores. Afterwards the three digests were equal.",
    )


async def _load(sockets: list[str], seconds: float) -> list[float]:
    """Seconds of every put that ended within the window."""
    begin = time.monotonic() + _WARM_UP  # not the loop's clock: uvloop's has whole milliseconds
    end = begin + seconds
    samples: list[float] = []

    async def one(number: int, path: str) -> None:
        payload = os.urandom(SIZE)
        async with AsyncClient(path, name="bench") as client:
            turn = 0
            while (started := time.monotonic()) < end:
                await client.put(f"bench/{number}-{turn % _FILES}", payload)
                done = time.monotonic()
                if begin <= done < end:
                    samples.append(done - started)
                turn += 1

    async with asyncio.TaskGroup() as group:
        for number, path in enumerate(sockets):
            group.create_task(one(number, path))
    return samples


def _same_everywhere(cluster: Cluster) -> None:
    """Raises Trouble unless all nodes come to hold the same tree."""
    give_up = time.monotonic() + 10.0
    while True:
        seen = set()
        for ident in cluster.ids:
            with cluster.client(ident) as client:
                store = client.status()["store"]
                seen.add((store["revision"], store["digest"]))
        if len(seen) == 1:
            return
        if time.monotonic() > give_up:
            raise Trouble(f"the stores differ after the writes: {sorted(seen)}")
        time.sleep(0.05)
