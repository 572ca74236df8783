"""DC blocker: first-order high-pass on every channel, before anything else.

``y[n] = x[n] - x[n-1] + r y[n-1]`` with a pole at 20 Hz. Board codecs have offsets of some per
cent of full scale, which would dominate the level meters and the lowest FFT bins. Within a block
the recursion is one product with a fixed triangular matrix, so numpy needs no loop over samples.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

CORNER_HZ = 20.0
QUIETEST = 1e-20
"""An output that is forgotten at the end of a block."""

POLE = float(np.exp(-2.0 * np.pi * CORNER_HZ / 16_000.0))


@lru_cache(maxsize=4)
def _response(samples: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Impulse responses of the recursion as a matrix, and the decay of the last output."""
    lag = np.arange(samples)[:, None] - np.arange(samples)[None, :]
    matrix = np.where(lag >= 0, POLE ** np.maximum(lag, 0).astype(np.float64), 0.0)
    decay = POLE ** np.arange(1, samples + 1, dtype=np.float64)
    return matrix.astype(np.float64), decay


class DcBlocker:
    """High-pass for any number of channels, one block of fixed length at a time.

    Parameters
    ----------
    channels : int
        Rows of every block.
    samples : int
        Columns of every block.
    """

    def __init__(self, channels: int, samples: int) -> None:
        self._matrix, self._decay = _response(samples)
        self._shape = (channels, samples)
        self.reset()

    def reset(self) -> None:
        """Start again; the first sample is taken as the offset, so there is no step."""
        self._input: NDArray[np.float64] | None = None
        self._output = np.zeros(self._shape[0])

    def process(self, block: FloatArray) -> FloatArray:
        """Filter float32 [channels, samples]; same shape out."""
        x = block.astype(np.float64)
        before = x[:, :1] if self._input is None else self._input[:, None]
        change = np.diff(x, axis=1, prepend=before)
        y = change @ self._matrix.T + self._output[:, None] * self._decay
        # In silence a decay ends here: in the native twin it would stay a denormal for ever.
        self._output = np.where(np.abs(y[:, -1]) < QUIETEST, 0.0, y[:, -1])
        self._input = x[:, -1]
        return y.astype(np.float32)
