"""The bench's table, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from kwsd.bench.cost import GraphCost, Roofline
from kwsd.bench.measure import Measured


@dataclass(frozen=True)
class Row:
    """One model on one runtime."""

    model: str
    """Name."""

    runtime: str
    """Name."""

    size_bytes: int | None
    """Of the network's files; None where the runtime is not there."""

    measured: Measured | None
    """None where it could not run."""

    why_not: str
    """Empty, or the reason."""


def as_values(
    rows: Sequence[Row], costs: dict[str, GraphCost], roofs: Sequence[Roofline]
) -> dict[str, Any]:
    """Everything as plain values."""
    return {
        "roofs": [asdict(roof) for roof in roofs],
        "models": {
            name: asdict(cost) | {"frames_per_s": {roof.name: roof.limit(cost) for roof in roofs}}
            for name, cost in costs.items()
        },
        "rows": [asdict(row) for row in rows],
    }


def print_tables(
    rows: Sequence[Row],
    costs: dict[str, GraphCost],
    roofs: Sequence[Roofline],
    console: Console,
) -> None:
    """Costs beside rooflines, then what was measured."""
    theory = RichTable(title="What one inference costs, and how many a second the roofs allow")
    for column in ("model", "MAC", "bytes moved", *(roof.name for roof in roofs)):
        theory.add_column(column, justify="left" if column == "model" else "right")
    for name, cost in costs.items():
        cells = [name, _si(cost.multiplies), _si(cost.bytes_moved)]
        theory.add_row(*cells, *(_bound(roof, cost) for roof in roofs))
    console.print(theory)
    for roof in roofs:
        speed = "not known" if roof.bandwidth_gbps is None else f"{roof.bandwidth_gbps:.1f} GB/s"
        console.print(f"roof of {roof.name}: {roof.peak_gmacs:.1f} GMAC/s; bandwidth {speed}")
    found = RichTable(title="Measured")
    columns = ("model", "runtime", "size", "median ms", "p99 ms", "CPU ms", "memory MiB", "per s")
    for column in (*columns, "of its roof"):
        found.add_column(column, justify="left" if column in ("model", "runtime") else "right")
    by_runtime = {roof.name: roof for roof in roofs}
    by_runtime["aipu"] = by_runtime["Zhouyi Z1"]
    for row in rows:
        if row.measured is not None:
            found.add_row(*_cells(row, row.measured, costs.get(row.model), by_runtime[row.runtime]))
    console.print(found)
    for row in rows:
        if row.measured is None:
            console.print(f"{row.model} on {row.runtime} was not run: {row.why_not}")


def _cells(row: Row, m: Measured, cost: GraphCost | None, roof: Roofline) -> list[str]:
    share = "-"
    if cost is not None:
        share = f"{100 * 1000 / m.median_ms / roof.limit(cost):.0f} %"
    return [
        row.model,
        row.runtime,
        _si(row.size_bytes or 0),
        f"{m.median_ms:.3g}",
        f"{m.p99_ms:.3g}",
        f"{m.cpu_ms:.3g}",
        f"{m.memory_mib:.1f}",
        _rate(1000 / m.median_ms),
        share,
    ]


def _bound(roof: Roofline, cost: GraphCost) -> str:
    """The lower bound, and which one it is."""
    by_bandwidth = roof.by_bandwidth(cost)
    at_most = _rate(roof.limit(cost))
    if by_bandwidth is None:
        return f"{at_most} by MAC alone"
    return f"{at_most} by {'bytes' if by_bandwidth < roof.by_operations(cost) else 'MAC'}"


def _si(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:g}"


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"
