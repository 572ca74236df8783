"""A test signal that a loop delay shows clearly in: short sweeps at uneven distances."""

from __future__ import annotations

import numpy as np

from kwsd.block import FloatArray

LOW_HZ, HIGH_HZ = 200.0, 6_500.0
SWEEP_S = 0.12
LEVEL = 0.25
"""-12 dBFS: loud enough, and no shock beside the loudspeaker."""


def chirps(rate_hz: int, seconds: float, seed: int = 1) -> FloatArray:
    """float32 [frames]: logarithmic sweeps with pauses of 0.1 to 0.4 s.

    Uneven, so that no other delay fits as well.
    """
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(SWEEP_S * rate_hz)) / rate_hz
    growth = np.log(HIGH_HZ / LOW_HZ)
    phase = 2.0 * np.pi * LOW_HZ * SWEEP_S / growth * np.expm1(time_s / SWEEP_S * growth)
    sweep = LEVEL * np.sin(phase) * np.hanning(len(time_s)) ** 0.25
    signal = np.zeros(round(seconds * rate_hz), np.float32)
    at = round(0.3 * rate_hz)
    while at + len(sweep) < len(signal):
        signal[at : at + len(sweep)] = sweep
        at += len(sweep) + round(rng.uniform(0.1, 0.4) * rate_hz)
    return signal
