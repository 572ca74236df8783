"""Holds samples until a block of the stage's own length is full.

All stages after it see the same blocks however the source cut the audio; that is what makes
live and replay, and any two block sizes, equal bit for bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class HopFifo:
    """FIFO over channels.

    Parameters
    ----------
    channels : int
        Rows.
    samples : int
        Length of the blocks that come out.
    """

    def __init__(self, channels: int, samples: int) -> None:
        self._samples = samples
        self._held = np.zeros((channels, 0), np.float32)

    @property
    def held_samples(self) -> int:
        """Samples that wait for a full block."""
        return int(self._held.shape[1])

    def reset(self) -> None:
        """Drop what is held."""
        self._held = self._held[:, :0]

    def push(self, block: FloatArray) -> list[FloatArray]:
        """Take float32 [channels, any]; give full blocks float32 [channels, samples]."""
        held = np.concatenate([self._held, block], axis=1)
        full = held.shape[1] // self._samples * self._samples
        self._held = held[:, full:].copy()
        return [held[:, start : start + self._samples] for start in range(0, full, self._samples)]
