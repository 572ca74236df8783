"""Voice branch: residual-echo suppression and noise reduction, for a recogniser or a caller.

Log-MMSE gain with the decision-directed prior of Y. Ephraim and D. Malah, "Speech enhancement
using a minimum mean-square error short-time spectral amplitude estimator", IEEE Trans. ASSP 32
(1984), against noise and residual echo together. Residual echo: power of the echo estimate times
a leak factor per bin that follows the smallest ratio of residual to estimate and rises slowly.
The wake word is not detected here: measured, suppression of this kind removes the word with
the echo, so the detector has a branch without it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.kalman import BINS, HOP_SAMPLES
from kwsd.dsp.log_mmse import log_mmse_gain
from kwsd.dsp.noise import NoiseTracker

FloatArray = NDArray[np.float32]

WINDOW_SAMPLES = 2 * HOP_SAMPLES
VOICE_DELAY_SAMPLES = HOP_SAMPLES
"""The voice branch lags the detector branch by one block."""

DECISION_DIRECTED = 0.96
LOWEST_PRIOR = 1e-3
GAIN_FLOOR_DB = -15.0
LOWEST_POWER = 1e-12

ECHO_SMOOTHING = 0.3
ECHO_OVERESTIMATE = 2.0
ECHO_DECAY = 0.75
"""Decay per block of the echo that is taken to linger behind the canceller's reach."""

LEAK_RISE_DB_PER_S = 2.5
LEAK_START = 0.1
LEAK_LOWEST, LEAK_HIGHEST = 1e-5, 1.0


class Suppressor:
    """Residual echo and noise out of the canceller's error, block by block."""

    def __init__(self) -> None:
        phase = 2.0 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
        self._window = np.sqrt(0.5 - 0.5 * np.cos(phase)).astype(np.float32)
        self._floor = np.float32(10.0 ** (GAIN_FLOOR_DB / 20.0))
        rise = 10.0 ** (LEAK_RISE_DB_PER_S / 10.0 * HOP_SAMPLES / 16_000.0)
        self._leak_rise = np.float32(rise)
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
        """One block, float32 [HOP_SAMPLES] each; the result lags by `VOICE_DELAY_SAMPLES`.

        Parameters
        ----------
        error, echo : ndarray, float32 [HOP_SAMPLES]
            Residual of the canceller and its echo estimate; zeros switch echo suppression off.
        reduce_noise : bool
            Whether steady noise goes too.
        """
        block = np.stack([error, echo])
        spectra = np.fft.rfft(np.concatenate([self._past, block], axis=1) * self._window, axis=1)
        self._past = block
        power = (spectra.real**2 + spectra.imag**2).astype(np.float32)
        interference = self._residual_echo(power[0], power[1])
        # The tracker sees what residual echo does not explain, or music would count as noise.
        unexplained = np.maximum(power[0] - interference, np.float32(0.05) * power[0])
        noise = self.noise.update(unexplained)
        if reduce_noise:
            interference = interference + noise
        interference = np.maximum(interference, np.float32(LOWEST_POWER))
        gain = self._gain(power[0], interference)
        frame = np.fft.irfft(gain * spectra[0]).astype(np.float32) * self._window
        out = self._overlap + frame[:HOP_SAMPLES]
        self._overlap = frame[HOP_SAMPLES:]
        return out

    def _gain(self, power: FloatArray, interference: FloatArray) -> FloatArray:
        """Gain per bin, float32 [BINS]."""
        posterior = power / interference
        prior = np.float32(DECISION_DIRECTED) * self._speech_power / interference
        prior += np.float32(1 - DECISION_DIRECTED) * np.maximum(posterior - np.float32(1.0), 0.0)
        gain = log_mmse_gain(np.maximum(prior, np.float32(LOWEST_PRIOR)), posterior)
        gain = np.maximum(gain, self._floor)
        self._speech_power = gain * gain * power
        return gain

    def _residual_echo(self, error: FloatArray, echo: FloatArray) -> FloatArray:
        """Power that the canceller left, float32 [BINS]."""
        self._error_power += np.float32(ECHO_SMOOTHING) * (error - self._error_power)
        self._echo_power += np.float32(ECHO_SMOOTHING) * (echo - self._echo_power)
        self._tail = np.maximum(np.float32(ECHO_DECAY) * self._tail, self._echo_power)
        active = self._echo_power > np.float32(2.0) * self.noise.power
        ratio = self._error_power / (self._tail + np.float32(LOWEST_POWER))
        falling = np.float32(0.7) * self._leak + np.float32(0.3) * ratio
        followed = np.where(ratio < self._leak, falling, self._leak * self._leak_rise)
        leak = np.where(active, followed, self._leak)
        self._leak = np.clip(leak, np.float32(LEAK_LOWEST), np.float32(LEAK_HIGHEST))
        return np.float32(ECHO_OVERESTIMATE) * self._leak * self._tail
