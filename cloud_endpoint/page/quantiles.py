"""Quantiles of a latency histogram, as far as its buckets tell. Pure."""

from __future__ import annotations

from agents.contracts.messages import Histogram


def quantile(histogram: Histogram, q: float) -> float | None:
    """The `q`-quantile in s (0 < q <= 1), interpolated in its bucket and never above the largest seen.

    None without samples, or where bounds and buckets do not fit one another.
    """
    total = sum(histogram.buckets)
    if total == 0 or len(histogram.buckets) != len(histogram.bounds) + 1:
        return None
    rank = q * total
    seen = 0
    for index, count in enumerate(histogram.buckets):
        if count and seen + count >= rank:
            low = histogram.bounds[index - 1] if index else 0.0
            high = histogram.bounds[index] if index < len(histogram.bounds) else histogram.max
            high = max(low, min(high, histogram.max))
            return min(low + (high - low) * (rank - seen) / count, histogram.max)
        seen += count
    return histogram.max
