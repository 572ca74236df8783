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
        bucket = microseconds.bit_length() - 1 if microseconds > 0 else 0
        self.counts[bucket if bucket < BUCKETS else -1] += 1

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
