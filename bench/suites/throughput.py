"""Messages and bytes per second with all three nodes sending, and the proof that all delivered the same."""

from __future__ import annotations

import time

from bench.arguments import Options
from bench.cluster import Cluster, Trouble
from bench.report import Report, spread
from bench.stats import Spread, median

SIZES = {64: 1024, 1600: 256, 8000: 64}
"""Bytes of a message, and how many of its own a node keeps under way."""
_WARM_UP = 1.0  # seconds


def run(options: Options, report: Report) -> None:
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    busy: dict[int, list[float]] = {size: [] for size in SIZES}
    with Cluster(options.directory, options.settings, measured=True) as cluster:
        for turn in range(options.rounds):
            for size, window in SIZES.items():
                with report.doing(f"throughput: {size} bytes, round {turn + 1} of {options.rounds}"):
                    rate, cpu = one_round(cluster, size, window, options.seconds)
                rates[size].append(rate)
                busy[size].append(cpu)
    rows = []
    for size, window in SIZES.items():
        messages = Spread.of(rates[size])
        octets = Spread.of(rate * size / 1e6 for rate in rates[size])
        rows.append([f"{size} B", spread(messages), spread(octets), f"{median(busy[size]):.1f}", str(window)])
        report.record(
            "throughput",
            f"{size} B",
            {
                "rounds": len(rates[size]),
                "messages_per_s": messages.median,
                "least_messages_per_s": messages.least,
                "most_messages_per_s": messages.most,
                "megabytes_per_s": octets.median,
                "cpu_us_per_message": median(busy[size]),
                "window": window,
            },
        )
    report.table(
        "Throughput, three senders",
        ["message", "messages/s", "MB/s", "CPU us/message/node", "own under way"],
        rows,
        f"Delivered in the slowest node; median of {options.rounds} rounds of {options.seconds:g} s (range). In every "
        "round all nodes delivered the same messages in the same order (SHA-256).",
    )


def one_round(cluster: Cluster, size: int, window: int, seconds: float) -> tuple[float, float]:
    """Messages per second delivered in the slowest node, and CPU microseconds per message and node. Raises Trouble."""
    start = time.monotonic_ns() + 100_000_000
    marks = [start + int(_WARM_UP * 1e9), start + int((_WARM_UP + seconds) * 1e9)]
    answers = cluster.together("flood", 60.0 + seconds, size=size, window=window, at=start, marks=marks)
    seen = {(answer["delivered"], answer["hash"]) for answer in answers.values()}
    sent = sum(answer["sent"] for answer in answers.values())
    if len(seen) != 1 or next(iter(seen))[0] != sent:
        told = {ident: (answer["delivered"], answer["hash"][:12]) for ident, answer in answers.items()}
        raise Trouble(f"the nodes did not deliver the same: {sent} were sent, delivered: {told}")
    rates = []
    for answer in answers.values():
        (began, before, _), (ended, after, _) = answer["marks"]
        rates.append((after - before) / ((ended - began) / 1e9))
    cpu = sum(answer["cpu_s"] for answer in answers.values()) / len(answers) / max(1, sent)
    return min(rates), cpu * 1e6
