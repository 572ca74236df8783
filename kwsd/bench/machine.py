"""What this machine can do in practice: its roofline, measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from kwsd.bench.cost import Roofline

Z1_PEAK_GOPS = 102.4
"""Zhouyi Z1 as the field counts it; no bandwidth of the R329's memory has been published."""

_SIDE = 1024
_COPIED_BYTES = 64 << 20
_ROUNDS = 5


def z1_roofline(bandwidth_gbps: float | None) -> Roofline:
    """Of the AIPU; the bandwidth is the caller's figure of the board."""
    return Roofline("Zhouyi Z1", Z1_PEAK_GOPS, bandwidth_gbps)


def measure_roofline() -> Roofline:
    """This machine's, with numpy on as many threads as its BLAS takes.

    The peak is that of a float32 product of matrices, the best that a library reaches, and is not
    a bound for int8 kernels: a network may go beyond it. The bandwidth is that of a large copy,
    bytes read and written.
    """
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, _SIDE, _SIDE)).astype(np.float32)
    product_s = min(_seconds(lambda: a @ b) for _ in range(_ROUNDS))
    source = np.ones(_COPIED_BYTES // 8)
    target = np.empty_like(source)
    copy_s = min(_seconds(lambda: np.copyto(target, source)) for _ in range(_ROUNDS))
    return Roofline("this machine", 2e-9 * _SIDE**3 / product_s, 2e-9 * _COPIED_BYTES / copy_s)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
