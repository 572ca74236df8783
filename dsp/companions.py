"""Companions of the reference: what a small loudspeaker adds to it, as inputs to cancel with.

A linear filter of the reference cannot cancel what the loudspeaker distorts. Two products of the
reference, odd and even, are filtered like the reference itself, so the canceller finds their
gains per frequency. The odd one is the third Hermite polynomial, which is uncorrelated with
a Gaussian reference, because a diagonal Kalman filter converges slowly over correlated
inputs; the even one is the signed square. Both are taken of the reference divided by its own slow
level, so that their share does not change with the volume of the programme.

Related: A. Stenger and W. Kellermann, "Adaptation of a memoryless preprocessor for nonlinear
acoustic echo cancelling", Signal Processing 80 (2000). Products above half the sample rate
fold back here; an amplifier's do not. They lie below the ones that matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

COMPANIONS = 2
PARTITIONS = 6
"""Length of their echo paths in blocks: 96 ms. They are weak, so their late echo is noise."""

LEVEL_SMOOTHING = 0.06
"""Share of a new 16 ms block in the level: time constant 0.26 s."""

LEVEL_FLOOR = 1e-3
PEAK_LEVELS = 4.0
ODD_SHARE = 0.3
EVEN_SHARE = 0.5


class Companions:
    """The reference and its companions, one block of `samples` at a time."""

    def __init__(self, samples: int) -> None:
        self._ramp = (np.arange(1, samples + 1) / samples).astype(np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget the level."""
        self._level = np.float32(LEVEL_FLOOR)

    def process(self, reference: FloatArray) -> FloatArray:
        """Take float32 [samples], give [1 + COMPANIONS, samples]: reference, odd, even."""
        rms = np.sqrt(np.mean(reference * reference, dtype=np.float32))
        before = self._level
        # A pause keeps the level: the next sound is more likely as loud as the last one.
        if rms > LEVEL_FLOOR:
            self._level = np.float32(before + np.float32(LEVEL_SMOOTHING) * (rms - before))
        level = before + (self._level - before) * self._ramp + np.float32(LEVEL_FLOOR)
        u = np.clip(reference / level, -PEAK_LEVELS, PEAK_LEVELS)
        odd = np.float32(ODD_SHARE) * level * (u * u - np.float32(3.0)) * u
        even = np.float32(EVEN_SHARE) * level * np.abs(u) * u
        return np.stack([reference, odd, even]).astype(np.float32, copy=False)
