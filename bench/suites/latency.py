"""Delivery latency: from submit in one node to delivery there and in the last of the three."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping
from typing import Any

from bench.arguments import Options
from bench.cluster import Cluster
from bench.report import Report, number, spread
from bench.stats import Spread, Summary

SIZE = 64  # bytes, with the benchmark's own head of 9
_WARM_UP = 500
_IDLE_EVERY = 20_000_000  # ns
_IDLE_SHARE = 10  # of the samples of a closed loop; each takes 20 ms

CASES = (
    ("closed loop, one sender", False, 0),
    ("closed loop, senders in turn", True, 0),
    ("one every 20 ms, one sender", False, _IDLE_EVERY),
    ("one every 20 ms, senders in turn", True, _IDLE_EVERY),
)


def run(options: Options, report: Report) -> None:
    """Rounds of all cases; each round of one sender has another sender."""
    rounds: dict[str, list[tuple[Summary, Summary]]] = {name: [] for name, _, _ in CASES}
    pooled: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name, _, _ in CASES}
    with Cluster(options.directory, options.settings, measured=True) as cluster:
        for turn in range(options.rounds):
            for name, all_send, interval in CASES:
                with report.doing(f"latency: {name}, round {turn + 1} of {options.rounds}"):
                    first = cluster.ids[turn % len(cluster.ids)]
                    senders = cluster.ids if all_send else [first]
                    count = max(1, options.samples // _IDLE_SHARE) if interval else options.samples
                    own, last = one_round(cluster, senders, count, interval)
                rounds[name].append((Summary.of(own), Summary.of(last)))
                pooled[name][0].extend(own)
                pooled[name][1].extend(last)
    rows = []
    for name, _, _ in CASES:
        for which, where in enumerate(("in the sender", "in the last of three")):
            each = [pair[which] for pair in rounds[name]]
            whole = Summary.of(pooled[name][which])
            rows.append(
                [
                    f"{name}: {where}",
                    spread(Spread.of(s.p50 for s in each)),
                    spread(Spread.of(s.p99 for s in each)),
                    number(whole.p999),
                    number(whole.most),
                    f"{whole.count:,}",
                ]
            )
            report.record(
                "latency",
                f"{name}: {where}",
                {
                    "samples": whole.count,
                    "rounds": len(each),
                    "p50_us": Spread.of(s.p50 for s in each).median,
                    "p99_us": Spread.of(s.p99 for s in each).median,
                    "pooled_p50_us": whole.p50,
                    "pooled_p99_us": whole.p99,
                    "pooled_p999_us": whole.p999,
                    "most_us": whole.most,
                },
            )
    report.table(
        f"Delivery latency, {SIZE} B, us",
        ["submit to delivery", "p50", "p99", "p99.9", "most", "samples"],
        rows,
        f"p50, p99: median of {options.rounds} rounds (range); p99.9, most: of all samples. Closed loop: the next "
        "message is submitted when the last one was delivered in all three nodes.",
    )


def one_round(cluster: Cluster, senders: list[int], count: int, interval: int) -> tuple[list[float], list[float]]:
    """Microseconds to delivery in the sender, and in the last node, of each message after the warm-up."""
    warm = _WARM_UP if not interval else 10
    start = time.monotonic_ns() + 100_000_000
    patience = 30.0 + (warm + count) * max(interval / 1e9, 0.01)
    total = warm + count
    answers = cluster.together(
        "measure", patience, senders=senders, count=total, size=SIZE, interval=interval, at=start
    )
    return latencies(answers, senders, warm)


def latencies(
    answers: Mapping[int, Mapping[str, Any]], senders: list[int], warm: int
) -> tuple[list[float], list[float]]:
    """From what the agents wrote down (see member.Agent), without the first `warm` messages."""
    sent: dict[int, int] = {}
    for answer in answers.values():
        sent.update(zip(_numbers(answer["sent_seq"]), _numbers(answer["sent_at"]), strict=True))
    got = {
        ident: dict(zip(_numbers(answer["got_seq"]), _numbers(answer["got_at"]), strict=True))
        for ident, answer in answers.items()
    }
    own, last = [], []
    for seq in range(warm, len(sent)):
        own.append((got[senders[seq % len(senders)]][seq] - sent[seq]) / 1e3)
        last.append((max(times[seq] for times in got.values()) - sent[seq]) / 1e3)
    return own, last


def _numbers(data: bytes) -> array[int]:
    numbers = array("q")
    numbers.frombytes(data)
    return numbers
