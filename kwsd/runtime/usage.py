"""Usage: what a model's runtimes did so far, counted where it happens, read as one plain value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from kwsd.runtime.latency import LatencyHistogram


@dataclass(frozen=True, slots=True)
class RuntimeUsage:
    """A moment's counters of one model; everything counts from its opening and only grows."""

    model: str
    """Name of the package."""

    runtime: str
    """Runtime that serves now."""

    breaker: str
    """Of the preferred runtime: ``closed`` (serves), ``open`` (will be tried), ``halted``."""

    steps: dict[str, int]
    """Answered steps by runtime."""

    latency_us: dict[str, tuple[int, ...]]
    """By runtime: steps whose time was below 2, 4, 8 … microseconds, as bucket counts."""

    failures: dict[str, int]
    """Failed steps and failed restarts by reason word."""

    restarts: int
    """Times that the preferred runtime came back into service."""

    late_collected: int
    """Jobs that missed their limit and came in after it."""

    late_lost: int
    """Jobs that missed their limit and never came in: their engine was killed."""

    def table(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


class UsageCount:
    """The counters; written by the thread that steps, read from any.

    Parameters
    ----------
    model : str
        Name of the package.
    """

    def __init__(self, model: str) -> None:
        self.failures: dict[str, int] = {}
        self.restarts = 0
        self.late_collected = 0
        self.late_lost = 0
        self._model = model
        self._latency: dict[str, LatencyHistogram] = {}

    def step(self, runtime: str, microseconds: int) -> None:
        """One answered step, with the time that the caller waited for it."""
        if runtime not in self._latency:
            self._latency[runtime] = LatencyHistogram()
        self._latency[runtime].add(microseconds)

    def failed(self, reason: str) -> None:
        """One failed step or restart."""
        self.failures[reason] = self.failures.get(reason, 0) + 1

    def snapshot(self, runtime: str, breaker: str) -> RuntimeUsage:
        """The counters now."""
        latency = {name: tuple(h.counts) for name, h in list(self._latency.items())}
        return RuntimeUsage(
            model=self._model,
            runtime=runtime,
            breaker=breaker,
            steps={name: sum(counts) for name, counts in latency.items()},
            latency_us=latency,
            failures=dict(self.failures),
            restarts=self.restarts,
            late_collected=self.late_collected,
            late_lost=self.late_lost,
        )
