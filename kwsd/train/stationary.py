"""Stationary noises, made by formula: recordings of noise are few, and mostly of events."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.block import SAMPLE_RATE_HZ

FloatArray = NDArray[np.float32]


def stationary_noises(
    rng: np.random.Generator, count: int = 90, seconds: float = 10.0
) -> list[FloatArray]:
    """White to brown noise, some of it band-limited, some with the hum and whirr of a fan."""
    samples = int(seconds * SAMPLE_RATE_HZ)
    frequency_hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    noises = []
    for _ in range(count):
        slope = rng.uniform(0.0, 1.2)
        shape = np.maximum(frequency_hz, 20.0) ** -slope
        if rng.random() < 0.4:
            low, high = np.sort(rng.uniform(50, 7500, 2))
            shape = np.where(
                (frequency_hz > low) & (frequency_hz < high + 300), shape, shape * 0.03
            )
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * shape, samples)
        noise /= noise.std()
        if rng.random() < 0.5:
            base_hz = rng.uniform(45, 260)
            for harmonic in range(1, 8):
                gain = rng.uniform(0, 1.0) / harmonic
                phase = 2 * np.pi * harmonic * base_hz * time_s
                noise += gain * np.sin(phase + 0.3 * np.sin(2 * np.pi * 0.7 * time_s))
        noises.append((0.05 * noise / noise.std()).astype(np.float32))
    return noises
