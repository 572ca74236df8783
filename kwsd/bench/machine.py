"""What hardware can do: this machine's ceilings, measured, and the AIPU's, as published."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from kwsd.bench.cost import Roofline, graph_cost
from kwsd.bench.measure import measure
from kwsd.bench.networks import CEILINGS
from kwsd.bench.subject import write_table
from kwsd.compile.outline import read_outline

Z1_PEAK_GMACS = 102.4
"""The field says 102.4 GOPS and about 4 GOP for a ResNet-50, whose multiply-accumulates are 4.1 G:
it counts one operation a multiply-accumulate. No bandwidth of the R329's memory was published."""

_COPIED_BYTES = 64 << 20
_ROUNDS = 5
_MOST_INFERENCES = 1000


def z1_roofline(bandwidth_gbps: float | None) -> Roofline:
    """Of the AIPU; the bandwidth is the caller's figure of the board."""
    return Roofline("Zhouyi Z1", Z1_PEAK_GMACS, bandwidth_gbps)


def copy_bandwidth_gbps() -> float:
    """Of a large copy, bytes read and written, on one core."""
    source = np.ones(_COPIED_BYTES // 8)
    target = np.empty_like(source)
    best_s = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        np.copyto(target, source)
        best_s = min(best_s, time.perf_counter() - started)
    return 2e-9 * _COPIED_BYTES / best_s


def runtime_roofline(
    runtime: str, folder: Path, threads: int, seconds: float, bandwidth_gbps: float
) -> Roofline:
    """The ceiling of one runtime on this machine: its better rate on two dense networks.

    A peak computed from clock and instruction set would say more of the machine and less of the
    runtime; what a network loses against this figure, its own shape costs.

    Parameters
    ----------
    runtime : str
        litert, ncnn or ncnn-int8.
    folder : Path
        Empty, gets the networks.
    threads : int
        Of the runtime.
    seconds : float
        Of each of the two measurements.
    bandwidth_gbps : float
        Of the machine.

    Raises
    ------
    RuntimeUnavailable
        It is not installed.
    """
    best = 0.0
    for name in CEILINGS:
        counted, place = folder / f"{name}-{runtime}-counted", folder / f"{name}-{runtime}"
        counted.mkdir()
        place.mkdir()
        cost = graph_cost(read_outline(write_table(name, "litert", counted, threads).path))
        found = measure(write_table(name, runtime, place, threads), seconds, _MOST_INFERENCES)
        best = max(best, 1e-6 * cost.multiplies / found.median_ms)
    return Roofline(runtime, best, bandwidth_gbps)
