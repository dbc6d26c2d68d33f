"""Latencies in fixed, log-spaced buckets, so that any two histograms can be added. Pure.

The bounds never change within a version of the contract: reports of different nodes, releases and windows add up
bucket by bucket.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from agents.contracts.messages import Histogram

_STEPS = (1.0, 1.5, 2.2, 3.3, 4.7, 6.8)
BOUNDS: tuple[float, ...] = (*(round(step * 10.0**power, 6) for power in range(-3, 2) for step in _STEPS), 100.0)
"""Upper bounds in s: six a decade (E6 steps, each within 1.52 times the one before), 1 ms to 100 s."""


@dataclass
class Latencies:
    """Counts per bucket; the last bucket holds what is above every bound."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    sum: float = 0.0
    count: int = 0
    max: float = 0.0

    def add(self, seconds: float) -> None:
        """Counts one latency; a negative one (a clock's fault) counts as 0."""
        value = max(0.0, seconds)
        self.buckets[bisect_left(BOUNDS, value)] += 1
        self.sum += value
        self.count += 1
        self.max = max(self.max, value)

    def include(self, other: Latencies) -> None:
        """Adds another's counts."""
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        self.sum += other.sum
        self.count += other.count
        self.max = max(self.max, other.max)

    def wire(self) -> Histogram:
        """As it is reported."""
        return Histogram(bounds=list(BOUNDS), buckets=list(self.buckets), sum=self.sum, count=self.count, max=self.max)


def merge(parts: Sequence[Histogram]) -> Histogram:
    """Adds histograms; ValueError when there are none or their bounds differ."""
    if not parts:
        raise ValueError("nothing to merge")
    bounds = parts[0].bounds
    if any(part.bounds != bounds or len(part.buckets) != len(bounds) + 1 for part in parts):
        raise ValueError("histograms of different bounds cannot be merged")
    return Histogram(
        bounds=list(bounds),
        buckets=[sum(column) for column in zip(*(part.buckets for part in parts), strict=True)],
        sum=sum(part.sum for part in parts),
        count=sum(part.count for part in parts),
        max=max(part.max for part in parts),
    )


def quantile(histogram: Histogram, q: float) -> float | None:
    """An upper bound of the q-quantile in s (0 < q <= 1): its bucket's bound, at most `max`; None when empty."""
    if histogram.count == 0:
        return None
    rank = max(1, round(q * histogram.count + 0.4999999))
    seen = 0
    for bound, bucket in zip(histogram.bounds, histogram.buckets, strict=False):
        seen += bucket
        if seen >= rank:
            return min(bound, histogram.max)
    return histogram.max
