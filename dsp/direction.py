"""Direction of arrival: from which side the talker is heard, by two microphones.

Generalised cross-correlation with phase transform, steered to angles (J. DiBiase, H. Silverman and
M. Brandstein, "Robust localization in reverberant rooms", in Microphone Arrays, 2001): of blocks
that stand out of the noise floor the whitened cross-spectrum is averaged over a fifth of a second,
and the angle at which the microphones' delay fits it best is given. Two microphones cannot tell
front from back: 0 degrees is straight ahead or straight behind, 90 on the side of microphone 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kwsd.dsp.kalman import HOP_SAMPLES

FloatArray = NDArray[np.float32]

RATE_HZ = 16_000
SOUND_M_PER_S = 343.0
LOWEST_BIN, HIGHEST_BIN = 10, 192
"""312 to 6000 Hz: speech, and a phase that means something."""

STEP_DEG = 5
SMOOTHING = 0.08
ABOVE_FLOOR = 8.0
"""Power over the noise floor above which a block counts: 9 dB."""

CLEAR_SHARE = 0.25
"""Share of the averaged spectrum that must agree on the angle."""


class DirectionFinder:
    """Angle of what two microphones hear, block by block.

    Parameters
    ----------
    spacing_mm : int
        Distance of the microphones.
    """

    def __init__(self, spacing_mm: int) -> None:
        angles = np.deg2rad(np.arange(-90, 91, STEP_DEG))
        delays_s = spacing_mm * 1e-3 / SOUND_M_PER_S * np.sin(angles)
        bins = np.arange(LOWEST_BIN, HIGHEST_BIN)
        omega = 2 * np.pi * RATE_HZ * bins / (2 * HOP_SAMPLES)
        self._steering = np.exp(-1j * np.outer(delays_s, omega)).astype(np.complex64)
        self._window = np.hanning(2 * HOP_SAMPLES + 1)[:-1].astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._past = np.zeros((2, HOP_SAMPLES), np.float32)
        self._cross = np.zeros(HIGHEST_BIN - LOWEST_BIN, np.complex64)

    def update(self, first: FloatArray, second: FloatArray, floor_power: float) -> None:
        """Take a block of both microphones, float32 [HOP_SAMPLES].

        Parameters
        ----------
        first, second : ndarray
            Microphones 0 and 1 behind the echo cancellers.
        floor_power : float
            Mean power of the noise floor of the first.
        """
        both = np.stack([first, second])
        joined = np.concatenate([self._past, both], axis=1) * self._window
        self._past = both
        if float(np.mean(first**2)) < ABOVE_FLOOR * floor_power:
            return
        spectra = np.fft.rfft(joined, axis=1)[:, LOWEST_BIN:HIGHEST_BIN].astype(np.complex64)
        cross = spectra[0] * np.conj(spectra[1])
        cross /= np.abs(cross) + np.float32(1e-12)
        self._cross += np.float32(SMOOTHING) * (cross - self._cross)

    def angle_deg(self) -> float | None:
        """Degrees from straight ahead towards microphone 0; None where nothing is clear."""
        power = (self._steering @ self._cross).real / len(self._cross)
        best = int(np.argmax(power))
        if power[best] < CLEAR_SHARE:
            return None
        angle = float(best)
        if 0 < best < len(power) - 1:
            below, here, above = (float(value) for value in power[best - 1 : best + 2])
            bend = below - 2.0 * here + above
            angle += 0.5 * (below - above) / bend if bend < 0.0 else 0.0
        return STEP_DEG * angle - 90.0
