"""Link 0 cut under traffic: how long is the pause until deliveries go on over link 1."""

from __future__ import annotations

import time
from array import array
from itertools import combinations, pairwise
from typing import Any

from bench.arguments import Options
from bench.cluster import Cluster, Trouble
from bench.report import Report, number
from bench.stats import Summary

INTERVAL = 5_000_000  # ns between two messages
_BEFORE, _AFTER = 0.5, 2.5  # seconds of traffic before and after the cut
_SIZE = 64
_HEAL = 30.0  # seconds until link 0 must be in use again


def run(options: Options, report: Report) -> None:
    """Each run has another sender; the pause is that of the node that waited longest."""
    pauses, new_rings = [], 0
    with Cluster(options.directory, options.settings, measured=True) as cluster:
        for turn in range(options.runs):
            with report.doing(f"links: run {turn + 1} of {options.runs}"):
                _on_link_0(cluster)
                before = cluster.ring()
                pauses.append(_cut_once(cluster, cluster.ids[turn % len(cluster.ids)]) * 1e3)
                new_rings += cluster.ring() != before
                cluster.cut([], [])
                cluster.whole()
    summary = Summary.of(pauses)
    report.table(
        "Link 0 cut under traffic, ms",
        ["", "median", "least", "most", "runs", "new rings"],
        [
            [
                "pause in deliveries",
                *map(number, (summary.p50, summary.least, summary.most)),
                str(summary.count),
                str(new_rings),
            ]
        ],
        f"A message every {INTERVAL / 1e6:g} ms; the longest pause between two deliveries in any of the three nodes. "
        "Link 0 is cut between all nodes, in one node after the other within a few ms.",
    )
    report.record(
        "links",
        "link 0 cut",
        {
            "runs": summary.count,
            "p50_ms": summary.p50,
            "least_ms": summary.least,
            "most_ms": summary.most,
            "new_rings": new_rings,
        },
    )


def _cut_once(cluster: Cluster, sender: int) -> float:
    """Seconds of the longest pause."""
    start = time.monotonic_ns() + 100_000_000
    count = int((_BEFORE + _AFTER) * 1e9 / INTERVAL)
    cluster.ask("measure", senders=[sender], count=count, size=_SIZE, interval=INTERVAL, at=start)
    time.sleep(max(0.0, (start - time.monotonic_ns()) / 1e9 + _BEFORE))
    cut_at = time.monotonic_ns()
    cluster.cut(list(combinations(cluster.ids, 2)), [0])
    return max(longest_pause(answer, cut_at) for answer in cluster.answers(30.0).values())


def longest_pause(answer: dict[str, Any], cut_at: int) -> float:
    """Seconds between two deliveries that follow each other, the second of them after `cut_at`."""
    times = array("q")
    times.frombytes(answer["got_at"])
    return max(after - before for before, after in pairwise(times) if after >= cut_at) / 1e9


def _on_link_0(cluster: Cluster) -> None:
    """Wait until all traffic goes over link 0. Raises Trouble."""
    give_up = time.monotonic() + _HEAL
    for ident in cluster.ids:
        with cluster.client(ident) as client:
            while True:
                links = client.links()["links"]
                if all(row["state"] == "up" and row["active"] == (row["link"] == 0) for row in links):
                    break
                if time.monotonic() > give_up:
                    raise Trouble(f"node {ident} does not use link 0 {_HEAL:g} s after it was healed")
                time.sleep(0.02)
