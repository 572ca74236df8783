"""Noise power in each bin, tracked through speech.

T. Gerkmann and R. Hendriks, "Unbiased MMSE-based noise power estimation with low complexity and
low tracking delay", IEEE Trans. ASLP 20 (2012): the periodogram enters the average by the
probability that no speech is there, under a fixed prior signal-to-noise ratio; no minimum
search, no bias correction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

PRIOR_SNR = 10.0 ** (15.0 / 10.0)
SMOOTHING = 0.8
PROBABILITY_SMOOTHING = 0.9
STUCK_PROBABILITY = 0.99
FIRST_FRAMES = 10
"""Frames that are averaged for the first estimate."""

FLOOR = 1e-12


class NoiseTracker:
    """Noise power spectrum of a stream of STFT frames.

    Parameters
    ----------
    bins : int
        Bins of a frame.
    """

    def __init__(self, bins: int) -> None:
        self._bins = bins
        self.reset()

    def reset(self) -> None:
        """Start from the next frames."""
        self.power = np.full(self._bins, FLOOR, np.float32)
        self.speech_probability = np.zeros(self._bins, np.float32)
        self._mean_probability = np.full(self._bins, 0.5, np.float32)
        self._frames = 0

    def update(self, power: FloatArray) -> FloatArray:
        """Take the periodogram float32 [bins]; gives the noise power float32 [bins]."""
        if self._frames < FIRST_FRAMES:
            self._frames += 1
            self.power = self.power + (power - self.power) / np.float32(self._frames)
            self.power = np.maximum(self.power, np.float32(FLOOR))
            return self.power
        exponent = power / self.power * np.float32(PRIOR_SNR / (1.0 + PRIOR_SNR))
        likelihood = np.exp(-np.minimum(exponent, np.float32(50.0)))
        probability = np.float32(1.0) / (np.float32(1.0) + np.float32(1.0 + PRIOR_SNR) * likelihood)
        self._mean_probability += np.float32(1.0 - PROBABILITY_SMOOTHING) * (
            probability - self._mean_probability
        )
        # A bin that has looked like speech for long is noise that grew: let it in.
        stuck = self._mean_probability > STUCK_PROBABILITY
        probability[stuck] = np.minimum(probability[stuck], np.float32(STUCK_PROBABILITY))
        self.speech_probability = probability
        # Average of the old power and the expected one, p old + (1 - p) new.
        step = np.float32(1.0 - SMOOTHING) * (np.float32(1.0) - probability)
        self.power = np.maximum(self.power + step * (power - self.power), np.float32(FLOOR))
        return self.power
