"""Which numbers the service tells of its runtimes: steps, faults, restarts, late jobs, latency."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from kwsd.daemon.metrics import Metric
from kwsd.runtime.latency import quantile_us
from kwsd.runtime.usage import RuntimeUsage

Row = tuple[Mapping[str, str], float]

_SERVES = "closed"


def runtime_metrics(usages: Sequence[RuntimeUsage]) -> list[Metric]:
    """Metric families of the runtimes.

    Parameters
    ----------
    usages : sequence of RuntimeUsage
        One a model, from `kwsd.assemble.OpenModel.usage`.
    """

    def family(
        name: str, kind: str, text: str, rows: Callable[[RuntimeUsage], Iterable[Row]]
    ) -> Metric:
        values = [
            ({"model": usage.model, **labels}, value)
            for usage in usages
            for labels, value in rows(usage)
        ]
        return Metric(name, kind, text, tuple(values))

    return [
        family(
            "kwsd_runtime_steps",
            "counter",
            "Model steps by the runtime that answered.",
            lambda usage: [({"runtime": name}, float(n)) for name, n in usage.steps.items()],
        ),
        family(
            "kwsd_runtime_failures",
            "counter",
            "Failed steps and restarts of the preferred runtime by reason.",
            lambda usage: [({"reason": word}, float(n)) for word, n in usage.failures.items()],
        ),
        family(
            "kwsd_runtime_restarts",
            "counter",
            "Times the preferred runtime came back.",
            lambda usage: [({}, float(usage.restarts))],
        ),
        family(
            "kwsd_runtime_late_jobs",
            "counter",
            "Jobs over their limit, by how they ended.",
            lambda usage: [
                ({"end": "collected"}, float(usage.late_collected)),
                ({"end": "lost"}, float(usage.late_lost)),
            ],
        ),
        family(
            "kwsd_runtime_preferred",
            "gauge",
            "1 while the first choice that can serve does, 0 while another stands in for it.",
            lambda usage: [({}, float(usage.breaker == _SERVES))],
        ),
        family(
            "kwsd_runtime_step_seconds",
            "gauge",
            "Time of a step as the chain sees it, to a factor of two.",
            lambda usage: [
                ({"runtime": name, "quantile": str(fraction)}, quantile_us(counts, fraction) / 1e6)
                for name, counts in usage.latency_us.items()
                for fraction in (0.5, 0.99)
            ],
        ),
    ]
