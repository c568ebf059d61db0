"""Percentiles and medians. Exact: every sample is kept and sorted, nothing is put into buckets.

A percentile is the nearest rank: the smallest sample that at least that share of all samples does not exceed. It is
always a value that was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted samples. share: 0 < share <= 1. Raises ValueError without samples."""
    if not ordered:
        raise ValueError("no samples")
    if not 0 < share <= 1:
        raise ValueError(f"a share is above 0 and at most 1, not {share}")
    # 0.999 * 10000 is 9990.000000000002 in binary: without the rounding it would be one rank too far.
    return ordered[math.ceil(round(share * len(ordered), 9)) - 1]


def median(samples: Iterable[float]) -> float:
    """The middle sample; of an even number, the mean of the two in the middle. Raises ValueError without samples."""
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("no samples")
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


@dataclass(frozen=True, slots=True)
class Summary:
    """What is told of many samples, in their unit."""

    count: int
    least: float
    p50: float
    p99: float
    p999: float
    most: float

    @classmethod
    def of(cls, samples: Iterable[float]) -> Summary:
        """Raises ValueError without samples."""
        ordered = sorted(samples)
        return cls(
            len(ordered),
            percentile(ordered, 1 / max(1, len(ordered))),
            percentile(ordered, 0.5),
            percentile(ordered, 0.99),
            percentile(ordered, 0.999),
            percentile(ordered, 1.0),
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of repeated rounds and their range: one round on a shared machine says little."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Raises ValueError without values."""
        ordered = sorted(values)
        return cls(median(ordered), ordered[0], ordered[-1])
