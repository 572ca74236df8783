"""Latency histogram: times in buckets of powers of two, bounded whatever the uptime."""

from __future__ import annotations

from collections.abc import Sequence

BUCKETS = 24
"""Powers of two in microseconds: the last one is eight seconds and more."""


class LatencyHistogram:
    """Counts of times; a quantile is exact to a factor of two."""

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS

    def add(self, microseconds: int) -> None:
        """One measurement."""
        self.counts[min(max(microseconds, 1).bit_length() - 1, BUCKETS - 1)] += 1

    def quantile_us(self, fraction: float) -> int:
        """Upper end of the bucket in which the quantile lies; 0 without measurements."""
        return quantile_us(self.counts, fraction)


def quantile_us(counts: Sequence[int], fraction: float) -> int:
    """The same for counts that were taken out of a histogram."""
    left = fraction * sum(counts)
    for bucket, count in enumerate(counts):
        left -= count
        if left <= 0 and count:
            return 2 << bucket
    return 0
