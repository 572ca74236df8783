"""Voice branch: residual-echo suppression and noise reduction, for a recogniser or a caller.

Gain: Y. Ephraim and D. Malah, "Speech enhancement using a minimum mean-square error log-spectral
amplitude estimator", IEEE Trans. ASSP 33 (1985), with the decision-directed prior of their 1984
paper. Residual echo: power of the echo estimate times a leak factor per bin that follows the
smallest ratio of residual to estimate and rises slowly. The wake word is not detected here:
measured, suppression of this kind removes the word with the echo, so the detector has a branch
without it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.kalman import BINS, HOP_SAMPLES
from kwsd.dsp.noise import NoiseTracker

FloatArray = NDArray[np.float32]

WINDOW_SAMPLES = 2 * HOP_SAMPLES
VOICE_DELAY_SAMPLES = HOP_SAMPLES
"""The voice branch lags the detector branch by one block."""

DECISION_DIRECTED = 0.96
GAIN_FLOOR_DB = -15.0
ECHO_OVERESTIMATE = 2.0
LEAK_RISE_DB_PER_S = 2.5
LEAK_START = 0.1


def exponential_integral(x: FloatArray) -> FloatArray:
    """``E1(x)`` for x > 0: series below 1, continued fraction above; relative error < 1e-5."""
    x = np.maximum(np.asarray(x, np.float64), 1e-10)
    small, large = np.minimum(x, 1.0), np.maximum(x, 1.0)
    term, series = np.ones_like(small), np.zeros_like(small)
    for k in range(1, 10):
        term = term * -small / k
        series -= term / k
    series += -np.euler_gamma - np.log(small)
    fraction = np.zeros_like(large)
    for k in range(20, 0, -1):
        fraction = k / (1.0 + k / (large + fraction))
    return np.where(x < 1.0, series, np.exp(-large) / (large + fraction)).astype(np.float32)


def log_mmse_gain(prior: FloatArray, posterior: FloatArray) -> FloatArray:
    """Gain for prior and posterior signal-to-noise ratios, float32, same shape."""
    wiener = prior / (1.0 + prior)
    v = np.clip(wiener * posterior, 1e-6, 100.0)
    gain = wiener * np.exp(0.5 * exponential_integral(v))
    return np.asarray(np.minimum(gain, 1.0), dtype=np.float32)


class Suppressor:
    """Residual echo and noise out of the canceller's error, block by block."""

    def __init__(self) -> None:
        phase = 2.0 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
        self._window = np.sqrt(0.5 - 0.5 * np.cos(phase)).astype(np.float32)
        self._floor = 10.0 ** (GAIN_FLOOR_DB / 20.0)
        self._leak_rise = 10.0 ** (LEAK_RISE_DB_PER_S / 10.0 * HOP_SAMPLES / 16_000.0)
        self.noise = NoiseTracker(BINS)
        self.reset()

    def reset(self) -> None:
        """Start again."""
        self.noise.reset()
        self._past = np.zeros((2, HOP_SAMPLES), np.float32)
        self._overlap = np.zeros(HOP_SAMPLES, np.float32)
        self._leak = np.full(BINS, LEAK_START, np.float32)
        self._error_power = np.zeros(BINS, np.float32)
        self._echo_power = np.zeros(BINS, np.float32)
        self._tail = np.zeros(BINS, np.float32)
        self._speech_power = np.zeros(BINS, np.float32)

    def process(self, error: FloatArray, echo: FloatArray, reduce_noise: bool) -> FloatArray:
        """One block, float32 [HOP_SAMPLES] each; the result lags by `VOICE_DELAY_SAMPLES`."""
        block = np.stack([error, echo])
        spectra = np.fft.rfft(np.concatenate([self._past, block], axis=1) * self._window, axis=1)
        self._past = block
        power = (spectra.real**2 + spectra.imag**2).astype(np.float32)
        interference = self._residual_echo(power[0], power[1])
        # The tracker sees what residual echo does not explain, or music would count as noise.
        noise = self.noise.update(np.maximum(power[0] - interference, 0.05 * power[0]))
        if reduce_noise:
            interference = interference + noise
        interference = np.maximum(interference, np.float32(1e-12))
        posterior = power[0] / interference
        prior = DECISION_DIRECTED * self._speech_power / interference
        prior = prior + (1 - DECISION_DIRECTED) * np.maximum(posterior - 1.0, 0.0)
        gain = np.maximum(log_mmse_gain(np.maximum(prior, 1e-3), posterior), self._floor)
        self._speech_power = gain**2 * power[0]
        frame = np.fft.irfft(gain * spectra[0]).astype(np.float32) * self._window
        out = self._overlap + frame[:HOP_SAMPLES]
        self._overlap = frame[HOP_SAMPLES:]
        return out

    def _residual_echo(self, error: FloatArray, echo: FloatArray) -> FloatArray:
        """Power that the canceller left, float32 [BINS]."""
        self._error_power += np.float32(0.3) * (error - self._error_power)
        self._echo_power += np.float32(0.3) * (echo - self._echo_power)
        self._tail = np.maximum(np.float32(0.75) * self._tail, self._echo_power)
        active = self._echo_power > 2.0 * self.noise.power
        ratio = self._error_power / (self._tail + np.float32(1e-12))
        falling = 0.7 * self._leak + 0.3 * ratio
        followed = np.where(ratio < self._leak, falling, self._leak * self._leak_rise)
        self._leak = np.clip(np.where(active, followed, self._leak), 1e-5, 1.0).astype(np.float32)
        return np.asarray(ECHO_OVERESTIMATE * self._leak * self._tail, dtype=np.float32)
