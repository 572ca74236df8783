"""Ripples: how the power of noise in a mel band fluctuates from frame to frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

SHAPE = 4.0
"""Of the gamma distribution: half of its degrees of freedom."""

LENGTH = 1 << 20


class Ripples:
    """Factors around 1. A gamma draw is dear: stretches of one long table are taken.

    Parameters
    ----------
    longest : int
        How many factors are asked for at once, at most.
    """

    def __init__(self, longest: int) -> None:
        table = np.random.default_rng(0).gamma(SHAPE, 1.0 / SHAPE, LENGTH + longest)
        self._table = (table + 1e-3).astype(np.float32)

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
        """Some of them; what comes must not be written to."""
        start = int(rng.integers(LENGTH))
        return self._table[start : start + int(np.prod(shape))].reshape(shape)
