"""Counters of one AIPU session, for the daemon's status and the benchmarks."""

from __future__ import annotations

from typing import Any

from kwsd.runtime.aipu.status import status_text
from kwsd.runtime.latency import LatencyHistogram


class Statistics:
    """What happened on a session."""

    def __init__(self) -> None:
        self.steps = 0
        """Steps that were answered with success."""
        self.retries = 0
        """Jobs that were replaced after an exception."""
        self.failures: dict[int, int] = {}
        """Failed steps by status word; at most 64 different ones are kept."""
        self.job = LatencyHistogram()
        """Time inside the driver."""
        self.round_trip = LatencyHistogram()
        """Time from request to answer, as the parent sees it."""

    def failed(self, status: int) -> None:
        """Count one failed step."""
        if status in self.failures or len(self.failures) < 64:
            self.failures[status] = self.failures.get(status, 0) + 1

    def table(self) -> dict[str, Any]:
        """As plain values for a status message."""
        return {
            "steps": self.steps,
            "retries": self.retries,
            "failures": {status_text(code): n for code, n in sorted(self.failures.items())},
            "job_us_p50": self.job.quantile_us(0.5),
            "job_us_p99": self.job.quantile_us(0.99),
            "round_trip_us_p50": self.round_trip.quantile_us(0.5),
            "round_trip_us_p99": self.round_trip.quantile_us(0.99),
        }
