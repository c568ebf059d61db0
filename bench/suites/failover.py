"""How long until the others say who is left: a node killed, and a node that falls silent."""

from __future__ import annotations

import asyncio
import time

from bench.arguments import Options
from bench.cluster import Cluster, Trouble
from bench.report import Report, number
from bench.stats import Summary
from clusterd.client import AsyncClient

_LIMIT = 20.0  # seconds

CASES = (
    ("SIGKILL", "the kernel still answers for it: connection refused"),
    ("silent", "all its links cut: as if its power failed"),
)


def run(options: Options, report: Report) -> None:
    """Victims in turn. Each run waits for the new verdict on both others."""
    rows = []
    with Cluster(options.directory, options.settings) as cluster:
        for kind, meaning in CASES:
            times = []
            for turn in range(options.runs):
                victim = cluster.ids[turn % len(cluster.ids)]
                with report.doing(f"failover: {kind}, run {turn + 1} of {options.runs}"):
                    times.append(asyncio.run(_fail(cluster, kind, victim)))
                    if kind == "SIGKILL":
                        cluster.revive(victim)
                    else:
                        cluster.cut([], [])
                        cluster.whole()
            first, last = (Summary.of(seen[n] * 1e3 for seen in times) for n in (0, 1))
            rows.append(
                [f"{kind} ({meaning})", *map(number, (first.p50, last.p50, last.least, last.most)), str(last.count)]
            )
            report.record(
                "failover",
                kind,
                {
                    "runs": last.count,
                    "first_p50_ms": first.p50,
                    "last_p50_ms": last.p50,
                    "last_least_ms": last.least,
                    "last_most_ms": last.most,
                },
            )
    report.table(
        "A node fails: time to the new verdict, ms",
        ["fault", "first of the others", "last of the others", "least", "most", "runs"],
        rows,
        "Medians over the runs; least and most of the last. As a client's quorum watch sees it; victims in turn.",
    )


async def _fail(cluster: Cluster, kind: str, victim: int) -> tuple[float, float]:
    """Seconds from the fault to the verdict without `victim`, on the first and on the last of the others."""
    others = [ident for ident in cluster.ids if ident != victim]
    loop = asyncio.get_running_loop()
    ready = {ident: asyncio.Event() for ident in others}

    async def watch(ident: int) -> float:
        async with AsyncClient(cluster.lab.socket(ident), name="bench") as client:
            async for verdict in client.watch_quorum():
                if victim in verdict["members"]:
                    ready[ident].set()
                elif verdict["quorate"] and ready[ident].is_set():
                    return time.monotonic()
        raise Trouble(f"node {ident} ended its quorum watch")

    watching = [loop.create_task(watch(ident)) for ident in others]
    try:
        async with asyncio.timeout(_LIMIT):
            for ident in others:
                await ready[ident].wait()
            began = time.monotonic()
            if kind == "SIGKILL":
                cluster.kill(victim)
            else:
                pairs = [(victim, other) for other in others]
                await asyncio.to_thread(cluster.cut, pairs, range(cluster.lab.links))
            seen = sorted([await task for task in watching])
    except TimeoutError:
        raise Trouble(f"no verdict without node {victim} after {_LIMIT:g} s") from None
    finally:
        for task in watching:
            task.cancel()
    return seen[0] - began, seen[-1] - began
